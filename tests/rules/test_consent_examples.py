"""
The examples that HL7 and IHE published, decided.

HL7's R4 examples lack what a disclosure needs (a performer, a signed paper, a
type), so as they stand none of them lets anything go. With those gaps filled,
what each says is decided.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from fhir_bridge.consent import Party, RecordFacts
from fhir_bridge.records import Json
from fhir_bridge.sensitivity import Labels
from tests.rules.consents import (
    HIV,
    NORMAL,
    NPI,
    PSY,
    UNLABELLED,
    actor,
    answer,
    concept,
    consent,
    decided,
    deny,
    label,
    organization,
    purpose,
    record,
    sensitive,
    weighed,
)
from tests.simulators.published import published


def example(name: str) -> Json:
    made: Json = json.loads(published(name).read_text(encoding="utf-8"))
    return made


def published_decision(made: Json, at: str, *, waive_paper: bool = False) -> Any:
    custodian = Party(identifiers=frozenset(), references=frozenset({"Organization/f001"}))
    standing = weighed(
        made,
        paper=None,
        waive_paper=waive_paper,
        patient=made["patient"]["reference"],
        custodian=custodian,
        now=datetime.fromisoformat(at),
    )
    assert not standing.may_release_something()
    return standing.decide(record(NORMAL))


AS_PUBLISHED = {
    "Emergency": ("refuse", "consent-category-unclear"),
    "Out": ("refuse", "consent-performer"),
    "grantor": ("refuse", "consent-category-unclear"),
    "notAuthor": ("refuse", "consent-performer"),
    "notOrg": ("refuse", "consent-performer"),
    "notThem": ("refuse", "consent-performer"),
    "notThis": ("refuse", "consent-performer"),
    "notTime": ("deny", "no-permit"),
    "pkb": ("refuse", "consent-performer"),
    "signature": ("deny", "no-permit"),
    "smartonfhir": ("deny", "no-permit"),
}


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_an_hl7_example_as_published_lets_nothing_go(name: str) -> None:
    made = example(f"hl7_r4_examples/consent-example-{name}.json")
    found = published_decision(made, "2026-06-15T12:00:00+00:00")
    assert (found.answer, found.reason) == AS_PUBLISHED[name]


FILLED = {
    "Out": ("deny", "provision-deny"),
    "notAuthor": ("refuse", "consent-type-missing"),
    "notOrg": ("refuse", "provision-deny-unclear"),
    "notThem": ("refuse", "consent-type-missing"),
    "notThis": ("refuse", "consent-type-missing"),
    "pkb": ("refuse", "consent-type-missing"),
    "smartonfhir": ("refuse", "consent-type-missing"),
}


@pytest.mark.parametrize("name", FILLED)
def test_an_hl7_example_with_performer_and_without_paper_says(name: str) -> None:
    made = example(f"hl7_r4_examples/consent-example-{name}.json")
    made["performer"] = [made["patient"]]
    found = published_decision(made, "2016-06-23T07:10:00+00:00", waive_paper=True)
    assert (found.answer, found.reason) == FILLED[name]


def test_the_basic_hl7_example_was_over_before_it_was_signed() -> None:
    made = example("hl7_r4_examples/consent-example.json")
    assert published_decision(made, "2016-06-01T00:00:00+00:00").reason == "no-permit"


def test_the_balp_example_says_too_little_to_be_used() -> None:
    made = example("balp_auditevent_examples/balp_Consent-ex-consent.json")
    found = published_decision(made, "2026-06-15T12:00:00+00:00")
    assert (found.answer, found.reason) == ("refuse", "consent-custodian-unclear")


BASE = "http://example.org/policies/basePrivacyConsentPolicy.txt"
TPO = [purpose("TREAT"), purpose("HPAYMT"), purpose("HOPERAT")]
DOCTOR = {"resourceType": "Practitioner", "id": "d", "identifier": [{"system": NPI, "value": "7"}]}
WORLD: dict[str, Json] = {
    "Practitioner/d": DOCTOR,
    "Organization/researcher": organization("researcher", (NPI, "8")),
    "Encounter/e": {"resourceType": "Encounter", "id": "e"},
}
TO_DOCTOR: Any = {"actor": [actor("Practitioner/d")]}


def pcf(type_: str = "permit", policy: str = BASE, **more: Any) -> Json:
    """Return a Consent as IHE PCF's examples are made: no recipient means everybody."""
    said = {"type": type_, "purpose": TPO} | more
    return consent(said, dateTime="2022-06-13", policy=[{"uri": policy}])


def asked(made: Json, about: RecordFacts | Labels = NORMAL, **more: Any) -> str:
    accepted = frozenset({BASE, "http://example.org/policies/researchFooBar.txt"})
    return answer(made, about=about, world=WORLD, accepted_policies=accepted, **more)


def on(day: str) -> RecordFacts:
    return record(content={"effectiveDateTime": day})


def of(**content: Any) -> RecordFacts:
    return record(content=content)


IN_2022 = {"start": "2022-01", "end": "2022-12"}
BY_DOCTOR = [{"meaning": "authoredby", "reference": {"reference": "Practitioner/d"}}]
IN_ENCOUNTER = [{"meaning": "related", "reference": {"reference": "Encounter/e"}}]
ONE = [{"meaning": "instance", "reference": {"reference": "Observation/o"}}]
THERE = of(encounter={"reference": "Encounter/e"})


