"""What the law withholds whatever a Consent says, and treatment as the basis."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge.consent import travelling_copy_needed
from fhir_bridge.records import Json
from fhir_bridge.sensitivity import Labels
from tests.rules.consents import (
    COMPUTED,
    HIV,
    NORMAL,
    PSY,
    UNLABELLED,
    actor,
    answer,
    consent,
    decided,
    deny,
    label,
    permit,
    purpose,
    reason,
    record,
    sensitive,
    weighed,
)


def law(*codes: str, **more: Any) -> Labels:
    return Labels(confidentiality="N", policies=frozenset(codes), **more)


@pytest.mark.parametrize("code", ["SUD", "ETHUD", "OPIOIDUD", "ETH"])
@pytest.mark.parametrize("treatment", [True, False])
def test_substance_use_records_are_withheld_even_under_a_permit(
    code: str, *, treatment: bool
) -> None:
    made = consent(permit(securityLabel=[label(code)]), id="special")
    found = decided(consent(), made, about=sensitive(code), treatment=treatment)
    assert (found.answer, found.reason) == ("deny", "part-2-notice-not-built")
    assert found.consent is None


@pytest.mark.parametrize("code", ["42CFRPart2", "42CFRPart2CD", "RedisclosureProhibitionMark"])
@pytest.mark.parametrize("treatment", [True, False])
def test_part_2_records_are_withheld_until_the_notice_travels(
    code: str, *, treatment: bool
) -> None:
    found = decided(consent(), about=law(code), treatment=treatment)
    assert (found.answer, found.reason) == ("deny", "part-2-notice-not-built")


def test_a_part_2_record_denied_by_the_patient_is_denied_by_the_patient() -> None:
    found = decided(consent(deny()), about=law("42CFRPart2"))
    assert (found.reason, found.consent) == ("provision-deny", "Consent/c")


def test_a_part_2_record_is_withheld_and_not_only_held_beside_an_unusable_consent() -> None:
    assert answer(consent(), consent(id="b", implicitRules="x"), about=sensitive("SUD")) == "deny"


NOTES = sensitive("PSYTHPN")
OWN = consent(permit(securityLabel=[label("PSYTHPN")]), id="own")


@pytest.mark.parametrize("labels", [NOTES, law("HIPAAPsyNotes")])
def test_psychotherapy_notes_need_an_authorization_of_their_own(labels: Labels) -> None:
    found = decided(consent(), about=labels)
    assert (found.answer, found.reason) == ("deny", "psychotherapy-notes")
    assert answer(consent(permit(securityLabel=[label("V")])), about=labels) == "deny"
    assert answer(consent(permit(securityLabel=[label("SPI")])), about=labels) == "deny"
    both = consent(permit(securityLabel=[label("PSYTHPN"), label("HIV")]))
    assert answer(both, about=labels) == "deny"


def test_an_authorization_of_their_own_releases_psychotherapy_notes_and_nothing_else() -> None:
    assert answer(OWN, about=NOTES) == "permit"
    assert answer(OWN, about=NORMAL) == "deny"
    assert answer(consent(), OWN, about=NOTES) == "permit"


def test_an_authorization_of_psychotherapy_notes_inside_another_is_not_their_own() -> None:
    inside = consent(permit(provision=[permit(securityLabel=[label("PSYTHPN")])]))
    assert answer(inside, about=NOTES) == "deny"
    beside = permit(
        securityLabel=[label("PSYTHPN")], provision=[permit(securityLabel=[label("HIV")])]
    )
    assert answer(consent(beside), about=NOTES) == "deny"


@pytest.mark.parametrize("code", ["NOAUTH", "NODSCLCD", "NORDSCLCD", "HIPAAAuth"])
def test_a_record_that_asks_for_consent_goes_with_a_permit_and_not_for_treatment(code: str) -> None:
    assert answer(consent(), about=law(code)) == "permit"
    assert reason(about=law(code), treatment=True) == "record-policy"


@pytest.mark.parametrize("code", ["NOMOU", "NOORGPOL", "ORCON", "Title38Section7332"])
def test_a_prohibition_that_a_machine_cannot_check_is_held_for_a_person(code: str) -> None:
    for treatment in (False, True):
        found = decided(consent(), about=law(code), treatment=treatment)
        assert (found.answer, found.reason) == ("refuse", "record-policy")


def treated(*consents: Any, about: Any = NORMAL, **more: Any) -> str:
    return answer(*consents, about=about, treatment=True, **more)


def test_treatment_replaces_the_missing_permit() -> None:
    for labels in (NORMAL, COMPUTED, UNLABELLED, HIV, PSY):
        assert treated(about=labels) == "permit"
    found = decided(treatment=True)
    assert (found.reason, found.consent) == ("treatment-basis", None)


def test_treatment_replaces_a_permit_that_does_not_cover_the_record() -> None:
    assert treated(consent(permit(securityLabel=[label("N")])), about=HIV) == "permit"
    assert treated(consent(permit(actor=[actor("Organization/other")]))) == "permit"


def test_every_deny_that_matches_still_binds_under_treatment() -> None:
    assert treated(consent(deny())) == "deny"
    some = consent(permit(provision=[deny(securityLabel=[label("HIV")])]))
    assert treated(some, about=HIV) == "deny"
    assert treated(some, about=NORMAL) == "permit"
    assert treated(consent(deny(purpose=[purpose("HRESCH")]))) == "permit"


def test_every_refuse_that_matches_still_binds_under_treatment() -> None:
    assert treated(consent(implicitRules="x")) == "refuse"
    some = consent(permit(provision=[deny(securityLabel=[label("HIV")])]))
    assert treated(some, about=UNLABELLED) == "refuse"


@pytest.mark.parametrize("labels", [NOTES, law("HIPAAPsyNotes")])
def test_psychotherapy_records_are_withheld_under_treatment(labels: Labels) -> None:
    found = decided(OWN, about=labels, treatment=True)
    assert (found.answer, found.reason) == ("deny", "psychotherapy-notes")


def test_an_unknown_label_is_held_under_treatment_too() -> None:
    assert treated(about=Labels(confidentiality="N", unknown=True)) == "refuse"


def test_both_bases_may_be_asked_of_the_same_standing() -> None:
    standing = weighed()
    assert standing.decide(record(NORMAL)).answer == "deny"
    assert standing.decide_treatment(record(NORMAL)).answer == "permit"
    assert standing.decide(record(NORMAL)).answer == "deny"


def test_the_original_consent_travels_when_it_denies_and_limits_nothing() -> None:
    assert not travelling_copy_needed(consent())
    nested = permit(provision=[permit(purpose=[purpose("PATRQT")])])
    assert not travelling_copy_needed(consent(nested))


@pytest.mark.parametrize(
    "provision",
    [
        deny(),
        permit(provision=[deny()]),
        permit(securityLabel=[label("N")]),
        permit(data=[{"meaning": "instance"}]),
        permit(**{"class": [{"code": "Observation"}]}),
        permit(code=[{"text": "x"}]),
        permit(dataPeriod={"start": "2020"}),
        permit(provision=[permit(securityLabel=[label("R")])]),
        permit(provision={"type": "permit"}),
        permit(provision=["deny"]),
        {"actor": []},
        "permit",
    ],
)
def test_a_consent_that_denies_or_limits_is_told_to_nobody(provision: Any) -> None:
    assert travelling_copy_needed(consent(provision))


def test_a_consent_without_provision_is_told_to_nobody() -> None:
    made: Json = {name: value for name, value in consent().items() if name != "provision"}
    assert travelling_copy_needed(made)
