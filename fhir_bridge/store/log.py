"""
The log's rows: entries, the head they grow from, and a signed checkpoint for each commit.

One sequencer, however many processes append: the head's row is read under the
write lock, extended, and written back in the commit that holds the entries and
their checkpoint. Before the bridge signs, it checks that the head is the one
it, or the key it holds, signed last: a log that was rolled back or altered
under it is not signed on.
"""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fhir_bridge import lossless
from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import (
    Body,
    Checkpoint,
    Entry,
    Event,
    Frontier,
    NewEntry,
    Place,
    VerifierKey,
    decode_entry,
    encode_entry,
    leaf_hash,
    timestamp,
    transfer_urn,
)
from fhir_bridge.store import schema
from fhir_bridge.store.database import Opened, Part
from fhir_bridge.store.verification import Verified, verify

BRIDGE = "svc:fhir-bridge"
"""The actor of what the bridge does by itself."""

_SALT_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What the log says of an append, now on the disk."""

    first: int
    """Index of the first of the entries."""
    entries: tuple[Entry, ...]
    checkpoint: Checkpoint
    """Covers them."""
    note: str
    """The checkpoint with its signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drafted:
    entry: Entry
    event_id: str
    leaf: bytes
    salt: bytes
    body: bytes | None
    """Sealed."""


class Log(Part):
    """The signed log."""

    def __init__(self, opened: Opened) -> None:
        """Take the log up where its last checkpoint left it."""
        super().__init__(opened)
        self._signed: Checkpoint | None = None

    @property
    def verifier(self) -> VerifierKey:
        """Return the public key that the log is verified with."""
        return self._opened.signer.verifier

    def begin(self) -> None:
        """Write the first entry of a log that has none."""
        first = NewEntry(type=Event.LOG_OPENED, actor=BRIDGE)
        with self._database.writing() as connection:
            empty = {"id": 1, "log": self._opened.log, "size": 0, "checkpoints": 0}
            connection.execute(
                insert(schema.head), empty | {"frontier": b"", "at": "", "behind": 0}
            )
            self._append(connection, [first], str(uuid.uuid5(uuid.NAMESPACE_URL, self._opened.log)))

    def resume(self) -> None:
        """
        Take the log up where it was left.

        Raises:
            AlteredLog: Its head is not what this key signed last.
        """
        with self._database.reading() as connection:
            self._trusted(self._head(connection))

    def append(self, *entries: NewEntry, event_id: str) -> Appended:
        """
        Write acts down, in one commit with a signed checkpoint over them.

        Args:
            entries: At least one; they get consecutive places.
            event_id: A UUID that names this append (`ledger.event_id`).

        Returns:
            The entries, durable. An append with an id that the log has already
            gives the entries and the checkpoint of the first time.

        Raises:
            StoreUnavailable: Nothing may leave; this store takes no more.
            AlteredLog: The log is not the one this key signed last.
            SettingsError: A member of an entry is not written as it must be.
        """
        with self._database.writing() as connection:
            appended = self._append(connection, entries, event_id)
        self._signed = appended.checkpoint
        return appended

    def entries(self, transfer: str | None = None) -> Iterator[Entry]:
        """
        Return entries, oldest first.

        Args:
            transfer: Only those of this transfer (its UUID); None for all.

        Raises:
            AlteredLog: An entry cannot be read.
        """
        rows = select(schema.entry.c.leaf).order_by(schema.entry.c.idx)
        if transfer is not None:
            rows = rows.where(schema.entry.c.transfer == transfer_urn(transfer))
        with self._database.reading() as connection:
            for leaf in connection.execute(rows.execution_options(yield_per=500)).scalars():
                yield decode_entry(leaf)

    def checkpoint(self) -> Checkpoint:
        """Return the last checkpoint, its signature verified."""
        with self._database.reading() as connection:
            note = self._head(connection).note
        return self._open(note)

    def statement(self, idx: int) -> Any:
        """Return what a person said in an entry; None when it was erased or nothing was said."""
        rows = select(schema.body.c.body).where(schema.body.c.idx == idx)
        with self._database.reading() as connection:
            sealed = connection.execute(rows).scalar_one_or_none()
        return None if sealed is None else lossless.decode(self._seal.open(f"body/{idx}", sealed))

    def verify(self) -> Verified:
        """
        Recompute the whole log from its rows.

        Raises:
            AlteredLog: Names the first fault.
        """
        with self._database.reading() as connection:
            return verify(connection, self.verifier, self._opened.log, self._seal)

    def _append(
        self, connection: Connection, entries: Sequence[NewEntry], event_id: str
    ) -> Appended:
        """Extend the log inside a write transaction."""
        assert entries, "an append has entries"
        ids = [event_id, *(_after(event_id, str(at)) for at in range(1, len(entries)))]
        if found := self._already(connection, ids):
            return found
        head = self._head(connection)
        frontier = self._trusted(head)
        now = timestamp(self._clock.now())
        behind = now < head.at
        work = list(zip(entries, ids, strict=True))
        if behind and not head.behind:
            # Once for each time the clock goes back, not for every entry until it catches up.
            alarm = NewEntry(
                type=Event.INTEGRITY_ALARM, actor=BRIDGE, outcome="8", step="clock-went-back"
            )
            work.insert(0, (alarm, _after(event_id, "clock-went-back")))
        t = max(now, head.at)
        drafted = self._draft(connection, head, t, work)
        for draft in drafted:
            frontier = frontier.appended(leaf_hash(draft.leaf))
        checkpoint = Checkpoint(origin=head.log, size=frontier.size, root=frontier.root())
        note = self._opened.signer.sign(str(checkpoint))
        _write(connection, head, drafted, note, {"frontier": frontier, "t": t, "behind": behind})
        mine = drafted[-len(entries) :]
        return Appended(
            first=mine[0].entry.idx,
            entries=tuple(draft.entry for draft in mine),
            checkpoint=checkpoint,
            note=note,
        )

    def _head(self, connection: Connection) -> Row[Any]:
        """Read the head with the checkpoint that must cover it; locks it where databases lock."""
        note = (
            select(schema.checkpoint.c.note)
            .where(schema.checkpoint.c.size == schema.head.c.size)
            .scalar_subquery()
        )
        rows = connection.execute(
            select(schema.head, note.label("note")).with_for_update(of=schema.head)
        ).all()
        if len(rows) != 1:
            raise AlteredLog("the log's head is missing or there are two: run audit verify-db")
        return rows[0]

    def _trusted(self, head: Row[Any]) -> Frontier:
        """Return the tree to grow from, when it is the one that was signed last."""
        frontier = Frontier.of(head.size, head.frontier)
        if frontier is None:
            raise AlteredLog("the log's head was altered: run audit verify-db")
        signed = Checkpoint(origin=self._opened.log, size=frontier.size, root=frontier.root())
        if self._signed is not None and signed.size < self._signed.size:
            raise AlteredLog("the log is shorter than it was: it was set back under the bridge")
        if signed != self._signed and signed.size and signed != self._open(head.note):
            raise AlteredLog("the log's head is not what was signed last: run audit verify-db")
        return frontier

    def _open(self, note: str | None) -> Checkpoint:
        """Return a checkpoint whose signature is right."""
        if note is None:
            raise AlteredLog("a checkpoint of the log is missing: run audit verify-db")
        return Checkpoint.parse(self.verifier.open(note))

    def _already(self, connection: Connection, ids: Sequence[str]) -> Appended | None:
        """Return what an earlier append with these ids wrote."""
        rows = select(schema.entry.c.leaf).where(schema.entry.c.event_id.in_(ids))
        leaves = connection.execute(rows.order_by(schema.entry.c.idx)).scalars().all()
        if not leaves:
            return None
        assert len(leaves) == len(ids), "an event id names the same acts each time"
        entries = tuple(map(decode_entry, leaves))
        covering = (
            select(schema.checkpoint.c.note)
            .where(schema.checkpoint.c.size > entries[-1].idx)
            .order_by(schema.checkpoint.c.size)
            .limit(1)
        )
        note = connection.execute(covering).scalar_one_or_none()
        return Appended(
            first=entries[0].idx, entries=entries, checkpoint=self._open(note), note=str(note)
        )

    def _draft(
        self,
        connection: Connection,
        head: Row[Any],
        t: str,
        work: Sequence[tuple[NewEntry, str]],
    ) -> list[_Drafted]:
        """Give each act its place."""
        numbers = _numbers(connection, {new.transfer for new, _ in work})
        drafted = []
        for idx, (new, event_id) in enumerate(work, start=head.size):
            seq = None
            if new.transfer is not None:
                seq = numbers[new.transfer]
                numbers[new.transfer] += 1
            place = Place(log=head.log, idx=idx, t=t, seq=seq)
            drafted.append(self._drafted(new, event_id, place))
        return drafted

    def _drafted(self, new: NewEntry, event_id: str, place: Place) -> _Drafted:
        salt, sealed, commitment = b"", None, None
        if new.statement is not None:
            said = lossless.canonical(dict(new.statement))
            salt = os.urandom(_SALT_BYTES)
            digest = base64.b64encode(hashlib.sha256(salt + said).digest()).decode()
            commitment = Body(alg="sha256-salted", digest=digest, type="Statement")
            sealed = self._seal.close(f"body/{place.idx}", said)
        entry = new.at(place, commitment)
        leaf = encode_entry(entry)
        assert decode_entry(leaf) == entry, "what is written must be what can be read"
        return _Drafted(entry=entry, event_id=event_id, leaf=leaf, salt=salt, body=sealed)


