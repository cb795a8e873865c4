"""
Decide for everything that was found: released, or not, by a named rule.

Consent decides about each resource by itself (`consent`). Here the decisions
are carried along the references: a report that tells of a withheld result is
held, an attachment that a withheld record shows is not sent, and what only a
withheld record refers to is not mentioned at all. The steps repeat until
nothing changes, and each can only hold more, never less.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fhir_bridge.consent import Answer, RecordFacts
from fhir_bridge.consent import Decision as Verdict
from fhir_bridge.journey.examining import Edge, Examined
from fhir_bridge.journey.gathering import Found
from fhir_bridge.manifest import Decision
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.references import Local, breaks_minimum, target
from fhir_bridge.sensitivity import Labels, SensitivityBook, is_test_data

ABOUT_NO_PATIENT = frozenset(
    {
        "Organization",
        "Practitioner",
        "PractitionerRole",
        "Endpoint",
        "Device",
        "DeviceDefinition",
        "Location",
        "HealthcareService",
        "Substance",
        "Medication",
    }
)
"""Types that travel with the record that names them, unless they are labelled sensitive."""

_TELLS_OF = {"DiagnosticReport.result", "Observation.hasMember"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided about one resource, and by what."""

    decision: Decision
    rule: str
    sentence: str
    consent: RecordRef | None = None
    consent_version: str | None = None
    provision: str | None = None
    denied: bool = False
    """A Consent denies it, or it tells of something denied: no person may release it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPerson:
    """A person's decision about a held line, signed into the log: who and why stand there."""

    release: bool


@dataclass(slots=True, kw_only=True)
class Decisions:
    """All decisions, and what they mean for the copies."""

    of: dict[RecordRef, Decided]
    labels: Mapping[RecordRef, Labels]
    removed: dict[RecordRef, tuple[Edge, ...]] = field(
        default_factory=dict[RecordRef, tuple[Edge, ...]]
    )
    """For each released resource, the references that its copy must not show."""

    def released(self, ref: RecordRef) -> bool:
        """Tell whether a resource travels."""
        decided = self.of.get(ref)
        return decided is not None and decided.decision is Decision.RELEASED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the decisions are made from."""

    consent: Callable[[RecordFacts], Verdict]
    sensitivity: SensitivityBook
    base: str
    """Of the source: what its references are relative to."""
    test_data_only: bool
    """The destination is a public sandbox."""
    by_person: Callable[[Examined], ByPerson | None]
    holds: dict[RecordRef, Decided]
    """Holds found after a first decision, e.g. an attachment whose hash differs."""
    delivered_before: Callable[[RecordRef], bool]
    """Whether a copy is at the destination, whose status must not stay wrong there."""


def decide(found: Found, rules: Rules) -> Decisions:
    """
    Decide about everything that was found.

    Args:
        found: What `gather` returned.
        rules: The consent, the labels and what persons have decided.

    Returns:
        A decision for every record, and for each supporting resource that a
        released one refers to. Nothing is said of what only withheld records
        refer to.
    """
    labels = _labels(found, rules.sensitivity, rules.base)
    decisions = Decisions(of={}, labels=labels)
    for ref, one in found.examined.items():
        if ref not in found.foreign:
            decisions.of[ref] = _first(found, one, rules, labels[ref])
    while _carry_along(found, decisions, rules):
        continue
    _keep_what_is_reached(found, decisions)
    return decisions


def _labels(found: Found, book: SensitivityBook, base: str) -> Mapping[RecordRef, Labels]:
    def resolve(reference: str) -> RecordRef | None:
        where = target(reference, base)
        return where.ref if isinstance(where, Local) else None

    return book.raise_through(
        {ref: one.labels for ref, one in found.examined.items()}, resolve=resolve
    )


def _first(found: Found, one: Examined, rules: Rules, labels: Labels) -> Decided:
    """Decide about one resource by itself."""
    ref = one.resource.ref
    if ref in found.excluded:
        return _decided(Decision.EXCLUDED, "other-kind", "not a record of the kinds asked for")
    if one.status == "entered-in-error" and not rules.delivered_before(ref):
        return _decided(
            Decision.WITHHELD, "entered-in-error", "the first provider marked it entered in error"
        )
    if any(edge.to in found.foreign for edge in one.edges):
        return _decided(
            Decision.HELD, "foreign-patient", "it refers to a record of another patient"
        )
    if ref in rules.holds:
        return rules.holds[ref]
    if rules.test_data_only and not is_test_data(one.resource.content()):
        return _decided(
            Decision.WITHHELD, "not-test-data", "a public sandbox takes only data labelled HTEST"
        )
    consented = _by_consent(one, rules, labels)
    if ref in found.unclassified and not consented.denied:
        consented = _decided(
            Decision.UNCLASSIFIED, "unclassified", "its category and code do not tell its kind"
        )
    return _by_person(one, rules, consented)


def _by_consent(one: Examined, rules: Rules, labels: Labels) -> Decided:
    resource = one.resource
    if resource.type in ABOUT_NO_PATIENT and not labels.sensitivities and not labels.unknown:
        return _decided(Decision.RELEASED, "about-no-patient", "travels with what names it")
    verdict = rules.consent(
        RecordFacts(
            ref=resource.ref,
            content=resource.content(),
            last_updated=resource.last_updated,
            labels=labels,
            related=frozenset(edge.to for edge in one.edges),
        )
    )
    decision = {
        Answer.PERMIT: Decision.RELEASED,
        Answer.DENY: Decision.WITHHELD,
        Answer.REFUSE: Decision.HELD,
    }[verdict.answer]
    return Decided(
        decision=decision,
        rule=verdict.reason,
        sentence=verdict.sentence,
        consent=verdict.consent,
        consent_version=verdict.version,
        provision=verdict.path,
        denied=verdict.answer is Answer.DENY,
    )


def _by_person(one: Examined, rules: Rules, decided: Decided) -> Decided:
    """Let a person's signed decision stand, unless a Consent denies the release."""
    person = rules.by_person(one)
    if person is None:
        return decided
    if not person.release:
        return _decided(Decision.WITHHELD, "withheld-by-person", "withheld by a person, signed")
    if decided.decision in {Decision.HELD, Decision.UNCLASSIFIED} and not decided.denied:
        return _decided(Decision.RELEASED, "released-by-person", "released by a person, signed")
    return decided


