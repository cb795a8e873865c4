"""
The log's rows: entries, the head they grow from, and a signed checkpoint for each commit.

One sequencer, however many threads and processes append: the head's row is read
under the write lock, extended, and written back in the commit that holds the
entries and their checkpoint.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from fhir_bridge import lossless
from fhir_bridge.errors import BridgeError, StoreUnavailable
from fhir_bridge.ledger import (
    Checkpoint,
    Entry,
    Event,
    NewEntry,
    VerifierKey,
    decode_entry,
    transfer_urn,
)
from fhir_bridge.store import growth, schema
from fhir_bridge.store.appending import Appended, Request, Sequencer
from fhir_bridge.store.batch import BRIDGE, Batch
from fhir_bridge.store.database import Opened, Part
from fhir_bridge.store.drafting import Act
from fhir_bridge.store.trust import Signed, Trust
from fhir_bridge.store.verification import Verified, verify

HEARTBEAT = timedelta(seconds=60)


class Log(Part):
    """The signed log; a log of its own for each year."""

    def __init__(self, opened: Opened) -> None:
        """Take the log up where its last checkpoint left it."""
        super().__init__(opened)
        self._trust = Trust(opened)
        self._sequencer = Sequencer(self._commit)

    @property
    def verifier(self) -> VerifierKey:
        """Return the public key that the newest log is verified with."""
        return self._opened.keys.verifier(self._trust.log)

    @property
    def log(self) -> str:
        """Return the newest log's name, e.g. ``bridge.example/audit/2026``."""
        return self._trust.log

    def close(self) -> None:
        """Close the store; it can be opened again."""
        self._sequencer.close()
        self._database.close()
        self._opened.keys.close()

    def begin(self, origin: str) -> None:
        """Write the first entry where there is no log; what another began is left as it is."""
        log = f"{origin}/audit/{self._clock.now().astimezone(UTC):%Y}"
        with self._database.writing() as connection:
            if connection.execute(select(schema.head.c.log)).first() is None:
                Batch(self._opened, self._trust, connection).begin(log)

    def resume(self) -> None:
        """
        Take the log up where it was left.

        Raises:
            AlteredLog: Its head is not what this key signed last.
        """
        with self._database.reading() as connection:
            head = growth.show_head(connection)
        self._trust.take_up(head)

    def recover(self) -> None:
        """Write what a signer has signed and no process could commit any more."""
        with self._database.writing() as connection:
            head = growth.show_head(connection)
            if commits := self._opened.keys.unwritten(head.log, head.size):
                Batch(self._opened, self._trust, connection).write_unwritten(commits)

    def append(self, *entries: NewEntry, event_id: str) -> Appended:
        """
        Write acts down, in one commit with a signed checkpoint over them.

        Appends of other threads may share the commit.

        Args:
            entries: At least one, of one transfer; they get consecutive places.
            event_id: A UUID that names this append (`ledger.event_id`).

        Returns:
            The entries, durable. An append with an id that the log has already
            gives the entries and the checkpoint of the first time.

        Raises:
            StoreUnavailable: Nothing may leave.
            AlteredLog: The log is not the one this key signed last.
            SettingsError: A member of an entry is not written as it must be.
        """
        return self._sequencer.append(self._request(entries, event_id))

    async def append_soon(self, *entries: NewEntry, event_id: str) -> Appended:
        """
        Write acts down as `append` does, while other coroutines go on.

        Args:
            entries: At least one, of one transfer.
            event_id: A UUID that names this append. Who is cancelled while he
                waits asks again by it.

        Raises:
            BridgeError: As of `append`.
        """
        request = self._request(entries, event_id)
        return await self._sequencer.append_soon(request.acts, request.event_id)

    def heartbeat(self) -> bool:
        """
        Sign that the log lives, where nothing was signed for a minute; say whether it was done.

        Between two checkpoints that somebody outside has seen, nothing can be
        slipped in; without a heartbeat a quiet night would be one long gap.

        Raises:
            BridgeError: As of `append`.
        """
        with self._database.reading() as connection:
            head = growth.show_head(connection)
        now = self._clock.now()
        if now - datetime.fromisoformat(head.at) < HEARTBEAT:
            return False
        new = NewEntry(type=Event.LOG_HEARTBEAT, actor=BRIDGE)
        # Of several processes that find the same silence, one breaks it.
        name = f"{head.log}#heartbeat/{head.size}"
        self.append(new, event_id=str(uuid.uuid5(uuid.NAMESPACE_URL, name)))
        return True

    def entries(self, transfer: str | None = None) -> Iterator[Entry]:
        """
        Return entries, oldest first.

        Args:
            transfer: Only those of this transfer (its UUID); None for all.

        Raises:
            AlteredLog: An entry cannot be read.
        """
        rows = select(schema.entry.c.leaf).order_by(schema.entry.c.year, schema.entry.c.idx)
        if transfer is not None:
            rows = rows.where(schema.entry.c.transfer == transfer_urn(transfer))
        rows = rows.execution_options(yield_per=500)
        with self._database.reading() as connection, connection.execute(rows) as found:
            for leaf in found.scalars():
                yield decode_entry(leaf)

    def checkpoint(self) -> Checkpoint:
        """Return the newest log's last checkpoint, its signature verified."""
        with self._database.reading() as connection:
            head = growth.show_head(connection)
        self._trust.follow(head)
        return self._trust.open(head.log, head.note)

    def note(self) -> str:
        """Return the last checkpoint as a signed note, its signature verified."""
        with self._database.reading() as connection:
            head = growth.show_head(connection)
        self._trust.follow(head)
        self._trust.open(head.log, head.note)
        return str(head.note)

    def statement(self, idx: int, log: str | None = None) -> Any:
        """Return what a person said in an entry; None when it was erased or nothing was said."""
        said = self.body(idx, log)
        return None if said is None else lossless.decode(said)

    def body(self, idx: int, log: str | None = None) -> bytes | None:
        """
        Return the bytes that an entry commits to; None when erased, or when it has none.

        Args:
            idx: The entry's index.
            log: Its log's name; None for the newest.

        Raises:
            Tampered: They do not open.
        """
        in_log = schema.head.c.log == (log or self._trust.log)
        year = select(schema.head.c.year).where(in_log).scalar_subquery()
        rows = select(schema.body.c.body).where(
            schema.body.c.year == year, schema.body.c.idx == idx
        )
        with self._database.reading() as connection:
            sealed = connection.execute(rows).scalar_one_or_none()
        return None if sealed is None else self._seal.open(f"body/{idx}", sealed)

    def verify(self) -> Verified:
        """
        Recompute the whole log from its rows.

        Raises:
            AlteredLog: Names the first fault; also a log that is right in
                itself, but shorter than this process has seen it.
        """
        before: BridgeError | None = None
        try:
            # Another process may have changed the key, or begun another year's log.
            self.resume()
        except BridgeError as error:
            before = error
        with self._database.reading() as connection:
            verified = verify(connection, self.verifier, self._seal)
        if before is not None:
            raise before
        return verified

    def _append(
        self, connection: Connection, entries: Sequence[NewEntry], event_id: str
    ) -> Appended:
        """Extend the log inside a write transaction; `_remember` it after the commit."""
        request = self._request(entries, event_id)
        Batch(self._opened, self._trust, connection).run([request])
        return request.result()

    def _remember(self, appended: Appended) -> None:
        """Remember, after the commit, what was signed last."""
        self._trust.remember(Signed.of(appended.checkpoint))

    def _request(self, entries: Sequence[NewEntry], event_id: str) -> Request:
        assert entries, "an append has entries"
        assert len({new.transfer for new in entries}) == 1, "one append, one transfer"
        return Request([Act.of(new, self._trust.log) for new in entries], self._filed(event_id))

    def _commit(self, take: Callable[[], Sequence[Request]]) -> None:
        """Write what several appends ask for, in one commit."""
        try:
            signed = self._write(take)
        except StoreUnavailable as error:
            if not _is_lost(error):
                raise
            # Whether the answer or the commit was lost, the events' ids tell.
            signed = self._write(take)
        self._trust.remember(signed)

    def _write(self, take: Callable[[], Sequence[Request]]) -> Signed | None:
        with self._database.writing() as connection:
            return Batch(self._opened, self._trust, connection).run(take())

    def _filed(self, event_id: str) -> str:
        """
        Return what an event id is filed as.

        Under the seal's key, because ids follow from the transfer: whoever
        foretells one and files an older entry under it would be believed.
        """
        mac = self._seal.mac("event", uuid.UUID(event_id).bytes).hex()
        return f"{mac[:8]}-{mac[8:12]}-{mac[12:16]}-{mac[16:20]}-{mac[20:32]}"


def _is_lost(error: StoreUnavailable) -> bool:
    """Say whether the database ended the connection: another one may be had at once."""
    return isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated
