"""Bundles that the sandbox answers with, put together from stored bytes without parsing them."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from fhir_bridge import lossless
from fhir_bridge.records import Json
from fhir_bridge.sandbox.holdings import Holdings
from fhir_bridge.sandbox.outcomes import Problem, Reply

_SNAPSHOTS_MAX = 1000
"""Searches whose later pages are remembered; older ones are answered 410, as by HAPI."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The result of a search: matches in order, and which part of them is wanted."""

    path: str
    honoured: tuple[tuple[str, str], ...]
    """Parameters for the self link."""
    refs: Sequence[str]
    size: int
    offset: int = 0
    by_offset: bool = False
    """Link to the next page by `_offset` instead of a remembered search."""
    revincludes: tuple[tuple[str, str], ...] = ()
    token: str = ""


class Pages:
    """Answers listings page by page."""

    def __init__(self, base: str, holdings: Holdings) -> None:
        """Start with no search remembered."""
        self._base = base
        self._holdings = holdings
        self._numbers = itertools.count(1)
        self._remembered: OrderedDict[str, Listing] = OrderedDict()

    def later(self, token: str, offset: int) -> Reply:
        """
        Return a page of an earlier search.

        Raises:
            Problem: 410, when the search is not remembered any more.
        """
        listing = self._remembered.get(token)
        if listing is None:
            raise Problem(410, "processing", "HAPI-0417: the search is not known any more")
        return self.page(replace(listing, offset=offset))

    def page(self, listing: Listing) -> Reply:
        """Return the wanted page of a listing."""
        if not listing.token and not listing.by_offset:
            listing = replace(listing, token=f"s{next(self._numbers)}")
        refs = listing.refs[listing.offset : listing.offset + listing.size]
        entries = [self._entry(ref, "match") for ref in refs]
        entries += [self._entry(ref, "include") for ref in self._including(listing, refs)]
        return bundle("searchset", entries, total=len(listing.refs), links=self._links(listing))

    def count(self, listing: Listing) -> Reply:
        """Return only how many there are."""
        links = [("self", self._address(listing.path, listing.honoured))]
        return bundle("searchset", [], total=len(listing.refs), links=links)

    def _links(self, listing: Listing) -> list[tuple[str, str]]:
        links = [("self", self._address(listing.path, listing.honoured))]
        after = listing.offset + listing.size
        if after >= len(listing.refs):
            return links
        if listing.by_offset:
            kept = [pair for pair in listing.honoured if pair[0] not in {"_offset", "_count"}]
            kept += [("_offset", str(after)), ("_count", str(listing.size))]
            return [*links, ("next", self._address(listing.path, kept))]
        self._remembered[listing.token] = listing
        while len(self._remembered) > _SNAPSHOTS_MAX:
            self._remembered.popitem(last=False)
        more = [("_getpages", listing.token), ("_getpagesoffset", str(after))]
        more += [("_count", str(listing.size)), ("_bundletype", "searchset")]
        return [*links, ("next", self._address("", more))]

    def _address(self, path: str, pairs: Iterable[tuple[str, str]]) -> str:
        query = urlencode(list(pairs))
        address = f"{self._base}/{path}" if path else self._base
        return f"{address}?{query}" if query else address

    def _entry(self, ref: str, mode: str) -> bytes:
        version = self._holdings.current(ref)
        raw = (version and version.raw) or b"null"
        head = lossless.encode({"fullUrl": f"{self._base}/{ref}"})[:-1]
        return head + b',"resource":' + raw + b',"search":{"mode":"%s"}}' % mode.encode()

    def _including(self, listing: Listing, refs: Sequence[str]) -> list[str]:
        found: dict[str, None] = {}
        for type_, parameter in listing.revincludes:
            for ref in refs:
                for id_ in self._holdings.found(type_, parameter, ref):
                    found[f"{type_}/{id_}"] = None
        return [ref for ref in found if ref not in set(refs)]


def bundle(
    type_: str,
    entries: Sequence[bytes],
    *,
    total: int | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> Reply:
    """Return a Bundle as an answer; its entries are JSON already."""
    head: Json = {"resourceType": "Bundle", "type": type_}
    if total is not None:
        head["total"] = total
    if links:
        head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    body = lossless.encode(head)[:-1]
    body += b',"entry":[' + b",".join(entries) + b"]}" if entries else b"}"
    return Reply(status=200, body=body)
