"""Growing the log by one commit: the rows read and written for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Entry, Frontier
from fhir_bridge.store import schema
from fhir_bridge.store.prepared import Prepared

_note = (
    select(schema.checkpoint.c.note)
    .where(schema.checkpoint.c.size == schema.head.c.size)
    .scalar_subquery()
)
_known = (
    select(schema.entry.c.idx)
    .where(schema.entry.c.event_id == bindparam("event_id"))
    .scalar_subquery()
)
_number = select(func.count()).where(schema.entry.c.transfer == bindparam("urn")).scalar_subquery()
_SHOWN = Prepared(select(schema.head, _note.label("note")))
# The head's row is the lock where a database locks rows; SQLite locked the whole before.
_HEAD = Prepared(
    select(
        schema.head, _note.label("note"), _known.label("known"), _number.label("number")
    ).with_for_update(of=schema.head)
)

_LEAVES = (
    select(schema.entry.c.leaf)
    .where(
        schema.entry.c.idx >= bindparam("first"),
        schema.entry.c.idx < bindparam("first") + bindparam("number"),
    )
    .order_by(schema.entry.c.idx)
)
_COVERING = (
    select(schema.checkpoint.c.note)
    .where(schema.checkpoint.c.size >= bindparam("covered"))
    .order_by(schema.checkpoint.c.size)
    .limit(1)
)
_INSERT_ENTRY = Prepared(insert(schema.entry))
_INSERT_BODY = Prepared(insert(schema.body))
_INSERT_CHECKPOINT = Prepared(insert(schema.checkpoint))
_UPDATE_HEAD = Prepared(
    update(schema.head).where(schema.head.c.size == bindparam("former")),
    ("size", "checkpoints", "frontier", "at", "behind"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """An entry that has its place, before it is written."""

    entry: Entry
    event_id: str
    leaf: bytes
    salt: bytes
    body: bytes | None
    """Sealed; None when nothing was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What one commit adds."""

    drafted: Sequence[Drafted]
    frontier: Frontier
    note: str
    at: str
    behind: bool
    """The clock is behind the log; told once, until it has caught up."""


def show_head(connection: Connection) -> Row[Any]:
    """
    Read the head, to look at it.

    Args:
        connection: In a transaction.

    Returns:
        The head's columns and `note`, the checkpoint of its size; None when it
        is missing.

    Raises:
        AlteredLog: There is not one head.
    """
    return _one(_SHOWN.run(connection, {}).all())


def read_head(connection: Connection, *, event_id: str | None, urn: str | None) -> Row[Any]:
    """
    Read the head, with all that the next append needs to know.

    Args:
        connection: In a write transaction.
        event_id: Of the append; `known` is then the index it got the first time.
        urn: Of the transfer; `number` is then how many entries it has.

    Returns:
        What `show_head` returns, `known` and `number`.

    Raises:
        AlteredLog: There is not one head.
    """
    return _one(_HEAD.run(connection, {"event_id": event_id, "urn": urn}).all())


def _one(heads: Sequence[Row[Any]]) -> Row[Any]:
    if len(heads) != 1:
        raise AlteredLog(f"the log has {len(heads)} heads; it must have one")
    return heads[0]


def read_known(connection: Connection, first: int, number: int) -> tuple[list[bytes], str | None]:
    """
    Read what an earlier append wrote.

    Args:
        connection: In a transaction.
        first: Index of its first entry.
        number: How many entries it has.

    Returns:
        The leaves, and the first checkpoint that covers them (None: missing).
    """
    leaves = connection.execute(_LEAVES, {"first": first, "number": number}).scalars().all()
    covering = connection.execute(_COVERING, {"covered": first + number})
    return list(leaves), covering.scalar_one_or_none()


def write(connection: Connection, head: Row[Any], growth: Growth) -> None:
    """
    Write entries, statements, checkpoint and head; the caller commits them together.

    Raises:
        AlteredLog: Rows are where the head says that there are none: someone
            set the head back.
    """
    try:
        for draft in growth.drafted:
            _write_entry(connection, draft)
        checkpoint = {
            "n": head.checkpoints,
            "size": growth.frontier.size,
            "at": growth.at,
            "note": growth.note,
        }
        _INSERT_CHECKPOINT.run(connection, checkpoint)
    except IntegrityError as error:
        raise AlteredLog("the log holds rows beyond its head: run audit verify-db") from error
    grown = {
        "former": head.size,
        "size": growth.frontier.size,
        "checkpoints": head.checkpoints + 1,
        "frontier": bytes(growth.frontier),
        "at": growth.at,
        "behind": int(growth.behind),
    }
    _UPDATE_HEAD.run(connection, grown)


def _write_entry(connection: Connection, draft: Drafted) -> None:
    idx = draft.entry.idx
    entry = {
        "idx": idx,
        "event_id": draft.event_id,
        "transfer": draft.entry.transfer,
        "leaf": draft.leaf,
    }
    _INSERT_ENTRY.run(connection, entry)
    if draft.body is not None:
        _INSERT_BODY.run(connection, {"idx": idx, "salt": draft.salt, "body": draft.body})
