"""
A search to its end: all pages, counted against what the server promised.

A search that ends early without saying so loses records in silence. So each
answer says why it may be short, in a word that the manifest can keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from fhir_bridge.errors import BadRecord, ForeignLink, OversizedAnswer, Unreachable
from fhir_bridge.fhir_server import page as pages
from fhir_bridge.fhir_server.outcome import outcome_of
from fhir_bridge.fhir_server.quirks import Quirks
from fhir_bridge.records import RecordRef, Resource
from fhir_bridge.wire import Answer, Wire
from fhir_bridge.wire.connection import FORM

_RESTARTS_MAX = 2
"""How often a search whose pages expired begins again."""

_STRICT = {"Prefer": "handling=strict"}
_SHAPE = frozenset({"_count", "_offset", "_sort", "_total", "_summary", "_elements", "_format"})
_GONE = 410


@dataclass(slots=True, kw_only=True)
class SearchAnswer:
    """Everything that a search brought."""

    resources: list[Resource] = field(default_factory=list[Resource])
    """Matches and included ones, each once, in the server's order."""
    matches: int = 0
    """Distinct matches."""
    total: int | None = None
    """What the server says there are; None when it does not say."""
    shortfall: str | None = None
    """
    Why there may be more: ``total-mismatch``, ``foreign-next-link``,
    ``next-link-loop``, ``page-limit``, ``pages-expired``, ``over-the-cap``,
    ``parameters-ignored``, ``search-refused``; None when it is whole.
    """
    self_link_params: frozenset[str] = frozenset()
    """Names of the parameters that the server says it used."""
    oversized: list[RecordRef] = field(default_factory=list[RecordRef])
    """Matches that are longer than a page may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked, page after page."""

    target: str
    """``Observation`` or ``Patient/1/$everything``."""
    type: str | None
    """Type of the matches; None when everything is a match."""
    params: Mapping[str, str]
    post: bool = False

    def sized(self, count: int, *, offset: bool) -> Mapping[str, str]:
        """
        Return the parameters with those that shape pages.

        Args:
            count: Resources a page.
            offset: Use `_offset`, which HAPI 8.8.0 answers without its stall
                at page two (seen 2026-11). It is no snapshot: sorted, and
                counted afterwards.
        """
        shaped = {"_count": str(count), **self.params}
        if offset:
            shaped |= {"_offset": "0"}
            if self.type is not None:
                shaped = {"_sort": "_id", "_total": "accurate", **shaped}
        return shaped


class _Restart(Exception):
    """The pages of this search have expired."""


def search(wire: Wire, quirks: Quirks, query: Query) -> SearchAnswer:
    """
    Ask, follow every page, and count.

    Raises:
        SourceUnreachable: or DestinationUnreachable: nothing was changed.
        MalformedJson: A page is not a Bundle.
        OversizedAnswer: Even a list of ids is longer than a page may be.
    """
    count = int(query.params.get("_count", quirks.page_count))
    offset = quirks.offset_paging and not query.post
    answer = _whole(wire, query, count, offset=offset)
    if offset and answer.shortfall == "total-mismatch":
        # Something was written between two pages: ask for a snapshot instead.
        answer = _whole(wire, query, count, offset=False)
    return answer


def count(wire: Wire, target: str, params: Mapping[str, str]) -> int | None:
    """Return how many resources the server says match; None when it does not say."""
    answer = wire.request("GET", target, params={**params, "_summary": "count"}, headers=_STRICT)
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        return None
    try:
        return pages.read(answer.body, target).total
    except BadRecord:
        return None


