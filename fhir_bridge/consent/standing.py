"""
What all the patient's Consents say together.

Each Consent is asked by itself; any deny wins, then any refuse, then one permit
is enough, and where none permits the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fhir_bridge.consent.answers import Answer, ConsentState, Decision
from fhir_bridge.consent.asking import Ask, RecordFacts
from fhir_bridge.consent.directive import Directive, Finding
from fhir_bridge.consent.guards import by_childhood, by_law, by_record
from fhir_bridge.consent.labelling import is_psychotherapy
from fhir_bridge.consent.matters import is_document
from fhir_bridge.records import RecordRef

_REMEMBERED = 10_000
"""Different sets of labels that are remembered; a record may carry what it likes."""


_TREATMENT = Decision(
    answer=Answer.PERMIT,
    reason="treatment-basis",
    consent=None,
    version=None,
    path=None,
    sentence="it goes for treatment; no Consent of the patient denies it",
)

_WORDS = {
    Answer.PERMIT: ("consent-permit", "permits it"),
    Answer.DENY: ("provision-deny", "denies it"),
    Answer.REFUSE: ("provision-deny-unclear", "may deny it, and a person must look"),
}

_Found = list[tuple[Directive, Finding]]


class Standing:
    """The patient's Consents, weighed once for one disclosure at one moment."""

    def __init__(
        self, consents: Iterable[ConsentState], directives: Iterable[Directive], ask: Ask
    ) -> None:
        """Use `weigh`."""
        self.consents = tuple(consents)
        """Every Consent that was found or brought, sorted by name."""
        self._directives = tuple(directives)
        self._ask = ask
        self._unusable = next((one for one in self.consents if one.counts and not one.usable), None)
        self._looks_inside = any(one.looks_inside for one in self._directives)
        self._known: dict[object, Decision] = {}

    def may_release_something(self, *, treatment: bool = False) -> bool:
        """
        Tell whether it is worth reading records at all.

        Args:
            treatment: It replaces a missing permit, and no deny.

        Returns:
            False when no permit reaches this recipient for this purpose now,
            or a deny covers everything: then no record is read.
        """
        if any(one.denies_all for one in self._directives):
            return False
        return treatment or any(one.permits for one in self._directives)

    def permitting(self) -> dict[RecordRef, str]:
        """Return the Consents that may permit something, each with the path of its permit."""
        return {one.ref: one.permits[0].path for one in self._directives if one.permits}

    def wider_pairs(self) -> tuple[tuple[RecordRef, RecordRef], ...]:
        """
        Return older permits with newer ones that limit more, for the manifest.

        The older one stays in force until it is made inactive, which the
        patient who gave the newer one may not have known.
        """
        permits = [one for one in self._directives if one.permits]
        return tuple(
            (older.ref, newer.ref)
            for older in permits
            for newer in permits
            if older.signed < newer.signed and older.limits < newer.limits
        )

    def decide(self, facts: RecordFacts) -> Decision:
        """
        Decide about one record.

        Args:
            facts: The record and its labels. Its content is not trusted.

        Returns:
            Permit, deny or refuse, with the Consent and provision that decided.
        """
        return self._decide(facts, treatment=False)

    def decide_treatment(self, facts: RecordFacts) -> Decision:
        """
        Decide about one record when treatment, not consent, is the basis.

        Only the missing permit is replaced: what a Consent denies or refuses
        stays so, and what the law protects beyond treatment is withheld.

        Source:
            45 CFR 164.506, 164.508(a)(2); 42 CFR Part 2; our own rule.
        """
        return self._decide(facts, treatment=True)

    def _decide(self, facts: RecordFacts, *, treatment: bool) -> Decision:
        key = self._key(facts, treatment=treatment)
        if key is None:
            return self._ask_all(facts, treatment=treatment)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._ask_all(facts, treatment=treatment)
        return known

    def _key(self, facts: RecordFacts, *, treatment: bool) -> object | None:
        """Return what the decision depends on; None when it is the record's whole content."""
        if self._looks_inside:
            return None
        labels = facts.labels
        return (
            treatment,
            is_document(facts.content),
            labels.confidentiality,
            labels.computed_normal,
            labels.unknown,
            labels.sensitivities,
            labels.policies,
            labels.purposes,
        )

    def _ask_all(self, facts: RecordFacts, *, treatment: bool) -> Decision:
        found = [(one, one.find(facts)) for one in self._directives]
        return next(self._answers(found, facts, treatment=treatment))

    def _answers(self, found: _Found, facts: RecordFacts, *, treatment: bool) -> Iterator[Decision]:
        """Yield what was found, the strongest first."""
        yield from _having(found, Answer.DENY)
        yield from by_law(facts.labels, treatment=treatment)
        if self._unusable is not None:
            yield _by_unusable(self._unusable)
        yield from _having(found, Answer.REFUSE)
        yield from by_record(facts.labels, self._ask.purpose, treatment=treatment)
        if treatment:
            yield _TREATMENT
        permitting = [one for one, finding in found if finding.answer is Answer.PERMIT]
        if permitting and all(one.by_relative for one in permitting):
            yield from by_childhood(facts, self._ask)
        yield from _having(found, Answer.PERMIT)
        yield _without_permit(found, psychotherapy=is_psychotherapy(facts.labels))


def _having(found: _Found, answer: Answer) -> Iterator[Decision]:
    for directive, finding in found:
        if finding.answer is answer:
            reason, verb = _WORDS[answer]
            yield Decision(
                answer=answer,
                reason=reason,
                consent=directive.ref,
                version=directive.version,
                path=finding.provision.path,
                sentence=f"{directive.ref} {verb} ({finding.provision.where()})",
            )


def _by_unusable(state: ConsentState) -> Decision:
    return Decision(
        answer=Answer.REFUSE,
        reason=state.reason,
        consent=state.ref,
        version=state.version,
        path=state.path,
        sentence=f"{state.ref} is in force and {state.sentence}, so a person must look",
    )


def _without_permit(found: _Found, *, psychotherapy: bool) -> Decision:
    """Say no, and name the permit that came nearest."""
    permits = [(one, permit) for one, _ in found for permit in one.permits]
    if not permits:
        return Decision(
            answer=Answer.DENY,
            reason="no-permit",
            consent=None,
            version=None,
            path=None,
            sentence="no Consent of the patient permits it",
        )
    directive, permit = permits[0]
    limit = permit.where()
    if psychotherapy:
        limit = "psychotherapy notes need an authorization of their own"
    return Decision(
        answer=Answer.DENY,
        reason="psychotherapy-notes" if psychotherapy else "not-covered",
        consent=directive.ref,
        version=directive.version,
        path=permit.path,
        sentence=f"no permit covers it, not even {directive.ref} ({limit})",
    )
