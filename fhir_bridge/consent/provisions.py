"""
One provision of a Consent, made ready to be asked about thousands of records.

What does not depend on the record (recipient, purpose, action, the period now)
is settled once, as `bound`. Absent elements constrain nothing; of those
present all must match, and of repetitions one is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir_bridge.codes import mapping
from fhir_bridge.consent.answers import Reading, Truth, either
from fhir_bridge.consent.asking import Ask, RecordFacts
from fhir_bridge.consent.dates import Period, Span, holds, instant, period, span
from fhir_bridge.consent.labelling import LabelClause, label_clause
from fhir_bridge.consent.matters import (
    AnyData,
    ClassClause,
    Clause,
    DataClause,
    DatesClause,
    code_clause,
    is_document,
)
from fhir_bridge.consent.parties import Lookup, Naming
from fhir_bridge.consent.terms import coding, codings, participations, purposes
from fhir_bridge.records import Json

RECORD_ELEMENTS = ("securityLabel", "dataPeriod", "data", "class", "code")
"""What a provision says of records; the rest says to whom, for what and when."""

_RECEIVES, _KEEPS, _NEITHER = "receives", "keeps", "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """A permit or a deny, at the root of a Consent or nested in it."""

    path: str
    reading: Reading
    bound: Truth
    """Whether recipient, purpose, action and period match; the record is not asked."""
    labels: LabelClause | None
    clauses: tuple[Clause, ...]
    psychotherapy: bool = False
    """The Consent authorises psychotherapy notes by name, and nothing else by name."""

    @property
    def asks_nothing(self) -> bool:
        """Return whether it covers every record."""
        return self.labels is None and not self.clauses

    def match(self, facts: RecordFacts) -> Truth:
        """Tell whether it covers a record."""
        truth = min(self.bound, self._by_labels(facts))
        for clause in self.clauses:
            if truth is Truth.NO:
                break
            truth = min(truth, clause.match(facts, self.reading))
        return truth

    def where(self) -> str:
        """Name the path and the elements that look at the record, never what they say."""
        names = ["securityLabel"] if self.labels else []
        names += [clause.element for clause in self.clauses]
        return f"{self.path}, by {' and '.join(names)}" if names else self.path

    def _by_labels(self, facts: RecordFacts) -> Truth:
        if self.labels is None:
            return Truth.YES
        if self.reading is Reading.PERMIT:
            return self.labels.permits(facts.labels)
        return self.labels.denies(facts.labels, document=is_document(facts.content))


class Binding:
    """Settles what a provision says of recipient, purpose, action and time."""

    def __init__(self, ask: Ask, lookup: Lookup, consent: Json) -> None:
        """Keep whom to compare with."""
        self._ask = ask
        self._consent = consent
        self._lookup = lookup
        self._recipient = Naming(ask.recipient, lookup)
        self._custodian = Naming(ask.custodian, lookup)

    @property
    def signed(self) -> Span:
        """Return when the patient gave the Consent."""
        signed = span(self._consent["dateTime"], self._ask.timezone)
        assert signed is not None, "an undated Consent is unusable"
        return signed

    def bound(self, provision: Json, reading: Reading) -> Truth:
        """Return the match of everything that does not depend on the record."""
        signed = Period(self.signed.first, None)
        if reading is Reading.PERMIT and not holds(signed, instant(self._ask.now), reading):
            return Truth.CANNOT_TELL  # in some place that day has not begun yet
        return min(
            self.actor(provision, reading),
            self.purpose(provision),
            self.action(provision, reading),
            self.period(provision, reading),
        )

    def actor(self, provision: Json, reading: Reading) -> Truth:
        """Tell whether the recipient is one of those named."""
        if "actor" not in provision:
            return Truth.YES
        actors = [(_role(actor["role"]), actor["reference"]) for actor in provision["actor"]]
        receiving = [
            self._recipient.names(one, self._consent) for role, one in actors if role == _RECEIVES
        ]
        keeping = [
            self._custodian.names(one, self._consent) for role, one in actors if role == _KEEPS
        ]
        if reading is Reading.PERMIT:
            keeper = either(*keeping) if keeping else Truth.YES
            return min(either(*receiving), keeper)
        unclear = len(actors) > len(receiving) + len(keeping)
        if receiving:
            return either(*receiving, Truth.CANNOT_TELL if unclear else Truth.NO)
        # Nobody is named who would receive: the custodian is told to keep.
        return Truth.YES if Truth.YES in keeping else Truth.CANNOT_TELL

    def purpose(self, provision: Json) -> Truth:
        """Tell whether the purpose asked for is one of those named, or a kind of one."""
        if "purpose" not in provision:
            return Truth.YES
        return either(*(self._purpose(row) for row in provision["purpose"]))

    def action(self, provision: Json, reading: Reading) -> Truth:
        """Tell whether disclosing is one of the actions; reading without keeping is not."""
        if "action" not in provision:
            return Truth.YES
        return either(*(_action(row, reading) for row in provision["action"]))

    def period(self, provision: Json, reading: Reading) -> Truth:
        """Tell whether the provision is in force now."""
        if "period" not in provision:
            return Truth.YES
        bounds = period(provision["period"], self._ask.timezone)
        assert bounds is not None, "an unreadable period makes the Consent unusable before"
        return Truth.YES if holds(bounds, instant(self._ask.now), reading) else Truth.NO

    def clauses(self, provision: Json) -> tuple[Clause, ...]:
        """Read what a provision says of the record's content."""
        return tuple(
            read(self, provision[name]) for name, read in _READERS.items() if name in provision
        )

    def _purpose(self, row: Any) -> Truth:
        code, asked = purposes().code(coding(row)), self._ask.purpose
        if code is None or not purposes().knows(asked):
            return Truth.CANNOT_TELL
        return Truth.YES if purposes().is_a(asked, code) else Truth.NO

    def _dates(self, value: Any) -> Clause:
        bounds = period(value, self._ask.timezone)
        assert bounds is not None, "an unreadable dataPeriod makes the Consent unusable before"
        return DatesClause(bounds, self._ask.timezone)

    def _data(self, rows: Iterable[Json]) -> Clause:
        return AnyData(
            tuple(
                DataClause(row["meaning"], row["reference"], self._consent, self._lookup)
                for row in rows
            )
        )


