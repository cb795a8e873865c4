"""Whether a provision means this recipient, this purpose, and a disclosure."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge.consent import Party, weigh
from fhir_bridge.records import Json
from tests.rules.consents import (
    NPI,
    OTHER,
    OURS,
    THEIRS,
    TREE,
    actor,
    answer,
    ask,
    concept,
    consent,
    deny,
    organization,
    permit,
    purpose,
    weighed,
)

NPI_OID = "urn:oid:2.16.840.1.113883.4.6"


def permitted(reference: Any, role: str = "IRCP", **more: Any) -> str:
    return answer(consent(permit(actor=[actor(reference, role)])), **more)


def denied(reference: Any, role: str = "IRCP", **more: Any) -> str:
    """Deny beside a permit, so that a deny that does not match leaves the permit."""
    refusal = consent(deny(actor=[actor(reference, role)]), id="refusal")
    return answer(consent(id="older"), refusal, **more)


def test_the_recipient_is_known_by_system_and_value() -> None:
    assert permitted("Organization/theirs") == "permit"
    assert denied("Organization/theirs") == "deny"


def test_another_organisation_is_not_the_recipient() -> None:
    assert permitted("Organization/other") == "deny"
    assert denied("Organization/other") == "permit"


def test_the_same_value_in_another_system_is_not_the_recipient() -> None:
    world = {"Organization/x": organization("x", ("urn:oid:9.9", THEIRS[1]))}
    assert permitted("Organization/x", world=world) == "deny"


@pytest.mark.parametrize("system", [NPI_OID, NPI_OID[8:], "URN:OID:" + NPI_OID[8:], NPI, NPI + "/"])
def test_the_oid_and_the_url_of_npi_are_one_system(system: str) -> None:
    world = {"Organization/x": organization("x", (system, THEIRS[1]))}
    assert permitted("Organization/x", world=world) == "permit"
    recipient = Party(identifiers=frozenset({(system, THEIRS[1])}))
    assert permitted("Organization/theirs", recipient=recipient) == "permit"


def test_a_reference_that_is_known_to_be_the_recipient_needs_no_identifier() -> None:
    recipient = Party(identifiers=frozenset(), references=frozenset({"Organization/x"}))
    assert permitted("Organization/x", recipient=recipient) == "permit"
    refusal = consent(deny(actor=[actor("Organization/x")]))
    assert answer(consent({"type": "permit"}, id="older"), refusal, recipient=recipient) == "deny"


@pytest.mark.parametrize(
    "reference",
    [
        {"display": "Second Opinion Centre"},
        {"reference": "Organization/nowhere"},
        {"reference": "#nobody"},
        {"reference": "https://elsewhere.example/Organization/theirs"},
        {"identifier": {"value": THEIRS[1]}},
        {"type": "Organization"},
        {"reference": "#strange"},
    ],
)
def test_what_is_unresolvable_or_a_display_only_cannot_be_told(reference: Json) -> None:
    assert permitted(reference) == "deny"
    assert denied(reference) == "refuse"


def test_an_organisation_that_shares_no_identifier_system_cannot_be_told() -> None:
    world = {"Organization/x": organization("x", ("urn:oid:9.9", "x"))}
    assert permitted("Organization/x", world=world) == "deny"
    assert denied("Organization/x", world=world) == "refuse"


def test_a_logical_reference_names_the_recipient_by_identifier() -> None:
    assert permitted({"identifier": {"system": NPI, "value": THEIRS[1]}}) == "permit"
    assert denied({"identifier": {"system": NPI, "value": THEIRS[1]}}) == "deny"
    assert denied({"identifier": {"system": NPI, "value": OTHER[1]}}) == "permit"


def test_a_reference_and_an_identifier_that_disagree_cannot_be_told() -> None:
    both = {"reference": "Organization/other", "identifier": {"system": NPI, "value": THEIRS[1]}}
    assert permitted(both) == "deny"
    assert denied(both) == "refuse"
    either = {"reference": "Organization/nowhere"} | {"identifier": both["identifier"]}
    assert permitted(either) == "permit"


def test_a_contained_organisation_is_resolved_inside_the_consent() -> None:
    inside = [organization("them", THEIRS), "noise"]
    made = consent(permit(actor=[actor("#them")]), contained=inside)
    assert answer(made) == "permit"
    assert permitted("#them", world={"#them": organization("them", THEIRS)}) == "deny"


@pytest.mark.parametrize("strange", [{"resourceType": []}, {"resourceType": {}}, {}])
def test_a_contained_thing_of_no_type_cannot_be_told(strange: Json) -> None:
    inside = [{"id": "them"} | strange]
    refusal = consent(deny(actor=[actor("#them")]), contained=inside)
    assert answer(consent(id="older"), refusal) == "refuse"


def test_a_department_of_the_recipient_is_in_doubt() -> None:
    part = organization("part", OTHER, partOf={"reference": "Organization/theirs"})
    elsewhere = organization("part", OTHER, partOf={"reference": "Organization/other"})
    assert permitted("Organization/part", world={"Organization/part": part}) == "deny"
    assert denied("Organization/part", world={"Organization/part": part}) == "refuse"
    assert denied("Organization/part", world={"Organization/part": elsewhere}) == "permit"


def test_a_recipient_may_be_a_practitioner_by_identifier() -> None:
    doctor = {
        "resourceType": "Practitioner",
        "id": "d",
        "identifier": [{"system": NPI, "value": "1"}],
    }
    world = {"Practitioner/d": doctor}
    person = Party(identifiers=frozenset({(NPI, "1")}))
    assert permitted("Practitioner/d", world=world, recipient=person) == "permit"
    assert permitted("Practitioner/d", world=world) == "deny"


def test_a_denied_practitioner_may_work_for_the_recipient() -> None:
    nurse = {
        "resourceType": "Practitioner",
        "id": "n",
        "identifier": [{"system": NPI, "value": "1"}],
    }
    assert denied("Practitioner/n", world={"Practitioner/n": nurse}) == "refuse"


@pytest.mark.parametrize("type_", ["Patient", "RelatedPerson"])
def test_a_relative_is_no_organisation(type_: str) -> None:
    world = {f"{type_}/x": {"resourceType": type_, "id": "x"}}
    assert denied(f"{type_}/x", world=world) == "permit"


def role(practitioner: str | None, organization_: str | None) -> dict[str, Json]:
    made: Json = {"resourceType": "PractitionerRole", "id": "r"}
    if practitioner:
        made["practitioner"] = {"identifier": {"system": NPI, "value": practitioner}}
    if organization_:
        made["organization"] = {"reference": organization_}
    return {"PractitionerRole/r": made}


def test_through_a_practitioner_role_both_must_fit() -> None:
    us = Party(identifiers=frozenset({THEIRS, (NPI, "7")}))
    fits: Any = {"world": role("7", "Organization/theirs"), "recipient": us}
    assert permitted("PractitionerRole/r", **fits) == "permit"
    assert permitted("PractitionerRole/r", world=role("7", "Organization/theirs")) == "deny"
    wrong: Any = {"world": role("7", "Organization/other"), "recipient": us}
    assert permitted("PractitionerRole/r", **wrong) == "deny"
    assert permitted("PractitionerRole/r", world=role(None, "Organization/theirs")) == "permit"
    assert permitted("PractitionerRole/r", world=role(None, None)) == "deny"
    assert denied("PractitionerRole/r", world=role(None, "Organization/other")) == "permit"
    assert denied("PractitionerRole/r", world=role(None, None)) == "refuse"


def test_a_role_resolves_what_it_contains_in_itself() -> None:
    made = role(None, "#them")
    made["PractitionerRole/r"]["contained"] = [organization("them", THEIRS)]
    assert permitted("PractitionerRole/r", world=made) == "permit"


def group(*members: Json, **more: Any) -> dict[str, Json]:
    return {"Group/g": {"resourceType": "Group", "id": "g", "member": list(members), **more}}


def test_through_a_group_one_member_is_enough() -> None:
    them = {"entity": {"reference": "Organization/theirs"}}
    other = {"entity": {"reference": "Organization/other"}}
    assert permitted("Group/g", world=group(other, them)) == "permit"
    assert denied("Group/g", world=group(other, them)) == "deny"
    assert denied("Group/g", world=group(other)) == "permit"


@pytest.mark.parametrize(
    "member",
    [
        {"entity": {"reference": "Organization/theirs"}, "inactive": True},
        {"entity": {"reference": "Organization/theirs"}, "period": {"end": "2020"}},
        {},
        "Organization/theirs",
    ],
)
def test_a_former_or_unreadable_member_is_in_doubt(member: Any) -> None:
    assert permitted("Group/g", world=group(member)) == "deny"
    assert denied("Group/g", world=group(member)) == "refuse"


def test_a_group_that_is_described_and_not_listed_is_in_doubt() -> None:
    assert permitted("Group/g", world=group()) == "deny"
    assert denied("Group/g", world=group()) == "refuse"
    assert denied("Group/g", world={"Group/g": {"resourceType": "Group"}}) == "refuse"


def test_a_group_that_contains_itself_is_in_doubt_and_ends() -> None:
    assert denied("Group/g", world=group({"entity": {"reference": "Group/g"}})) == "refuse"


def team(participant: Json, status: Any = "active") -> dict[str, Json]:
    made = {"resourceType": "CareTeam", "id": "t", "status": status, "participant": [participant]}
    return {"CareTeam/t": made}


def test_through_a_care_team_one_participant_is_enough() -> None:
    them = {"member": {"reference": "Organization/theirs"}}
    assert permitted("CareTeam/t", world=team(them)) == "permit"
    assert permitted("CareTeam/t", world=team(them, "inactive")) == "deny"
    assert permitted("CareTeam/t", world=team(them, None)) == "deny"
    assert denied("CareTeam/t", world=team(them, "inactive")) == "refuse"


def test_a_team_member_on_behalf_of_another_organisation_does_not_fit() -> None:
    both = {
        "member": {"reference": "Organization/theirs"},
        "onBehalfOf": {"reference": "Organization/other"},
    }
    assert permitted("CareTeam/t", world=team(both)) == "deny"


@pytest.mark.parametrize("code", ["IRCP", "PRCP", "REFT", "REFB", "NOT", "TRC"])
def test_the_role_is_a_recipient_or_a_kind_of_one(code: str) -> None:
    assert permitted("Organization/theirs", code) == "permit"
    assert denied("Organization/theirs", code) == "deny"


@pytest.mark.parametrize("code", ["AUT", "CST", "PRF", "PART", "NOSUCH"])
def test_authors_and_custodians_are_no_recipients(code: str) -> None:
    assert permitted("Organization/theirs", code) == "deny"
    assert denied("Organization/theirs", code) == "refuse"


def test_a_role_in_the_spelling_of_an_oid_is_the_same_role() -> None:
    coded = {"coding": [{"system": "urn:oid:2.16.840.1.113883.5.90", "code": "IRCP"}]}
    made = consent(permit(actor=[actor("Organization/theirs") | {"role": coded}]))
    assert answer(made) == "permit"


def test_a_custodian_beside_the_recipient_must_be_ours() -> None:
    ours, other = actor("Organization/ours", "CST"), actor("Organization/other-clinic", "CST")
    them = actor("Organization/theirs")
    assert answer(consent(permit(actor=[ours, them]))) == "permit"
    assert answer(consent(permit(actor=[other, them]))) == "deny"
    assert answer(consent(permit(actor=[other, ours, them]))) == "permit"


def test_a_deny_that_tells_the_custodian_to_keep_binds_whoever_receives() -> None:
    assert denied("Organization/ours", "CST") == "deny"
    assert denied("Organization/other-clinic", "CST") == "refuse"


def test_a_deny_with_a_role_nobody_knows_is_in_doubt_even_beside_another_recipient() -> None:
    rows = [actor("Organization/other"), actor("Organization/theirs", "AUT")]
    assert answer(consent(id="older"), consent(deny(actor=rows))) == "refuse"


def test_repeated_actors_are_alternatives() -> None:
    rows = [actor("Organization/other"), actor("Organization/theirs")]
    assert answer(consent(permit(actor=rows))) == "permit"


def test_no_actor_is_no_constraint() -> None:
    assert answer(consent({"type": "permit"})) == "permit"
    assert answer(consent(deny())) == "deny"


def test_recipient_and_purpose_must_both_match() -> None:
    assert answer(consent(permit(purpose=[purpose("HRESCH")]))) == "deny"
    refusal = consent(
        deny(actor=[actor("Organization/theirs")], purpose=[purpose("HRESCH")]), id="refusal"
    )
    assert answer(consent(id="older"), refusal) == "permit"


def for_purpose(asked: str, *consented: Any) -> str:
    rows = [purpose(one) if isinstance(one, str) else one for one in consented]
    return answer(consent(permit(purpose=rows)), purpose=asked)


def test_the_purpose_asked_for_is_one_consented_to_or_a_kind_of_it() -> None:
    assert for_purpose("TREAT", "TREAT") == "permit"
    assert for_purpose("COC", "TREAT") == "permit"
    assert for_purpose("TREAT", "COC") == "deny"
    assert for_purpose("PATRQT", "TREAT") == "deny"
    assert for_purpose("PATRQT", "TREAT", "PATRQT") == "permit"


@pytest.mark.parametrize("kind", ["CLINTRL", "ETREAT", "BTG"])
def test_clinical_trials_and_breaking_the_glass_are_kinds_of_treatment(kind: str) -> None:
    assert for_purpose(kind, "TREAT") == "permit"


def test_research_is_no_kind_of_treatment() -> None:
    assert for_purpose("CLINTRCH", "TREAT") == "deny"


@pytest.mark.parametrize(
    "row",
    [
        {"system": "https://first.example/purposes", "code": "FooBar"},
        {"system": TREE + "v3-ActReason", "code": "NOSUCH"},
        {"code": "TREAT"},
        {"display": "treatment"},
    ],
)
def test_a_purpose_nobody_knows_cannot_be_told(row: Json) -> None:
    assert for_purpose("TREAT", row) == "deny"
    refusal = consent(deny(purpose=[row]), id="refusal")
    assert answer(consent(id="older"), refusal) == "refuse"
    assert for_purpose("TREAT", row, "TREAT") == "permit"


def test_a_purpose_asked_for_that_nobody_knows_cannot_be_told() -> None:
    assert for_purpose("WHATEVER", "TREAT") == "deny"
    refusal = consent(deny(purpose=[purpose("TREAT")]), id="refusal")
    assert answer(consent(id="older"), refusal, purpose="WHATEVER") == "refuse"


def test_a_denied_purpose_does_not_deny_another() -> None:
    refusal = consent(deny(purpose=[purpose("HMARKT")]), id="refusal")
    assert answer(consent(id="older"), refusal) == "permit"
    refusal = consent(deny(purpose=[purpose("TREAT")]), id="refusal")
    assert answer(consent(id="older"), refusal, purpose="COC") == "deny"


def test_test_data_is_no_purpose_that_permits_anything() -> None:
    assert for_purpose("TREAT", "HTEST") == "deny"


def action(*codes: str) -> list[Json]:
    return [concept("consentaction", one) for one in codes]


def test_the_action_must_include_disclosing() -> None:
    assert answer(consent(permit(action=action("access", "disclose")))) == "permit"
    assert answer(consent(permit(action=action("access")))) == "deny"
    assert answer(consent(permit(action=[{"text": "send"}]))) == "deny"


def test_access_is_not_disclosure_but_who_may_not_look_must_not_be_sent_it_unseen() -> None:
    assert answer(consent(id="older"), consent(deny(action=action("disclose")))) == "deny"
    assert (
        answer(consent(id="older"), consent(deny(action=action("access", "correct")))) == "refuse"
    )
    assert answer(consent(id="older"), consent(deny(action=[{"text": "send"}]))) == "refuse"


def test_what_a_reference_leads_to_is_asked_for_once() -> None:
    asked: list[str] = []

    def resolve(reference: str) -> Any:
        asked.append(reference)
        return {"Organization/ours": organization("ours", OURS)}.get(reference, "not a resource")

    weigh([consent(), consent(id="b")], ask(), resolve, source_paper=lambda _: True)
    assert sorted(asked) == ["Organization/ours", "Organization/theirs"]


def test_a_consent_that_names_us_only_in_an_exception_concerns_nobody_else() -> None:
    other = consent(permit(actor=[actor("Organization/other")]))
    assert not weighed(other).consents[0].counts
