"""
What the law or the record's own labels forbid, whatever the patient permits.

Source: 42 CFR 2.32, 45 CFR 164.508(a)(2); what a label asks for is in
`mappings/consent-policies.json`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_bridge.consent.answers import Answer, Decision
from fhir_bridge.consent.labelling import is_psychotherapy, is_substance_use, needs
from fhir_bridge.consent.terms import purposes
from fhir_bridge.sensitivity import Labels


def by_law(labels: Labels, *, treatment: bool) -> Iterator[Decision]:
    """Yield why a record is withheld although a Consent may permit it."""
    if is_substance_use(labels):
        yield _decision(
            Answer.DENY,
            "part-2-notice-not-built",
            "records of substance use stay until the notice of 42 CFR Part 2 can travel with them",
        )
    if treatment and is_psychotherapy(labels):
        yield _decision(
            Answer.DENY,
            "psychotherapy-notes",
            "psychotherapy notes need an authorization of their own; treatment is not enough",
        )


def by_record(labels: Labels, purpose: str, *, treatment: bool) -> Iterator[Decision]:
    """Yield why a person must look at a record, by the labels it carries."""
    if labels.unknown:
        yield _refusal("label-unknown", "it carries a security label that is not understood")
    if labels.purposes and not any(purposes().is_a(purpose, one) for one in labels.purposes):
        yield _refusal("record-purpose", "its labels say that it is for another purpose")
    asks_for = needs(labels)
    if asks_for == "person":
        yield _refusal("record-policy", "its labels forbid a disclosure that nobody has checked")
    if asks_for == "consent" and treatment:
        yield _refusal("record-policy", "its labels ask for the patient's own consent")


def _refusal(reason: str, sentence: str) -> Decision:
    return _decision(Answer.REFUSE, reason, sentence)


def _decision(answer: Answer, reason: str, sentence: str) -> Decision:
    return Decision(
        answer=answer, reason=reason, consent=None, version=None, path=None, sentence=sentence
    )