def _carry_along(found: Found, decisions: Decisions, rules: Rules) -> bool:
    """Hold what tells of something that does not travel; say whether anything changed."""
    shown = _attachments_not_sent(found, decisions)
    changed = False
    for ref in sorted(decisions.of):
        if not decisions.released(ref):
            continue
        one = found.examined[ref]
        removed = tuple(edge for edge in one.edges if _is_removed(found, decisions, edge))
        decisions.removed[ref] = removed
        hold = _tells(one, removed, decisions) or _shows(one, shown)
        if hold is None or _released_by_person(hold, rules, one):
            continue
        decisions.of[ref] = hold
        changed = True
    return changed


def _is_removed(found: Found, decisions: Decisions, edge: Edge) -> bool:
    """Tell whether a reference names something that was found and may not be named."""
    if edge.to in found.foreign:
        return True
    target = decisions.of.get(edge.to)
    return target is not None and target.decision not in {Decision.RELEASED, Decision.EXCLUDED}


def _released_by_person(hold: Decided, rules: Rules, one: Examined) -> bool:
    person = rules.by_person(one)
    return person is not None and person.release and not hold.denied


def _tells(one: Examined, removed: Iterable[Edge], decisions: Decisions) -> Decided | None:
    """Return why a resource is held for what it refers to; None when it is not."""
    edges = list(removed)
    if not edges:
        return None
    denied = any(edge.to in decisions.of and decisions.of[edge.to].denied for edge in edges)
    if one.resource.type == "Provenance" and any(e.element == "Provenance.target" for e in edges):
        targets = [e for e in one.edges if e.element == "Provenance.target"]
        decision = Decision.WITHHELD if all(t in edges for t in targets) else Decision.HELD
        return _decided(decision, "provenance-mixed", "it also names what does not travel", denied)
    content = one.resource.content()
    if any(edge.element in _TELLS_OF for edge in edges) and _speaks(content):
        return _decided(
            Decision.HELD,
            "carries-withheld",
            "its text or document may tell of a result that does not travel",
            denied,
        )
    if _mentions(content, {edge.to for edge in edges}):
        return _decided(
            Decision.HELD,
            "carries-withheld",
            "its text names a record that does not travel",
            denied,
        )
    if breaks_minimum(content, [edge.path for edge in edges]):
        return _decided(
            Decision.HELD,
            "needs-reference",
            "without the removed reference it is not valid",
            denied,
        )
    return None


