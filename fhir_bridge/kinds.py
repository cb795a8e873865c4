"""
Which kind of record a resource is, and how records are asked for.

A record is sorted by its category first, then by its code, then by what it is
made of and who names it. What cannot be sorted is never dropped: it is
`Sort.UNCLASSIFIED`, held back and listed by name.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Self

from fhir_bridge.codes import mapping, shipped
from fhir_bridge.records import Json, Kind, RecordRef

RECORD_TYPES = ("DiagnosticReport", "Observation", "ImagingStudy", "DocumentReference", "Media")
"""Types that are records of their own; everything else travels with what names it."""

_OTHER = "other"
_PRECEDENCE: tuple[str, ...] = (Kind.PATHOLOGY, Kind.IMAGING, Kind.LABORATORY, _OTHER)
"""Of several categories the most specific counts: pathology is filed under LAB too."""

_CATEGORY_ELEMENTS = {"DocumentReference": ("type", "category"), "Media": ("modality",)}
_CODE_ELEMENTS = {"DocumentReference": ("type",), "Media": ()}


class Sort(StrEnum):
    """What is to be done with a resource, by its kind."""

    RECORD = "record"
    """A record of one of the kinds that can be asked for."""
    OTHER = "other"
    """A record of another kind, e.g. vital signs: excluded and counted."""
    UNCLASSIFIED = "unclassified"
    """Nothing says what it is: held back and listed by name."""
    SUPPORTING = "supporting"
    """Not a record of its own: travels only with a record that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What kind of record a resource is, and why."""

    sort: Sort
    kind: Kind | None
    """Set for `Sort.RECORD` only."""
    reason: str
    """By which rule: category, code, type, specimen, study, named, about, none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search for a patient's records."""

    type: str
    param: str
    categories: tuple[str, ...]
    """Categories to ask for, one search each, where a search without one is refused."""

    def params(self, patient: RecordRef) -> dict[str, str]:
        """Return the search parameters, without a category."""
        return {self.param: patient}

    def by_category(self, patient: RecordRef) -> tuple[dict[str, str], ...]:
        """Return the searches for a server that refuses one without a category."""
        return tuple({self.param: patient, "category": category} for category in self.categories)


class KindBook:
    """The codes that say of which kind a record is."""

    def __init__(self) -> None:
        """Read `mappings/record-kinds.json` and the lists it names."""
        rules = mapping("record-kinds.json")
        self._searches = rules["searches"]["types"]
        self._codings: dict[tuple[str, str, str], str] = {
            (row["use"], row["system"], row["code"]): row["kind"] for row in rules["codings"]
        }
        self._aliases: dict[str, str] = rules["aliases"]
        self._dicom: str = rules["dicom"]["system"]
        self._slides = frozenset(rules["dicom"]["pathology_modalities"])
        for system, code, kind in _listed(rules["code_lists"]):
            self._codings.setdefault(("code", system, code), kind)

    @classmethod
    @cache
    def load(cls) -> Self:
        """Open the book that ships with the bridge; it is read once and never changes."""
        return cls()

    def searches(self, kinds: Collection[Kind]) -> tuple[Search, ...]:
        """Return the searches that find every record of some kinds."""
        asked = [
            (rule, [kind for kind in Kind if kind in kinds and kind in rule["kinds"]])
            for rule in self._searches
        ]
        return tuple(
            Search(
                type=rule["type"],
                param=rule["param"],
                categories=_distinct(rule["fallback"].get(kind, ()) for kind in wanted),
            )
            for rule, wanted in asked
            if wanted
        )

    def lookup(self, use: str, coding: Any) -> str | None:
        """Return the kind that a coding names, ``undecided``, or None when it is not known."""
        if not isinstance(coding, dict):
            return None
        system, code = coding.get("system"), coding.get("code")
        if not (isinstance(system, str) and isinstance(code, str)):
            return None
        system = system.rstrip("/")
        system = self._aliases.get(system, system)
        if system == self._dicom:
            return Kind.PATHOLOGY if code in self._slides else Kind.IMAGING
        return self._codings.get((use, system, code))


