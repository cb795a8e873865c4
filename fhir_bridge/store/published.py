"""
What of the log can be handed out: its leaves, its signed notes, its opened bodies.

Nothing here is verified: who exports or proves does that, from these bytes. A
witness's signature stands beside the note that it is under, in a table that
only grows, and is put below the note when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, func, insert, select

from fhir_bridge.errors import SettingsError
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_ROWS_AT_ONCE = 500
_MARK = "\N{EM DASH} "


class Published(Part):
    """The log's bytes, as exports, proofs and witnesses need them."""

    def logs(self) -> tuple[str, ...]:
        """Return the names of the logs, oldest first."""
        with self._database.reading() as connection:
            names = select(schema.head.c.log).order_by(schema.head.c.year)
            return tuple(connection.execute(names).scalars())

    def leaves(self, log: str, first: int, end: int) -> Iterator[bytes]:
        """
        Return leaves, oldest first.

        Args:
            log: The log's name.
            first: Index of the first.
            end: Index after the last; what is not there yet is left out.
        """
        table = schema.entry
        rows = select(table.c.leaf).where(_in(table, log), table.c.idx >= first, table.c.idx < end)
        for row in self._stream(log, rows.order_by(table.c.idx)):
            yield row.leaf

    def notes(self, log: str) -> Iterator[tuple[int, str]]:
        """
        Return each checkpoint's size and signed note, oldest first.

        Args:
            log: The log's name.

        Returns:
            The note bears the log's own signatures and below them the witnesses'.
        """
        table, beside = schema.checkpoint, schema.cosignature
        same = (beside.c.size == table.c.size) & (beside.c.log == log)
        rows = (
            select(table.c.size, table.c.note, beside.c.line)
            .select_from(table.outerjoin(beside, same))
            .where(_in(table, log))
            .order_by(table.c.size, beside.c.line)
        )
        for (size, note), group in groupby(self._stream(log, rows), lambda row: (row[0], row[1])):
            yield size, note + "".join(row.line for row in group if row.line is not None)

    def opened(self, log: str, first: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """
        Return what entries commit to, opened: index, salt, stored bytes.

        Args:
            log: The log's name.
            first: Index of the first.
            end: Index after the last. A body that was erased is left out.

        Raises:
            Tampered: A body does not open.
        """
        table = schema.body
        rows = select(table).where(_in(table, log), table.c.idx >= first, table.c.idx < end)
        for row in self._stream(log, rows.order_by(table.c.idx)):
            yield row.idx, row.salt, self._seal.open(f"body/{row.idx}", row.body)

    def add_cosignature(self, log: str, size: int, line: str) -> None:
        """
        Keep a witness's signature under a checkpoint; the same one again changes nothing.

        Args:
            log: The log's name.
            size: Of the checkpoint.
            line: The whole signature line, with its newline. Verified by the caller.

        Raises:
            SettingsError: The log has no checkpoint of this size.
        """
        assert line.startswith(_MARK), "a signature line begins with its mark"
        assert line.endswith("\n"), "a signature line ends with a newline"
        assert line.count("\n") == 1, "one signature, one line"
        table = schema.cosignature
        row = {"log": log, "size": size, "line": line}
        signed = schema.checkpoint
        there = select(signed.c.size).where(_in(signed, log), signed.c.size == size)
        same = select(table.c.size).where(*(table.c[name] == value for name, value in row.items()))
        with self._database.writing() as connection:
            if connection.execute(there).one_or_none() is None:
                raise SettingsError(f"log {log} has no checkpoint of size {size}")
            if connection.execute(same).one_or_none() is None:
                connection.execute(insert(table), row)

    def last_cosigned(self, log: str, witness: str | None = None) -> int | None:
        """
        Return the size of the last checkpoint that a witness signed; None when none did.

        Args:
            log: The log's name.
            witness: Name of the witness's key; None for any witness.
        """
        table = schema.cosignature
        rows = select(table.c.size).where(table.c.log == log)
        if witness is not None:
            begins = f"{_MARK}{witness} "
            rows = rows.where(func.substr(table.c.line, 1, len(begins)) == begins)
        with self._database.reading() as connection:
            newest = connection.execute(rows.order_by(table.c.size.desc()).limit(1))
            return newest.scalar_one_or_none()

    def signed_after(self, log: str, size: int) -> str | None:
        """
        Return when the first checkpoint above a size was signed; None when there is none.

        Args:
            log: The log's name.
            size: Of an earlier checkpoint; 0 for the first.
        """
        table = schema.checkpoint
        rows = select(table.c.at).where(_in(table, log), table.c.size > size)
        rows = rows.order_by(table.c.size).limit(1)
        with self._database.reading() as connection:
            return connection.execute(rows).scalar_one_or_none()

    def sign_manifest(self, text: str) -> str:
        """
        Return the list of an export's files as a note signed by the log's key.

        A log of a former year whose key was changed since is listed under the
        newest log's name: its own key is gone.

        Args:
            text: The list. It says in its first line what it is, so that nobody
                can have a checkpoint signed here.
        """
        first, named, _ = text.split("\n", 2)
        assert first == "fhir-bridge/audit-export/v1", "only a list of files is signed"
        table = schema.head
        heads = select(table.c.log, table.c.vkey).order_by(table.c.year)
        with self._database.reading() as connection:
            vkeys = {row.log: row.vkey for row in connection.execute(heads)}
        keys, log = self._opened.keys, named.removeprefix("log ")
        is_own = vkeys.get(log) in {"", str(keys.verifier(log))}
        return keys.sign_list(log if is_own else list(vkeys)[-1], text)

    def _stream(self, log: str, rows: Select[Any]) -> Iterator[Any]:
        """Read rows of one log in one state of the database, without holding them all."""
        if log not in self.logs():
            raise SettingsError(f"the store holds no log {log}")
        rows = rows.execution_options(yield_per=_ROWS_AT_ONCE)
        with self._database.reading() as connection, connection.execute(rows) as found:
            yield from found


def _in(table: Table, log: str) -> ColumnElement[bool]:
    """Choose the rows of one log."""
    year = select(schema.head.c.year).where(schema.head.c.log == log)
    return table.c.year == year.scalar_subquery()
