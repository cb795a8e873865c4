"""From the first page to the last, whatever the links say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlencode

from fhir_bridge.errors import ForeignLink, Unreachable
from fhir_bridge.fhir_server.outcome import outcome_of
from fhir_bridge.fhir_server.page import Page, read
from fhir_bridge.records import RecordRef, Resource
from fhir_bridge.wire import Answer, Wire
from fhir_bridge.wire.connection import FORM

STRICT = {"Prefer": "handling=strict"}
"""Ask for an error rather than an answer that left a parameter out."""

_RESTARTS_MAX = 2
"""How often a search whose pages expired begins again."""

PLAIN = ",:/"
"""Needs no escape in a query; escaping a list of ids took longer than anything else here."""

_SHAPE = frozenset({"_count", "_offset", "_sort", "_total", "_summary", "_elements", "_format"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked, page after page."""

    target: str
    """``Observation`` or ``Patient/1/$everything``."""
    type: str | None
    """Type of the matches; None when everything is a match."""
    params: Mapping[str, str]
    post: bool = False

    def sized(self, count: int, offset: int | None) -> Mapping[str, str]:
        """
        Return the parameters with those that shape pages.

        Args:
            count: Resources a page.
            offset: First match, by `_offset`, which HAPI 8.8.0 answers without
                its stall at page two (seen 2026-11). It is no snapshot: sorted,
                and counted afterwards. None for a server's own paging.
        """
        shaped = {**self.params, "_count": str(count)}
        if offset is None:
            return shaped
        if self.type is not None:
            shaped = {"_sort": "_id", "_total": "accurate", **shaped}
        return {**shaped, "_offset": str(offset)}

    def filters(self) -> set[str]:
        """Return the names of what chooses the matches."""
        names = {name.partition(":")[0] for name in self.params}
        return {name for name in names if name not in _SHAPE and not name.startswith("_")}


@dataclass(slots=True)
class Pages:
    """What has come so far, each resource once."""

    matches: dict[RecordRef, Resource] = field(default_factory=dict[RecordRef, Resource])
    included: dict[RecordRef, Resource] = field(default_factory=dict[RecordRef, Resource])
    total: int | None = None
    asked: frozenset[str] = frozenset()
    shortfall: str | None = None

    def add(self, page: Page) -> None:
        """Add a page."""
        before = len(self.matches) + len(self.included)
        self.matches.update((one.ref, one) for one in page.matches)
        self.included.update((one.ref, one) for one in page.included)
        if page.total is not None:
            self.total = max(page.total, self.total or 0)
        if page.unreadable:
            self.fall_short("unreadable")
        grown = len(self.matches) + len(self.included) > before
        if page.next is not None and before and not grown:
            self.fall_short("next-link-loop")  # only a loop brings nothing new for ever

    def fall_short(self, why: str) -> None:
        """Note the first reason why something may be missing."""
        self.shortfall = self.shortfall or why

    def only_included(self) -> list[Resource]:
        """Return what was included and is no match."""
        return [one for ref, one in self.included.items() if ref not in self.matches]


class _Expired(Exception):
    """The pages of this search are no longer there."""


