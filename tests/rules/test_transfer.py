"""What makes two requests the same transfer, and which words a person may give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_bridge.errors import SettingsError
from fhir_bridge.records import Kind, RecordRef
from fhir_bridge.transfer import Basis, Order, Party, check_words, referral_key

ORDER = Order(
    source="first",
    destination="second",
    patient="Patient/1",
    kinds=(Kind.LABORATORY, Kind.IMAGING),
    reasons=("cancer", "major-surgery"),
    question="Is it needed?",
)
CLINIC = Party(system="urn:oid:1.2", value="clinic", name="Clinic")
CENTRE = Party(system="urn:oid:1.2", value="centre", name="Centre")
ASKED: dict[str, Any] = {
    "source_identity": "https://first.example/fhir",
    "destination_identity": "https://second.example/fhir",
    "patient": RecordRef("Patient/1"),
    "custodian": CLINIC,
    "recipient": CENTRE,
    "order": ORDER,
}


def key(**changes: Any) -> str:
    return referral_key(**{**ASKED, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"source_identity": "https://other.example/fhir"},
        {"destination_identity": "https://other.example/fhir"},
        {"patient": RecordRef("Patient/2")},
        {"custodian": CENTRE},
        {"recipient": CLINIC},
        {"order": replace(ORDER, kinds=(Kind.LABORATORY,))},
        {"order": replace(ORDER, reasons=("cancer",))},
        {"order": replace(ORDER, question="Is it necessary?")},
        {"salt": "asked anew"},
    ],
    ids=[
        *("source", "destination", "patient", "custodian", "recipient"),
        *("kinds", "reasons", "question", "asked anew"),
    ],
)
def test_a_referral_is_another_when_patient_parties_kinds_reasons_or_question_differ(
    change: dict[str, Any],
) -> None:
    assert key(**change) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": (Kind.IMAGING, Kind.LABORATORY)},
        {"reasons": ("major-surgery", "cancer")},
        {"patient": "urn:oid:1.2|77"},
        {"basis": Basis.TREATMENT, "basis_reason": "tomorrow"},
        {"at_destination": "create"},
        {"override": "R. Officer"},
        {"consent": "{}"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_referral_is_the_same_however_it_is_phrased_and_on_whatever_it_rests(
    change: dict[str, Any],
) -> None:
    assert key(order=replace(ORDER, **change)) == key()


def test_the_name_of_an_organisation_does_not_make_a_referral_another() -> None:
    assert key(recipient=replace(CENTRE, name="The Centre")) == key()


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\x7f", "\x85", "\r", "\udc80"])
@pytest.mark.parametrize(
    "option", ["question", "basis_reason", "override", "patient", "at_destination"]
)
def test_words_with_a_control_character_are_refused_and_not_repeated(
    option: str, char: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        replace(ORDER, **{option: f"a secret{char}"}).check()

    assert "control character" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_lines_tabs_and_letters_of_any_language_may_stand() -> None:
    check_words({"--question": "Ist sie nötig?\n\t必要ですか \N{GREEK SMALL LETTER BETA}"})
    ORDER.check()
