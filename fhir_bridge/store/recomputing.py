"""One log recomputed from its rows, oldest first; nothing is taken on trust."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, select

from fhir_bridge.errors import AlteredLog, Tampered
from fhir_bridge.ledger import Checkpoint, Entry, Event, Frontier, decode_entry, leaf_hash
from fhir_bridge.ledger.epochs import Epochs
from fhir_bridge.store import schema
from fhir_bridge.store.growth import Head
from fhir_bridge.store.seal import Seal

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Where rows come from, and what goes on from one log to the next."""

    connection: Connection
    cursors: ExitStack
    seal: Seal
    numbers: Counter[str]
    """How many entries each transfer had so far."""

    def of(self, table: Table, year: int, order: str) -> Iterator[Row[Any]]:
        """Read a table's rows of one year, in the order of a column."""
        rows: Select[Any] = select(table).where(table.c.year == year).order_by(table.c[order])
        options = {"yield_per": _ROWS_AT_ONCE}
        found = self.connection.execute(rows, execution_options=options)
        return iter(self.cursors.enter_context(found))


class Recomputed:
    """One pass over the rows of a log."""

    def __init__(self, rows: Rows, log: str, head: Head, epochs: Epochs) -> None:
        """
        Start before the first row.

        Args:
            rows: Not trusted.
            log: The log's name, from outside the database.
            head: As the database says.
            epochs: Empty.
        """
        self._rows = rows
        self._log = log
        self._head = head
        self.epochs = epochs
        self._checkpoints = rows.of(schema.checkpoint, head.year, "n")
        self._checkpoint = next(self._checkpoints, None)
        self._bodies = rows.of(schema.body, head.year, "idx")
        self._body = next(self._bodies, None)
        self._frontier = Frontier()
        self._t = ""
        self._last: Entry | None = None
        self.note = ""
        """The last checkpoint's."""
        self.signed: Checkpoint | None = None
        self.checkpoints = 0
        self.opened = 0
        """Bodies that were opened and are what their entry commits to."""
        self.erased = 0

    @property
    def size(self) -> int:
        """Return how many entries were read."""
        return self._frontier.size

    @property
    def is_closed(self) -> bool:
        """Say whether its last entry ends the log."""
        return self._last is not None and self._last.type is Event.LOG_CLOSED

    def run(self, t: str, former: str | None) -> str:
        """
        Recompute the log.

        Args:
            t: Time of the last entry of the former log; empty when there is none.
            former: The former log's last checkpoint, which this one goes on from.

        Returns:
            Time of the last entry.

        Raises:
            AlteredLog: Names the first fault.
        """
        self._t = t
        for row in self._rows.of(schema.entry, self._head.year, "idx"):
            entry = self._read(row)
            self._check_order(entry)
            if entry.idx == 0 and entry.checkpoint != former:
                raise AlteredLog(
                    "the log goes on from a former year that is not there"
                    if former is None
                    else "the log does not go on from the last checkpoint of the year before"
                )
            self._check_number(entry, row)
            self._check_body(entry)
            self.epochs.read(entry)
            self._last, self._t = entry, entry.t
            self._frontier = self._frontier.appended(leaf_hash(row.leaf))
            self._check_checkpoint(entry)
        self._check_ends()
        self._check_head()
        return self._t

    def _read(self, row: Row[Any]) -> Entry:
        expected = self._frontier.size
        if row.idx != expected:
            raise AlteredLog(f"entry {expected} is missing: the next one is {row.idx}")
        try:
            entry = decode_entry(row.leaf)
            uuid.UUID(row.event_id)
        except AlteredLog as error:
            raise AlteredLog(f"entry {expected} was altered: {error}") from error
        except ValueError as error:
            raise AlteredLog(f"entry {expected} was altered: its event id is none") from error
        return entry

    def _check_order(self, entry: Entry) -> None:
        expected = self._frontier.size
        if entry.idx != expected:
            raise AlteredLog(f"entry {expected} was moved: it was written as entry {entry.idx}")
        if entry.log != self._log:
            raise AlteredLog(f"entry {expected} belongs to another log")
        if entry.t < self._t:
            raise AlteredLog(f"entry {expected} is earlier than the one before it")
        if self.is_closed:
            raise AlteredLog(f"entry {expected} comes after the log was closed")
        if entry.type is not Event.LOG_CLOSED and int(entry.t[:4]) != self._head.year:
            raise AlteredLog(f"entry {expected} is of another year than its log")

    def _check_number(self, entry: Entry, row: Row[Any]) -> None:
        if row.transfer != entry.transfer:
            raise AlteredLog(f"entry {entry.idx} is filed under another transfer")
        if entry.transfer is None:
            return
        numbers = self._rows.numbers
        if entry.seq != numbers[entry.transfer]:
            raise AlteredLog(
                f"entry {entry.idx} is number {entry.seq} of its transfer, but"
                f" {numbers[entry.transfer]} came before it"
            )
        numbers[entry.transfer] += 1
        if entry.entries not in {None, numbers[entry.transfer]}:
            raise AlteredLog(
                f"entry {entry.idx} counts {entry.entries} entries of its transfer, but"
                f" there are {numbers[entry.transfer]}"
            )

    def _check_body(self, entry: Entry) -> None:
        """Compare what was said with its commitment: roots alone do not show values."""
        there = self._body
        if there is not None and there.idx == entry.idx:
            self._body = next(self._bodies, None)
        elif there is not None and there.idx < entry.idx:
            raise AlteredLog(f"a statement is there for entry {there.idx}, which has none")
        else:
            there = None
        if entry.body is None and there is not None:
            raise AlteredLog(f"a statement was added to entry {entry.idx}")
        if entry.body is not None and there is None:
            self.erased += 1
        if entry.body is not None and there is not None:
            self._open_body(entry.idx, entry.body.digest, there)

    def _open_body(self, idx: int, digest: str, row: Row[Any]) -> None:
        try:
            said = self._rows.seal.open(f"body/{idx}", row.body)
        except Tampered as error:
            raise AlteredLog(f"the statement of entry {idx} was altered: {error}") from error
        if base64.b64encode(hashlib.sha256(row.salt + said).digest()).decode() != digest:
            raise AlteredLog(f"the statement of entry {idx} was altered")
        self.opened += 1

    def _check_checkpoint(self, entry: Entry) -> None:
        """Check the checkpoint of this size, when there is one."""
        row = self._checkpoint
        if row is None or row.size > self._frontier.size:
            if entry.type is Event.KEY_ROTATED:
                raise AlteredLog(
                    f"the key was changed in entry {entry.idx}, but no checkpoint there is"
                    " signed by both keys"
                )
            return
        if row.n != self.checkpoints:
            raise AlteredLog(f"checkpoint {self.checkpoints} is missing: the next is {row.n}")
        if row.size < self._frontier.size:
            raise AlteredLog(f"checkpoint {row.n} is out of order")
        signed = self._open_checkpoint(row)
        expected = Checkpoint(
            origin=self._log, size=self._frontier.size, root=self._frontier.root()
        )
        if signed != expected:
            raise AlteredLog(
                f"checkpoint {row.n} does not match the {self._frontier.size} entries below it:"
                " one of them, or the checkpoint, was altered"
            )
        if row.at != self._t:
            raise AlteredLog(f"checkpoint {row.n} has another time than its last entry")
        self.signed, self.note = signed, row.note
        self.checkpoints += 1
        self._checkpoint = next(self._checkpoints, None)

    def _open_checkpoint(self, row: Row[Any]) -> Checkpoint:
        """Open a checkpoint that each key has signed whose time it was."""
        try:
            texts = {key.open(row.note) for key in self.epochs.signers(row.size)}
            (text,) = texts
            return Checkpoint.parse(text)
        except Tampered as error:
            raise AlteredLog(f"checkpoint {row.n} was altered: {error}") from error

    def _check_ends(self) -> None:
        """Check that entries, checkpoints and bodies end together."""
        size = self._frontier.size
        if self._checkpoint is not None:
            raise AlteredLog(
                f"checkpoint {self._checkpoint.n} covers {self._checkpoint.size} entries, but"
                f" there are {size}: entries are missing at the end"
            )
        if self.signed is None or self.signed.size != size:
            covered = 0 if self.signed is None else self.signed.size
            raise AlteredLog(
                f"{size} entries are there, but the last checkpoint covers {covered}:"
                " entries were added, or a checkpoint was removed"
            )
        if self._body is not None:
            raise AlteredLog(f"a statement is there for entry {self._body.idx}, which has none")

    def _check_head(self) -> None:
        head = self._head
        led_to = (self._log, self.size, self.checkpoints, bytes(self._frontier), self._t)
        if (head.log, head.size, head.checkpoints, head.frontier, head.at) != led_to:
            raise AlteredLog("the log's head is not what its entries and checkpoints lead to")
        if head.vkey and head.vkey != str(self.epochs.all[-1].key):
            raise AlteredLog("the log's head is not what its entries say of its key")