class Paging:
    """One search, page by page."""

    def __init__(self, wire: Wire, query: Query, count: int, offsets: int) -> None:
        """
        Make ready.

        Args:
            wire: To the server.
            query: What is asked.
            count: Resources a page.
            offsets: How many pages to ask for at a time by `_offset`; 0 to
                follow the server's own links.
        """
        self._wire = wire
        self._query = query
        self._count = count
        self._offsets = offsets
        self._pages = Pages()

    def run(self) -> Pages:
        """
        Return all pages.

        Raises:
            OversizedAnswer: A page is too long: ask for fewer a page.
            MalformedJson: A page is no Bundle.
            SourceUnreachable: or DestinationUnreachable.
        """
        for _ in range(_RESTARTS_MAX + 1):
            if self._whole():
                self._count_them()
                return self._pages
        return Pages(shortfall="pages-expired")

    def _whole(self) -> bool:
        """Go through all pages; False when they expired on the way."""
        self._pages = Pages()
        try:
            self._run()
        except _Expired:
            return False
        return True

    def _run(self) -> None:
        first = self._first()
        if first.status >= 400:  # noqa: PLR2004 - RFC 9110 15.5
            self._refused(first)
            return
        page = read(first.body, self._query.type)
        self._check_asked(page)
        self._pages.add(page)
        if self._offsets and page.next is not None and self._pages.total is not None:
            self._by_offset(len(page.matches), self._pages.total)
        else:
            self._by_links(page)

    def _first(self) -> Answer:
        return self._ask(0 if self._offsets else None)

    def _ask(self, offset: int | None) -> Answer:
        params = self._query.sized(self._count, offset)
        if not self._query.post:
            return self._wire.request("GET", self._query.target, params=params, headers=STRICT)
        return self._wire.request(
            "POST",
            f"{self._query.target}/_search",
            body=urlencode(params, safe=PLAIN).encode(),
            content_type=FORM,
            headers=STRICT,
        )

    def _refused(self, answer: Answer) -> None:
        if answer.status >= 500 and answer.status != 501:  # noqa: PLR2004 - 501: not implemented
            raise failed(self._wire, answer)
        self._pages.fall_short("search-refused")

    def _check_asked(self, page: Page) -> None:
        """See whether the server says that it used what was asked."""
        if page.asked is None:
            return
        self._pages.asked = page.asked
        if page.asked and not self._query.post and self._query.filters() - page.asked:
            self._pages.fall_short("parameters-ignored")

    def _by_links(self, page: Page) -> None:
        seen: set[str] = set()
        while page.next is not None and self._pages.shortfall in {None, "unreadable"}:
            url = self._next(page.next, seen)
            if url is None:
                return
            page = self._page(self._wire.request("GET", url, headers=STRICT))
            self._pages.add(page)

    def _next(self, link: str, seen: set[str]) -> str | None:
        """Return the next page's URL, or note why it is not followed."""
        try:
            url = self._wire.page(link, self._query.target)
        except ForeignLink:
            self._pages.fall_short("foreign-next-link")
            return None
        if url in seen:
            self._pages.fall_short("next-link-loop")
            return None
        seen.add(url)
        if len(seen) >= self._wire.limits.pages_max:
            self._pages.fall_short("page-limit")
            return None
        return url

    def _by_offset(self, step: int, total: int) -> None:
        """Ask for several pages at a time; an empty one ends it, whatever the total says."""
        starts = range(step, total, step) if step else range(0)
        with ThreadPoolExecutor(self._offsets) as threads:
            for at in range(0, len(starts), self._offsets):
                if at >= self._wire.limits.pages_max:
                    self._pages.fall_short("page-limit")
                    return
                pages = list(threads.map(self._at, starts[at : at + self._offsets]))
                self._add(pages)
                if any(not page.matches for page in pages):
                    return

    def _add(self, pages: Iterable[Page]) -> None:
        for page in pages:
            self._pages.add(page)

    def _at(self, offset: int) -> Page:
        return self._page(self._ask(offset))

    def _page(self, answer: Answer) -> Page:
        if 400 <= answer.status < 500:  # noqa: PLR2004 - 410; some say 404 or 400 to old pages
            raise _Expired
        if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
            raise failed(self._wire, answer)
        return read(answer.body, self._query.type)

    def _count_them(self) -> None:
        total = self._pages.total
        if total is not None and len(self._pages.matches) < total:
            self._pages.fall_short("total-mismatch")


def failed(wire: Wire, answer: Answer) -> Unreachable:
    """Return the error of an answer that a server could not give; never its text."""
    codes = ", ".join(outcome_of(answer.body).codes)
    said = f"{answer.status}; {codes}" if codes else f"{answer.status}"
    return wire.faults.unreachable(
        f"{wire.faults.who} failed by a fault of its own ({said}): continue later with resume, and"
        " if it stays, ask its operator"
    )
