"""What several Consents say together, who may give one, and what the operator may bring."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from fhir_bridge.records import Json
from tests.rules.consents import (
    HIV,
    NORMAL,
    actor,
    answer,
    concept,
    consent,
    decided,
    deny,
    label,
    permit,
    purpose,
    reason,
    record,
    weighed,
)

PERMIT = consent(id="permit")
DENY = consent(deny(), id="deny")
REFUSE = consent(id="refuse", unknown="x")


def relative(**more: Any) -> Json:
    made = {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "Patient/p"}}
    return made | more


def test_no_consent_is_a_deny() -> None:
    found = decided()
    assert (found.answer, found.reason, found.consent) == ("deny", "no-permit", None)
    assert not weighed().may_release_something()


def test_a_permit_of_any_one_suffices() -> None:
    other = consent(permit(actor=[actor("Organization/other")]), id="other")
    assert answer(other, PERMIT) == "permit"


@pytest.mark.parametrize("order", list(permutations([PERMIT, DENY, REFUSE])))
def test_any_deny_wins_then_any_refuse_whatever_the_order(order: tuple[Json, ...]) -> None:
    assert decided(*order).consent == "Consent/deny"
    assert answer(*(one for one in order if one is not DENY)) == "refuse"
    assert answer(*(one for one in order if one is PERMIT)) == "permit"


def test_only_a_consent_that_may_permit_something_is_what_an_act_rests_on() -> None:
    assert weighed(DENY, PERMIT).permitting() == {"Consent/permit": "provision"}
    assert weighed(DENY).permitting() == {}


def test_an_unreadable_refusal_beside_an_older_permit_does_not_fail_open() -> None:
    unreadable = consent(deny(), id="newer", implicitRules="urn:x")
    assert answer(PERMIT, unreadable) == "refuse"


def test_an_older_wider_permit_stays_in_force_beside_a_newer_narrower_one() -> None:
    older = consent(id="older", dateTime="2025-01-01")
    newer = consent(permit(securityLabel=[label("N")]), id="newer", dateTime="2026-01-01")
    standing = weighed(older, newer)
    found = standing.decide(record(HIV))
    assert (found.answer, found.consent) == ("permit", "Consent/older")
    assert standing.wider_pairs() == (("Consent/older", "Consent/newer"),)


def test_permits_of_equal_width_are_no_pair_to_name() -> None:
    older = consent(id="older", dateTime="2025-01-01")
    newer = consent(id="newer", dateTime="2026-01-01")
    other = consent(permit(actor=[actor("Organization/other")]), id="other", dateTime="2024-01-01")
    assert weighed(older, newer, other).wider_pairs() == ()


def test_a_permit_with_exceptions_is_narrower_than_one_without() -> None:
    older = consent(id="older", dateTime="2026-01-10T08:59:59Z")
    newer = consent(permit(provision=[deny(securityLabel=[label("HIV")])]), id="newer")
    assert weighed(newer, older).wider_pairs() == (("Consent/older", "Consent/newer"),)
    dated = consent(permit(dataPeriod={"start": "2020"}), id="newer")
    assert weighed(dated, older).wider_pairs() == (("Consent/older", "Consent/newer"),)
    older_and_narrower = newer | {"dateTime": "2024-01-01"}
    assert weighed(older_and_narrower, older).wider_pairs() == ()


def test_each_decision_names_its_consent_version_and_provision_path() -> None:
    made = consent(permit(provision=[deny(securityLabel=[label("HIV")])]))
    found = decided(made, about=HIV)
    assert (found.consent, found.version, found.path) == (
        "Consent/c",
        "3",
        "provision.provision[0]",
    )
    assert found.sentence == "Consent/c denies it (provision.provision[0], by securityLabel)"
    assert decided(consent(meta=None)).version is None
    assert decided(consent(meta={"versionId": 3})).version is None


def test_no_sentence_holds_a_value_of_the_consent() -> None:
    canary = "canary-9471"
    made = consent(
        permit(securityLabel=[{"system": canary, "code": canary, "display": canary}]),
        **{canary: canary},
    )
    state = weighed(made).consents[0]
    found = decided(made)
    assert canary not in f"{state.sentence}{state.path}{state.reason}"
    assert canary not in f"{found.sentence}{found.path}{found.reason}"


def test_without_a_permit_no_record_is_read() -> None:
    other = consent(permit(actor=[actor("Organization/other")]))
    assert not weighed(other).may_release_something()
    assert not weighed(REFUSE).may_release_something()
    assert not weighed(consent(permit(purpose=[purpose("HRESCH")]))).may_release_something()


def test_with_a_deny_of_everything_no_record_is_read() -> None:
    assert not weighed(PERMIT, DENY).may_release_something()
    nested = consent(permit(provision=[deny()]), id="nested")
    assert not weighed(PERMIT, nested).may_release_something()
    mixed = [deny(actor=[actor("Organization/other")]), deny(), deny(securityLabel=[label("N")])]
    assert not weighed(PERMIT, consent(permit(provision=mixed))).may_release_something()
    assert not weighed(PERMIT, consent(permit(provision=mixed[::-1]))).may_release_something()
    elsewhere = consent(permit(provision=mixed[:1]))
    assert weighed(PERMIT, elsewhere).may_release_something()


def test_a_deny_of_some_records_does_not_keep_the_others_from_being_read() -> None:
    some = consent(deny(securityLabel=[label("HIV")]), id="some")
    assert weighed(PERMIT, some).may_release_something()
    opening = consent(deny(provision=[permit(securityLabel=[label("N")])]), id="opening")
    assert weighed(opening).may_release_something()


def test_a_permit_beside_an_unusable_consent_is_read_and_everything_held() -> None:
    assert weighed(PERMIT, REFUSE).may_release_something()
    assert answer(PERMIT, REFUSE) == "refuse"


@pytest.mark.parametrize(
    "patient",
    [
        {"reference": "Patient/p"},
        {"reference": "Patient/p/_history/4"},
        {"reference": "https://first.example/fhir/Patient/p"},
        {"identifier": {"system": "urn:oid:1.2.3.4", "value": "P-1"}},
        {"identifier": {"system": "1.2.3.4", "value": " P-1 "}},
        {"reference": "#me"},
    ],
)
def test_the_patient_is_named_by_reference_or_identifier(patient: Json) -> None:
    me = {"resourceType": "Patient", "id": "me"}
    me["identifier"] = [{"system": "urn:oid:1.2.3.4", "value": "P-1"}]  # type: ignore[assignment]
    world = {"https://first.example/fhir/Patient/p": {"resourceType": "Patient", "id": "p"}}
    made = consent(patient=patient, performer=[patient], contained=[me])
    assert answer(made, world=world) == "permit"


@pytest.mark.parametrize(
    "patient",
    [
        {"reference": "https://elsewhere.example/Patient/p"},
        {"reference": "#me"},
        {"reference": "#nobody"},
        {"identifier": {"system": "urn:oid:1.2.3.4", "value": "P-2"}},
        {"reference": "Patient/q", "identifier": {"system": "urn:oid:1.2.3.4", "value": "P-1"}},
    ],
)
def test_a_patient_who_is_not_clear_refuses(patient: Json) -> None:
    other = {"resourceType": "Person", "id": "me"}
    made = consent(patient=patient, contained=[other])
    assert reason(made) == "consent-patient-unclear"


def test_the_performer_must_be_the_patient_or_a_related_person_of_the_patient() -> None:
    by_relative = consent(performer=[{"reference": "RelatedPerson/r"}])
    assert answer(by_relative, world={"RelatedPerson/r": relative()}) == "permit"
    by_doctor = consent(performer=[{"reference": "Practitioner/d"}])
    assert reason(by_doctor, world={"Practitioner/d": {"resourceType": "Practitioner"}}) == (
        "consent-performer"
    )


@pytest.mark.parametrize(
    "world",
    [
        {},
        {"RelatedPerson/r": relative(patient={"reference": "Patient/q"})},
        {"RelatedPerson/r": relative(active=False)},
        {"RelatedPerson/r": relative(period={"end": "2026-06-14"})},
        {"RelatedPerson/r": relative(period="always")},
        {"RelatedPerson/r": {"resourceType": "RelatedPerson", "id": "r"}},
    ],
)
def test_a_related_person_who_may_not_speak_for_the_patient_refuses(world: Any) -> None:
    made = consent(performer=[{"reference": "RelatedPerson/r"}])
    assert reason(made, world=world) == "consent-performer"


def test_a_related_person_in_office_may_give_consent() -> None:
    made = consent(performer=[{"reference": "#r"}], contained=[relative(period={"start": "2020"})])
    assert answer(made) == "permit"


@pytest.mark.parametrize(
    "performer", [None, [{"reference": "Patient/p"}, {"display": "Dr. D."}], [{"display": "P."}]]
)
def test_every_performer_must_be_known(performer: Any) -> None:
    assert reason(consent(performer=performer)) == "consent-performer"


def test_a_root_without_type_under_optout_is_a_deny() -> None:
    made = consent({"purpose": [purpose("TREAT")]})
    assert reason(made) == "consent-type-missing"
    out = made | {"policyRule": concept("v3-ActCode", "OPTOUT")}
    found = decided(out, consent(id="older"))
    assert (found.answer, found.path) == ("deny", "provision")


@pytest.mark.parametrize("rule", ["OPTIN", "OPTOUTE", "OPTINR"])
def test_a_root_without_type_under_anything_else_refuses(rule: str) -> None:
    made = consent({"id": "x"}, policyRule=concept("v3-ActCode", rule))
    assert reason(made) == "consent-type-missing"


def test_an_optout_without_type_that_does_not_cover_us_is_in_doubt_not_forgotten() -> None:
    made = consent(
        {"actor": [actor("Organization/other")]},
        policyRule=concept("v3-ActCode", "OPTOUT"),
    )
    assert answer(made, consent(id="older")) == "refuse"


def test_a_brought_consent_adds_to_those_found() -> None:
    standing = weighed(brought=(consent(),))
    assert standing.may_release_something()
    assert standing.decide(record(NORMAL)).answer == "permit"
    assert standing.consents[0].brought


def test_a_brought_consent_never_outweighs_a_deny_at_the_source() -> None:
    assert answer(DENY, brought=(consent(),)) == "deny"
    assert answer(REFUSE, brought=(consent(),)) == "refuse"


def test_a_brought_consent_needs_its_paper_whatever_the_policy_says() -> None:
    assert reason(brought=(consent(),), paper=None, waive_paper=True) == "consent-paper-missing"
    assert reason(brought=(consent(),), paper=False, waive_paper=True) == "consent-paper-altered"


def test_a_brought_consent_that_denies_binds() -> None:
    assert answer(PERMIT, brought=(consent(deny(), id="brought"),)) == "deny"


def test_a_brought_consent_that_cannot_be_used_refuses() -> None:
    assert answer(PERMIT, brought=(consent(implicitRules="x", id=None),)) == "refuse"
    state = weighed(brought=(consent(implicitRules="x", id=None),)).consents[0]
    assert (state.ref, state.brought) == ("Consent/brought", True)
    assert weighed(consent(id=None)).consents[0].ref == "Consent/without-id"


@pytest.mark.parametrize("same", ["id", "identifier"])
def test_a_paper_does_not_know_that_it_was_revoked_the_source_does(same: str) -> None:
    row = [{"system": "urn:oid:1.9", "value": "C-1"}]
    paper = consent(id="c" if same == "id" else "paper", identifier=row)
    held = consent(status="inactive", id="c", identifier=row if same == "identifier" else None)
    assert reason(held, brought=(paper,)) == "consent-brought-differs"


def test_a_consent_brought_that_the_source_holds_in_the_same_form_is_no_harm() -> None:
    assert answer(consent(), brought=(consent(),)) == "permit"
    assert answer([], brought=(consent(),)) == "refuse"


def test_decisions_are_made_anew_by_whoever_weighs_again() -> None:
    before, after = weighed(PERMIT), weighed(PERMIT, DENY)
    assert before.decide(record(NORMAL)).answer == "permit"
    assert after.decide(record(NORMAL)).answer == "deny"
