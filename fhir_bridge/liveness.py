"""
Who is alive: every worker holds a lock for as long as it lives.

The kernel (SQLite) or the server (PostgreSQL) lets the lock go when the worker
dies, however it dies. So a lock that can be taken means that its holder is
gone. This room knows locks only, not what the workers do.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError, StoreUnavailable

MACHINE_SECONDS_MAX = 90.0
"""A machine that said nothing for so long has left the folder."""

_KEEPALIVE = {
    # A machine that vanished without a word is noticed within 11 seconds, and not within hours.
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}


_CALLED = "select set_config('application_name', %s, false)"

# A process is what stands behind the blank of its sessions' names. Sessions of others cannot
# be ended, nor is it seen when they were last asked.
_STALLED = """
select array_agg(split_part(application_name, ' ', 2)) from pg_stat_activity
where datname = current_database() and usename = current_user
  and application_name like 'fhir-bridge-worker %%'
  and extract(epoch from clock_timestamp() - state_change) > %s
"""
_EXPEL = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
  and application_name like 'fhir-bridge%%' and split_part(application_name, ' ', 2) = %s
"""


class Liveness(Protocol):
    """Locks that end with their holder."""

    certain: bool
    """Whether a lock that is free once tells that its holder is dead."""

    def hold(self, name: str) -> None:
        """Take the lock of this worker, for its whole life."""

    def take(self, name: str) -> bool:
        """Take another's lock when its holder is gone."""

    def release(self, name: str) -> None:
        """Let a lock go that was taken."""

    def confirm(self) -> None:
        """Take this worker's lock again, where the server lost it with the connection."""

    def stalled(self, seconds: float) -> set[str]:
        """Return processes whose worker has not confirmed for so long, though it holds its lock."""

    def expel(self, process: str) -> None:
        """Take from a process all that it holds in the database."""

    def close(self) -> None:
        """Let every lock go."""


class FileLiveness:
    """Locks on files of a folder: for workers of one machine."""

    certain = True

    def __init__(self, folder: Path, *, keeps_files: bool = False) -> None:
        """
        Make the folder when it is missing.

        Args:
            folder: For the files.
            keeps_files: Names are used again; removing a file under another who
                waits for it would give one name to two.
        """
        self._folder = folder
        self._keeps_files = keeps_files
        self._held: dict[str, int] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def hold(self, name: str) -> None:
        """Take the lock of this worker, for its whole life."""
        if not self.take(name):
            raise StoreUnavailable("another worker has this worker's name: start it again")

    def take(self, name: str) -> bool:
        """Take another's lock when its holder is gone."""
        descriptor = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._held[name] = descriptor
        return True

    def release(self, name: str) -> None:
        """Let a lock go that was taken; a worker's file goes too."""
        if not self._keeps_files:
            self._path(name).unlink(missing_ok=True)
        os.close(self._held.pop(name))

    def confirm(self) -> None:
        """Find nothing to do: the kernel keeps the lock as long as the process lives."""

    def stalled(self, seconds: float) -> set[str]:  # noqa: ARG002 - a lock says nothing of that
        """Find none: whoever has stopped a process of this machine lets it go on, or ends it."""
        return set()

    def expel(self, process: str) -> None:
        """Find nothing to do: the kernel takes a lock from no process that lives."""

    def close(self) -> None:
        """Let every lock go."""
        for name in list(self._held):
            self.release(name)

    def _path(self, name: str) -> Path:
        return self._folder / f"{quote(name, safe='')}.lock"


class PostgresqlLiveness:
    """
    Advisory locks of one session: for workers of many machines.

    Behind a pooler that gives each transaction another session the locks would
    belong to nobody; that is refused when it is seen. A server that starts again
    frees every lock at once, so that one look is not enough.
    """

    certain = False

    def __init__(self, url: str, process: str) -> None:
        """
        Connect.

        Args:
            url: ``postgresql://…``.
            process: What this process is called; its sessions end with that.

        Raises:
            StoreUnavailable: The server does not answer.
            SettingsError: A pooler stands between.
        """
        self._url = url
        self._process = process
        self._lock = threading.RLock()
        self._mine: str | None = None
        self._connection = self._connected()

    def hold(self, name: str) -> None:
        """Take the lock of this worker, for its whole life."""
        if not self.take(name):
            raise StoreUnavailable("another worker has this worker's name: start it again")
        self._mine = name
        self._ask(_CALLED, f"fhir-bridge-worker {self._process}")

    def take(self, name: str) -> bool:
        """Take another's lock when its holder is gone."""
        return bool(self._ask("select pg_try_advisory_lock(%s)", _number(name)))

    def release(self, name: str) -> None:
        """Let a lock go that was taken."""
        self._ask("select pg_advisory_unlock(%s)", _number(name))

    def confirm(self) -> None:
        """Take this worker's lock again, where the server lost it with the connection."""
        if self._mine is not None:
            self._ask("select %s::bigint", _number(self._mine))

    def stalled(self, seconds: float) -> set[str]:
        """
        Return processes whose worker has not confirmed for so long, though it holds its lock.

        The server knows when each session was last asked something.
        """
        return set(self._ask(_STALLED, seconds) or ())

    def expel(self, process: str) -> None:
        """
        Take from a process all that it holds in the database.

        When it goes on it finds its sessions ended, and nothing of what it had
        in hand may be sent without asking anew.
        """
        self._ask(_EXPEL, process)

    def close(self) -> None:
        """Let every lock go."""
        self._connection.close()

    def _ask(self, question: str, value: float | str) -> Any:
        import psycopg

        with self._lock:
            try:
                return self._answer(question, value)
            except psycopg.OperationalError:
                self._connection.close()
                self._connection = self._connected()
                if self._mine is not None:
                    self._answer("select pg_advisory_lock(%s)", _number(self._mine))
                    self._answer(_CALLED, f"fhir-bridge-worker {self._process}")
                return self._answer(question, value)

    def _answer(self, question: str, value: float | str) -> Any:
        row = self._connection.execute(question, (value,)).fetchone()
        return row[0] if row else None

    def _connected(self) -> Any:
        import psycopg

        try:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                application_name=f"fhir-bridge {self._process}",
                connect_timeout=5,
            )
            for name, value in _KEEPALIVE.items():
                connection.execute(f"set {name} = {value}".encode())
            pids = {_pid(connection) for _ in range(3)}
        except psycopg.OperationalError as error:
            raise StoreUnavailable("PostgreSQL does not answer: check that it runs") from error
        if len(pids) > 1:
            connection.close()
            raise SettingsError(
                "the database URL leads to a pooler that changes sessions between transactions:"
                " workers need a direct connection, or session pooling"
            )
        return connection


def _pid(connection: Any) -> int:
    return int(connection.execute("select pg_backend_pid()").fetchone()[0])


def _number(name: str) -> int:
    """Turn a name into the number of an advisory lock; the log's and the leases' differ."""
    digest = hashlib.sha256(b"fhir-bridge/worker/" + name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class OneMachine:
    """
    Keeps a folder for the workers of one machine.

    Locks on files say nothing about a process on another machine, not even on a
    disk that both can write; two machines would carry the same transfer at once.
    """

    def __init__(self, folder: Path, clock: Clock, *, machine: str | None = None) -> None:
        """
        Say which folder.

        Args:
            folder: Of the store.
            clock: Tells the time.
            machine: This machine's name.
        """
        self._file = folder / "machine"
        self._clock = clock
        self._machine = machine or socket.gethostname()

    def __enter__(self) -> Self:
        """
        Take the folder for this machine.

        Raises:
            SettingsError: Another machine has it.
        """
        found = self._read()
        if found is not None:
            machine, at = found
            silent = self._clock.now().timestamp() - at
            if machine != self._machine and silent < MACHINE_SECONDS_MAX:
                raise SettingsError(
                    f"workers on {machine} use this store, and SQLite is for one machine: locks on"
                    " files do not reach the other one. Set `database` to a PostgreSQL URL, or stop"
                    f" them and wait {MACHINE_SECONDS_MAX:.0f} seconds"
                )
        self.confirm()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the file: others of this machine may still use the folder."""

    def confirm(self) -> None:
        """
        Say that this machine still uses the folder.

        Raises:
            StoreUnavailable: The disk does not take it.
        """
        draft = self._file.with_suffix(f".{os.getpid()}")
        at = self._clock.now().timestamp()
        try:
            draft.write_text(json.dumps({"machine": self._machine, "at": at}), encoding="utf-8")
            draft.replace(self._file)
        except OSError as error:
            raise StoreUnavailable(f"{self._file} cannot be written: check its disk") from error

    def _read(self) -> tuple[str, float] | None:
        try:
            said = json.loads(self._file.read_text(encoding="utf-8"))
            return str(said["machine"]), float(said["at"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
