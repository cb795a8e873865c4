"""
When a server may be asked again: one row for each, for every process that asks it.

The time is the database's own, so that machines whose clocks differ still take
turns.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Connection, cast, func, insert, select, update

from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_PACE = schema.server_pace
_JULIAN_EPOCH_DAYS, _MS_A_DAY = 2440587.5, 86_400_000


class Pace(Part):
    """The pace of each server."""

    def reserve_request(self, server: str, gap_seconds: float, most_seconds: float) -> float:
        """
        Take the next moment at which a server may be asked.

        Args:
            server: Its alias, else its host.
            gap_seconds: Between two requests.
            most_seconds: The longest wait that is of use; beyond it none is taken.

        Returns:
            Seconds until then.
        """
        with self._database.writing() as connection:
            now, due = _now_ms(connection), _due_ms(connection, server)
            at = max(now, due or 0)
            seconds = (at - now) / 1000
            if seconds <= most_seconds:
                _set(connection, server, at + max(1, round(gap_seconds * 1000)), known=due)
        return seconds

    def push_back(self, server: str, seconds: float) -> None:
        """
        Leave a server alone, as it asked; a longer wish that is known stays.

        Args:
            server: Its alias, else its host.
            seconds: From now.
        """
        with self._database.writing() as connection:
            due = _due_ms(connection, server)
            until = _now_ms(connection) + round(seconds * 1000)
            if until > (due or 0):
                _set(connection, server, until, known=due)

    def quiet_seconds(self, server: str) -> float:
        """Return for how long a server wants to be left alone."""
        with self._database.reading() as connection:
            due = _due_ms(connection, server)
            return 0.0 if due is None else max(0.0, (due - _now_ms(connection)) / 1000)


def _due_ms(connection: Connection, server: str) -> int | None:
    rows = select(_PACE.c.next_ms).where(_PACE.c.server == server)
    return connection.execute(rows).scalar_one_or_none()


def _set(connection: Connection, server: str, at: int, *, known: int | None) -> None:
    if known is None:
        connection.execute(insert(_PACE), {"server": server, "next_ms": at})
    else:
        connection.execute(update(_PACE).where(_PACE.c.server == server), {"next_ms": at})


def _now_ms(connection: Connection) -> int:
    moment: Any
    if connection.dialect.name == "postgresql":
        moment = func.date_part("epoch", func.clock_timestamp()) * 1000
    else:
        moment = (func.julianday("now") - _JULIAN_EPOCH_DAYS) * _MS_A_DAY
    return int(connection.execute(select(cast(moment, BigInteger))).scalar_one())
