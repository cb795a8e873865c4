"""How far each watched server was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from fhir_bridge.ledger import timestamp
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_WATCH = schema.watch


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRow:
    """Where the next look begins."""

    name: str
    since: str
    """By the server's clock."""
    looked: str
    """When it was looked at last, by ours."""


class Watches(Part):
    """The places, by name."""

    def watch_place(self, name: str) -> WatchRow | None:
        """Return where the next look begins; None when there was none yet."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_WATCH).where(_WATCH.c.name == name))
            found = rows.one_or_none()
        return None if found is None else WatchRow(**found._asdict())

    def watch_moved(self, name: str, *, since: datetime, looked: datetime) -> None:
        """Write down that everything before a moment was seen."""
        row = {"name": name, "since": timestamp(since), "looked": timestamp(looked)}
        with self._database.writing() as connection:
            connection.execute(delete(_WATCH).where(_WATCH.c.name == name))
            connection.execute(insert(_WATCH), row)
