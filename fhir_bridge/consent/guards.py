"""
What the law or the record's own labels forbid, whatever the patient permits.

Source: 42 CFR 2.32, 45 CFR 164.508(a)(2); what a label asks for is in
`mappings/consent-policies.json`.
"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_bridge.codes import mapping
from fhir_bridge.consent.answers import Answer, Decision, Reading
from fhir_bridge.consent.asking import Ask, RecordFacts
from fhir_bridge.consent.dates import Period, holds, span
from fhir_bridge.consent.labelling import is_psychotherapy, is_substance_use, needs
from fhir_bridge.consent.matters import values
from fhir_bridge.consent.terms import purposes
from fhir_bridge.sensitivity import Labels

TEST_DATA = "HTEST"
"""Says that a record is invented, not what it is for."""


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
    allowed = labels.purposes - {TEST_DATA}
    if allowed and not any(purposes().is_a(purpose, one) for one in allowed):
        yield _refusal("record-purpose", "its labels say that it is for another purpose")
    asks_for = needs(labels)
    if asks_for == "person":
        yield _refusal("record-policy", "its labels forbid a disclosure that nobody has checked")
    if asks_for == "consent" and treatment:
        yield _refusal("record-policy", "its labels ask for the patient's own consent")


def by_childhood(facts: RecordFacts, ask: Ask) -> Iterator[Decision]:
    """
    Yield why a permit that only a representative signed does not reach a record.

    Minors may consent to some care themselves, and then their parents do not
    speak for them: the record of such care is held until a person has looked.

    Source:
        45 CFR 164.502(g)(3); our own rule that who was of age is shown by the
        record's dates.
    """
    words = mapping("actcode-tree.json")["minors"]
    if not facts.labels.sensitivities.isdisjoint(words["codes"]) and not _of_age(
        facts, ask, words["majority_years"]
    ):
        yield _refusal(
            "minor-care", "a minor may have consented to this care, and only a relative permits it"
        )


def _of_age(facts: RecordFacts, ask: Ask, years: int) -> bool:
    """Tell whether every date of a record lies after the patient came of age, for certain."""
    born = ask.birth_date or ""
    grown = span(f"{int(born[:4]) + years:04}{born[4:]}", ask.timezone) if _is_date(born) else None
    dates = [
        span(one.get("start") if isinstance(one, dict) else one, ask.timezone)
        for kind in ("authored", "effective")
        for one in values(facts.content, kind)
    ]
    if grown is None or not dates:
        return False
    since = Period(grown.last, None)
    return all(one is not None and holds(since, one, Reading.PERMIT) for one in dates)


def _is_date(text: str) -> bool:
    return span(text, None) is not None


def _refusal(reason: str, sentence: str) -> Decision:
    return _decision(Answer.REFUSE, reason, sentence)


def _decision(answer: Answer, reason: str, sentence: str) -> Decision:
    return Decision(
        answer=answer, reason=reason, consent=None, version=None, path=None, sentence=sentence
    )
