"""
Storing at a destination, so that nothing is lost and nothing is stored twice.

Every write is a PUT under an id that was settled before, so sending it again
makes no second resource. Even so an answer that was lost is looked for before
anything is sent again: what was stored is found there, not repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.errors import BadRecord, DestinationRefused, Unreachable
from fhir_bridge.fhir_server.capabilities import Capabilities
from fhir_bridge.fhir_server.chunks import (
    AfterSend,
    BeforeSend,
    Chunk,
    Room,
    Stored,
    Write,
    chunks,
    if_match,
    in_order,
    singles,
    transaction,
)
from fhir_bridge.fhir_server.outcome import Outcome, outcome_in, outcome_of, refusal
from fhir_bridge.fhir_server.paging import failed
from fhir_bridge.fhir_server.read import Reader, in_parallel, status_of
from fhir_bridge.records import RecordRef, Resource
from fhir_bridge.wire import ONCE, Answer, AnswerLost, Wire, retry_after_seconds
from fhir_bridge.wire.connection import FHIR_JSON

_SECONDS, _SECONDS_PER_ENTRY, _SECONDS_MAX = 30.0, 0.010, 300.0
_TIMED_OUT_SECONDS = 5.0
_TRIES_MAX = 3
_CONFLICTS_MAX = 6
_CONFLICT_SECONDS = 0.1
_FAULTS_IN_A_ROW_MAX = 3
_MINIMAL = {"Prefer": "return=minimal"}
_NOT_OFFERED = {404, 405, 501}
_NOT_OFFERED_MAX = 3
"""Single writes so answered before it is taken for the server's way: it gives out ids itself."""
_CONFLICT = {409, 412}
_LATER = {502, 503, 504}
_PERMANENT = "HAPI-2223"
"""HAPI 8.8.0 says 500 to data it will never take (seen 2026-11): asking again is no use."""

Sent = Answer | Unreachable
"""What came back: an answer, or that none came."""


