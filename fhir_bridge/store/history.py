"""
Which keys signed which sizes of which log, as far as the key in use vouches for it.

The newest checkpoint covers every entry of its log, and the first entry of a
log covers the log of the year before. So the keys that entries name are right
when the entries hash to what was signed last; nothing else is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, select

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import (
    Checkpoint,
    Event,
    Frontier,
    Note,
    VerifierKey,
    decode_entry,
    leaf_hash,
)
from fhir_bridge.ledger.epochs import Epochs
from fhir_bridge.store import schema

_ROWS_AT_ONCE = 500
_CHANGE = f'"type":"{Event.KEY_ROTATED}"'.encode()


def read_epochs(
    connection: Connection, newest: Checkpoint, key: VerifierKey
) -> Mapping[str, Epochs]:
    """
    Return each log's keys, the oldest log first.

    Args:
        connection: In one read transaction; its rows are not trusted.
        newest: The newest log's checkpoint, which the key in use has signed.
        key: That key.

    Raises:
        AlteredLog: The entries are not what was signed.
    """
    found: dict[str, Epochs] = {}
    former: Checkpoint | None = None
    heads = select(schema.head.c.year, schema.head.c.log).order_by(schema.head.c.year)
    for year, log in connection.execute(heads).all():
        found[log] = Epochs(log, unnamed=key)
        end = newest.size if log == newest.origin else None
        former = _read_log(connection, year, found[log], former, end)
    if former != newest:
        raise AlteredLog("the log's entries are not what was signed last: run audit verify-db")
    return found


def _read_log(
    connection: Connection, year: int, epochs: Epochs, former: Checkpoint | None, end: int | None
) -> Checkpoint:
    table = schema.entry
    rows: Any = select(table.c.leaf).where(table.c.year == year).order_by(table.c.idx)
    if end is not None:
        rows = rows.where(table.c.idx < end)
    frontier = Frontier()
    options = {"yield_per": _ROWS_AT_ONCE}
    with closing(connection.execute(rows, execution_options=options)) as leaves:
        for leaf in leaves.scalars():
            if frontier.size == 0 or _CHANGE in leaf:
                entry = decode_entry(leaf)
                if entry.idx != frontier.size:
                    raise AlteredLog("an entry of the log was moved: run audit verify-db")
                if entry.idx == 0:
                    _check_succession(entry.checkpoint, former)
                epochs.read(entry)
            frontier = frontier.appended(leaf_hash(leaf))
    return Checkpoint(origin=epochs.log, size=frontier.size, root=frontier.root())


def _check_succession(note: str | None, former: Checkpoint | None) -> None:
    """Check that a log goes on from the one before as its first entry says."""
    said = None if note is None else Checkpoint.parse(Note.parse(note).text)
    if said != former:
        raise AlteredLog("a log does not go on from the year before: run audit verify-db")
