"""Searches: from parameters to the references that match, in order, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from fhir_bridge.sandbox.holdings import Held, Holdings
from fhir_bridge.sandbox.outcomes import Problem
from fhir_bridge.sandbox.parameters import DATES, TEXTS, searchable
from fhir_bridge.sandbox.profile import Profile

_CONTROLS = frozenset(
    [
        "_count",
        "_offset",
        "_sort",
        "_summary",
        "_total",
        "_revinclude",
        "_format",
        "_pretty",
        "_elements",
    ]
)
_SORTS = frozenset({"_id", "-_id", "_lastUpdated", "-_lastUpdated"})
_PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"})


@dataclass(frozen=True, slots=True)
class Filter:
    """One search parameter of a request; several values mean *or*."""

    name: str
    modifier: str
    values: tuple[str, ...]


@dataclass(slots=True)
class Query:
    """What a search asks for."""

    type: str
    filters: list[Filter] = field(default_factory=list)
    controls: dict[str, str] = field(default_factory=dict)
    revincludes: list[tuple[str, str]] = field(default_factory=list)
    honoured: list[tuple[str, str]] = field(default_factory=list)
    """Parameters as they came, for the self link."""

    @classmethod
    def of(
        cls, type_: str, pairs: Sequence[tuple[str, str]], profile: Profile, *, strict: bool
    ) -> Self:
        """
        Read the parameters of a search.

        Raises:
            Problem: A parameter is unknown and the client prefers strict
                handling, or it is known and cannot be understood.
        """
        query = cls(type_)
        known = {"_id", "_lastUpdated", *searchable(type_)} - profile.ignored_parameters
        for name, value in pairs:
            if name in _CONTROLS:
                query._control(name, value)
            elif name.partition(":")[0] in known:
                bare, _, modifier = name.partition(":")
                query.filters.append(Filter(bare, modifier, tuple(value.split(","))))
            elif strict:
                raise Problem(400, "not-supported", f"HAPI-0524: Unknown search parameter {name}")
            else:
                continue
            query.honoured.append((name, value))
        return query

    def _control(self, name: str, value: str) -> None:
        if name == "_revinclude":
            parts = value.split(":")
            if len(parts) != 2 or parts[1] not in _searchable_or_none(parts[0]):  # noqa: PLR2004
                raise Problem(400, "invalid", "HAPI-2015: Invalid _revinclude")
            self.revincludes.append((parts[0], parts[1]))
        elif name == "_sort" and not set(value.split(",")) <= _SORTS:
            raise Problem(400, "invalid", "HAPI-1194: Invalid _sort parameter")
        elif name in {"_count", "_offset"} and not value.isdigit():
            raise Problem(400, "invalid", f"{name} must be a whole number")
        self.controls[name] = value

    def page_size(self, profile: Profile) -> int:
        """Return how many matches a page may have."""
        asked = int(self.controls.get("_count", profile.page_size))
        return min(asked, profile.page_size_max)

    @property
    def only_counts(self) -> bool:
        """Say whether only the total is wanted."""
        return self.controls.get("_summary") == "count" or self.controls.get("_count") == "0"


def _searchable_or_none(type_: str) -> tuple[str, ...]:
    try:
        return searchable(type_)
    except KeyError:
        return ()


def matches(holdings: Holdings, query: Query) -> list[str]:
    """Return the ids that match, in the order asked for."""
    found: set[str] | None = None
    for one in query.filters:
        ids = _ids(holdings, query.type, one, found)
        found = ids if found is None else found & ids
        if not found:
            return []
    held = holdings.of_type(query.type)
    present = [
        id_ for id_ in (held if found is None else found) if held[id_].current.raw is not None
    ]
    return _sorted(present, held, query.controls.get("_sort", "_id").split(",")[0])


def _sorted(ids: list[str], held: Mapping[str, Held], sort: str) -> list[str]:
    if sort.lstrip("-") == "_lastUpdated":
        ids.sort(key=lambda id_: (held[id_].current.last_updated, id_))
    else:
        ids.sort()
    return ids[::-1] if sort.startswith("-") else ids


def _ids(holdings: Holdings, type_: str, one: Filter, among: set[str] | None) -> set[str]:
    if one.name == "_id":
        return {id_ for value in one.values if holdings.exists(f"{type_}/{(id_ := value)}")}
    if one.name == "_lastUpdated":
        return _updated(holdings, type_, one.values, among)
    if one.name in DATES:
        return _in_time(holdings, type_, one)
    if one.name in TEXTS:
        return _worded(holdings, type_, one)
    if one.modifier and not one.modifier[0].isupper():
        raise Problem(400, "not-supported", "this sandbox does not know the modifier")
    prefix = f"{one.modifier}/" if one.modifier else ""
    found: set[str] = set()
    for value in one.values:
        word = value if "/" in value else prefix + value
        found.update(holdings.found(type_, one.name, word))
    return found


def _worded(holdings: Holdings, type_: str, one: Filter) -> set[str]:
    found: set[str] = set()
    wanted = [value.casefold() for value in one.values]
    for word, ids in holdings.words(type_, one.name).items():
        for start in wanted:
            if word == start or (one.modifier != "exact" and word.startswith(start)):
                found.update(ids)
    return found


def _in_time(holdings: Holdings, type_: str, one: Filter) -> set[str]:
    found: set[str] = set()
    for text, ids in holdings.words(type_, one.name).items():
        if any(_holds(value, *_span(text)) for value in one.values):
            found.update(ids)
    return found


def _updated(
    holdings: Holdings, type_: str, values: Iterable[str], among: set[str] | None
) -> set[str]:
    held = holdings.of_type(type_)
    return {
        id_
        for id_ in (held if among is None else among)
        if any(_holds(value, *_span(held[id_].current.last_updated)) for value in values)
    }


def _holds(asked: str, start: datetime, end: datetime) -> bool:
    """Compare a span of time with a search value such as ``ge2026-01``."""
    prefix = asked[:2] if asked[:2] in _PREFIXES else "eq"
    asked_start, asked_end = _span(asked.removeprefix(prefix) if asked[:2] == prefix else asked)
    inside = asked_start <= start and end <= asked_end
    answers = {
        "eq": inside,
        "ne": not inside,
        "gt": end > asked_end,
        "lt": start < asked_start,
        "ge": end > asked_start,
        "le": start < asked_end,
        "sa": start >= asked_end,
        "eb": end <= asked_start,
    }
    return answers[prefix]


def _span(text: str) -> tuple[datetime, datetime]:
    """Return the moments between which a partial date, a time or a period lies."""
    if "/" in text:
        start, _, end = text.partition("/")
        first = _span(start)[0] if start else datetime.min.replace(tzinfo=UTC)
        return first, _span(end)[1] if end else datetime.max.replace(tzinfo=UTC)
    try:
        return _date_span(text) if len(text) <= len("2026-01-01") else _moment_span(text)
    except ValueError as error:
        raise Problem(400, "invalid", "HAPI-1882: Invalid date/time format") from error


def _date_span(text: str) -> tuple[datetime, datetime]:
    full = text + "-01" * (2 - text.count("-"))
    start = datetime.fromisoformat(full).replace(tzinfo=UTC)
    if text.count("-") == 2:  # noqa: PLR2004 - year, month and day
        return start, start + timedelta(days=1)
    months = start.year * 12 + start.month - 1 + (1 if "-" in text else 12)
    return start, start.replace(year=months // 12, month=months % 12 + 1)


def _moment_span(text: str) -> tuple[datetime, datetime]:
    start = datetime.fromisoformat(text.replace(" ", "+"))
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    return start, start + (timedelta(milliseconds=1) if "." in text else timedelta(seconds=1))
