"""Which policies a Consent may rest on."""

from __future__ import annotations

import pytest

from tests.rules.consents import TREE, answer, code, concept, consent, deny


def test_the_operator_may_accept_policies_of_his_own() -> None:
    ours = "https://first.example/policy/1"
    made = consent(policy=[{"uri": ours}])
    rule = consent(policy=None, policyRule=concept("consentpolicycodes", "ssa-827"))
    accepted = frozenset({ours, f"{TREE}consentpolicycodes|ssa-827"})
    assert answer(made, accepted_policies=accepted) == "permit"
    assert answer(rule, accepted_policies=accepted) == "permit"


def test_accepting_a_policy_does_not_turn_its_meaning_round() -> None:
    refusing = "https://profiles.ihe.net/ITI/PCF/Policy-deny"
    accepted = frozenset({refusing, f"{TREE}v3-ActCode|OPTOUT"})
    made = consent(policy=[{"uri": refusing}])
    rule = consent(policyRule=concept("v3-ActCode", "OPTOUT"))
    assert answer(made, accepted_policies=accepted) == "refuse"
    assert answer(rule, accepted_policies=accepted) == "refuse"


@pytest.mark.parametrize(
    ("system", "value"), [("consentpolicycodes", "hipaa-auth"), ("v3-ActCode", "OPTIN")]
)
def test_a_known_policy_rule_is_enough(system: str, value: str) -> None:
    assert answer(consent(policy=None, policyRule=concept(system, value))) == "permit"


def test_a_translation_of_a_known_policy_rule_does_no_harm() -> None:
    rule = {"coding": [{"system": "urn:local", "code": "in"}, code("v3-ActCode", "OPTIN")]}
    assert answer(consent(policyRule=rule)) == "permit"
    rule = {"coding": [code("v3-ActCode", "OPTIN"), code("v3-ActCode", "OPTOUT")]}
    assert answer(consent(policyRule=rule)) == "refuse"


def test_a_deny_may_rest_on_any_known_policy() -> None:
    made = consent(deny(), policyRule=concept("consentpolicycodes", "va-10-0484"))
    assert answer(made) == "deny"
    assert answer(consent(deny(), policyRule=concept("consentpolicycodes", "nci"))) == "deny"
