"""
The connection to the database: what one commit means, and what a failed one does.

A commit is on the disk when it returns (write-ahead log, synchronous FULL).
After a failed write nobody knows what the disk holds, so the object that saw it
writes no more; a new one, opened again, starts from what is there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError, StoreUnavailable
from fhir_bridge.ledger import Signer
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.seal import Seal

VERSION = "0004"
"""The newest step in migrations/versions; compared by one query, because Alembic loads slowly."""

_BUSY_SECONDS = 30.0
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: its fsync alone does not reach the disk
    "foreign_keys = ON",
    "secure_delete = ON",  # what is erased is overwritten
    "trusted_schema = OFF",
)


class Database:
    """The store's database."""

    def __init__(self, path: Path) -> None:
        """Prepare connections to a SQLite file; none is made yet."""
        self._writer = threading.Lock()
        self._stopped = False
        self._engine = create_engine(
            f"sqlite:///{path}",
            connect_args={"timeout": _BUSY_SECONDS},
            hide_parameters=True,  # an error's text would repeat them
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._writing_engine = self._engine.execution_options(fhir_bridge_writes=True)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """
        Read one state of the database, whatever others write meanwhile.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreUnavailable("the store cannot be read: check its disk") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """
        Write in one commit, durable on leaving, one writer at a time.

        Raises:
            StoreUnavailable: Nothing was acknowledged; this object writes no more.
        """
        with self._writer:
            if self._stopped:
                raise StoreUnavailable(
                    "the store failed to write before and takes no more: mend its disk first"
                )
            try:
                with self._writing_engine.begin() as connection:
                    yield connection
            except SQLAlchemyError as error:
                self._stopped = True
                raise StoreUnavailable(
                    "the store cannot be written (is its disk full or read-only?): nothing was sent"
                ) from error

    def forget(self) -> None:
        """Empty the write-ahead log, where what was deleted still lies."""
        raw = self._engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        finally:
            raw.close()

    def version(self) -> str | None:
        """
        Return the version of the tables; None when there are none yet.

        Raises:
            SettingsError: The file is not a database.
        """
        try:
            with self._engine.begin() as connection:
                found = connection.execute(text("SELECT version_num FROM alembic_version"))
                return found.scalar_one_or_none()
        except OperationalError:
            return None
        except DatabaseError as error:
            raise SettingsError("store.db is not a database: name another folder") from error

    def upgrade(self) -> None:
        """
        Bring the tables to this version.

        Raises:
            SettingsError: They are of a newer version.
            StoreUnavailable: They could not be changed.
        """
        found = self.version()
        if found == VERSION:
            return
        if found is not None and found > VERSION:
            raise SettingsError(
                "the store was written by a newer fhir-bridge: install that version or newer"
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _prepare(connection: Any, _record: Any) -> None:
    """Set up a new SQLite connection; transactions are begun by us, not by the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Take the write lock at once: a reader that turned writer later would be refused."""
    writes = connection.get_execution_options().get("fhir_bridge_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What every part of the store works with."""

    folder: Folder
    database: Database
    clock: Clock
    seal: Seal
    signer: Signer
    log: str
    """The log's name, e.g. ``bridge.example/audit/2026``."""


class Part:
    """A part of the store: one subject, the same database."""

    def __init__(self, opened: Opened) -> None:
        """Keep what was opened."""
        self._opened = opened
        self._database = opened.database
        self._clock = opened.clock
        self._seal = opened.seal
