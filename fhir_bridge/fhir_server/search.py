"""
A search to its end: all pages, counted against what the server promised.

A search that ends early without saying so loses records in silence. So each
answer says why it may be short, in a word that the manifest can keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from fhir_bridge import lossless
from fhir_bridge.errors import BadRecord, MalformedJson, OversizedAnswer
from fhir_bridge.fhir_server.page import read as read_page
from fhir_bridge.fhir_server.page import same
from fhir_bridge.fhir_server.paging import PLAIN, STRICT, Pages, Paging, Query
from fhir_bridge.fhir_server.quirks import Quirks
from fhir_bridge.records import RecordRef, Resource
from fhir_bridge.wire import OverTotal, Wire

_QUERY_CHARS_MAX = 1_500
"""Longer queries go by POST: HAPI 8.8.0 in Tomcat takes 8 KiB of headers (seen 2026-11)."""


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
    ``next-link-loop``, ``page-limit``, ``pages-expired``, ``unreadable``,
    ``parameters-ignored``, ``search-refused``; None when it is whole.
    """
    self_link_params: frozenset[str] = frozenset()
    """Names of the parameters that the server says it used."""
    oversized: list[RecordRef] = field(default_factory=list[RecordRef])
    """Matches that cannot be read: longer or deeper than one answer may be, or not JSON."""


def search(wire: Wire, quirks: Quirks, query: Query) -> SearchAnswer:
    """
    Ask, follow every page, and count.

    Raises:
        SourceUnreachable: or DestinationUnreachable: nothing was changed.
        MalformedJson: What comes is not a Bundle.
        OversizedAnswer: Even a list of ids is longer than a page may be.
    """
    if len(urlencode(query.params, safe=PLAIN)) > _QUERY_CHARS_MAX:
        query = replace(query, post=True)
    found = _whole(wire, quirks, query, offset=quirks.offset_paging)
    if quirks.offset_paging and found.shortfall == "total-mismatch":
        # Something was written between two pages: ask for a snapshot instead.
        found = _whole(wire, quirks, query, offset=False)
    return found


def count(wire: Wire, target: str, params: Mapping[str, str]) -> int | None:
    """Return how many resources the server says match; None when it does not say."""
    answer = wire.request("GET", target, params={**params, "_summary": "count"}, headers=STRICT)
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        return None
    try:
        return read_page(answer.body, target).total
    except BadRecord:
        return None


def _whole(wire: Wire, quirks: Quirks, query: Query, *, offset: bool) -> SearchAnswer:
    """Begin again with a quarter of the count when a page cannot be read."""
    size = int(query.params.get("_count", quirks.page_count))
    while True:
        try:
            return _answer(Paging(wire, query, size, quirks.parallel if offset else 0).run())
        except OverTotal:
            raise
        except (OversizedAnswer, MalformedJson):
            if size == 1:
                return _one_by_one(wire, query, quirks)
            size = max(1, size // 4)


def _answer(pages: Pages) -> SearchAnswer:
    return SearchAnswer(
        resources=[*pages.matches.values(), *pages.only_included()],
        matches=len(pages.matches),
        total=pages.total,
        shortfall=pages.shortfall,
        self_link_params=pages.asked,
    )


def _one_by_one(wire: Wire, query: Query, quirks: Quirks) -> SearchAnswer:
    """Ask for ids alone and read each: one resource that cannot be read does not hide the rest."""
    params = {**query.params, "_elements": "id"}
    found = _answer(Paging(wire, replace(query, params=params), quirks.page_count, 0).run())
    resources: list[Resource] = []
    unreadable: list[RecordRef] = []
    for one in found.resources:
        try:
            answer = wire.request("GET", one.ref)
            got = same(one.ref, lossless.decode(answer.body))
        except OverTotal:
            raise
        except (OversizedAnswer, MalformedJson):
            unreadable.append(one.ref)
        else:
            resources.append(got)
    return replace(
        found,
        resources=resources,
        oversized=unreadable,
        shortfall=found.shortfall or ("unreadable" if unreadable else None),
    )
