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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select

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
from fhir_bridge.store import growth, schema
from fhir_bridge.store.database import Opened, Part
from fhir_bridge.store.verification import Verified, verify

BRIDGE = "svc:fhir-bridge"
"""The actor of what the bridge does by itself."""

_SALT_BYTES = 32

_CLOCK_WENT_BACK = NewEntry(
    type=Event.INTEGRITY_ALARM, actor=BRIDGE, outcome="8", step="clock-went-back"
)


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

    @property
    def log(self) -> str:
        """Return the log's name."""
        return self._opened.log

    def begin(self) -> None:
        """Write the first entry of a log that has none; what another began is left as it is."""
        first = NewEntry(type=Event.LOG_OPENED, actor=BRIDGE)
        with self._database.writing() as connection:
            if connection.execute(select(schema.head.c.log)).first() is not None:
                return
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
            head = growth.show_head(connection)
            self._trusted(head)
            self._signed = self._open(head.note)

    def append(self, *entries: NewEntry, event_id: str) -> Appended:
        """
        Write acts down, in one commit with a signed checkpoint over them.

        Args:
            entries: At least one, of one transfer; they get consecutive places.
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
        self._remember(appended)
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
        rows = rows.execution_options(yield_per=500)
        with self._database.reading() as connection, connection.execute(rows) as found:
            for leaf in found.scalars():
                yield decode_entry(leaf)

    def checkpoint(self) -> Checkpoint:
        """Return the last checkpoint, its signature verified."""
        return self._open(self.note())

    def note(self) -> str:
        """Return the last checkpoint as a signed note, its signature verified."""
        with self._database.reading() as connection:
            note = growth.show_head(connection).note
        self._open(note)
        return str(note)

    def statement(self, idx: int) -> Any:
        """Return what a person said in an entry; None when it was erased or nothing was said."""
        said = self.body(idx)
        return None if said is None else lossless.decode(said)

    def body(self, idx: int) -> bytes | None:
        """
        Return the bytes that an entry commits to; None when erased, or when it has none.

        Raises:
            Tampered: They do not open.
        """
        rows = select(schema.body.c.body).where(schema.body.c.idx == idx)
        with self._database.reading() as connection:
            sealed = connection.execute(rows).scalar_one_or_none()
        return None if sealed is None else self._seal.open(f"body/{idx}", sealed)

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
        transfer = entries[0].transfer
        assert {new.transfer for new in entries} == {transfer}, "one append, one transfer"
        urn = None if transfer is None else transfer_urn(transfer)
        event_id = self._filed(event_id)
        head = growth.read_head(connection, event_id=event_id, urn=urn)
        if head.known is not None:
            return self._already(connection, head.known, entries)
        frontier = self._trusted(head)
        now = timestamp(self._clock.now())
        # Once for each time the clock goes back, not for every entry until it catches up.
        alarms = [_CLOCK_WENT_BACK] if now < head.at and not head.behind else []
        t = max(now, head.at)
        drafted = self._draft([*alarms, *entries], event_id, head, t)
        for draft in drafted:
            frontier = frontier.appended(leaf_hash(draft.leaf))
        checkpoint = Checkpoint(origin=head.log, size=frontier.size, root=frontier.root())
        note = self._opened.signer.sign(str(checkpoint))
        grown = growth.Growth(
            drafted=drafted, frontier=frontier, note=note, at=t, behind=now < head.at
        )
        growth.write(connection, head, grown)
        mine = tuple(draft.entry for draft in drafted[len(alarms) :])
        return Appended(first=mine[0].idx, entries=mine, checkpoint=checkpoint, note=note)

    def _filed(self, event_id: str) -> str:
        """
        Return what an event id is filed as.

        Under the seal's key, because ids follow from the transfer: whoever
        foretells one and files an older entry under it would be believed.
        """
        mac = self._seal.mac("event", uuid.UUID(event_id).bytes)
        return str(uuid.UUID(bytes=mac[:16]))

    def _remember(self, appended: Appended) -> None:
        """Remember, after the commit, what was signed last."""
        if self._signed is None or appended.checkpoint.size > self._signed.size:
            self._signed = appended.checkpoint

    def _trusted(self, head: Row[Any]) -> Frontier:
        """Return the tree to grow from, when it is the one that was signed last."""
        frontier = Frontier.of(head.size, head.frontier)
        if frontier is None:
            raise AlteredLog("the log's head was altered: run audit verify-db")
        found = Checkpoint(origin=self._opened.log, size=frontier.size, root=frontier.root())
        if self._signed is not None and found.size < self._signed.size:
            raise AlteredLog("the log is shorter than it was: it was set back under the bridge")
        if found != self._signed and found.size and found != self._open(head.note):
            raise AlteredLog("the log's head is not what was signed last: run audit verify-db")
        return frontier

    def _open(self, note: str | None) -> Checkpoint:
        """Return a checkpoint whose signature is right."""
        if note is None:
            raise AlteredLog("a checkpoint of the log is missing: run audit verify-db")
        return Checkpoint.parse(self.verifier.open(note))

    def _already(self, connection: Connection, first: int, acts: Sequence[NewEntry]) -> Appended:
        """
        Return what an earlier append with this id wrote.

        Event ids stand beside the entries, not in them: an id filed under some
        older entry must not let a disclosure go without its intent.
        """
        leaves, note = growth.read_known(connection, first, len(acts))
        entries = tuple(map(decode_entry, leaves))
        if list(map(_named, entries)) != list(map(_asked, acts)):
            raise AlteredLog(f"entry {first} is filed as another act: run audit verify-db")
        return Appended(first=first, entries=entries, checkpoint=self._open(note), note=str(note))

    def _draft(
        self, acts: Sequence[NewEntry], event_id: str, head: Row[Any], t: str
    ) -> list[growth.Drafted]:
        """Give each act its place. The first act of the append bears its id, an alarm its own."""
        drafted, seq, number = [], head.number, 0
        for idx, act in enumerate(acts, start=head.size):
            is_alarm = act is _CLOCK_WENT_BACK
            name = "alarm" if is_alarm else str(number)
            place = Place(log=head.log, idx=idx, t=t, seq=None if act.transfer is None else seq)
            drafted.append(
                self._drafted(act, event_id if name == "0" else _after(event_id, name), place)
            )
            if not is_alarm:
                seq, number = seq + 1, number + 1
        return drafted

    def _drafted(self, new: NewEntry, event_id: str, place: Place) -> growth.Drafted:
        salt, sealed, commitment = b"", None, None
        if (opened := _body(new)) is not None:
            content, type_ = opened
            salt = os.urandom(_SALT_BYTES)
            digest = base64.b64encode(hashlib.sha256(salt + content).digest()).decode()
            commitment = Body(alg="sha256-salted", digest=digest, type=type_)
            sealed = self._seal.close(f"body/{place.idx}", content)
        entry = new.at(place, commitment)
        leaf = encode_entry(entry)
        assert decode_entry(leaf) == entry, "what is written must be what can be read"
        return growth.Drafted(entry=entry, event_id=event_id, leaf=leaf, salt=salt, body=sealed)


def _body(new: NewEntry) -> tuple[bytes, Literal["AuditEvent", "Statement"]] | None:
    """Return the bytes that an entry commits to, and what they are."""
    if new.audit_event is not None:
        return new.audit_event, "AuditEvent"
    if new.statement is not None:
        return lossless.canonical(dict(new.statement)), "Statement"
    return None


def _named(entry: Entry) -> tuple[Any, ...]:
    return entry.type, entry.transfer, entry.step, entry.attempt


def _asked(act: NewEntry) -> tuple[Any, ...]:
    urn = None if act.transfer is None else transfer_urn(act.transfer)
    return act.type, urn, act.step, act.attempt


def _after(event_id: str, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(event_id), name))
