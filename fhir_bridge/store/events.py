"""Every change of a transfer's state, numbered, written in the commit that makes the change."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_EVENT = schema.transfer_event
_LIMIT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A transfer reached a state."""

    number: int
    """Of all events of the store; a later commit has a greater one."""
    transfer: str
    at: str
    """UTC, as in the log."""
    state: str
    attempt: int
    tenant: str


def write_event(
    connection: Connection, *, transfer: str, at: str, state: str, attempt: int, tenant: str
) -> None:
    """
    Write an event down; the caller commits it together with the change.

    Writers come one after the other, so no reader sees a number before a
    smaller one that is still to come.
    """
    number = connection.execute(select(func.coalesce(func.max(_EVENT.c.number), 0))).scalar_one()
    row = {"number": number + 1, "transfer": transfer, "at": at, "state": state}
    connection.execute(insert(_EVENT), row | {"attempt": attempt, "tenant": tenant})


class Events(Part):
    """What happened to transfers, for whoever follows them."""

    def events(
        self, after: int, *, transfer: str | None = None, limit: int = _LIMIT
    ) -> list[EventRow]:
        """
        Return events in the order they happened.

        Args:
            after: Number of the last one that was seen; 0 for all.
            transfer: Only those of this one.
            limit: How many at most.
        """
        rows = select(_EVENT).where(_EVENT.c.number > after).order_by(_EVENT.c.number).limit(limit)
        if transfer is not None:
            rows = rows.where(_EVENT.c.transfer == transfer)
        with self._database.reading() as connection:
            return [EventRow(**row._asdict()) for row in connection.execute(rows)]
