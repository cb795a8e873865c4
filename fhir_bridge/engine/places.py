"""Where the engine keeps its tables: a file beside the store's, or the store's PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError, StoreUnavailable
from fhir_bridge.liveness import FileLiveness, Liveness, OneMachine, PostgresqlLiveness
from fhir_bridge.settings import process_name

_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = ("nfs", "cifs", "smb", "9p", "ceph", "gluster", "lustre", "afs", "beegfs", "fuse.sshfs")
"""Beginnings of the names of file systems whose locks other machines may not see."""

_MIGRATING = 0x66686972_656E6769
"""Number of the advisory lock of whoever changes the engine's tables."""

_TAKE = "select pg_try_advisory_lock(%s)"
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Place:
    """The engine's database."""

    folder: Path
    """The store's."""
    database: str = ""
    """``postgresql://…``; empty for SQLite in the folder."""

    @property
    def url(self) -> str:
        """Return the URL of the engine's database."""
        return self.database or f"sqlite:///{self.file}"

    @property
    def connecting(self) -> dict[str, Any]:
        """Return how the engine connects: under this process's name, where sessions have one."""
        if not self.database:
            return {}
        return {"connect_args": {"application_name": f"fhir-bridge {process_name()}"}}

    @property
    def file(self) -> Path:
        """Return the path of the engine's SQLite file."""
        return self.folder / "engine.db"

    def prepare(self) -> None:
        """
        Make the file, readable for its owner alone and with a write-ahead log.

        Raises:
            SettingsError: The folder is not on a disk of this machine.
            StoreUnavailable: The file cannot be written.
        """
        if self.database:
            return
        system = file_system(self.folder)
        if system.startswith(_REMOTE):
            raise SettingsError(
                f"the store lies on {system}, where locks of SQLite do not hold: put it on a disk"
                " of this machine, or set `database` to a PostgreSQL URL"
            )
        try:
            os.close(os.open(self.file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
            connection = sqlite3.connect(self.file)
            try:
                # Stays with the file. Nearly three times the transfers of a rollback journal.
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"{self.file} cannot be written: check its disk") from error

    @contextmanager
    def alone(self, clock: Clock) -> Iterator[None]:
        """
        Let one process at a time change the tables, on all machines.

        Args:
            clock: To wait by.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        if not self.database:
            with (self.folder / "engine.lock").open("w", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            return
        import psycopg

        try:
            connection = psycopg.connect(self.database, autocommit=True)
            # Asked again and again, because a question that waits holds a snapshot, and
            # an index that is made beside the table's users waits for every snapshot.
            while connection.execute(_TAKE, (_MIGRATING,)).fetchone() != (True,):
                clock.sleep(_POLL_SECONDS)
        except psycopg.OperationalError as error:
            raise StoreUnavailable("PostgreSQL does not answer: check that it runs") from error
        with connection:
            yield

    def liveness(self) -> Liveness:
        """Return the locks by which workers know of each other."""
        if self.database:
            return PostgresqlLiveness(self.database, process_name())
        return FileLiveness(self.folder / "workers")

    def machine(self, clock: Clock) -> OneMachine | None:
        """Return what keeps the folder for one machine; None on PostgreSQL."""
        return None if self.database else OneMachine(self.folder, clock)


def file_system(folder: Path, mounts: Path = _MOUNTS) -> str:
    """
    Name the file system that a folder lies on.

    Args:
        folder: There is one.
        mounts: What Linux says is mounted where (proc(5), mountinfo).

    Returns:
        E.g. ``ext4``; empty where the system does not say it this way.
    """
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    where, found = folder.resolve(), ("", "")
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        if where.is_relative_to(point) and len(point) >= len(found[0]):
            found = point, after.split()[0]
    return found[1]
