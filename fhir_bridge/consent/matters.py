"""
Whether a provision's data, dates, classes and codes cover a record.

Source: https://hl7.org/fhir/R4/consent.html; IHE PCF Intermediate; what
`related` and `dataPeriod` mean for a permit and for a deny is our own rule
where the texts are silent: each is read in the patient's favour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol
from zoneinfo import ZoneInfo

from fhir_bridge.codes import mapping
from fhir_bridge.consent.answers import Reading, Truth, either
from fhir_bridge.consent.asking import RecordFacts
from fhir_bridge.consent.authors import Author
from fhir_bridge.consent.dates import Period, Span, holds, span
from fhir_bridge.consent.parties import Lookup
from fhir_bridge.consent.terms import Code, coding, codings, identifiers_of
from fhir_bridge.records import Json, RecordRef

_RESOURCE_TYPES = {"http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types"}
_CANONICAL = "urn:ietf:rfc:3986"


class Clause(Protocol):
    """One element of a provision that asks about the record's content."""

    element: ClassVar[str]

    def match(self, facts: RecordFacts, reading: Reading) -> Truth:
        """Tell whether the element covers the record."""


@dataclass(frozen=True, slots=True)
class DatesClause:
    """Provision.dataPeriod."""

    element: ClassVar[str] = "dataPeriod"
    bounds: Period
    zone: ZoneInfo | None

    def match(self, facts: RecordFacts, reading: Reading) -> Truth:
        """A permit needs one date wholly inside; a deny takes any that touches."""
        authored = list(self._dates(facts.content, "authored"))
        effective = list(self._dates(facts.content, "effective"))
        updated = [span(facts.last_updated, self.zone)]
        if reading is Reading.PERMIT:
            written = authored or effective
            whole = bool(written) and all(self._holds(one, reading) for one in written)
            return Truth.YES if whole or self._holds(updated[0], reading) else Truth.NO
        if any(self._holds(one, reading) for one in authored + effective + updated):
            return Truth.YES
        dated = [one for one in authored + effective if one is not None]
        unread = len(dated) < len(authored) + len(effective)
        return Truth.NO if dated and not unread else Truth.CANNOT_TELL

    def _holds(self, when: Span | None, reading: Reading) -> bool:
        return when is not None and holds(self.bounds, when, reading)

    def _dates(self, content: Json, kind: str) -> Iterator[Span | None]:
        for value in values(content, kind):
            yield self._span(value)

    def _span(self, value: Any) -> Span | None:
        """Read a date, or the whole of a Period; an open one has no end that could be inside."""
        if not isinstance(value, dict):
            return span(value, self.zone)
        start, end = span(value.get("start"), self.zone), span(value.get("end"), self.zone)
        return Span(start.first, end.last) if start and end else None


@dataclass(frozen=True, slots=True)
class ClassClause:
    """Provision.class."""

    element: ClassVar[str] = "class"
    classes: tuple[Code, ...]

    def match(self, facts: RecordFacts, reading: Reading) -> Truth:
        """Compare the resource type, or a profile that the record claims."""
        return either(*(self._one(pair, facts.content, reading) for pair in self.classes))

    def _one(self, pair: Code, content: Json, reading: Reading) -> Truth:
        system, code = pair
        if system in _RESOURCE_TYPES:
            return Truth.YES if content.get("resourceType") == code else Truth.NO
        if system == _CANONICAL and code in _profiles(content):
            return Truth.YES
        # A record may be of a profile without claiming it.
        return Truth.CANNOT_TELL if reading is Reading.DENY else Truth.NO


@dataclass(frozen=True, slots=True)
class CodeClause:
    """Provision.code."""

    element: ClassVar[str] = "code"
    codes: frozenset[Code]
    """Every coding that was written."""
    vague: bool
    """A concept has no coding that could be compared."""

    def match(self, facts: RecordFacts, reading: Reading) -> Truth:
        """Look for one of the codes anywhere in the record."""
        if not self.codes.isdisjoint(_codes_in(facts.content)):
            return Truth.YES
        if reading is Reading.PERMIT:
            return Truth.NO
        unclear = self.vague or is_document(facts.content) or self._elsewhere(facts.content)
        return Truth.CANNOT_TELL if unclear else Truth.NO

    def _elsewhere(self, content: Json) -> bool:
        """Tell whether the record names its subject only in systems that cannot be compared."""
        subject = content.get("code")
        if not isinstance(subject, dict):
            return False
        spoken = {system for system, _ in codings(subject)}
        return any(system not in spoken for system, _ in self.codes)


