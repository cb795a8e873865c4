from __future__ import annotations

import pytest

from fhir_bridge.journey.examining import names_another
from fhir_bridge.records import RecordRef

BASE = "https://first.example/fhir"
OURS = RecordRef("Patient/celia")


@pytest.mark.parametrize(
    "reference",
    ["Patient/celia", "Patient/celia/_history/3", f"{BASE}/Patient/celia"],
)
def test_a_record_of_our_patient_is_ours_however_it_is_written(reference: str) -> None:
    assert not names_another({"subject": {"reference": reference}}, OURS, BASE)


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/celia-namesake",
        "Patient/cel",
        "Patient/delia",
        "https://other.example/fhir/Patient/celia",
        "https://first.example/other/Patient/celia",
    ],
)
def test_a_patient_of_another_chart_or_server_is_someone_else(reference: str) -> None:
    assert names_another({"subject": {"reference": reference}}, OURS, BASE)


def test_a_record_that_names_no_patient_names_no_other() -> None:
    assert not names_another({"subject": {"display": "x"}}, OURS, BASE)
    assert not names_another({}, OURS, BASE)
