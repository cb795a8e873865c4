"""Reading by reference: one resource, or many in as few requests as the server allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fhir_bridge import lossless
from fhir_bridge.errors import BadRecord, BridgeError, OversizedAnswer
from fhir_bridge.fhir_server.capabilities import Capabilities
from fhir_bridge.fhir_server.outcome import Absent, outcome_of, refusal
from fhir_bridge.fhir_server.page import same
from fhir_bridge.fhir_server.paging import Query, failed
from fhir_bridge.fhir_server.search import SearchAnswer, search
from fhir_bridge.records import RecordRef, Resource
from fhir_bridge.wire import Answer, Side, Wire

BATCH_MAX = 100
"""GETs in one batch; up to here it is the fastest way (HAPI 8.8.0, seen 2026-11)."""

IDS_MIN, IDS_MAX = 100, 500
"""Ids in one search."""

_FEW = 20
"""Resources of one type for which a search of its own does not pay."""

_BATCH_ROUNDS = 6
_REF = re.compile(r"[A-Z][A-Za-z]{1,63}/(?!\.{1,2}\Z)[A-Za-z0-9\-.]{1,64}\Z")
_NOT_FOUND = {404, 410}
_THROTTLED = {429, 503}

One = TypeVar("One")
Many = TypeVar("Many")


def read(
    wire: Wire, ref: RecordRef, *, version: str = "", bytes_max: int | None = None
) -> Resource:
    """
    Read one resource.

    Raises:
        Absent: It is not there, or the reference cannot name a resource.
        SourceUnreachable: or DestinationUnreachable.
        MalformedJson: The answer is another resource.
        OversizedAnswer: It is longer than the limit.
    """
    if not is_ref(ref):
        raise Absent(ref)
    target = f"{ref}/_history/{version}" if version else ref
    answer = wire.request("GET", target, bytes_max=bytes_max)
    if answer.status in _NOT_FOUND:
        raise Absent(ref, gone=answer.status == 410)  # noqa: PLR2004 - RFC 9110 15.5.11
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        raise unexpected(wire, ref, answer)
    return same(ref, lossless.decode(answer.body))


def is_ref(ref: str) -> bool:
    """Tell whether a reference may be asked: `..` is an id in FHIR's grammar, and a way out."""
    return _REF.match(ref) is not None


def unexpected(wire: Wire, ref: RecordRef | None, answer: Answer) -> BridgeError:
    """Return the error of an answer that is neither the resource nor its absence."""
    if answer.status >= 500:  # noqa: PLR2004 - RFC 9110 15.6
        return failed(wire, answer)
    outcome = outcome_of(answer.body)
    if wire.side is Side.DESTINATION:
        return refusal(wire.faults.who, ref, answer.status, outcome)
    why = ", ".join((str(answer.status), *outcome.codes))
    return BadRecord(f"{wire.faults.who} does not give {ref or 'what was asked'} ({why})")


def in_parallel(threads: int, ask: Callable[[One], Many], rows: Sequence[One]) -> list[Many]:
    """Ask for each row, a few at a time; the first error ends it."""
    if threads < 2 or len(rows) < 2:  # noqa: PLR2004 - a pool for one request only costs
        return [ask(row) for row in rows]
    with ThreadPoolExecutor(min(threads, len(rows))) as pool:
        return list(pool.map(ask, rows))