@dataclass(frozen=True, slots=True)
class DataClause:
    """One entry of Provision.data."""

    meaning: str
    reference: Json
    consent: Json
    lookup: Lookup

    def match(self, facts: RecordFacts, reading: Reading) -> Truth:
        """Compare as the meaning says."""
        if self.meaning == "authoredby":
            return self._authored(facts.content, reading)
        itself = self._itself(facts, reading)
        if self.meaning == "instance" or itself is Truth.YES:
            return itself
        return self._related(facts, reading)

    def _itself(self, facts: RecordFacts, reading: Reading) -> Truth:
        named = self.lookup.ref(self.reference.get("reference"))
        if named is None:
            same = identifiers_of(facts.content.get("identifier")) & identifiers_of(
                self.reference.get("identifier")
            )
            return Truth.YES if same else Truth.CANNOT_TELL
        if named[0] != facts.ref:
            return Truth.NO
        if reading is Reading.DENY or named[1] is None:
            return Truth.YES
        meta = facts.content.get("meta")
        held = meta.get("versionId") if isinstance(meta, dict) else None
        return Truth.YES if held == named[1] else Truth.NO

    def _related(self, facts: RecordFacts, reading: Reading) -> Truth:
        named = self.lookup.ref(self.reference.get("reference"))
        if named is None:
            return Truth.CANNOT_TELL
        belongs = self._refs(facts.content, "belongs_to")
        if named[0] in belongs:
            return Truth.YES
        target = self.lookup.find(named[0], self.consent)
        if target is not None and facts.ref in self._all_refs(target):
            return Truth.YES
        if reading is Reading.PERMIT:
            return Truth.NO
        if named[0] in facts.related or (target and belongs & self._refs(target, "belongs_to")):
            return Truth.YES
        return Truth.NO if target is not None and not self._through(belongs) else Truth.CANNOT_TELL

    def _through(self, belongs: set[RecordRef]) -> bool:
        """Tell whether the record may belong to the target by way of its encounter."""
        name = str(self.reference.get("reference"))
        return "EpisodeOfCare/" in name and any(ref.startswith("Encounter/") for ref in belongs)

    def _authored(self, content: Json, reading: Reading) -> Truth:
        wanted = Author(self.lookup, self.reference, self.consent)
        authors = [Author(self.lookup, one, content) for one in _references(content, "authors")]
        same = either(*(wanted.same(one) for one in authors))
        if same is Truth.YES or reading is Reading.PERMIT:
            return same
        told = bool(authors) and wanted.clear and all(one.clear for one in authors)
        if told and wanted.is_person:
            told = all(one.is_person for one in authors)  # someone wrote it for the organisation
        return same if told else Truth.CANNOT_TELL

    def _refs(self, content: Json, kind: str) -> set[RecordRef]:
        named = (self.lookup.ref(one.get("reference")) for one in _references(content, kind))
        return {one[0] for one in named if one is not None}

    def _all_refs(self, value: Any) -> set[RecordRef]:
        named = (self.lookup.ref(text) for text in _every_reference(value))
        return {one[0] for one in named if one is not None}


@dataclass(frozen=True, slots=True)
class AnyData:
    """Provision.data: one entry is enough."""

    element: ClassVar[str] = "data"
    entries: tuple[DataClause, ...]

    def match(self, facts: RecordFacts, reading: Reading) -> Truth:
        """Return the match of the entries."""
        return either(*(entry.match(facts, reading) for entry in self.entries))


def values(content: Json, kind: str) -> Iterator[Any]:
    """
    Yield what a record says of one kind of fact.

    Args:
        content: The record.
        kind: ``authored``, ``effective``, ``authors`` or ``belongs_to``, as in
            `mappings/consent-facts.json`.
    """
    paths = _paths()[kind]
    for name in content:
        for rest in paths.get(name, ()):
            yield from _at(content[name], rest)


def _at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """Yield what stands at a path, through lists."""
    if isinstance(value, list):
        for one in value:
            yield from _at(one, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def is_document(content: Json) -> bool:
    """Tell whether a record is a document or carries one, or words that conclude."""
    types, elements = _documents()
    return content.get("resourceType") in types or not elements.isdisjoint(content)


def code_clause(concepts: list[Any]) -> CodeClause:
    """Read Provision.code."""
    found = [[pair for pair in codings(concept) if pair != ("", "")] for concept in concepts]
    return CodeClause(
        codes=frozenset(pair for pairs in found for pair in pairs),
        vague=not all(found),
    )


def _profiles(content: Json) -> list[Any]:
    meta = content.get("meta")
    profiles = meta.get("profile") if isinstance(meta, dict) else None
    return profiles if isinstance(profiles, list) else []


def _codes_in(content: Json) -> Iterator[Code]:
    waiting: list[Any] = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "code" in value and "system" in value:
                yield coding(value)
            value = value.values()
        waiting += [one for one in value if isinstance(one, dict | list)]


def _references(content: Json, kind: str) -> Iterator[Json]:
    for one in values(content, kind):
        if isinstance(one, dict) and ("reference" in one or "identifier" in one):
            yield one


def _every_reference(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _every_reference(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name == "reference" and isinstance(one, str):
                yield one
            else:
                yield from _every_reference(one)


@cache
def _paths() -> dict[str, dict[str, list[tuple[str, ...]]]]:
    """Return, for each kind of fact, the paths by the element they begin with."""
    known = mapping("consent-facts.json")
    found: dict[str, dict[str, list[tuple[str, ...]]]] = {}
    for kind in ("authored", "effective", "authors", "belongs_to"):
        paths = found[kind] = {}
        for path in known[kind]:
            name, *rest = path.split(".")
            paths.setdefault(name, []).append(tuple(rest))
    return found


@cache
def _documents() -> tuple[frozenset[str], frozenset[str]]:
    known = mapping("consent-facts.json")
    return frozenset(known["documents"]), frozenset(known["document_elements"])
