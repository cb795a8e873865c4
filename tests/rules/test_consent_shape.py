"""A Consent that is not written as FHIR R4 says is not guessed at."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge.records import Json
from tests.rules.consents import answer, code, consent, permit, reason

SHAPES: list[Json] = [
    consent(category={}),
    consent(category=[]),
    consent(category=None),
    consent(performer={"reference": "Patient/p"}),
    consent(identifier="c"),
    consent(patient="Patient/p"),
    consent(sourceReference="DocumentReference/paper"),
    consent() | {"provision": [permit()]},
    consent({}),
    consent(permit(actor={})),
    consent(permit(actor=[])),
    consent(permit(actor=[{"reference": {"reference": "Organization/theirs"}}])),
    consent(permit(purpose=["TREAT"])),
    consent(permit(purpose=[{"code": 5}])),
    consent(permit(period=[])),
    consent(permit(type=None)),
    consent(permit(data=[{"meaning": "instance"}])),
    consent(permit(securityLabel=[{}])),
    consent(verification=[{"verifiedWith": {"display": "x"}}]),
    consent(verification=[{"verified": "true"}]),
    consent(policy=[{"uri": " "}]),
    consent(language=""),
    consent(_scope={"id": "x"}),
    consent(_status=["x"]),
    consent(_status={"value": "draft"}),
]


@pytest.mark.parametrize("n", range(len(SHAPES)))
def test_a_consent_of_wrong_json_shape_refuses(n: int) -> None:
    assert reason(SHAPES[n], consent(id="older")) == "consent-shape"


@pytest.mark.parametrize("thing", [None, [], "Consent", {}, {"resourceType": "Patient"}])
def test_what_is_no_consent_at_all_refuses(thing: Any) -> None:
    assert reason(thing, consent(id="older")) == "consent-shape"


def test_plain_extensions_and_displays_are_ignored() -> None:
    row = code("v3-ActReason", "TREAT") | {"display": "Marketing", "extension": [{"url": "u"}]}
    made = consent(
        permit(purpose=[row], extension=[{"url": "urn:deny", "valueBoolean": True}]),
        extension=[{"url": "urn:x"}],
        _status={"id": "s", "extension": [{"url": "urn:y"}]},
        text={"status": "generated", "div": "<div>modifierExtension</div>"},
    )
    assert answer(made) == "permit"
