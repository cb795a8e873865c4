"""
Servers that an administrator registered through the API, beside those of the settings.

What is said of a server is kept as it was said; its secret is kept sealed and
is never given back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, delete, insert, select

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_SERVER = schema.server


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """One registered server."""

    alias: str
    described: str
    """JSON with the members of a server in the settings, without any secret."""
    secret: str | None = field(repr=False)
    updated: str
    """UTC, as in the log; another one after each change."""


class Servers(Part):
    """The registered servers."""

    def register_server(self, alias: str, described: str, secret: str | None) -> None:
        """
        Keep what is said of a server; what was said before is replaced.

        Args:
            alias: Its name.
            described: JSON without any secret.
            secret: What the server lets us in by; kept sealed.
        """
        row = {
            "alias": alias,
            "described": described,
            "secret": None
            if secret is None
            else self._seal.close(_purpose(alias), secret.encode()),
            "updated": timestamp(self._clock.now()),
        }
        with self._database.writing() as connection:
            connection.execute(delete(_SERVER).where(_SERVER.c.alias == alias))
            connection.execute(insert(_SERVER), row)

    def registered_server(self, alias: str) -> ServerRow | None:
        """Return a registered server with its secret; None when there is none."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_SERVER).where(_SERVER.c.alias == alias))
            found = rows.one_or_none()
        return None if found is None else self._server(found)

    def registered_servers(self) -> tuple[ServerRow, ...]:
        """Return all registered servers, by alias."""
        with self._database.reading() as connection:
            found = connection.execute(select(_SERVER).order_by(_SERVER.c.alias)).all()
        return tuple(map(self._server, found))

    def unregister_server(self, alias: str) -> None:
        """
        Forget a server and its secret.

        Raises:
            SettingsError: There is none.
        """
        with self._database.writing() as connection:
            gone = connection.execute(delete(_SERVER).where(_SERVER.c.alias == alias)).rowcount
        if not gone:
            raise SettingsError("there is no such registered server")
        self._database.forget()

    def _server(self, row: Row[Any]) -> ServerRow:
        secret = row.secret
        if secret is not None:
            secret = self._seal.open(_purpose(row.alias), bytes(secret)).decode()
        return ServerRow(**row._asdict() | {"secret": secret})


def _purpose(alias: str) -> str:
    return f"server/{alias}"