def classify(
    content: Json,
    book: KindBook,
    *,
    named_by: Collection[Kind] = (),
    about: Collection[Kind] = (),
) -> Classified:
    """
    Say of which kind a resource is.

    Args:
        content: A resource as received. Untrusted.
        book: The codes.
        named_by: Kinds of the records that name it as a part of themselves
            (result, hasMember, derivedFrom, media, imagingStudy).
        about: Kinds of the records that it says it is about
            (DocumentReference.context.related, Media.partOf).

    Source:
        Our own rule: category, then code, then what it is made of, then
        membership. Part of a record it travels with that record, whatever
        category it has; what it is about counts only when nothing else does.
    """
    type_ = content.get("resourceType")
    if type_ not in RECORD_TYPES:
        return Classified(sort=Sort.SUPPORTING, kind=None, reason="type")
    kind, reason = _by_itself(content, str(type_), book)
    if kind is None or kind == _OTHER:
        if named_by:
            return _record(_first(named_by), "named")
        if kind is None and about:
            return _record(_first(about), "about")
    if kind is None:
        return Classified(sort=Sort.UNCLASSIFIED, kind=None, reason="none")
    if kind == _OTHER:
        return Classified(sort=Sort.OTHER, kind=None, reason=reason)
    return _record(Kind(kind), reason)


def _record(kind: Kind, reason: str) -> Classified:
    return Classified(sort=Sort.RECORD, kind=kind, reason=reason)


def _first(kinds: Collection[str]) -> Kind:
    """Return the most specific of several kinds."""
    return Kind(next(kind for kind in _PRECEDENCE if kind in kinds))


def _by_itself(content: Json, type_: str, book: KindBook) -> tuple[str | None, str]:
    if type_ == "ImagingStudy":
        return (Kind.PATHOLOGY if _study_of_slides(content, book) else Kind.IMAGING), "type"
    categories = _CATEGORY_ELEMENTS.get(type_, ("category",))
    kind = _coded(content, categories, ("document", "category"), book)
    if kind is not None:
        return kind, "category"
    kind = _coded(content, _CODE_ELEMENTS.get(type_, ("code",)), ("code", "document"), book)
    if kind is not None:
        return kind, "code"
    return _by_matter(content)


def _by_matter(content: Json) -> tuple[str | None, str]:
    """Say what a report or result is by what it was made on."""
    if content.get("resourceType") in ("DiagnosticReport", "Observation"):
        if content.get("imagingStudy"):
            return Kind.IMAGING, "study"
        if content.get("specimen"):
            return Kind.LABORATORY, "specimen"
    return None, "none"


def _study_of_slides(content: Json, book: KindBook) -> bool:
    """Tell whether a study holds microscope slides."""
    return Kind.PATHOLOGY in {
        book.lookup("category", coding) for coding in _list(content.get("modality"))
    }


def _coded(
    content: Json, elements: tuple[str, ...], uses: tuple[str, ...], book: KindBook
) -> str | None:
    """Return the most specific kind that the codings of some elements name."""
    found = {
        book.lookup(use, coding)
        for element in elements
        for coding in _codings(content.get(element))
        for use in uses
    }
    return next((kind for kind in _PRECEDENCE if kind in found), None)


def _codings(value: Any) -> Iterator[Any]:
    for concept in _list(value):
        if isinstance(concept, dict):
            yield from _list(concept.get("coding"))


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _distinct(groups: Iterator[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for group in groups for item in group))


def _listed(lists: Json) -> Iterator[tuple[str, str, str]]:
    for name in lists["files"]:
        with (shipped("mappings") / name).open(encoding="utf-8", newline="") as lines:
            for entry in csv.DictReader(lines):
                kind = lists["kinds"].get(entry["kind"])
                if kind:
                    yield entry["system"], entry["code"], kind