def _after(event_id: str, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(event_id), name))


def _numbers(connection: Connection, transfers: set[str | None]) -> Counter[str]:
    """Return how many entries each transfer has."""
    numbers: Counter[str] = Counter()
    for transfer in transfers - {None}:
        assert transfer is not None
        rows = select(func.count()).where(schema.entry.c.transfer == transfer_urn(transfer))
        numbers[transfer] = connection.execute(rows).scalar_one()
    return numbers


def _write(
    connection: Connection,
    head: Row[Any],
    drafted: Sequence[_Drafted],
    note: str,
    grown: dict[str, Any],
) -> None:
    """Write entries, bodies, checkpoint and head; the caller commits them together."""
    frontier, t = grown["frontier"], grown["t"]
    bodies = [
        {"idx": draft.entry.idx, "salt": draft.salt, "body": draft.body}
        for draft in drafted
        if draft.body is not None
    ]
    try:
        connection.execute(
            insert(schema.entry),
            [
                {
                    "idx": draft.entry.idx,
                    "event_id": draft.event_id,
                    "transfer": draft.entry.transfer,
                    "leaf": draft.leaf,
                }
                for draft in drafted
            ],
        )
        if bodies:
            connection.execute(insert(schema.body), bodies)
        connection.execute(
            insert(schema.checkpoint),
            {"n": head.checkpoints, "size": frontier.size, "at": t, "note": note},
        )
    except IntegrityError as error:
        # The head says that these places are free. Someone set it back.
        raise AlteredLog("the log holds rows beyond its head: run audit verify-db") from error
    connection.execute(
        update(schema.head).where(schema.head.c.size == head.size),
        {
            "size": frontier.size,
            "checkpoints": head.checkpoints + 1,
            "frontier": bytes(frontier),
            "at": t,
            "behind": int(grown["behind"]),
        },
    )
