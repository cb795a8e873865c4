"""Finding transfers: page by page, by what their row says."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, tuple_

from fhir_bridge.store import schema
from fhir_bridge.store.database import Part
from fhir_bridge.store.transfers import COLUMNS, TransferRow, transfer_row

_TRANSFER = schema.transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which transfers; None asks for nothing."""

    tenant: str
    state: str | None = None
    source: str | None = None
    destination: str | None = None
    since: str | None = None
    """Created then or later; UTC, as in the log, or its beginning."""
    until: str | None = None
    """Created before then."""


class Listing(Part):
    """Lists of transfers."""

    def find_transfer(self, transfer: str) -> TransferRow | None:
        """Return a transfer; None when there is none."""
        rows = select(*COLUMNS).where(_TRANSFER.c.id == transfer)
        with self._database.reading() as connection:
            found = connection.execute(rows).one_or_none()
        return None if found is None else transfer_row(found)

    def list_transfers(
        self, wanted: Wanted, *, limit: int, after: tuple[str, str] | None = None
    ) -> list[TransferRow]:
        """
        Return transfers, newest first.

        Args:
            wanted: Which.
            limit: How many at most.
            after: When and by what id the last one that was seen was created.
        """
        rows = select(*COLUMNS).where(_TRANSFER.c.tenant == wanted.tenant)
        for column in ("state", "source", "destination"):
            if (value := getattr(wanted, column)) is not None:
                rows = rows.where(_TRANSFER.c[column] == value)
        if wanted.since is not None:
            rows = rows.where(_TRANSFER.c.created >= wanted.since)
        if wanted.until is not None:
            rows = rows.where(_TRANSFER.c.created < wanted.until)
        place = (_TRANSFER.c.created, _TRANSFER.c.id)
        if after is not None:
            rows = rows.where(tuple_(*place) < tuple_(*after))
        rows = rows.order_by(*(one.desc() for one in place)).limit(limit)
        with self._database.reading() as connection:
            return list(map(transfer_row, connection.execute(rows)))

    def count_states(self) -> dict[str, int]:
        """Return how many transfers there are in each state."""
        rows = select(_TRANSFER.c.state, func.count()).group_by(_TRANSFER.c.state)
        with self._database.reading() as connection:
            found = connection.execute(rows).all()
        return {row[0]: row[1] for row in found}

    def sealed(self, purpose: str, content: bytes) -> bytes:
        """Seal something that is given away and comes back, e.g. a cursor."""
        return self._seal.close(f"given/{purpose}", content)

    def unsealed(self, purpose: str, sealed: bytes) -> bytes:
        """
        Open what `sealed` gave.

        Raises:
            Tampered: It was altered, or given for something else.
        """
        return self._seal.open(f"given/{purpose}", sealed)
