"""Growing a log by one commit: the rows read and written for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Entry, Frontier
from fhir_bridge.store import schema
from fhir_bridge.store.prepared import Among, Prepared, execute, fetch

_note = (
    select(schema.checkpoint.c.note)
    .where(
        schema.checkpoint.c.year == schema.head.c.year,
        schema.checkpoint.c.size == schema.head.c.size,
    )
    .scalar_subquery()
)
_newest = select(func.max(schema.head.c.year)).scalar_subquery()
_head = select(schema.head, _note.label("note")).where(schema.head.c.year == _newest)
_SHOWN = Prepared(_head)
# The head's row is the lock where a database locks rows; SQLite locked the whole before.
_LOCKED = Prepared(_head.with_for_update(of=schema.head))

_KNOWN = Among("SELECT event_id, year, idx FROM audit_entry WHERE event_id")
_NUMBERS = Among(
    "SELECT transfer, count(*) AS number FROM audit_entry WHERE transfer", "GROUP BY transfer"
)

_LEAVES = (
    select(schema.entry.c.leaf)
    .where(
        schema.entry.c.year == bindparam("in_year"),
        schema.entry.c.idx >= bindparam("first"),
        schema.entry.c.idx < bindparam("first") + bindparam("number"),
    )
    .order_by(schema.entry.c.idx)
)
_COVERING = (
    select(schema.checkpoint.c.note)
    .where(
        schema.checkpoint.c.year == bindparam("in_year"),
        schema.checkpoint.c.size >= bindparam("covered"),
    )
    .order_by(schema.checkpoint.c.size)
    .limit(1)
)
_COLUMNS = tuple(str(column.key) for column in _head.selected_columns)
_INSERT_HEAD = Prepared(insert(schema.head))
_INSERT_ENTRY = Prepared(insert(schema.entry))
_INSERT_BODY = Prepared(insert(schema.body))
_INSERT_CHECKPOINT = Prepared(insert(schema.checkpoint))
_GROWN = ("size", "checkpoints", "frontier", "at", "behind", "vkey")
_UPDATE_HEAD = Prepared(
    update(schema.head).where(
        schema.head.c.year == bindparam("in_year"), schema.head.c.size == bindparam("former")
    ),
    _GROWN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a log stands, as the database says; nothing of it is verified yet."""

    year: int
    log: str
    size: int
    checkpoints: int
    frontier: bytes
    at: str
    """Time of the last entry."""
    behind: int
    """1 while the clock is behind the log; told once, until it has caught up."""
    vkey: str
    """The key that signs it now; empty in a log that began before this was kept."""
    note: str | None
    """The checkpoint of its size; None when it is missing."""

    @classmethod
    def empty(cls, year: int, log: str) -> Head:
        """Return the head of a log that has no entry yet."""
        return cls(
            year=year,
            log=log,
            size=0,
            checkpoints=0,
            frontier=b"",
            at="",
            behind=0,
            vkey="",
            note=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """An entry that has its place, before it is written."""

    entry: Entry
    event_id: str
    leaf: bytes
    salt: bytes
    body: bytes | None
    """Sealed; None when it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What one commit adds to one log."""

    drafted: Sequence[Drafted]
    frontier: Frontier
    note: str
    at: str
    behind: bool
    vkey: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the next commit needs to know."""

    head: Head
    known: dict[str, tuple[int, int]]
    """Where the events stand that the log has already: year and index, by filed id."""
    numbers: dict[str, int]
    """How many entries each transfer has, in all years; none has none."""


def show_head(connection: Connection) -> Head:
    """
    Read the newest log's head, to look at it.

    Args:
        connection: In a transaction.

    Raises:
        AlteredLog: There is not one head.
    """
    (heads,) = fetch(connection, *_SHOWN.ready(connection, {}))
    return _one(heads)


def look(connection: Connection, event_ids: Sequence[str], urns: Collection[str]) -> Found:
    """
    Read the newest log's head, to grow from it; nobody else does before the commit.

    Args:
        connection: In a write transaction.
        event_ids: Of the appends, as they are filed.
        urns: Of their transfers.

    Raises:
        AlteredLog: There is not one head.
    """
    heads, known, numbers = fetch(
        connection,
        *_LOCKED.ready(connection, {}),
        *_KNOWN.ready(connection, event_ids),
        *_NUMBERS.ready(connection, list(urns)),
    )
    return Found(
        head=_one(heads),
        known={event_id: (year, idx) for event_id, year, idx in known},
        numbers=dict(numbers),
    )


def _one(heads: Sequence[tuple[Any, ...]]) -> Head:
    if len(heads) != 1:
        raise AlteredLog(f"the log has {len(heads)} heads; it must have one")
    return Head(**dict(zip(_COLUMNS, heads[0], strict=True)))


def read_known(
    connection: Connection, year: int, first: int, number: int
) -> tuple[list[bytes], str | None]:
    """
    Read what an earlier append wrote.

    Args:
        connection: In a transaction.
        year: Of its log.
        first: Index of its first entry.
        number: How many entries it has.

    Returns:
        The leaves, and the first checkpoint that covers them (None: missing).
    """
    place = {"in_year": year, "first": first, "number": number, "covered": first + number}
    leaves = connection.execute(_LEAVES, place).scalars().all()
    return list(leaves), connection.execute(_COVERING, place).scalar_one_or_none()


def begin(connection: Connection, head: Head) -> None:
    """Write the head of a log that has no entry yet."""
    columns = {name: getattr(head, name) for name in ("year", "log", *_GROWN)}
    execute(connection, *_INSERT_HEAD.ready(connection, columns))


def write(connection: Connection, head: Head, growth: Growth) -> Head:
    """
    Write entries, bodies, checkpoint and head; the caller commits them together.

    Returns:
        The head as it is then.

    Raises:
        AlteredLog: Rows are where the head says that there are none: someone
            set the head back.
    """
    year = head.year
    checkpoint = {
        "year": year,
        "n": head.checkpoints,
        "size": growth.frontier.size,
        "at": growth.at,
        "note": growth.note,
    }
    grown: dict[str, Any] = {
        "size": growth.frontier.size,
        "checkpoints": head.checkpoints + 1,
        "frontier": bytes(growth.frontier),
        "at": growth.at,
        "behind": int(growth.behind),
        "vkey": growth.vkey,
    }
    entries = [_entry(year, draft) for draft in growth.drafted]
    bodies = [_body(year, draft) for draft in growth.drafted if draft.body is not None]
    statements = _INSERT_ENTRY.ready(connection, *entries)
    if bodies:
        statements += _INSERT_BODY.ready(connection, *bodies)
    statements += _INSERT_CHECKPOINT.ready(connection, checkpoint)
    statements += _UPDATE_HEAD.ready(connection, grown | {"in_year": year, "former": head.size})
    try:
        execute(connection, *statements)
    except IntegrityError as error:
        raise AlteredLog("the log holds rows beyond its head: run audit verify-db") from error
    return Head(year=year, log=head.log, note=growth.note, **grown)


def _entry(year: int, draft: Drafted) -> dict[str, Any]:
    return {
        "year": year,
        "idx": draft.entry.idx,
        "event_id": draft.event_id,
        "transfer": draft.entry.transfer,
        "leaf": draft.leaf,
    }


def _body(year: int, draft: Drafted) -> dict[str, Any]:
    return {"year": year, "idx": draft.entry.idx, "salt": draft.salt, "body": draft.body}
