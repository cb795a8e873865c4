"""
How labels rise: a report has the labels of its results, at any depth.

They do not sink, with one exception: a result that says nothing by a known
code takes the labels of the panel that speaks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from fhir_bridge.records import RecordRef
from fhir_bridge.sensitivity.labels import PART_2, Labels, highest

_LOCAL = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?\Z")
_RESTRICTED = ("R", "V")
_NORMAL = Labels(computed_normal=True)
"""What most records of most patients are: one object serves them all."""


class OwnLabels(msgspec.Struct, frozen=True, kw_only=True):
    """What one resource says by itself."""

    type: str
    confidentiality: str | None
    """Highest that the source wrote into it."""
    sensitivities: frozenset[str]
    """Carried and computed."""
    carried_sensitivities: frozenset[str]
    policies: frozenset[str]
    purposes: frozenset[str]
    unknown: bool
    normal: bool
    """Everything in it is known to be ordinary; its members decide too."""
    local: bool
    """No known code says what it is about, so a panel speaks for it."""
    members: tuple[str, ...]
    """References, as written, to what it contains or shows."""
    parts: tuple[str, ...]
    """Those of `members` for which it speaks."""
    voices: tuple[str, ...]
    """References, as written, to who or where it comes from."""
    reasons: tuple[str, ...]


def local(reference: str) -> RecordRef | None:
    """Return the record that a relative reference means; None for any other reference."""
    match = _LOCAL.match(reference)
    return RecordRef(match[1]) if match else None


def rise(
    graph: Mapping[RecordRef, OwnLabels], resolve: Callable[[str], RecordRef | None]
) -> dict[RecordRef, Labels]:
    """Let labels rise until nothing changes; see `SensitivityBook.raise_through`."""
    tide = _Tide(graph, resolve)
    tide.run()
    return {ref: tide.labels(ref) for ref in graph}


class _State:
    """What one record has come to, while labels rise."""

    __slots__ = ("confidentiality", "normal", "policies", "reasons", "sensitivities", "unknown")

    def __init__(self, own: OwnLabels) -> None:
        self.confidentiality = own.confidentiality
        self.sensitivities = own.sensitivities
        self.policies = own.policies
        self.unknown = own.unknown
        self.normal = own.normal
        self.reasons = list(own.reasons)

    def take(self, source: _State, came_from: RecordRef, *, whole: bool) -> bool:
        """Take the labels of another record; tell whether that changed anything."""
        before = self._level()
        self._explain(sorted(source.sensitivities - self.sensitivities), came_from)
        self._explain(sorted(source.policies - self.policies), came_from)
        if source.unknown and not self.unknown:
            self._explain(["label that is not understood"], came_from)
        self.sensitivities |= source.sensitivities
        self.policies |= source.policies
        self.unknown |= source.unknown
        if whole and source.confidentiality in _RESTRICTED:
            self.confidentiality = highest(self.confidentiality, source.confidentiality)
        changed = before != self._level()
        if changed:
            self.normal = False
        return changed

    def take_program(self, came_from: RecordRef) -> bool:
        """Take the mark of a Part 2 program."""
        if PART_2 in self.policies:
            return False
        self.policies |= {PART_2}
        self._explain([PART_2], came_from)
        self.normal = False
        return True

    def lose_normal(self, reason: str) -> bool:
        """Take a computed N away; tell whether there was one."""
        had, self.normal = self.normal, False
        if had:
            self.reasons.append(f"not computed N, {reason}")
        return had

    def _level(self) -> tuple[object, ...]:
        return self.confidentiality, self.sensitivities, self.policies, self.unknown

    def _explain(self, labels: Iterable[str], came_from: RecordRef) -> None:
        self.reasons += [f"{label}: {came_from}" for label in labels]


class _Tide:
    """Labels on their way through the graph."""

    def __init__(
        self, graph: Mapping[RecordRef, OwnLabels], resolve: Callable[[str], RecordRef | None]
    ) -> None:
        self._graph = graph
        self._resolve = resolve
        self._states: dict[RecordRef, _State] = {}
        self._above: dict[RecordRef, list[RecordRef]] = {}
        self._below: dict[RecordRef, list[RecordRef]] = {}
        self._named_by: dict[RecordRef, list[RecordRef]] = {}
        self._waiting: dict[RecordRef, None] = {}

    def run(self) -> None:
        for ref, own in self._graph.items():
            self._link(ref, own)
        for ref, own in self._graph.items():
            if not own.normal:
                self._waiting[ref] = None
        while self._waiting:
            ref = next(iter(self._waiting))
            del self._waiting[ref]
            self._spread(ref)

    def labels(self, ref: RecordRef) -> Labels:
        own = self._graph[ref]
        state = self._states.get(ref)
        if state is None and own.confidentiality is None and not own.purposes:
            return _NORMAL
        state = state or _State(own)
        return Labels(
            confidentiality=state.confidentiality,
            computed_normal=state.normal,
            sensitivities=state.sensitivities,
            carried_sensitivities=own.carried_sensitivities,
            policies=state.policies,
            purposes=own.purposes,
            unknown=state.unknown,
            reasons=tuple(state.reasons),
        )

    def _link(self, ref: RecordRef, own: OwnLabels) -> None:
        for written in own.members:
            member = self._resolve(written)
            if member is None or member not in self._graph:
                self._lose_normal(ref, "member that cannot be resolved")
            else:
                self._above.setdefault(member, []).append(ref)
                if self._graph[member].local and written in own.parts:
                    self._below.setdefault(ref, []).append(member)
        for written in own.voices:
            voice = self._resolve(written)
            if voice is not None and voice in self._graph:
                self._named_by.setdefault(voice, []).append(ref)

    def _spread(self, ref: RecordRef) -> None:
        """Hand on what one record has come to; only records that are not normal get here."""
        state = self._state(ref)
        for above in self._above.get(ref, ()):
            if self._state(above).take(state, ref, whole=True):
                self._waiting[above] = None
            else:
                self._lose_normal(above, f"member {ref}")
        for below in self._below.get(ref, ()):
            if self._state(below).take(state, ref, whole=False):
                self._waiting[below] = None
        for named_by in self._named_by.get(ref, ()):
            self._speak(ref, named_by)

    def _speak(self, voice: RecordRef, record: RecordRef) -> None:
        """Who wrote it counts as what it says; a program marks all that comes from it."""
        state = self._state(voice)
        target = self._state(record)
        changed = PART_2 in state.policies and target.take_program(voice)
        if self._graph[voice].type == "PractitionerRole" and state.sensitivities:
            changed = target.take(state, voice, whole=False) or changed
        if changed:
            self._waiting[record] = None

    def _lose_normal(self, ref: RecordRef, reason: str) -> None:
        if self._state(ref).lose_normal(reason):
            self._waiting[ref] = None

    def _state(self, ref: RecordRef) -> _State:
        state = self._states.get(ref)
        if state is None:
            state = self._states[ref] = _State(self._graph[ref])
        return state
