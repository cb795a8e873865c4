"""
Verification: all logs recomputed from their rows, nothing taken on trust.

Every entry is read strictly and hashed, every checkpoint's root is computed and
its signatures checked, and the head must be what they lead to. Each year's log
goes on from the last checkpoint of the one before, and the newest ends with the
key that the bridge holds. What this cannot see, because nothing inside a
database can show it: that a whole older copy was put in its place, or that the
holder of the signing key wrote everything anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DatabaseError, OperationalError

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Checkpoint, VerifierKey
from fhir_bridge.ledger.epochs import Epochs
from fhir_bridge.store import schema
from fhir_bridge.store.growth import Head
from fhir_bridge.store.recomputing import Recomputed, Rows
from fhir_bridge.store.seal import Seal


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


def verify(connection: Connection, key: VerifierKey, seal: Seal) -> Verified:
    """
    Verify all logs of a store.

    Args:
        connection: In one read transaction; its rows are not trusted.
        key: The newest log's public key, from outside the database; its name
            tells the log's.
        seal: To open what entries commit to.

    Raises:
        AlteredLog: Names the first fault.
    """
    try:
        with ExitStack() as cursors:
            rows = Rows(connection=connection, cursors=cursors, seal=seal, numbers=Counter())
            return _verified(rows, key)
    except DatabaseError as error:
        if isinstance(error, OperationalError) and not _is_about_tables(error):
            raise
        raise AlteredLog("the log's tables are damaged: their rows cannot be read") from error


def _is_about_tables(error: OperationalError) -> bool:
    """Tell a missing table or column, which SQLite files under operation, from a failing disk."""
    return getattr(error.orig, "sqlite_errorname", "") == "SQLITE_ERROR"


def _verified(rows: Rows, key: VerifierKey) -> Verified:
    logs = _recomputed(rows, key)
    signed = logs[-1].signed
    assert signed is not None, "a log that verifies has a last checkpoint"
    return Verified(
        entries=sum(log.size for log in logs),
        checkpoints=sum(log.checkpoints for log in logs),
        statements=sum(log.opened for log in logs),
        erased=sum(log.erased for log in logs),
        checkpoint=signed,
        key=key,
    )


def _recomputed(rows: Rows, key: VerifierKey) -> list[Recomputed]:
    origin = key.name.rpartition("/")[0]
    logs: list[Recomputed] = []
    t, former = "", None
    for head in _heads(rows.connection):
        if logs and not logs[-1].is_closed:
            raise AlteredLog("the log of a former year was not closed: entries are missing there")
        log = f"{origin}/{head.year}"
        recomputed = Recomputed(rows, log, head, Epochs(log, unnamed=key))
        t = recomputed.run(t, former)
        former = recomputed.note
        logs.append(recomputed)
    if logs[-1].is_closed:
        raise AlteredLog("the last log is closed, and the next one is missing")
    if logs[-1].epochs.all[-1].key != key:
        raise AlteredLog("the log's entries say another key than the one that the bridge holds")
    return logs


def _heads(connection: Connection) -> list[Head]:
    """Read the heads: one for each year that has rows."""
    rows = connection.execute(select(schema.head).order_by(schema.head.c.year)).all()
    heads = [Head(note=None, **row._asdict()) for row in rows]
    years = [head.year for head in heads]
    if not heads or len(set(years)) != len(years):
        count = connection.execute(select(func.count()).select_from(schema.entry)).scalar_one()
        raise AlteredLog(
            f"the log has {len(heads)} heads for {len(set(years))} years; {count} entries are there"
        )
    if any(year not in years for year in _years(connection)):
        raise AlteredLog("there are rows of a year that has no log")
    return heads


def _years(connection: Connection) -> Iterator[int]:
    for table in (schema.entry, schema.body, schema.checkpoint):
        yield from connection.execute(select(table.c.year).distinct()).scalars()