def _whole(wire: Wire, query: Query, count: int, *, offset: bool) -> SearchAnswer:
    """Begin again with a quarter of the count when a page is too long."""
    while True:
        try:
            return _restarting(wire, query, count, offset=offset)
        except OversizedAnswer:
            if count == 1:
                raise
            count = max(1, count // 4)


def _restarting(wire: Wire, query: Query, count: int, *, offset: bool) -> SearchAnswer:
    for _ in range(_RESTARTS_MAX + 1):
        try:
            return _paged(wire, query, count, offset=offset)
        except _Restart:
            continue
    return SearchAnswer(shortfall="pages-expired")


def _paged(wire: Wire, query: Query, count: int, *, offset: bool) -> SearchAnswer:
    first = _ask(wire, query, count, offset=offset)
    if first.status >= 400:  # noqa: PLR2004 - RFC 9110 15.5
        return _refused(wire, first)
    collected = _Collected(query)
    page = pages.read(first.body, query.type)
    collected.first(page)
    seen: set[str] = set()
    while page.next is not None and collected.shortfall is None:
        if (url := _next(wire, query, page.next, seen, collected)) is None:
            break
        page = pages.read(_page(wire, url).body, query.type)
        collected.add(page)
    return collected.answer()


def _ask(wire: Wire, query: Query, count: int, *, offset: bool) -> Answer:
    params = query.sized(count, offset=offset)
    if query.post:
        return wire.request(
            "POST",
            f"{query.target}/_search",
            body=urlencode(params).encode(),
            content_type=FORM,
            headers=_STRICT,
        )
    return wire.request("GET", query.target, params=params, headers=_STRICT)


def _next(wire: Wire, query: Query, link: str, seen: set[str], collected: _Collected) -> str | None:
    """Return the next page's URL, or note why it is not followed."""
    try:
        url = wire.page(link, query.target)
    except ForeignLink:
        collected.shortfall = "foreign-next-link"
        return None
    if url in seen:
        collected.shortfall = "next-link-loop"
        return None
    seen.add(url)
    if len(seen) >= wire.limits.pages_max:
        collected.shortfall = "page-limit"
        return None
    return url


def _page(wire: Wire, url: str) -> Answer:
    answer = wire.request("GET", url, headers=_STRICT)
    if answer.status == _GONE:
        raise _Restart
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        raise failed(wire, answer)
    return answer


def _refused(wire: Wire, answer: Answer) -> SearchAnswer:
    if answer.status >= 500 and answer.status != 501:  # noqa: PLR2004 - 501: not implemented
        raise failed(wire, answer)
    return SearchAnswer(shortfall="search-refused")


def failed(wire: Wire, answer: Answer) -> Unreachable:
    """Return the error of an answer that a server could not give; never its text."""
    codes = ", ".join(outcome_of(answer.body).codes)
    said = f"{answer.status}; {codes}" if codes else f"{answer.status}"
    return wire.faults.unreachable(
        f"{wire.faults.who} failed by a fault of its own ({said}): continue later with resume, and"
        " if it stays, ask its operator"
    )


class _Collected:
    """What has come so far, each resource once."""

    def __init__(self, query: Query) -> None:
        self.shortfall: str | None = None
        self._query = query
        self._matches: dict[RecordRef, Resource] = {}
        self._included: dict[RecordRef, Resource] = {}
        self._total: int | None = None
        self._asked: frozenset[str] = frozenset()

    def first(self, page: pages.Page) -> None:
        """Add the first page, and see whether the server used what was asked."""
        if page.asked is not None:
            self._asked = page.asked
            if page.asked and not self._query.post and self._filters() - page.asked:
                self.shortfall = "parameters-ignored"
        self.add(page)

    def add(self, page: pages.Page) -> None:
        """Add a page. Only a loop brings pages without anything new for ever."""
        before = len(self._matches) + len(self._included)
        self._matches.update((one.ref, one) for one in page.matches)
        self._included.update((one.ref, one) for one in page.included)
        grown = len(self._matches) + len(self._included) > before
        if page.next is not None and not grown and before:
            self.shortfall = self.shortfall or "next-link-loop"
        if page.total is not None:
            self._total = max(page.total, self._total or 0)

    def answer(self) -> SearchAnswer:
        """Return everything, with what is missing by the server's own count."""
        matches = len(self._matches)
        if self.shortfall is None and self._total is not None and matches < self._total:
            self.shortfall = "total-mismatch"
        included = [one for ref, one in self._included.items() if ref not in self._matches]
        return SearchAnswer(
            resources=[*self._matches.values(), *included],
            matches=matches,
            total=self._total,
            shortfall=self.shortfall,
            self_link_params=self._asked,
        )

    def _filters(self) -> set[str]:
        names = {name.partition(":")[0] for name in self._query.params}
        return {name for name in names if name not in _SHAPE and not name.startswith("_")}
