"""
Send the AuditEvents of the log to an audit repository, the same bytes, each once.

The log is what is kept; the repository gets a copy. One that is away stops
nothing and loses nothing: what it has not answered for is offered again, under
the same id, and the log says that it was away. One that refuses an event is
offered it again, and the log says that too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec

from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError, StoreUnavailable, Tampered
from fhir_bridge.fhir_server import FhirServer, Stored, Write
from fhir_bridge.ledger import Event, NewEntry, timestamp
from fhir_bridge.records import RecordRef
from fhir_bridge.store import RepositoryRow, Store
from fhir_bridge.wire import Limits

LIMITS = Limits(
    connect_seconds=3, read_seconds=15, total_seconds=60, wait_seconds_max=2, waits_seconds_max=5
)
"""Nobody waits long for a copy."""

QUIET = timedelta(minutes=1)
"""So long a repository that was away is left alone."""

_ACTOR = "svc:bridge"
_AT_ONCE = 100
_END = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCopies:
    """What a repository took this time."""

    taken: int = 0
    refused: int = 0
    away: bool = False


@dataclass(frozen=True, slots=True)
class _Copy:
    idx: int
    write: Write


class Repository:
    """One audit repository."""

    def __init__(
        self, name: str, store: Store, clock: Clock, server: Callable[[], FhirServer]
    ) -> None:
        """
        Know it; nothing is sent.

        Args:
            name: Its alias; empty when there is none, and nothing is ever sent.
            store: Holds the log, and how far the repository has it.
            clock: Tells when it was away.
            server: Opens it, when something is to be sent.
        """
        self._name = name
        self._store = store
        self._clock = clock
        self._server = server

    def send(self) -> SentCopies:
        """
        Send what the repository does not have yet.

        Returns:
            What it took. A repository that is away raises nothing.

        Raises:
            StoreUnavailable: What it answered could not be remembered; it is
                offered again, under the same ids.
        """
        sent = SentCopies()
        for log in self._store.logs() if self._name else ():
            row = self._store.repository(self._name, log)
            if sent.away or self._is_quiet(row):
                continue
            try:
                sent = self._send(log, row, sent)
            except (StoreUnavailable, Tampered):
                raise
            except BridgeError:
                self._away(log)
                sent = SentCopies(taken=sent.taken, refused=sent.refused, away=True)
        return sent

    def _is_quiet(self, row: RepositoryRow) -> bool:
        if row.tried is None:
            return False
        return self._clock.now() - datetime.fromisoformat(row.tried) < QUIET

    def _send(self, log: str, row: RepositoryRow, sent: SentCopies) -> SentCopies:
        again = [one for idx in row.refused for one in self._copies(log, idx, idx + 1)]
        erased = set(row.refused) - {one.idx for one in again}
        if erased:
            self._store.repository_took(self._name, log, next_=0, taken=erased)
        new = self._copies(log, row.next, _END)
        for copies in (*_batches(again), *_batches(new)):
            sent = self._offer(log, copies, sent)
        return sent

    def _copies(self, log: str, first: int, end: int) -> Iterator[_Copy]:
        """Return the AuditEvents of some entries; erased ones are gone, words of persons stay."""
        for idx, _, body in self._store.opened(log, first, end):
            content: Any = msgspec.json.decode(body)
            if content.get("resourceType") == "AuditEvent":
                ref = RecordRef(f"AuditEvent/{content['id']}")
                yield _Copy(idx, Write(ref=ref, body=body, group=0))

    def _offer(self, log: str, copies: Sequence[_Copy], sent: SentCopies) -> SentCopies:
        server = self._server()
        stored = server.store([one.write for one in copies], before_send=lambda _: None)
        refused = _refused(server, copies, stored)
        self._store.repository_took(
            self._name,
            log,
            next_=copies[-1].idx + 1,
            taken=[one.idx for one in copies if one not in refused],
            refused=[one.idx for one in refused],
        )
        for one in refused:
            self._tell("repository-refused", f"{log}/{one.idx}")
        return SentCopies(
            taken=sent.taken + len(copies) - len(refused), refused=sent.refused + len(refused)
        )

    def _away(self, log: str) -> None:
        """Say in the log that it is away, once for each outage."""
        row = self._store.repository(self._name, log)
        self._store.repository_away(self._name, log, tried=timestamp(self._clock.now()))
        if row.tried is None:
            self._tell("repository-away", f"{log}/{row.next}")

    def _tell(self, step: str, what: str) -> None:
        alarm = NewEntry(type=Event.INTEGRITY_ALARM, actor=_ACTOR, outcome="4", step=step)
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._store.log}/{step}/{self._name}/{what}")
        self._store.append(alarm, event_id=str(name))


def _refused(server: FhirServer, copies: Sequence[_Copy], stored: Sequence[Stored]) -> list[_Copy]:
    """Return what it did not take; one that it has from before, and will not change, it has."""
    failed = {one.ref for one in stored if one.error is not None}
    there = server.read_many(sorted(failed)) if failed else {}
    return [one for one in copies if one.write.ref in failed and there[one.write.ref] is None]


def _batches(copies: Iterable[_Copy]) -> Iterator[list[_Copy]]:
    rest = iter(copies)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch
