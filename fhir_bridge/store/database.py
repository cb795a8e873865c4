"""
The connection to the database: what one commit means, and what a failed one does.

A commit is on the disk when it returns. Of a failed one it must be known what
the database holds; where that cannot be known, the object that saw it writes no
more, and a new one, opened again, starts from what is there.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, Transaction, text
from sqlalchemy.exc import SQLAlchemyError

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError, StoreUnavailable
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.logkeys import LogKeys
from fhir_bridge.store.seal import Seal

VERSION = "0014"
"""The newest step in migrations/versions; compared by one query, because Alembic loads slowly."""


class Lease(ABC):
    """The right to be the only one that writes somewhere, while it is held."""

    @abstractmethod
    def check(self) -> None:
        """
        Make sure that the lease is still held.

        Raises:
            StoreUnavailable: It was lost; another may write there by now.
        """


class Database(ABC):
    """The store's database."""

    def __init__(self, reading: Engine, writing: Engine) -> None:
        """
        Take up engines; no connection is made yet.

        Args:
            reading: Its transactions see one state of the database.
            writing: Its transactions are one after the other, whoever writes.
        """
        self._reading_engine = reading
        self._writing_engine = writing
        self._writer = threading.Lock()
        self._stopped = False
        self._kept: Connection | None = None

    def close(self) -> None:
        """Close every connection."""
        self._let_go()
        self._reading_engine.dispose()
        self._writing_engine.dispose()

    @property
    def stopped(self) -> bool:
        """Return whether a write failed so that this object takes no more."""
        return self._stopped

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """
        Read one state of the database, whatever others write meanwhile.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        try:
            with self._reading_engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._unreadable() from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """
        Write in one commit, durable on leaving, one writer at a time.

        Raises:
            StoreUnavailable: Nothing was acknowledged.
        """
        with self._writer:
            if self._stopped:
                raise StoreUnavailable(
                    "the store failed to write before and takes no more: mend its disk first"
                )
            has_begun = False
            try:
                with self._begun() as connection:
                    has_begun = True
                    yield connection
            except SQLAlchemyError as error:
                reason = self._certain(error)
                # Before it began, nothing was written.
                self._stopped = has_begun and reason is None
                raise StoreUnavailable(
                    f"the store cannot be written ({reason or self._advice}): nothing was sent"
                ) from error

    def _unreadable(self) -> StoreUnavailable:
        return StoreUnavailable(f"the store cannot be read: {self._advice}")

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """Write on a connection that is kept from one commit to the next, until one fails."""
        try:
            connection, transaction = self._begin()
            with transaction:
                yield connection
        except BaseException:
            self._let_go()
            raise

    def _begin(self) -> tuple[Connection, Transaction]:
        """Begin a transaction that writes."""
        if self._kept is None:
            self._kept = self._writing_engine.connect()
        return self._kept, self._kept.begin()

    def _let_go(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    @property
    @abstractmethod
    def _advice(self) -> str:
        """What to look at when the database fails, for the message."""

    @abstractmethod
    def _certain(self, error: SQLAlchemyError) -> str | None:
        """
        Say why a write failed, when it is certain what the database holds.

        Returns:
            None when it is not: then this object writes no more.
        """

    @abstractmethod
    def _is_empty(self, error: SQLAlchemyError) -> bool:
        """
        Return whether the version could not be read because there are no tables yet.

        Raises:
            SettingsError: It is not a database.
        """

    @abstractmethod
    def lease(
        self,
        name: str,
        clock: Clock,
        *,
        wait_seconds: float,
        busy: str,
        on_wait: Callable[[], None] | None = None,
    ) -> AbstractContextManager[Lease]:
        """
        Hold a lease among all processes and threads that use this store.

        Args:
            name: 32 hexadecimal digits; says nothing about a patient.
            clock: To wait by.
            wait_seconds: How long to wait for another holder.
            busy: What the other holder does, for the message.
            on_wait: Called once when there is another holder.

        Raises:
            StoreUnavailable: Another holder kept it for longer.
        """

    @abstractmethod
    def forget(self) -> None:
        """
        Do what the database can so that what was deleted lies nowhere any more.

        Raises:
            StoreUnavailable: It is deleted, and still lies somewhere.
        """

    def version(self) -> str | None:
        """
        Return the version of the tables; None when there are none yet.

        Raises:
            SettingsError: It is not a database.
            StoreUnavailable: It cannot be read.
        """
        try:
            with self._reading_engine.begin() as connection:
                found = connection.execute(text("SELECT version_num FROM alembic_version"))
                return found.scalar_one_or_none()
        except SQLAlchemyError as error:
            if self._is_empty(error):
                return None
            raise self._unreadable() from error

    def upgrade(self, to: str = VERSION) -> None:
        """
        Bring the tables to a version, one process at a time.

        Args:
            to: The version; an older one only to try how one becomes the next.

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
            command.upgrade(config, to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What every part of the store works with."""

    folder: Folder
    database: Database
    clock: Clock
    seal: Seal
    keys: LogKeys


class Part:
    """A part of the store: one subject, the same database."""

    def __init__(self, opened: Opened) -> None:
        """Keep what was opened."""
        self._opened = opened
        self._database = opened.database
        self._clock = opened.clock
        self._seal = opened.seal
