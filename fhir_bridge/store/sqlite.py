"""
SQLite: one file in the store's folder, for one machine.

A commit is in the write-ahead log and on the disk when it returns (synchronous
FULL). A full or read-only disk is told before anything counts, and the same
object goes on when there is room again. After any other failed write nobody
knows what the disk holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError, StoreUnavailable
from fhir_bridge.store.database import Database, Lease
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.prepared import Ready, execute, fetch

_BUSY_SECONDS = 30.0
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: its fsync alone does not reach the disk
    "foreign_keys = ON",
    "secure_delete = ON",  # what is erased is overwritten
    "trusted_schema = OFF",
    "cache_size = -16384",  # KiB; the index of event ids is written all over
    "wal_autocheckpoint = 4000",  # pages; each time costs two more syncs
)

_NOT_OVERWRITTEN = "it is deleted, but not overwritten yet in the store's file"

_BEGIN_WRITING = Ready("BEGIN IMMEDIATE")
_BEGIN_READING = Ready("BEGIN")

# SQLite has rolled back when it says these: no byte of the transaction counts.
_CERTAIN = {
    "SQLITE_FULL": "its disk is full",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_BUSY": "another process has been writing it for too long",
    "SQLITE_CANTOPEN": "its file cannot be opened",
}


class SqliteDatabase(Database):
    """A database in the store's folder."""

    _advice = "check its disk"

    def __init__(self, folder: Folder) -> None:
        """Prepare connections to the folder's file; none is made yet."""
        engine = create_engine(
            f"sqlite:///{folder.database}",
            connect_args={"timeout": _BUSY_SECONDS},
            hide_parameters=True,  # an error's text would repeat them
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        super().__init__(engine, engine.execution_options(fhir_bridge_writes=True))
        self._folder = folder

    def forget(self) -> None:
        """Empty the write-ahead log, where what was deleted still lies."""
        try:
            with self._reading_engine.connect() as connection:
                busy, _, _ = fetch(connection, Ready("PRAGMA wal_checkpoint(TRUNCATE)"))[0][0]
        except SQLAlchemyError as error:
            raise StoreUnavailable(
                f"{_NOT_OVERWRITTEN}: {self._advice}, and erase again"
            ) from error
        if busy:
            raise StoreUnavailable(f"{_NOT_OVERWRITTEN}: another process reads it; erase again")

    @contextmanager
    def lease(
        self,
        name: str,
        clock: Clock,
        *,
        wait_seconds: float,
        busy: str,
        on_wait: Callable[[], None] | None = None,
    ) -> Iterator[Lease]:
        """Hold a lock on a file of the folder."""
        with self._folder.locked(
            name, clock, wait_seconds=wait_seconds, busy=busy, on_wait=on_wait
        ):
            yield _Held()

    def _is_empty(self, error: SQLAlchemyError) -> bool:
        if _name(error) == "SQLITE_NOTADB":
            raise SettingsError("store.db is not a database: name another folder") from error
        return _name(error) == "SQLITE_ERROR"

    def _certain(self, error: SQLAlchemyError) -> str | None:
        found = _name(error)
        reasons = (
            reason
            for name, reason in _CERTAIN.items()
            if found == name or found.startswith(f"{name}_")
        )
        if not found.startswith("SQLITE_FULL"):
            # The next try begins anew: the file may be another one by then. On a full disk it
            # could not, for want of room for the files that a first connection makes.
            self._reading_engine.dispose()
        return next(reasons, None)


class _Held(Lease):
    """A lock on an open file: only the process's end takes it away."""

    def check(self) -> None:
        """Find nothing: the kernel keeps the lock as long as the process lives."""


def _name(error: SQLAlchemyError) -> str:
    """Name what SQLite said."""
    return str(getattr(getattr(error, "orig", None), "sqlite_errorname", ""))


def _prepare(connection: Any, _record: Any) -> None:
    """Set up a new connection; transactions are begun by us, not by the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Take the write lock at once: a reader that turned writer later would be refused."""
    writes = connection.get_execution_options().get("fhir_bridge_writes", False)
    execute(connection, _BEGIN_WRITING if writes else _BEGIN_READING)
