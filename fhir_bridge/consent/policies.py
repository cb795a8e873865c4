"""Whether a Consent rests on a policy that is known and does not contradict it."""

from __future__ import annotations

from typing import Any

from fhir_bridge.codes import mapping
from fhir_bridge.consent.asking import Ask
from fhir_bridge.consent.shape import Fault
from fhir_bridge.consent.terms import codings
from fhir_bridge.records import Json

_CONTRADICTING = {"refuses", "emergency"}


def is_opt_out(consent: Json) -> bool:
    """Tell whether the policyRule says that the patient opted out."""
    return tuple(mapping("consent-policies.json")["opt_out"]) in codings(consent.get("policyRule"))


def policy_fault(consent: Json, ask: Ask, *, permits: bool) -> Fault | None:
    """
    Return what is wrong with the policies of a Consent.

    Args:
        consent: Without fault of shape.
        ask: Holds the policies that the operator accepts.
        permits: Its root is a permit; a deny may rest on any known policy.

    Source:
        FHIR R4 invariant ppc-1; IHE PCF 53.2.1; our own rule that an unknown
        policy refuses, because it may say anything.
    """
    if not consent.get("policy") and not consent.get("policyRule"):
        return Fault("consent-policy-missing", "policy", "names no policy (policy, policyRule)")
    meanings = [
        (f"policy[{n}].uri", _of_uri(policy["uri"], ask))
        for n, policy in enumerate(consent.get("policy", ()))
    ]
    if "policyRule" in consent:
        meanings += [("policyRule", meaning) for meaning in _of_rule(consent["policyRule"], ask)]
    for path, meaning in meanings:
        if meaning == "unknown" or (meaning == "other" and permits):
            return Fault(
                "consent-policy-unknown",
                path,
                f"rests on a policy that is not among those accepted here ({path})",
            )
        if meaning in _CONTRADICTING and permits:
            return Fault(
                "consent-policy-contradicts",
                path,
                f"permits under a policy that refuses ({path})",
            )
    return None


def _of_uri(uri: str, ask: Ask) -> str:
    meaning: str = mapping("consent-policies.json")["policies"].get(uri, "unknown")
    accepted = uri in ask.accepted_policies and meaning not in _CONTRADICTING
    return "authorises" if accepted else meaning


def _of_rule(concept: Any, ask: Ask) -> list[str]:
    """Return the meanings of a concept's codings: translations, of which one must be known."""
    rules = mapping("consent-policies.json")["rules"]
    found = []
    for system, code in codings(concept):
        known = rules.get(system, {}).get(code)
        accepted = f"{system}|{code}" in ask.accepted_policies
        if known in _CONTRADICTING:
            found.append(known)
        elif accepted or known:
            found.append("authorises" if accepted else known)
    return found or ["unknown"]