def _speaks(content: Json) -> bool:
    """Tell whether a report holds words of its own, which may repeat a result."""
    text = content.get("text")
    if isinstance(text, dict) and text.get("status") != "empty" and text.get("div"):
        return True
    names = ("presentedForm", "conclusion", "conclusionCode", "contained", "note", "valueString")
    return any(content.get(name) for name in names)


def _mentions(content: Json, refs: Iterable[RecordRef]) -> bool:
    """
    Tell whether words that stay when the references are removed name what they led to.

    A narrative made by a machine often repeats each reference as a link; removing
    only the reference would leave the withheld record named beside REDACTED.
    """
    names = re.compile("(?:" + "|".join(map(re.escape, sorted(refs))) + ")(?![A-Za-z0-9-])")

    def inside(node: object) -> bool:
        if isinstance(node, dict):
            reference = node.get("reference")
            if isinstance(reference, str) and names.search(reference):
                return False
            return any(inside(value) for value in node.values())
        if isinstance(node, list):
            return any(inside(value) for value in node)
        return isinstance(node, str) and names.search(node) is not None

    return inside(content)


def _attachments_not_sent(found: Found, decisions: Decisions) -> dict[str, bool]:
    """Return the URLs and inline contents that a record which does not travel shows."""
    shown: dict[str, bool] = {}
    for ref, decided in decisions.of.items():
        if decided.decision in {Decision.RELEASED, Decision.EXCLUDED}:
            continue
        for one in found.examined[ref].attachments:
            for mark in one.marks:
                shown[mark] = shown.get(mark, False) or decided.denied
    return shown


def _shows(one: Examined, shown: Mapping[str, bool]) -> Decided | None:
    marks = [mark for found in one.attachments for mark in found.marks if mark in shown]
    if not marks:
        return None
    return _decided(
        Decision.HELD,
        "shared-attachment",
        "it shows a document that a record which does not travel shows too",
        any(shown[mark] for mark in marks),
    )


def _keep_what_is_reached(found: Found, decisions: Decisions) -> None:
    """Forget supporting resources that no released record leads to."""
    frontier = [ref for ref in decisions.of if _is_start(found, decisions, ref)]
    records = set(found.kinds) | found.unclassified | found.excluded
    reached = set(frontier)
    while frontier:
        ref = frontier.pop()
        for edge in found.examined[ref].edges:
            if edge.follow and edge.to in decisions.of and edge.to not in reached:
                reached.add(edge.to)
                if decisions.released(edge.to):
                    frontier.append(edge.to)
    for ref in [ref for ref in decisions.of if ref not in reached and ref not in records]:
        if not _is_held_provenance(found, decisions, ref):
            del decisions.of[ref]


def _is_held_provenance(found: Found, decisions: Decisions, ref: RecordRef) -> bool:
    """A person has to know of a Provenance that speaks of something released as well."""
    return ref.startswith("Provenance/") and any(
        edge.element == "Provenance.target" and decisions.released(edge.to)
        for edge in found.examined[ref].edges
    )


def _is_start(found: Found, decisions: Decisions, ref: RecordRef) -> bool:
    """A record that travels, or the Provenance of one."""
    if not decisions.released(ref):
        return False
    return ref in found.kinds or ref in found.unclassified or ref.startswith("Provenance/")


def _decided(
    decision: Decision,
    rule: str,
    sentence: str,
    denied: bool = False,  # noqa: FBT001, FBT002 - read beside its word at every call
) -> Decided:
    return Decided(decision=decision, rule=rule, sentence=sentence, denied=denied)