class Reader:
    """Reads many resources, and remembers which ways this server refused."""

    def __init__(self, wire: Wire, capabilities: Capabilities) -> None:
        """Begin with every way that the server is said to have."""
        self._wire = wire
        self._quirks = capabilities.quirks
        self._batch = capabilities.batch
        self._by_id = True
        self.oversized: set[RecordRef] = set()
        """What is there and is longer than a page may be."""
        self.gone: set[RecordRef] = set()
        """What the server says was there and was deleted."""

    def read_many(
        self, refs: Iterable[RecordRef], *, exactly: bool = False
    ) -> dict[RecordRef, Resource | None]:
        """
        Read many resources.

        Args:
            refs: Each is asked once.
            exactly: Do not search: a search does not tell what was deleted
                (`gone`) from what never was.

        Returns:
            Each reference, in the order given, with what is there; None when
            it is not there, or is longer than a page may be (`oversized`).

        Raises:
            SourceUnreachable: or DestinationUnreachable.
        """
        found: dict[RecordRef, Resource | None] = dict.fromkeys(refs)
        rest = [ref for ref in found if is_ref(ref)]
        got: dict[RecordRef, Resource] = {}
        absent: set[RecordRef] = set()
        ways = (self._batches, self._singly)
        for way in ways if exactly else (self._search, *ways):
            rest = [ref for ref in rest if ref not in got and ref not in absent]
            way(rest, got, absent)
        found.update((ref, one) for ref, one in got.items() if ref in found)
        return found

    def _search(
        self, refs: Sequence[RecordRef], got: dict[RecordRef, Resource], absent: set[RecordRef]
    ) -> None:
        """Search by lists of ids, where there are many of one type."""
        if not self._by_id or (self._batch and len(refs) <= BATCH_MAX):
            return
        for rows, answer in zip(
            lists := self._lists(refs), self._in_parallel(self._ids, lists), strict=True
        ):
            if answer is None:
                continue
            got.update((one.ref, one) for one in answer.resources)
            if answer.shortfall == "search-refused":
                self._by_id = False
            elif answer.shortfall is None and self._quirks.search_is_current:
                absent.update(ref for ref in rows if ref not in got)

    def _lists(self, refs: Sequence[RecordRef]) -> list[list[RecordRef]]:
        by_type: dict[str, list[RecordRef]] = {}
        for ref in refs:
            by_type.setdefault(ref.partition("/")[0], []).append(ref)
        lists = []
        for rows in by_type.values():
            if len(rows) > (_FEW if self._batch else 1):
                even = -(-len(rows) // max(1, self._quirks.parallel))
                size = max(IDS_MIN, min(IDS_MAX, self._quirks.page_count, even))
                lists += [rows[at : at + size] for at in range(0, len(rows), size)]
        return lists

    def _ids(self, refs: Sequence[RecordRef]) -> SearchAnswer | None:
        ids = ",".join(ref.partition("/")[2] for ref in refs)
        type_ = refs[0].partition("/")[0]
        params = {"_id": ids, "_count": str(len(refs))}
        try:
            return search(
                self._wire, self._quirks, Query(target=type_, type=type_, params=params, post=True)
            )
        except OversizedAnswer:
            return None

    def _batches(
        self, refs: Sequence[RecordRef], got: dict[RecordRef, Resource], absent: set[RecordRef]
    ) -> None:
        """Ask by batches of GETs."""
        if len(refs) < 2:  # noqa: PLR2004 - one GET is a GET
            return
        lists = [refs[at : at + BATCH_MAX] for at in range(0, len(refs), BATCH_MAX)]

        def ask(rows: Sequence[RecordRef]) -> None:
            self._one_batch(rows, got, absent)

        self._in_parallel(ask, lists)

    def _one_batch(
        self, refs: Sequence[RecordRef], got: dict[RecordRef, Resource], absent: set[RecordRef]
    ) -> None:
        """Ask until no entry says that it was too much just now."""
        for attempt in range(1, _BATCH_ROUNDS + 1):
            if not self._batch:
                return
            again: list[RecordRef] = []
            for ref, status, content in self._entries(refs):
                if status == 200 and content is not None:  # noqa: PLR2004 - RFC 9110 15.3.1
                    got[ref] = same(ref, content)
                elif status in _NOT_FOUND:
                    absent.add(ref)
                    self._note_gone(ref, gone=status == 410)  # noqa: PLR2004 - RFC 9110 15.5.11
                elif status in _THROTTLED:
                    again.append(ref)
            if not again:
                return
            refs = again
            self._wire.patience.wait(None, attempt)

    def _entries(self, refs: Sequence[RecordRef]) -> list[tuple[RecordRef, int, Any]]:
        """Return the answer to each GET; what is not in it is asked singly later."""
        bundle = {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": {"method": "GET", "url": ref}} for ref in refs],
        }
        try:
            answer = self._wire.request("POST", "", body=lossless.encode(bundle))
        except OversizedAnswer:
            if len(refs) == 1:
                return []
            half = len(refs) // 2
            return [*self._entries(refs[:half]), *self._entries(refs[half:])]
        rows = _rows(answer, len(refs))
        if rows is None:
            self._batch = False
            return []
        return [(ref, *_entry(row)) for ref, row in zip(refs, rows, strict=True)]

    def _singly(
        self, refs: Sequence[RecordRef], got: dict[RecordRef, Resource], _absent: set[RecordRef]
    ) -> None:
        for one in self._in_parallel(self._one, refs):
            if one is not None:
                got[one.ref] = one

    def _one(self, ref: RecordRef) -> Resource | None:
        try:
            return read(self._wire, ref)
        except Absent as error:
            self._note_gone(ref, gone=error.gone)
            return None
        except OversizedAnswer:
            self.oversized.add(ref)
            return None

    def _note_gone(self, ref: RecordRef, *, gone: bool) -> None:
        if gone:
            self.gone.add(ref)

    def _in_parallel(self, ask: Callable[[One], Many], rows: Sequence[One]) -> list[Many]:
        return in_parallel(self._quirks.parallel, ask, rows)


def _rows(answer: Answer, expected: int) -> list[Any] | None:
    """Return the entries of a batch's answer; None when it is not one."""
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        return None
    content = lossless.decode(answer.body)
    rows = content.get("entry") if isinstance(content, dict) else None
    return rows if isinstance(rows, list) and len(rows) == expected else None


def _entry(row: Any) -> tuple[int, Any]:
    """Return the status and the resource of one entry; 0 when it says nothing."""
    row = row if isinstance(row, dict) else {}
    response = row.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    return status_of(status), row.get("resource")


def status_of(text: Any) -> int:
    """Return the number in ``201 Created``; 0 when there is none."""
    digits = text[:3] if isinstance(text, str) else ""
    return int(digits) if digits.isascii() and digits.isdigit() else 0
