"""Our own walker finds what servers accept in silence."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge.records import RecordRef
from fhir_bridge.references import Suspect, dangling

BASE = "https://second.example.org/fhir"
KNOWN = {RecordRef("Patient/1"), RecordRef("Binary/1")}
REF = RecordRef("DiagnosticReport/1")


def suspects(**members: Any) -> list[Suspect]:
    return dangling([(REF, {"resourceType": "DiagnosticReport", **members})], BASE, KNOWN)


def to(name: str) -> dict[str, str]:
    return {"reference": name}


def test_a_record_whose_references_are_all_there_has_no_dangling_one() -> None:
    assert (
        suspects(
            contained=[{"resourceType": "Practitioner", "id": "p"}, {"id": 5}, "x"],
            subject=to("Patient/1"),
            performer=[to("#p"), to("#"), to("https://other.example/fhir/Practitioner/1")],
            encounter={"identifier": {"value": "logical"}},
            basedOn=[to(f"{BASE}/Patient/1")],
            presentedForm=[
                {"url": "Binary/1"},
                {"url": f"{BASE}/Binary/1"},
                {"url": "urn:uuid:1"},
                {"data": "QQ==", "contentType": "text/plain"},
            ],
        )
        == []
    )


@pytest.mark.parametrize(
    ("members", "path", "asked"),
    [
        ({"imagingStudy": [to("ImagingStudy/9")]}, "imagingStudy[0]", "ImagingStudy/9"),
        (
            {"extension": [{"url": "u", "valueReference": to("Specimen/9")}]},
            "extension[0].valueReference",
            "Specimen/9",
        ),
        ({"presentedForm": [{"url": "Binary/9"}]}, "presentedForm[0]", "Binary/9"),
        ({"presentedForm": [{"url": f"{BASE}/Binary/9"}]}, "presentedForm[0]", "Binary/9"),
        ({"presentedForm": [{"url": "files/9.pdf"}]}, "presentedForm[0]", None),
        ({"presentedForm": [{"url": "#missing"}]}, "presentedForm[0]", None),
        ({"performer": [to("#missing")]}, "performer[0]", None),
        ({"subject": to(f"{BASE}/Patient/9")}, "subject", "Patient/9"),
        ({"subject": to("Patient/1/_history/99")}, "subject", None),
        ({"subject": to("urn:uuid:1")}, "subject", None),
        ({"subject": to("Patient?identifier=1")}, "subject", None),
    ],
)
def test_each_kind_of_dangling_reference_that_a_server_accepts_in_silence_is_found(
    members: dict[str, Any], path: str, asked: str | None
) -> None:
    found = suspects(**members)

    assert found == [Suspect(REF, path, RecordRef(asked) if asked else None)]


def test_contained_resources_of_a_wrong_shape_hold_nothing() -> None:
    assert suspects(contained="x", subject=to("#x")) == [Suspect(REF, "subject", None)]
