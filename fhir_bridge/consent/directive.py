"""
One usable Consent, ready to be asked about records.

A nested deny beats a nested permit, and that beats the root. Recipient,
purpose and period of the root bind the whole Consent. What a nested permit does
not say of records it takes over from the root: an exception widens what it
names, never what it is silent about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fhir_bridge.consent.answers import Answer, Reading, Truth
from fhir_bridge.consent.asking import Ask, RecordFacts
from fhir_bridge.consent.dates import Moment
from fhir_bridge.consent.labelling import is_psychotherapy
from fhir_bridge.consent.parties import Lookup, is_patient
from fhir_bridge.consent.provisions import RECORD_ELEMENTS, Binding, Provision, read_labels
from fhir_bridge.records import Json, RecordRef

_PSYCHOTHERAPY = frozenset({"PSYTHPN"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What one Consent says of one record."""

    answer: Answer | None
    """None: it says nothing, or not enough."""
    provision: Provision


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A Consent in force, compiled."""

    ref: RecordRef
    version: str | None
    root: Provision
    exceptions: tuple[Provision, ...]
    by_relative: bool
    """No performer is the patient."""
    signed: Moment
    """When the patient gave it."""
    missing: str | None
    """Element of the root that names another recipient, purpose, action or time."""
    opted_out: bool
    """The root has no type and the policy is OPTOUT: what it does not cover is in doubt."""

    @property
    def permits(self) -> tuple[Provision, ...]:
        """Return the provisions that may permit something to this recipient now."""
        return tuple(one for one in self._reading(Reading.PERMIT) if one.bound is Truth.YES)

    @property
    def denies_all(self) -> bool:
        """Return whether every record is denied, whatever it is."""
        blanket = [
            one
            for one in self._reading(Reading.DENY)
            if one.asks_nothing and one.bound is Truth.YES
        ]
        nested = any(one is not self.root for one in blanket)
        return nested or (bool(blanket) and not self.permits)

    @property
    def looks_inside(self) -> bool:
        """Return whether a decision needs more of a record than its labels."""
        return self.by_relative or any(one.clauses for one in (self.root, *self.exceptions))

    @property
    def concerns(self) -> bool:
        """Return whether any provision may match this recipient and purpose now."""
        provisions = (self.root, *self.exceptions)
        return self.opted_out or any(one.bound is not Truth.NO for one in provisions)

    @property
    def limits(self) -> int:
        """Return how many things it excepts or limits: more is narrower."""
        denied = sum(one.reading is Reading.DENY for one in self.exceptions)
        return denied + len(self.root.clauses) + (self.root.labels is not None)

    def find(self, facts: RecordFacts) -> Finding:
        """Say what this Consent says of a record."""
        found = self._by_exceptions(facts)
        if found is not None:
            return found
        truth = self._match(self.root, facts)
        if self.root.reading is Reading.PERMIT:
            return Finding(Answer.PERMIT if truth is Truth.YES else None, self.root)
        if self.opted_out:
            truth = max(truth, Truth.CANNOT_TELL)
        answers = {Truth.YES: Answer.DENY, Truth.CANNOT_TELL: Answer.REFUSE, Truth.NO: None}
        return Finding(answers[truth], self.root)

    def _by_exceptions(self, facts: RecordFacts) -> Finding | None:
        denied = [(one.match(facts), one) for one in self.exceptions if one.reading is Reading.DENY]
        for truth, answer in ((Truth.YES, Answer.DENY), (Truth.CANNOT_TELL, Answer.REFUSE)):
            for found, one in denied:
                if found is truth:
                    return Finding(answer, one)
        for one in self.exceptions:
            if one.reading is Reading.PERMIT and self._match(one, facts) is Truth.YES:
                return Finding(Answer.PERMIT, one)
        return None

    def _match(self, provision: Provision, facts: RecordFacts) -> Truth:
        if (
            provision.reading is Reading.PERMIT
            and not provision.psychotherapy
            and is_psychotherapy(facts.labels)
        ):
            return Truth.NO
        return provision.match(facts)

    def _reading(self, reading: Reading) -> Iterator[Provision]:
        return (one for one in (self.root, *self.exceptions) if one.reading is reading)


def directive(
    consent: Json, name: tuple[RecordRef, str | None], ask: Ask, lookup: Lookup
) -> Directive:
    """
    Make a usable Consent ready to be asked.

    Args:
        consent: A Consent that was not rejected.
        name: Its reference and its version at the source.
        ask: The disclosure.
        lookup: What its references lead to.
    """
    binding = Binding(ask, lookup, consent)
    json = consent["provision"]
    opted_out = "type" not in json
    root = _root(json, binding)
    nested = json.get("provision", ())
    exceptions = tuple(_exception(one, json, root, binding, n) for n, one in enumerate(nested))
    alone = _names_psychotherapy_alone((root, *exceptions))
    return Directive(
        ref=name[0],
        version=name[1],
        root=replace(root, psychotherapy=alone),
        exceptions=tuple(replace(one, psychotherapy=alone) for one in exceptions),
        by_relative=not any(is_patient(one, consent, ask, lookup) for one in consent["performer"]),
        signed=binding.signed.first,
        missing=_missing(json, binding, root.reading),
        opted_out=opted_out,
    )


def _root(json: Json, binding: Binding) -> Provision:
    reading = Reading(json.get("type", "deny"))
    return Provision(
        path="provision",
        reading=reading,
        bound=binding.bound(json, reading),
        labels=read_labels(json),
        clauses=binding.clauses(json),
    )


def _missing(json: Json, binding: Binding, reading: Reading) -> str | None:
    said = {
        "actor": binding.actor(json, reading),
        "purpose": binding.purpose(json),
        "action": binding.action(json, reading),
        "period": binding.period(json, reading),
    }
    return next((name for name, truth in said.items() if truth is Truth.NO), None)


def _exception(json: Json, above: Json, root: Provision, binding: Binding, n: int) -> Provision:
    reading = Reading(json["type"])
    bound = min(_bound_by_root(above, binding, reading), binding.bound(json, reading))
    if reading is Reading.DENY:
        if bound is Truth.NO and _names_recipient(json, above, binding):
            bound = Truth.CANNOT_TELL
    elif "action" not in json:
        bound = min(bound, binding.action(above, reading))
    said = json if reading is Reading.DENY else _with_silence_filled(json, above)
    clauses = binding.clauses(said)
    if reading is Reading.PERMIT and root.reading is Reading.PERMIT:
        clauses += tuple(one for one in root.clauses if one.element == "dataPeriod")
    return Provision(
        path=f"provision.provision[{n}]",
        reading=reading,
        bound=bound,
        labels=read_labels(said),
        clauses=clauses,
    )


def _bound_by_root(above: Json, binding: Binding, reading: Reading) -> Truth:
    return min(
        binding.actor(above, reading), binding.purpose(above), binding.period(above, reading)
    )


def _names_recipient(json: Json, above: Json, binding: Binding) -> bool:
    """
    Tell whether a deny names this recipient although the root names others only.

    The root binds the Consent, so strictly nothing is said of this recipient;
    but a patient who wrote "not to them" did not mean nothing.
    """
    return (
        "actor" in json
        and binding.actor(above, Reading.DENY) is Truth.NO
        and binding.bound(json, Reading.DENY) is Truth.YES
        and binding.period(above, Reading.DENY) is Truth.YES
    )


def _with_silence_filled(json: Json, above: Json) -> Json:
    return {name: above[name] for name in RECORD_ELEMENTS if name in above} | json


def _names_psychotherapy_alone(provisions: tuple[Provision, ...]) -> bool:
    """45 CFR 164.508(b)(3)(ii): such an authorization is not combined with another."""
    permits = [one for one in provisions if one.reading is Reading.PERMIT]
    named = [one.labels.named for one in permits if one.labels and one.labels.named]
    return bool(named) and len(named) == len(permits) and set(named) == {_PSYCHOTHERAPY}
