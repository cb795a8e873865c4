"""
Verification: the whole log recomputed from its rows, nothing taken on trust.

Every entry is read strictly and hashed, every checkpoint's root is computed and
its signature checked, and the head must be what they lead to. What this cannot
see, because nothing inside a database can show it: that a whole older copy was
put in its place, or that the holder of the signing key wrote everything anew.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select
from sqlalchemy.exc import DatabaseError, OperationalError

from fhir_bridge.errors import AlteredLog, Tampered
from fhir_bridge.ledger import (
    Checkpoint,
    Entry,
    Frontier,
    VerifierKey,
    decode_entry,
    leaf_hash,
)
from fhir_bridge.store import schema
from fhir_bridge.store.seal import Seal

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found right."""

    entries: int
    checkpoints: int
    statements: int
    """Opened and equal to their commitment."""
    erased: int
    """Statements that are committed to and no longer there."""
    checkpoint: Checkpoint
    """The last one. Kept outside, it shows later whether the log was rolled back."""
    key: VerifierKey


def verify(connection: Connection, key: VerifierKey, log: str, seal: Seal) -> Verified:
    """
    Verify a log.

    Args:
        connection: In one read transaction; its rows are not trusted.
        key: The log's public key, from outside the database.
        log: The log's name, from outside the database.
        seal: To open what was said in an entry.

    Raises:
        AlteredLog: Names the first fault.
    """
    try:
        with ExitStack() as cursors:
            return _Verification(connection, cursors, key, log, seal).run()
    except DatabaseError as error:
        if isinstance(error, OperationalError) and not _is_about_tables(error):
            raise
        raise AlteredLog("the log's tables are damaged: their rows cannot be read") from error


def _is_about_tables(error: OperationalError) -> bool:
    """Tell a missing table or column, which SQLite files under operation, from a failing disk."""
    return getattr(error.orig, "sqlite_errorname", "") == "SQLITE_ERROR"


class _Verification:
    """One pass over the rows, oldest first."""

    def __init__(
        self, connection: Connection, cursors: ExitStack, key: VerifierKey, log: str, seal: Seal
    ) -> None:
        self._connection = connection
        self._cursors = cursors
        self._key = key
        self._log = log
        self._seal = seal
        self._checkpoints = self._rows(select(schema.checkpoint).order_by(schema.checkpoint.c.n))
        self._checkpoint = next(self._checkpoints, None)
        self._bodies = self._rows(select(schema.body).order_by(schema.body.c.idx))
        self._body = next(self._bodies, None)
        self._frontier = Frontier()
        self._signed: Checkpoint | None = None
        self._signed_count = 0
        self._t = ""
        self._numbers: Counter[str] = Counter()
        self._statements = 0
        self._erased = 0

    def run(self) -> Verified:
        for row in self._rows(select(schema.entry).order_by(schema.entry.c.idx)):
            entry = self._read(row)
            self._check_order(entry)
            self._check_number(entry, row)
            self._check_statement(entry)
            self._t = entry.t
            self._frontier = self._frontier.appended(leaf_hash(row.leaf))
            self._check_checkpoint()
        signed = self._check_ends()
        self._check_head()
        return Verified(
            entries=self._frontier.size,
            checkpoints=self._signed_count,
            statements=self._statements,
            erased=self._erased,
            checkpoint=signed,
            key=self._key,
        )

    def _rows(self, rows: Select[Any]) -> Iterator[Row[Any]]:
        options = {"yield_per": _ROWS_AT_ONCE}
        return iter(
            self._cursors.enter_context(self._connection.execute(rows, execution_options=options))
        )

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

    def _check_number(self, entry: Entry, row: Row[Any]) -> None:
        if row.transfer != entry.transfer:
            raise AlteredLog(f"entry {entry.idx} is filed under another transfer")
        if entry.transfer is None:
            return
        if entry.seq != self._numbers[entry.transfer]:
            raise AlteredLog(
                f"entry {entry.idx} is number {entry.seq} of its transfer, but"
                f" {self._numbers[entry.transfer]} came before it"
            )
        self._numbers[entry.transfer] += 1

    def _check_statement(self, entry: Entry) -> None:
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
            self._erased += 1
        if entry.body is not None and there is not None:
            self._open_statement(entry.idx, entry.body.digest, there)

    def _open_statement(self, idx: int, digest: str, row: Row[Any]) -> None:
        try:
            said = self._seal.open(f"body/{idx}", row.body)
        except Tampered as error:
            raise AlteredLog(f"the statement of entry {idx} was altered: {error}") from error
        if base64.b64encode(hashlib.sha256(row.salt + said).digest()).decode() != digest:
            raise AlteredLog(f"the statement of entry {idx} was altered")
        self._statements += 1

    def _check_checkpoint(self) -> None:
        """Check the checkpoint of this size, when there is one."""
        row = self._checkpoint
        if row is None or row.size > self._frontier.size:
            return
        if row.n != self._signed_count:
            raise AlteredLog(f"checkpoint {self._signed_count} is missing: the next is {row.n}")
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
        self._signed = signed
        self._signed_count += 1
        self._checkpoint = next(self._checkpoints, None)

    def _open_checkpoint(self, row: Row[Any]) -> Checkpoint:
        try:
            return Checkpoint.parse(self._key.open(row.note))
        except Tampered as error:
            raise AlteredLog(f"checkpoint {row.n} was altered: {error}") from error

    def _check_ends(self) -> Checkpoint:
        """Check that entries, checkpoints and statements end together."""
        size = self._frontier.size
        if self._checkpoint is not None:
            raise AlteredLog(
                f"checkpoint {self._checkpoint.n} covers {self._checkpoint.size} entries, but"
                f" there are {size}: entries are missing at the end"
            )
        if self._signed is None or self._signed.size != size:
            covered = 0 if self._signed is None else self._signed.size
            raise AlteredLog(
                f"{size} entries are there, but the last checkpoint covers {covered}:"
                " entries were added, or a checkpoint was removed"
            )
        if self._body is not None:
            raise AlteredLog(f"a statement is there for entry {self._body.idx}, which has none")
        return self._signed

    def _check_head(self) -> None:
        rows = self._connection.execute(select(schema.head)).all()
        if len(rows) != 1:
            raise AlteredLog(f"the log has {len(rows)} heads; it must have one")
        found = rows[0]
        led_to = (
            self._log,
            self._frontier.size,
            self._signed_count,
            bytes(self._frontier),
            self._t,
        )
        if (found.log, found.size, found.checkpoints, found.frontier, found.at) != led_to:
            raise AlteredLog("the log's head is not what its entries and checkpoints lead to")
