"""How far an audit repository has what the log's entries commit to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_AT = schema.audit_repository
_REFUSED = schema.audit_repository_refused


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryRow:
    """How it stands with one repository and one log."""

    next: int = 0
    """Index of the first entry that it has not answered for."""
    tried: str | None = None
    """When it was last away; None when it last answered."""
    refused: tuple[int, ...] = ()
    """Entries before `next` that it did not take."""


class Repositories(Part):
    """Where each audit repository stands."""

    def repository(self, name: str, log: str) -> RepositoryRow:
        """
        Return where a repository stands.

        Args:
            name: Its alias.
            log: The log's name.
        """
        at = select(_AT.c.next, _AT.c.tried).where(_AT.c.repository == name, _AT.c.log == log)
        refused = select(_REFUSED.c.idx).where(_REFUSED.c.repository == name, _REFUSED.c.log == log)
        with self._database.reading() as connection:
            row = connection.execute(at).one_or_none()
            missing = tuple(connection.execute(refused.order_by(_REFUSED.c.idx)).scalars())
        if row is None:
            return RepositoryRow(refused=missing)
        return RepositoryRow(next=row.next, tried=row.tried, refused=missing)

    def repository_took(
        self,
        name: str,
        log: str,
        *,
        next_: int,
        taken: Iterable[int] = (),
        refused: Iterable[int] = (),
    ) -> None:
        """
        Remember what a repository has answered.

        Args:
            name: Its alias.
            log: The log's name.
            next_: Index of the first entry that it has not answered for; one
                that is behind what is known changes nothing.
            taken: Entries refused before that it has now.
            refused: Entries that it did not take; they are offered again.
        """
        with self._database.writing() as connection:
            self._advance(connection, name, log, next_=next_, tried=None)
            for idx in taken:
                _forget(connection, name, log, idx)
            for idx in refused:
                _forget(connection, name, log, idx)
                row = {"repository": name, "log": log, "idx": idx}
                connection.execute(insert(_REFUSED), row)

    def repository_away(self, name: str, log: str, *, tried: str) -> None:
        """
        Remember that a repository was away.

        Args:
            name: Its alias.
            log: The log's name.
            tried: When it was asked; UTC, as in the log.
        """
        with self._database.writing() as connection:
            self._advance(connection, name, log, next_=0, tried=tried)

    def _advance(
        self, connection: Connection, name: str, log: str, *, next_: int, tried: str | None
    ) -> None:
        mine = (_AT.c.repository == name, _AT.c.log == log)
        known = connection.execute(select(_AT.c.next).where(*mine)).scalar_one_or_none()
        if known is None:
            row = {"repository": name, "log": log, "next": next_, "tried": tried}
            connection.execute(insert(_AT), row)
        else:
            row = {"next": max(known, next_), "tried": tried}
            connection.execute(update(_AT).where(*mine), row)


def _forget(connection: Connection, name: str, log: str, idx: int) -> None:
    mine = (_REFUSED.c.repository == name, _REFUSED.c.log == log, _REFUSED.c.idx == idx)
    connection.execute(delete(_REFUSED).where(*mine))
