"""
The book of sensitivity: what one record says by itself, and what rises to it.

A record is read once (`own`); then labels rise through the references between
records (`raise_through`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Self

import msgspec

from fhir_bridge.codes import mapping
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.sensitivity.findings import Findings
from fhir_bridge.sensitivity.labels import CONFIDENTIALITY, Labels
from fhir_bridge.sensitivity.reading import Reader
from fhir_bridge.sensitivity.rising import OwnLabels, local, rise
from fhir_bridge.sensitivity.tables import Standing, Tables

_REPEATED = (
    *("code", "category", "interpretation", "method", "bodySite", "type", "modality"),
    *("procedureCode", "valueCodeableConcept", "dataAbsentReason", "referenceRange", "class"),
    *("vaccineCode", "medicationCodeableConcept", "condition"),
)
"""Elements that many records share word for word: each is read once and remembered."""

_REMEMBERED = 20_000
_RESTRICTED = CONFIDENTIALITY[4:]
_NONE: frozenset[str] = frozenset()
_encode = msgspec.json.encode


class SensitivityBook:
    """The tables and the operator's answers; reads records one by one."""

    def __init__(self, tables: Tables, programs: Iterable[str] = ()) -> None:
        """Keep the tables; `load` is the usual way in."""
        rules = mapping("sensitivity/plain.json")
        self._reader = Reader(tables, programs)
        self._main: dict[str, str] = rules["main_elements"]
        self._plain_mains = frozenset(rules["plain_mains"]["types"])
        self._plain = frozenset(rules["plain_strings"]["names"])
        self._repeated = frozenset(_REPEATED)
        self._memory: dict[tuple[str, bytes], Findings] = {}

    @classmethod
    def load(
        cls,
        answers: Mapping[str, bool],
        *,
        programs: Iterable[str] = (),
        ordinary: Iterable[tuple[str, str]] = (),
    ) -> Self:
        """
        Open the book that ships with the bridge.

        Args:
            answers: The operator's answers to the questions of policy rows, e.g.
                ``{"hepatitis": True}``. A question without an answer gives no
                label and no computed N.
            programs: Part 2 programs: ``SYSTEM|VALUE`` of an organisation's
                identifier, or ``Organization/id`` at the source. Only they earn
                42CFRPart2; a code never does.
            ordinary: System and code of codes that the operator knows to be
                ordinary.

        Raises:
            SettingsError: An answer to a question that no code asks.
        """
        return cls(_tables(frozenset(answers.items()), frozenset(ordinary)), programs)

    def own(self, content: Json) -> OwnLabels:
        """
        Read what one resource says by itself.

        Args:
            content: A resource as received. Untrusted.

        Source:
            README of the sensitivity codes, rules 1-5, 8-13.
        """
        type_ = content.get("resourceType")
        found = Findings()
        walk = self._reader.walk(content, found)
        main = self._main.get(type_) if isinstance(type_, str) else None
        standing: Standing | None = None
        plain, repeated = self._plain, self._repeated
        for name, value in content.items():
            if name in repeated:
                part = self._remembered(name, value)
                if name == main:
                    standing = part.standing
                if not part.silent:
                    found.merge(part)
            elif not (name in plain and isinstance(value, str)):
                walk.root(name, value)
        self._within(content, found)
        return self._judge(content, found, standing)

    def raise_through(
        self,
        graph: Mapping[RecordRef, OwnLabels],
        *,
        resolve: Callable[[str], RecordRef | None] = local,
    ) -> dict[RecordRef, Labels]:
        """
        Let labels rise through the records that refer to each other.

        Args:
            graph: Every record found, and what it says by itself. A member that
                is not in it counts as not resolved.
            resolve: Turns a reference as written into the record it means, or
                None. By default relative references, with or without a version.

        Returns:
            The labels of every record of the graph.

        Source:
            README of the sensitivity codes, rules 5-7.
        """
        return rise(graph, resolve)

    def _remembered(self, name: str, value: Any) -> Findings:
        """Read an element that many records share."""
        key = (name, _encode(value))
        try:
            return self._memory[key]
        except KeyError:
            if len(self._memory) >= _REMEMBERED:
                self._memory.clear()
            found = self._memory[key] = self._reader.element(name, value)
            return found

    def _within(self, content: Json, found: Findings) -> None:
        """Members that lie inside the record were read with it; a missing one is named."""
        if not any(member.startswith("#") for member in found.members):
            return
        contained = content.get("contained")
        inside = {
            f"#{resource.get('id')}"
            for resource in (contained if isinstance(contained, list) else ())
            if isinstance(resource, dict)
        }
        if any(member.startswith("#") and member not in inside for member in found.members):
            found.block("contained", "member that cannot be resolved")
        found.members = [member for member in found.members if not member.startswith("#")]
        found.parts = [part for part in found.parts if not part.startswith("#")]

    def _judge(self, content: Json, found: Findings, standing: Standing | None) -> OwnLabels:
        carried = found.carried
        if standing is None:
            found.block("code", "nothing says what the record is about")
        elif standing is Standing.PLAIN and content.get("resourceType") not in self._plain_mains:
            found.block("code", "says nothing of what the record is about")
        normal = not (
            found.blocks
            or found.labels
            or carried.sensitivities
            or carried.policies
            or carried.unknown
            or carried.confidentiality in _RESTRICTED
        )
        computed = frozenset(found.labels) if found.labels else _NONE
        written = frozenset(carried.sensitivities) if carried.sensitivities else _NONE
        return OwnLabels(
            type=str(content.get("resourceType")),
            confidentiality=carried.confidentiality,
            sensitivities=computed | written,
            carried_sensitivities=written,
            policies=frozenset(carried.policies) if carried.policies else _NONE,
            purposes=frozenset(carried.purposes) if carried.purposes else _NONE,
            unknown=carried.unknown,
            normal=normal,
            local=standing is None or standing is Standing.LOCAL,
            members=tuple(found.members),
            parts=tuple(found.parts),
            voices=tuple(found.voices),
            reasons=() if normal else _reasons(found),
        )


@lru_cache(maxsize=8)
def _tables(answers: frozenset[tuple[str, bool]], ordinary: frozenset[tuple[str, str]]) -> Tables:
    """Read the tables once for the same answers: they never change, and take 0.1 s."""
    return Tables(dict(answers), ordinary)


def _reasons(found: Findings) -> tuple[str, ...]:
    carried = found.carried
    return (
        *(f"{label}: {coding}" for label, coding in sorted(found.labels.items())),
        *(f"{label}: written by the source" for label in sorted(carried.sensitivities)),
        *(f"{policy}: written by the source or its program" for policy in sorted(carried.policies)),
        *(["label that is not understood"] if carried.unknown else []),
        *(f"not computed N, {block}" for block in dict.fromkeys(found.blocks)),
    )
