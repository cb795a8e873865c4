"""
One commit of the log: entries of many appends, one tree, one signature.

The first commit of a new year closes the former year's log and opens the next,
all at once. A key is changed in a commit whose checkpoint both keys sign.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from fhir_bridge.errors import AlteredLog, BridgeError
from fhir_bridge.ledger import (
    Checkpoint,
    Entry,
    Event,
    Frontier,
    NewEntry,
    Note,
    Place,
    decode_entry,
    leaf_hash,
    timestamp,
)
from fhir_bridge.store import growth, packing
from fhir_bridge.store.appending import Appended, Request
from fhir_bridge.store.database import Opened
from fhir_bridge.store.drafting import Act, is_same
from fhir_bridge.store.logkeys import Growing, Unwritten
from fhir_bridge.store.trust import Signed, Trust

BRIDGE = "svc:fhir-bridge"
"""The actor of what the bridge does by itself."""

_CLOCK_WENT_BACK = NewEntry(
    type=Event.INTEGRITY_ALARM, actor=BRIDGE, outcome="8", step="clock-went-back"
)
_CLOSED = NewEntry(type=Event.LOG_CLOSED, actor=BRIDGE)


class Batch:
    """Writes requests inside a write transaction that the caller commits."""

    def __init__(self, opened: Opened, trust: Trust, connection: Connection) -> None:
        """Take up a transaction."""
        self._opened = opened
        self._trust = trust
        self._connection = connection
        self._head = growth.Head.empty(0, "")
        self._frontier = Frontier()
        self._signed: Signed | None = None
        self._numbers: dict[str, int] = {}
        self._confirmed = ("", 0)
        self._now = timestamp(opened.clock.now())
        self._t = self._now

    def begin(self, log: str) -> None:
        """Write the first entry of the first log."""
        try:
            with self._connection.begin_nested():
                self._place([self._opening(log, None)], [])
        except Unwritten as found:
            self._head, self._frontier = growth.Head.empty(0, ""), Frontier()
            self._write_commits(found.commits)

    def run(self, requests: Sequence[Request]) -> Signed | None:
        """
        Write requests; each gets its outcome, or its own error.

        Returns:
            What was signed; None when the log had them all. To be remembered
            after the commit.

        Raises:
            AlteredLog: The log is not the one this key signed last.
            SQLAlchemyError: The database failed.
        """
        try:
            return self._run(requests)
        except Unwritten as found:
            self.write_unwritten(found.commits)
            return self._run(requests)

    def _run(self, requests: Sequence[Request]) -> Signed | None:
        ids = [request.event_id for request in requests]
        urns = {request.urn for request in requests if request.urn is not None}
        known = self._look(ids, urns)
        fresh: dict[str, Request] = {}
        twins = []
        for request in requests:
            request.outcome = request.error = None
            if request.event_id in known:
                self._settle(request, *known[request.event_id])
            elif fresh.setdefault(request.event_id, request) is not request:
                twins.append(request)
        if fresh:
            self._grow(list(fresh.values()))
        for twin in twins:
            _settle_twin(twin, fresh[twin.event_id])
        return self._signed

    def change_key(self, entry: NewEntry) -> Signed:
        """
        Write that another key signs the log from here on, under both keys.

        Args:
            entry: Says who changed it.

        Returns:
            As of `run`.
        """
        try:
            return self._change_key(entry)
        except Unwritten as found:
            self.write_unwritten(found.commits)
            return self._change_key(entry)

    def _change_key(self, entry: NewEntry) -> Signed:
        self._look([], set())
        self._begin_growing()
        if first := self._due():
            self._place(first, [])
        head = self._head
        after = str(self._opened.keys.prepare(head.log))
        entry = replace(entry, vkey=after)
        self._place([_own(entry, head.log, f"key/{head.size}")], [], after=after)
        assert self._signed is not None, "something was written"
        return self._signed

    def _look(self, ids: Sequence[str], urns: Collection[str]) -> dict[str, tuple[int, int]]:
        """Read where the log stands; return the events that it has already."""
        found = growth.look(self._connection, ids, urns)
        self._head, self._numbers = found.head, found.numbers
        self._confirmed = (found.head.log, found.head.size)
        self._trust.follow(found.head)
        return found.known

    def write_unwritten(self, commits: Sequence[tuple[str, bytes]]) -> None:
        """
        Write what a process had signed and could not commit any more.

        The signer signs nothing else before: what it has signed must not be
        lost, for somebody may have seen it. Its last signature is over all of
        it, and over what is there already.
        """
        self._look([], set())
        frontier = Frontier.of(self._head.size, self._head.frontier)
        if frontier is None:
            raise AlteredLog("the log's head was altered: run audit verify-db")
        self._frontier = frontier
        self._write_commits(commits)

    def _write_commits(self, commits: Sequence[tuple[str, bytes]]) -> None:
        keys = self._opened.keys
        for note, packed in commits:
            log, grown = packing.unpack(packed)
            if log != self._head.log:
                self._begin_log(log)
            frontier = self._frontier
            for draft in grown.drafted:
                frontier = frontier.appended(leaf_hash(draft.leaf))
            checkpoint = Checkpoint(origin=log, size=frontier.size, root=frontier.root())
            if Note.parse(note).text != str(checkpoint):
                raise AlteredLog("what the signer kept does not continue the log")
            self._keep(replace(grown, note=note, frontier=frontier), checkpoint)
        keys.take_up(self._head.log, self._head.vkey)
        self._trust.open(self._head.log, self._head.note)

    def _settle(self, request: Request, year: int, first: int) -> None:
        """
        Give back what an earlier append with this id wrote.

        Event ids stand beside the entries, not in them: an id filed under some
        older entry must not let a disclosure go without its intent.
        """
        acts = request.acts
        try:
            leaves, note = growth.read_known(self._connection, year, first, len(acts))
            entries = tuple(map(decode_entry, leaves))
            if len(entries) != len(acts) or not all(map(is_same, entries, acts)):
                raise AlteredLog(f"entry {first} is filed as another act: run audit verify-db")
            checkpoint = self._trust.open_earlier(
                self._connection, entries[0].log, note, self._signed
            )
        except BridgeError as error:
            request.error = error
            return
        request.outcome = Appended(
            first=first, entries=entries, checkpoint=checkpoint, note=str(note)
        )

    def _grow(self, requests: Sequence[Request]) -> None:
        self._begin_growing()
        self._place(self._due(), requests)

    def _begin_growing(self) -> None:
        self._frontier = self._trust.frontier(self._head)
        self._t = max(self._now, self._head.at)

    def _due(self) -> list[Request]:
        """Return what must be written before anything else."""
        head = self._head
        if int(self._t[:4]) > head.year:
            return [self._turn_the_year()]
        if self._now < head.at and not head.behind:
            # Once for each time the clock goes back, not for every entry until it catches up.
            return [_own(_CLOCK_WENT_BACK, head.log, f"alarm/{head.size}")]
        return []

    def _turn_the_year(self) -> Request:
        """End the log of the former year; return what opens the next."""
        former = self._head
        self._place([_own(_CLOSED, former.log, "closed")], [])
        origin = former.log.rpartition("/")[0]
        return self._opening(f"{origin}/{self._t[:4]}", self._head.note)

    def _opening(self, log: str, former: str | None) -> Request:
        """Write the head of a new log; return its first entry."""
        vkey = str(self._opened.keys.verifier(log))
        self._begin_log(log)
        new = NewEntry(type=Event.LOG_OPENED, actor=BRIDGE, vkey=vkey, checkpoint=former)
        return Request([Act.of(new, log)], str(uuid.uuid5(uuid.NAMESPACE_URL, log)))

    def _begin_log(self, log: str) -> None:
        self._head = growth.Head.empty(int(log[-4:]), log)
        growth.begin(self._connection, self._head)
        self._frontier = Frontier()

    def _place(
        self, first: Sequence[Request], requests: Sequence[Request], *, after: str = ""
    ) -> None:
        """Give all acts their places and write them under one checkpoint."""
        head, requests = self._head, [*first, *requests]
        numbers = self._numbers
        drafted: list[growth.Drafted] = []
        for request in requests:
            for number, act in enumerate(request.acts):
                seq = None if request.urn is None else numbers.get(request.urn, 0)
                place = Place(log=head.log, idx=head.size + len(drafted), t=self._t, seq=seq)
                id_ = _numbered(request.event_id, number)
                drafted.append(act.placed(place, id_, self._opened.seal))
                if request.urn is not None and seq is not None:
                    numbers[request.urn] = seq + 1
        self._write(drafted, after)
        self._tell(requests, [draft.entry for draft in drafted])

    def _write(self, drafted: Sequence[growth.Drafted], after: str) -> None:
        head, frontier = self._head, self._frontier
        hashes = [leaf_hash(draft.leaf) for draft in drafted]
        for one in hashes:
            frontier = frontier.appended(one)
        checkpoint = Checkpoint(origin=head.log, size=frontier.size, root=frontier.root())
        keys = self._opened.keys
        grown = growth.Growth(
            drafted=drafted,
            frontier=frontier,
            note="",
            at=self._t,
            behind=self._now < head.at,
            vkey=after or str(keys.verifier(head.log)),
        )
        growing = Growing(
            before=self._frontier,
            hashes=hashes,
            checkpoint=checkpoint,
            confirmed=self._confirmed,
            pack=lambda: packing.pack(head, grown),
            changes_key=bool(after),
        )
        self._keep(replace(grown, note=keys.sign(growing)), checkpoint)

    def _keep(self, grown: growth.Growth, checkpoint: Checkpoint) -> None:
        self._head = growth.write(self._connection, self._head, grown)
        self._frontier = grown.frontier
        self._signed = Signed.of(checkpoint)

    def _tell(self, requests: Sequence[Request], entries: Sequence[Entry]) -> None:
        note, signed = self._head.note, self._signed
        assert note is not None
        assert signed is not None
        at = 0
        for request in requests:
            mine = tuple(entries[at : at + len(request.acts)])
            at += len(mine)
            request.outcome = Appended(
                first=mine[0].idx, entries=mine, checkpoint=signed.checkpoint, note=note
            )


def _settle_twin(twin: Request, first: Request) -> None:
    """Settle a request that came with the same id as another of the same commit."""
    assert first.outcome is not None
    entries = first.outcome.entries
    if len(entries) == len(twin.acts) and all(map(is_same, entries, twin.acts)):
        twin.outcome = first.outcome
    else:
        twin.error = AlteredLog("two acts came under one event id: one of them is filed as another")


def _own(new: NewEntry, log: str, name: str) -> Request:
    """Return a request of the log's own."""
    return Request([Act.of(new, log)], str(uuid.uuid5(uuid.NAMESPACE_URL, f"{log}#{name}")))


def _numbered(event_id: str, number: int) -> str:
    """Return what an act of an append is filed as: the first bears the append's id."""
    return event_id if number == 0 else str(uuid.uuid5(uuid.UUID(event_id), str(number)))