_READERS: dict[str, Callable[[Binding, Any], Clause]] = {
    "dataPeriod": Binding._dates,  # noqa: SLF001 - its own table
    "data": Binding._data,  # noqa: SLF001
    "class": lambda _, rows: ClassClause(tuple(coding(row) for row in rows)),
    "code": lambda _, rows: code_clause(rows),
}


def read_labels(provision: Json) -> LabelClause | None:
    """Read Provision.securityLabel; None when there is none."""
    return label_clause(provision["securityLabel"]) if "securityLabel" in provision else None


def _role(concept: Any) -> str:
    """Return what an actor does; authors and others neither keep nor receive."""
    words, tree = mapping("participation.json"), participations()
    known = [code for code in map(tree.code, codings(concept)) if code is not None]
    if any(tree.is_a(code, words["recipient"]) for code in known):
        return _RECEIVES
    return _KEEPS if words["custodian"] in known else _NEITHER


def _action(concept: Any, reading: Reading) -> Truth:
    system, disclosing, others = _actions()
    codes = {code for named, code in codings(concept) if named == system}
    if disclosing in codes:
        return Truth.YES
    # Who may not look at a record must not be sent it, so a deny of access is in doubt here.
    return Truth.NO if reading is Reading.PERMIT and codes & others else Truth.CANNOT_TELL


@cache
def _actions() -> tuple[str, str, frozenset[str]]:
    known = mapping("consent-policies.json")["actions"]
    return known["system"], known["disclosing"], frozenset(known["others"])