class Delivery:
    """One round of writing to a destination."""

    def __init__(
        self,
        wire: Wire,
        capabilities: Capabilities,
        reader: Reader,
        before_send: BeforeSend,
        after_send: AfterSend | None = None,
        *,
        room: Room,
    ) -> None:
        """Begin with nothing sent; what is learnt about room is kept in `room`."""
        self._wire = wire
        self._quirks = capabilities.quirks
        self._create_only = capabilities.create_only
        self._transactions = capabilities.transaction
        self._single_puts = True
        self._room = room
        self._reader = reader
        self._before_send = before_send
        self._after_send = after_send
        self._stored: dict[RecordRef, Stored] = {}
        self._faults_in_a_row = 0
        self._not_offered = 0
        self._took_any = False

    def run(self, writes: Sequence[Write]) -> list[Stored]:
        """
        Send everything.

        Returns:
            What became of each, in the order given.

        Raises:
            DestinationUnreachable: Continue later; what was stored is found then.
            Throttled: The destination wants to be left alone for longer.
        """
        waiting = list(reversed(self._cut(in_order(writes))))
        while waiting:
            if (smaller := self._too_large(waiting[-1])) is not None:
                waiting[-1:] = reversed(smaller)
                continue
            window = self._window(waiting)
            for chunk, sent in zip(window, self._send(window), strict=True):
                waiting.extend(reversed(self._settle(chunk, sent)))
        return [self._stored[one.ref] for one in writes]

    def _cut(self, writes: Sequence[Write]) -> list[Chunk]:
        if not self._transactions:
            return list(singles(writes))
        return list(chunks(writes, self._room))

    def _too_large(self, chunk: Chunk) -> list[Chunk] | None:
        """Cut by what was learnt since the chunk was made; None when it can go as it is."""
        if not self._transactions and len(chunk.writes) > 1:
            return list(singles(chunk.writes))
        return None if self._room.holds(chunk) else chunk.halves()

    def _window(self, waiting: list[Chunk]) -> list[Chunk]:
        """Take what can be sent now: single writes of one level go beside each other."""
        window = [waiting.pop()]
        while (
            not self._transactions
            and waiting
            and len(window) < self._quirks.parallel
            and waiting[-1].level == window[0].level
            and len(waiting[-1].writes) == 1
        ):
            window.append(waiting.pop())
        return window

    def _send(self, window: Sequence[Chunk]) -> list[Sent]:
        for chunk in window:
            self._before_send(chunk.writes)
        return in_parallel(self._quirks.parallel, self._request, window)

    def _request(self, chunk: Chunk) -> Sent:
        seconds = min(_SECONDS_MAX, _SECONDS + _SECONDS_PER_ENTRY * len(chunk.writes))
        headers = {**_MINIMAL, **self._quirks.headers}
        if chunk.shared:
            headers |= self._quirks.shared_headers
        try:
            if self._as_transaction(chunk):
                return self._wire.request(
                    "POST",
                    "",
                    body=transaction(chunk, self._wire.base, self._create_only),
                    headers=headers,
                    read_seconds=seconds,
                    retry=ONCE,
                )
            one = chunk.writes[0]
            if version := if_match(one, self._create_only):
                headers["If-Match"] = f'W/"{version}"'
            return self._wire.request(
                "PUT",
                one.ref,
                body=one.body,
                content_type=one.raw_content_type or FHIR_JSON,
                headers=headers,
                read_seconds=seconds,
                retry=ONCE,
            )
        except Unreachable as error:
            return error

    def _as_transaction(self, chunk: Chunk) -> bool:
        """
        Tell whether a chunk goes as a transaction; one write is a PUT where the server has that.

        HAPI 8.8.0 looks up each reference of a transaction among all that it
        holds: one Provenance with 1,000 targets took 2.7 s so, and 0.4 s as a
        PUT (seen 2026-11).
        """
        if not self._transactions or chunk.alone:
            return False
        return len(chunk.writes) > 1 or not self._single_puts

    def _settle(self, chunk: Chunk, sent: Sent) -> list[Chunk]:
        """Note what is settled, and return what is to be sent again, in order."""
        if isinstance(sent, Unreachable):
            return self._lost(chunk, sent, _pause(sent), done=isinstance(sent, AnswerLost))
        if sent.status < 300:  # noqa: PLR2004 - RFC 9110 15.3
            return self._taken(chunk, sent)
        if sent.status in _LATER:
            return self._lost(chunk, failed(self._wire, sent), self._asked_to_wait(sent))
        if sent.status == 429:  # noqa: PLR2004 - RFC 6585 4
            self._wire.patience.wait(self._asked_to_wait(sent), chunk.tries + 1)
            return [chunk.again()]
        return self._said_no(chunk, sent, outcome_of(sent.body))

    def _said_no(self, chunk: Chunk, sent: Answer, outcome: Outcome) -> list[Chunk]:
        if sent.status in _CONFLICT:
            return self._conflict(chunk, sent, outcome)
        if len(chunk.writes) > 1 and (sent.status == 413 or outcome.too_large):  # noqa: PLR2004
            self._room.was_too_small(chunk)
            return chunk.halves()
        if sent.status in _NOT_OFFERED and self._transactions and not chunk.alone:
            return self._the_other_way(chunk)
        if sent.status >= 500 and _PERMANENT not in outcome.codes and not chunk.tries:  # noqa: PLR2004
            return self._lost(chunk, failed(self._wire, sent), None)
        return self._narrow(chunk, sent, outcome)

    def _the_other_way(self, chunk: Chunk) -> list[Chunk]:
        """Send as single writes what goes in no transaction, and the other way round."""
        if self._as_transaction(chunk):
            self._transactions = False
            return list(singles(chunk.writes))
        self._single_puts = False
        return [chunk]

    def _narrow(self, chunk: Chunk, sent: Answer, outcome: Outcome) -> list[Chunk]:
        """One of many is not taken: find it, so that the others are."""
        if len(chunk.writes) == 1:
            self._refuse(chunk.writes[0], sent, outcome)
            return []
        named = [one for at, one in enumerate(chunk.writes) if at in outcome.entries]
        if named and len(named) < len(chunk.writes):
            # What it names goes by itself, last: it may be named wrongly.
            return [*chunk.without(one.ref for one in named), *(Chunk((one,)) for one in named)]
        return chunk.halves()

    def _refuse(self, one: Write, sent: Answer, outcome: Outcome) -> None:
        if sent.status >= 500 and sent.status not in _NOT_OFFERED:  # noqa: PLR2004 - RFC 9110 15.6
            self._faults_in_a_row += 1
            if self._faults_in_a_row >= _FAULTS_IN_A_ROW_MAX:
                raise failed(self._wire, sent)
        if sent.status in _NOT_OFFERED:
            self._count_not_offered(sent, outcome)
        error = refusal(self._wire.faults.who, one.ref, sent.status, outcome)
        self._note([Stored(ref=one.ref, status="refused", error=error)])

    def _count_not_offered(self, sent: Answer, outcome: Outcome) -> None:
        """Stop early where no resource is taken under an id that was settled before."""
        self._not_offered += 1
        if self._not_offered >= _NOT_OFFERED_MAX and not self._took_any:
            raise DestinationRefused(
                f"{self._wire.faults.who} takes no resource under an id that the bridge chose"
                f" ({sent.status}): ask its operator to allow PUT to create (updateCreate)",
                status=sent.status,
                codes=outcome.codes,
            )

    def _lost(
        self, chunk: Chunk, error: Unreachable, asked: float | None, *, done: bool = True
    ) -> list[Chunk]:
        """
        Look what is there before anything is sent again.

        Args:
            chunk: What was sent.
            error: Raised when it is hopeless.
            asked: How long to wait, in seconds.
            done: Whether the destination may have done it all the same.
        """
        left = self._look(chunk) if done else [chunk]
        if not left:
            return []
        if chunk.tries + 1 >= _TRIES_MAX and len(left[0].writes) == 1:
            raise error
        self._wire.patience.wait(asked, chunk.tries + 1)
        # A server may go on with what we gave up on, so it is looked for once more.
        left = self._look(left[0]) if done else left
        if not left:
            return []
        if chunk.tries:
            return [half.again() for half in left[0].halves()]
        return [left[0].again()]

    def _look(self, chunk: Chunk) -> list[Chunk]:
        """Note what is at the destination already; return the rest."""
        there = self._reader.read_many(one.ref for one in chunk.writes)
        done = []
        for one in chunk.writes:
            resource = there[one.ref]
            if resource is not None and (one.if_match is None or resource.version != one.if_match):
                done.append(_found(one, resource))
        self._note(done)
        return chunk.without(one.ref for one in done)

    def _conflict(self, chunk: Chunk, sent: Answer, outcome: Outcome) -> list[Chunk]:
        """Another writer was there at the same time, or a copy was changed there."""
        there = self._reader.read_many(
            (one.ref for one in chunk.writes if one.new or one.if_match), exactly=chunk.new
        )
        found = [one for one in chunk.writes if one.new and self._was_there(one.ref, there)]
        changed = [
            one
            for one in chunk.writes
            if one.if_match and (now := there[one.ref]) is not None and now.version != one.if_match
        ]
        self._note([_found(one, there[one.ref]) for one in found])
        for one in changed:
            self._refuse(one, sent, outcome)
        left = chunk.without(one.ref for one in (*found, *changed))
        if found or changed or not left:
            return left
        if chunk.tries + 1 >= _CONFLICTS_MAX:
            return self._narrow(left[0], sent, outcome)
        self._wire.patience.wait(_CONFLICT_SECONDS * 2**chunk.tries, chunk.tries + 1)
        return [left[0].again()]

    def _was_there(self, ref: RecordRef, there: Mapping[RecordRef, Resource | None]) -> bool:
        return there[ref] is not None or ref in self._reader.gone

    def _taken(self, chunk: Chunk, sent: Answer) -> list[Chunk]:
        self._faults_in_a_row, self._took_any = 0, True
        if not self._as_transaction(chunk):
            etag = sent.headers.get("etag")
            self._note([_stored(chunk.writes[0], sent.status, etag, unchanged=False)])
            return []
        rows = _response_rows(sent, len(chunk.writes))
        if rows is None:  # an answer that says nothing about what was done
            return self._lost(chunk, self._wire.faults.lost(), None)
        again: list[Write] = []
        done: list[Stored] = []
        for one, row in zip(chunk.writes, rows, strict=True):
            status, outcome = status_of(row.get("status")), outcome_in(row.get("outcome"))
            if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110 15.3
                done.append(_stored(one, status, row.get("etag"), unchanged=_no_change(row)))
            elif status in {429, *_LATER, *_CONFLICT} and chunk.tries < _CONFLICTS_MAX:
                again.append(one)
            else:
                error = refusal(self._wire.faults.who, one.ref, status, outcome)
                done.append(Stored(ref=one.ref, status="refused", error=error))
        self._note(done)
        if not again:
            return []
        self._wire.patience.wait(None, chunk.tries + 1)
        return [Chunk(tuple(again), chunk.tries + 1)]

    def _note(self, rows: Sequence[Stored]) -> None:
        self._stored.update((one.ref, one) for one in rows)
        if rows and self._after_send is not None:
            self._after_send(rows)

    def _asked_to_wait(self, sent: Answer) -> float | None:
        return retry_after_seconds(sent.headers, self._wire.clock.now())


