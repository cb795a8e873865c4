"""Which Consents count, and which of those cannot be used and therefore refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_bridge.records import Json
from tests.rules.consents import (
    NOW,
    POLICY,
    actor,
    answer,
    code,
    concept,
    consent,
    decided,
    deny,
    label,
    permit,
    purpose,
    reason,
    weighed,
)


def the_state(made: Any, **more: Any) -> Any:
    return weighed(made, **more).consents[0]


def test_a_usable_consent_in_force_permits() -> None:
    found = decided(consent())
    assert (found.answer, found.reason, found.path) == ("permit", "consent-permit", "provision")
    state = the_state(consent())
    assert (state.counts, state.usable, state.reason, state.version) == (
        True,
        True,
        "in-force",
        "3",
    )


@pytest.mark.parametrize(
    "status", ["draft", "proposed", "rejected", "inactive", "entered-in-error"]
)
def test_a_consent_of_another_status_than_active_is_out(status: str) -> None:
    state = the_state(consent(deny(), status=status))
    assert (state.counts, state.reason) == (False, "consent-status")
    assert answer(consent(deny(), status=status), consent(id="b")) == "permit"


@pytest.mark.parametrize("status", ["ACTIVE", "unknown", None, 7, ["active"]])
def test_a_consent_of_unknown_status_refuses(status: Any) -> None:
    assert reason(consent(status=status), consent(id="b")) == "consent-status-unknown"


@pytest.mark.parametrize("scope", ["research", "adr", "treatment"])
def test_a_consent_about_another_matter_is_out(scope: str) -> None:
    assert not the_state(consent(deny(), scope=concept("consentscope", scope))).counts
    assert answer(consent(scope=concept("consentscope", scope))) == "deny"


@pytest.mark.parametrize(
    "scope",
    [
        {"text": "privacy"},
        concept("consentscope", "marketing"),
        {"coding": [{"system": "urn:local", "code": "patient-privacy"}]},
        {"coding": [code("consentscope", "patient-privacy"), code("consentscope", "research")]},
        {"coding": "patient-privacy"},
        {"coding": ["patient-privacy"]},
        "patient-privacy",
        None,
    ],
)
def test_a_consent_of_uncoded_or_unknown_scope_refuses(scope: Any) -> None:
    assert reason(consent(scope=scope), consent(id="b")) == "consent-scope-unknown"


def test_a_consent_about_every_other_matter_is_out() -> None:
    rows = [code("consentscope", scope) for scope in ("research", "adr", "treatment")]
    assert not the_state(consent(scope={"coding": rows})).counts


def test_another_spelling_beside_the_scope_is_a_translation() -> None:
    rows = [code("consentscope", "patient-privacy"), {"system": "urn:local", "code": "x"}]
    assert answer(consent(scope={"coding": rows})) == "permit"


def test_a_consent_given_to_another_hospital_releases_nothing_of_ours() -> None:
    other = [{"reference": "Organization/other-clinic"}]
    assert the_state(consent(organization=other)).reason == "consent-custodian"
    assert answer(consent(organization=other)) == "deny"
    assert answer(consent(deny(), organization=other), consent(id="b")) == "permit"


def test_a_consent_given_to_several_hospitals_counts_when_one_is_ours() -> None:
    both = [{"reference": "Organization/other-clinic"}, {"reference": "Organization/ours"}]
    assert answer(consent(organization=both)) == "permit"


@pytest.mark.parametrize(
    "rows",
    [
        None,
        [],
        "Organization/ours",
        [{"display": "First Clinic"}],
        [{"reference": "Organization/nowhere"}],
        [{"reference": ["Organization/ours"]}],
        ["Organization/ours"],
        [{"reference": "Organization/other-clinic"}, {"display": "First Clinic"}],
    ],
)
def test_a_consent_that_does_not_clearly_name_its_custodian_refuses(rows: Any) -> None:
    assert reason(consent(organization=rows), consent(id="b")) == "consent-custodian-unclear"


def test_a_consent_whose_period_does_not_hold_now_is_out() -> None:
    ended = consent(permit(period={"start": "2025-01-01", "end": "2026-06-14"}))
    later = consent(permit(period={"start": "2026-06-16"}))
    assert the_state(ended).reason == "consent-ended"
    assert the_state(ended).sentence == "ended on 2026-06-14 (provision.period)"
    assert the_state(later).reason == "consent-not-begun"
    assert [answer(ended), answer(later)] == ["deny", "deny"]


def test_an_ended_refusal_no_longer_binds() -> None:
    assert answer(consent(deny(period={"end": "2026-06-14"})), consent(id="b")) == "permit"


def test_the_acknowledgement_of_a_notice_is_no_consent() -> None:
    notice = concept("consentcategorycodes", "npp")
    assert the_state(consent(category=[notice])).reason == "consent-notice"
    assert answer(consent(category=[notice])) == "deny"


@pytest.mark.parametrize(
    "category",
    [
        [concept("consentcategorycodes", "npp"), concept("v3-ActCode", "IDSCL")],
        [concept("consentcategorycodes", "emrgonly")],
        [concept("v3-ActCode", "INFAO")],
        [concept("consentcategorycodes", "research")],
    ],
)
def test_a_category_for_a_special_case_refuses(category: list[Json]) -> None:
    assert reason(consent(category=category), consent(id="b")) == "consent-category-unclear"


UNUSABLE: dict[str, tuple[Json, str, str]] = {
    "it names no policy": (consent(policy=None), "consent-policy-missing", "policy"),
    "its policy is unknown": (
        consent(policy=[{"uri": "https://elsewhere.example/policy"}]),
        "consent-policy-unknown",
        "policy[0].uri",
    ),
    "one of its policies is unknown": (
        consent(policy=[{"uri": POLICY}, {"uri": "urn:x"}]),
        "consent-policy-unknown",
        "policy[1].uri",
    ),
    "its policy has no uri": (
        consent(policy=[{"authority": "https://law.example"}]),
        "consent-shape",
        "policy[0].uri",
    ),
    "its policyRule is text": (
        consent(policyRule={"text": "opt-in"}),
        "consent-policy-unknown",
        "policyRule",
    ),
    "its policyRule was made for other parties": (
        consent(policyRule=concept("consentpolicycodes", "ssa-827")),
        "consent-policy-unknown",
        "policyRule",
    ),
    "it permits under an opt-out": (
        consent(policyRule=concept("v3-ActCode", "OPTOUT")),
        "consent-policy-contradicts",
        "policyRule",
    ),
    "it permits under Policy-deny": (
        consent(policy=[{"uri": "https://profiles.ihe.net/ITI/PCF/Policy-deny"}]),
        "consent-policy-contradicts",
        "policy[0].uri",
    ),
    "it permits under a policy for emergencies only": (
        consent(policy=[{"uri": "https://profiles.ihe.net/ITI/PCF/Policy-break-glass-only"}]),
        "consent-policy-contradicts",
        "policy[0].uri",
    ),
    "it has a modifierExtension": (
        consent(modifierExtension=[{"url": "urn:not"}]),
        "consent-modifier-extension",
        "modifierExtension",
    ),
    "its actor has a modifierExtension": (
        consent(permit(actor=[actor("Organization/theirs") | {"modifierExtension": [{}]}])),
        "consent-modifier-extension",
        "provision.actor[0].modifierExtension",
    ),
    "something contained has a modifierExtension": (
        consent(contained=[{"resourceType": "Organization", "modifierExtension": [{}]}]),
        "consent-modifier-extension",
        "contained[0].modifierExtension",
    ),
    "it was written under implicit rules": (
        consent(implicitRules="urn:rules"),
        "consent-implicit-rules",
        "implicitRules",
    ),
    "it has no provision": (
        {name: value for name, value in consent().items() if name != "provision"},
        "consent-provision-missing",
        "provision",
    ),
    "its root has no type": (
        consent({"actor": [actor("Organization/theirs")]}),
        "consent-type-missing",
        "provision.type",
    ),
    "its root has an unknown type": (
        consent(permit(type="allow")),
        "consent-type-missing",
        "provision.type",
    ),
    "an exception has no type": (
        consent(permit(provision=[{"securityLabel": [label("HIV")]}])),
        "consent-type-missing",
        "provision.provision[0].type",
    ),
    "it has an element of R5": (consent(decision="permit"), "consent-unknown-element", "Consent"),
    "its provision has an unknown element": (
        consent(permit(documentType=[{"code": "x"}])),
        "consent-unknown-element",
        "provision",
    ),
    "it nests a third level": (
        consent(permit(provision=[deny(provision=[permit()])])),
        "consent-nesting",
        "provision.provision[0].provision",
    ),
    "its verification says no": (
        consent(verification=[{"verified": True}, {"verified": False}]),
        "consent-not-verified",
        "verification[1].verified",
    ),
    "it was given in the future": (
        consent(dateTime="2026-06-15T12:00:01Z"),
        "consent-from-the-future",
        "dateTime",
    ),
    "a server left elements out of it": (
        consent(meta={"tag": [code("v3-ObservationValue", "SUBSETTED")]}),
        "consent-incomplete",
        "meta.tag",
    ),
    "elements were removed from it": (
        consent(meta={"security": [label("N"), code("v3-ObservationValue", "REDACTED")]}),
        "consent-incomplete",
        "meta.security",
    ),
    "it does not say when it was given": (consent(dateTime=None), "consent-undated", "dateTime"),
    "its date cannot be read": (consent(dateTime="10.1.2026"), "consent-undated", "dateTime"),
    "its patient is another": (
        consent(patient={"reference": "Patient/q"}),
        "consent-patient-unclear",
        "patient",
    ),
    "its patient is a display": (
        consent(patient={"display": "P."}),
        "consent-patient-unclear",
        "patient",
    ),
    "it has no patient": (consent(patient=None), "consent-patient-unclear", "patient"),
    "it names no signed paper": (
        consent(sourceReference=None),
        "consent-paper-missing",
        "source",
    ),
    "its period cannot be read": (
        consent(permit(period={"start": "soon"})),
        "consent-period",
        "provision.period",
    ),
    "its period ends before it starts": (
        consent(permit(period={"start": "2026-02-01", "end": "2026-01-01"})),
        "consent-period",
        "provision.period",
    ),
    "a dataPeriod cannot be read": (
        consent(permit(provision=[deny(dataPeriod={"end": "2026-13"})])),
        "consent-period",
        "provision.provision[0].dataPeriod",
    ),
    "its data has a meaning that the profile does not know": (
        consent(permit(data=[{"meaning": "dependents", "reference": {"reference": "Task/1"}}])),
        "consent-data-meaning",
        "provision.data[0].meaning",
    ),
    "its end is absent for a reason": (
        consent(permit(period={"start": "2026-01-01", "_end": {"extension": [{"url": "x"}]}})),
        "consent-shape",
        "provision.period._end",
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_consent_in_force_is_unusable_and_refuses_when(what: str) -> None:
    made, why, where = UNUSABLE[what]
    found = decided(made, consent(id="older"))
    assert (found.answer, found.reason, found.path) == ("refuse", why, where)
    assert found.consent == "Consent/c"


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_consent_that_is_unusable_never_permits_alone_when(what: str) -> None:
    assert answer(UNUSABLE[what][0]) == "refuse"
    assert not weighed(UNUSABLE[what][0]).may_release_something()


def test_a_paper_that_is_missing_refuses() -> None:
    assert reason(consent(), paper=None) == "consent-paper-missing"


def test_a_paper_whose_hash_is_wrong_refuses() -> None:
    assert reason(consent(), paper=False) == "consent-paper-altered"


def test_the_operator_may_waive_the_paper_and_the_waiver_is_told() -> None:
    standing = weighed(consent(sourceReference=None), paper=None, waive_paper=True)
    assert standing.may_release_something()
    assert standing.consents[0].paper_waived
    assert not the_state(consent()).paper_waived


def test_an_attached_paper_is_as_good_as_a_referenced_one() -> None:
    made = consent(sourceReference=None, sourceAttachment={"contentType": "application/pdf"})
    assert answer(made) == "permit"
    assert answer(made, paper=False) == "refuse"


def test_a_consent_signed_at_this_moment_counts() -> None:
    assert answer(consent(dateTime=NOW.isoformat())) == "permit"
    later = (NOW + timedelta(seconds=1)).isoformat()
    assert answer(consent(dateTime=later)) == "refuse"


def test_a_consent_for_another_recipient_or_purpose_does_not_concern_us() -> None:
    other = the_state(consent(permit(actor=[actor("Organization/other")])))
    research = the_state(consent(permit(purpose=[purpose("HRESCH")])))
    reading = the_state(consent(permit(action=[concept("consentaction", "access")])))
    assert [other.counts, research.counts, reading.counts] == [False, False, False]
    assert [other.reason, research.reason, reading.reason] == [
        "consent-actor",
        "consent-purpose",
        "consent-action",
    ]
    assert other.sentence == "names another recipient (provision.actor)"