def test_pcf_basic_treat() -> None:
    assert asked(pcf()) == "permit"
    assert asked(pcf(), UNLABELLED) == "permit"
    assert asked(pcf(), purpose="PATRQT") == "deny"


def test_pcf_policy_that_the_operator_does_not_know() -> None:
    assert decided(pcf()).reason == "consent-policy-unknown"


def test_pcf_expired() -> None:
    assert asked(pcf(period={"end": "2022-12-31"})) == "deny"


def test_pcf_basic_reject() -> None:
    assert asked(pcf("deny")) == "deny"


def test_pcf_intermediate_timeframe() -> None:
    assert asked(pcf(dataPeriod=IN_2022), on("2022-12-31")) == "permit"
    assert asked(pcf(dataPeriod=IN_2022), on("2023-01-01")) == "deny"


def test_pcf_intermediate_not_timeframe() -> None:
    made = pcf(provision=[deny(dataPeriod=IN_2022)])
    assert asked(made, on("2022-12-31")) == "deny"
    assert asked(made, on("2023-01-01")) == "permit"


def test_pcf_intermediate_authoredby() -> None:
    theirs = of(performer=[{"reference": "Practitioner/d"}])
    assert asked(pcf(data=BY_DOCTOR), theirs) == "permit"
    assert asked(pcf(data=BY_DOCTOR), record()) == "deny"
    assert asked(pcf(provision=[deny(data=BY_DOCTOR)]), theirs) == "deny"
    assert asked(pcf(provision=[deny(data=BY_DOCTOR)]), record()) == "refuse"


def test_pcf_intermediate_encounter() -> None:
    assert asked(pcf(data=IN_ENCOUNTER), THERE) == "permit"
    assert asked(pcf(data=IN_ENCOUNTER), record()) == "deny"
    assert asked(pcf(provision=[deny(data=IN_ENCOUNTER)]), THERE) == "deny"
    assert asked(pcf(provision=[deny(data=IN_ENCOUNTER)]), record()) == "permit"


def test_pcf_intermediate_data() -> None:
    assert asked(pcf(data=ONE), record()) == "permit"
    assert asked(pcf(data=ONE), of(id="other")) == "deny"
    assert asked(pcf(provision=[deny(data=ONE)]), record()) == "deny"
    assert asked(pcf(provision=[deny(data=ONE)]), of(id="other")) == "permit"


def test_pcf_intermediate_purpose_is_a_research_project() -> None:
    made = pcf(
        policy="http://example.org/policies/researchFooBar.txt",
        purpose=[{"system": "http://example.org/policies/purposeOfUse", "code": "FooBar"}],
        actor=[actor("Organization/researcher")],
    )
    assert asked(made) == "deny"
    assert asked(made, recipient=Party(identifiers=frozenset({(NPI, "8")}))) == "deny"


def test_pcf_intermediate_dissent_except_breaking_the_glass() -> None:
    made = pcf("deny", provision=[{"type": "permit", "purpose": [purpose("BTG")]}])
    assert asked(made) == "deny"
    assert asked(made, purpose="BTG") == "permit"


def restricted(*codes: str) -> Any:
    return {"securityLabel": [label(one) for one in codes]}


RESTRICTED = Labels(confidentiality="R")


def test_pcf_advanced_normal() -> None:
    assert asked(pcf(**restricted("N"))) == "permit"
    assert asked(pcf(**restricted("N")), RESTRICTED) == "deny"
    assert asked(pcf(**restricted("N")), HIV) == "deny"


def test_pcf_advanced_normal_and_restricted() -> None:
    assert asked(pcf(**restricted("N", "R")), RESTRICTED) == "permit"
    assert asked(pcf(**restricted("N", "R")), Labels(confidentiality="V")) == "deny"


def test_pcf_advanced_normal_and_not_restricted() -> None:
    made = pcf(**restricted("N"), provision=[deny(**restricted("R"))])
    assert asked(made) == "permit"
    assert asked(made, RESTRICTED) == "deny"


def test_pcf_advanced_focused_restricted_psy_and_sex() -> None:
    doctor = Party(identifiers=frozenset({(NPI, "7")}))
    for codes, labels in (
        (("R",), RESTRICTED),
        (("PSY",), PSY),
        (("PSY", "SEX"), sensitive("SEX")),
    ):
        nested = [{"type": "permit"} | restricted(*codes)]
        made = pcf(**restricted("N"), **TO_DOCTOR, provision=nested)
        assert asked(made, labels, recipient=doctor) == "permit"
        assert asked(made, NORMAL, recipient=doctor) == "permit"
        assert asked(made, labels) == "deny"


def test_the_consent_that_we_would_draft_ourselves() -> None:
    made = consent(
        {
            "type": "permit",
            "period": {"start": "2025-11-22", "end": "2099-12-31"},
            "actor": [actor("Organization/theirs")],
            "securityLabel": [label("N")],
            "purpose": [purpose("TREAT"), purpose("PATRQT")],
            "provision": [deny(securityLabel=[label("PSY")])],
        },
        category=[
            {"coding": [{"system": "http://loinc.org", "code": "59284-0"}]},
            concept("v3-ActCode", "HIPAAAuthCD"),
        ],
    )
    assert answer(made, purpose="PATRQT") == "permit"
    assert answer(made, about=PSY) == "deny"
    assert answer(made, about=UNLABELLED) == "refuse"
    assert answer(made, about=HIV) == "deny"