def _pause(error: Unreachable) -> float | None:
    """Give a server that is still at work some time to finish."""
    timed_out = isinstance(error, AnswerLost) and error.timed_out
    return _TIMED_OUT_SECONDS if timed_out else None


def _response_rows(sent: Answer, expected: int) -> list[dict[str, Any]] | None:
    try:
        content = lossless.decode(sent.body)
    except BadRecord:
        return None
    rows = content.get("entry") if isinstance(content, dict) else None
    if not isinstance(rows, list) or len(rows) != expected:
        return None
    found = [row.get("response") if isinstance(row, dict) else None for row in rows]
    return [row if isinstance(row, dict) else {} for row in found]


def _found(one: Write, there: Resource | None) -> Stored:
    """Say what is there; of what nobody looked for before it is not known who stored it."""
    known = "created" if one.if_match is None else "updated"
    version = None if there is None else there.version
    return Stored(ref=one.ref, status="found" if one.new else known, version=version)


def _stored(one: Write, status: int, etag: Any, *, unchanged: bool) -> Stored:
    version = etag.removeprefix("W/").strip('"') if isinstance(etag, str) else None
    if status == 201:  # noqa: PLR2004 - RFC 9110 15.3.2
        word = "created"
    else:
        same = unchanged or (version is not None and version == one.if_match)
        word = "unchanged" if same else "updated"
    return Stored(ref=one.ref, status=word, version=version)


def _no_change(row: dict[str, Any]) -> bool:
    """HAPI 8.8.0 says so in its outcome (seen 2026-11)."""
    return "SUCCESSFUL_UPDATE_NO_CHANGE" in str(row.get("outcome", ""))
