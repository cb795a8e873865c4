"""
PostgreSQL: for a bridge that several processes or machines serve.

Writers come one after the other, by an advisory lock of the transaction, as in
SQLite. A failed write leaves no doubt that could hurt: the server rolls back by
itself, and where the answer to a commit was lost, the next writer gets the lock
only when the lost transaction has ended, and looks for its own event id. So a
server that was away needs nothing but another try.

Commits that the server does not force to its disk are not commits: a session
turns `synchronous_commit` on, and a server with `fsync` off is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, NullPool, Transaction, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from fhir_bridge.clock import Clock
from fhir_bridge.errors import Busy, SettingsError, StoreUnavailable
from fhir_bridge.settings import process_name
from fhir_bridge.store.database import Database, Lease
from fhir_bridge.store.prepared import Ready, execute

_WRITER = 0x66686972_62726467
"""Number of the advisory lock that writers take; no other use of the database has it."""

_BEGIN_WRITING = Ready(
    f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({_WRITER})"
)
"""Two statements, one way to the server."""

_POLL_SECONDS = 0.1
_BUSY_SECONDS = 30
_CONNECT_SECONDS = 10
_READERS_MAX = 20

_CONNECTING = {
    "connect_timeout": _CONNECT_SECONDS,
    # A peer that vanished is noticed, so that its locks are free again.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_WEAK = {"off", "local"}
"""Values of synchronous_commit that acknowledge what a crash of a server may lose."""

_REASONS = {
    "53100": "its disk is full",
    "25006": "it is read-only: a standby, or set so",
    "55P03": "another process has been writing it for too long",
    "42501": "its role may not write",
}
"""By SQLSTATE (PostgreSQL manual, appendix A)."""

_UNDEFINED_TABLE = "42P01"
_AWAY = "PostgreSQL does not answer, or ended the connection"


class PostgresqlDatabase(Database):
    """A database on a PostgreSQL server."""

    _advice = "check that PostgreSQL runs and lets the bridge in"

    def __init__(self, url: str) -> None:
        """
        Prepare connections; none is made yet.

        Args:
            url: ``postgresql://user:password@host/database``.

        Raises:
            SettingsError: Not such a URL. The message does not repeat it: it may
                hold a password.
        """
        parsed = _parsed(url)
        arguments = _CONNECTING | {"application_name": f"fhir-bridge {process_name()}"}
        connecting: dict[str, Any] = {"connect_args": arguments, "hide_parameters": True}
        reading = create_engine(parsed, pool_pre_ping=True, max_overflow=_READERS_MAX, **connecting)
        writing = create_engine(parsed, pool_size=1, **connecting)
        leasing = create_engine(parsed, poolclass=NullPool, **connecting)
        for engine in (reading, writing, leasing):
            event.listen(engine, "connect", _prepare)
        event.listen(writing, "connect", _limit)
        event.listen(reading, "begin", _begin_reading)
        event.listen(writing, "begin", _begin_writing)
        super().__init__(reading, writing)
        self._leasing_engine = leasing

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
        """Hold an advisory lock on a connection of its own: the server frees it when that ends."""
        key = int.from_bytes(bytes.fromhex(name)[:8], signed=True)
        try:
            connection = self._leasing_engine.connect()
        except SQLAlchemyError as error:
            raise self._unreadable() from error
        lease = _Advisory(connection)
        try:
            if not lease.take(key):
                if on_wait is not None:
                    on_wait()
                deadline = clock.monotonic() + wait_seconds
                while not lease.take(key):
                    if clock.monotonic() >= deadline:
                        raise Busy(
                            f"{busy}; waited {wait_seconds:g} seconds: ask again when it has ended"
                        )
                    clock.sleep(_POLL_SECONDS)
            yield lease
        finally:
            connection.invalidate()
            connection.close()

    def forget(self) -> None:
        """Leave it to the server's vacuum: what was deleted is sealed, under a key it has not."""

    def _begin(self) -> tuple[Connection, Transaction]:
        """Begin a transaction that writes; a connection that died while idle is replaced."""
        try:
            return super()._begin()
        except DBAPIError as error:
            self._let_go()
            if not error.connection_invalidated:
                raise
        return super()._begin()

    def _is_empty(self, error: SQLAlchemyError) -> bool:
        return _state(error) == _UNDEFINED_TABLE

    def _certain(self, error: SQLAlchemyError) -> str | None:
        # The next try begins a session anew, with what the server allows by then.
        self._writing_engine.dispose()
        return _REASONS.get(_state(error), _AWAY if _lost(error) else self._advice)


class _Advisory(Lease):
    """An advisory lock of a session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self, key: int) -> bool:
        """Try to take the lock."""
        try:
            taken = text("SELECT pg_try_advisory_lock(:key)")
            return bool(self._connection.execute(taken, {"key": key}).scalar_one())
        except SQLAlchemyError as error:
            raise _gone() from error

    def check(self) -> None:
        """Ask the session that holds the lock: where it ended, the lock is another's."""
        try:
            if self._connection.invalidated:
                raise _gone()
            self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            raise _gone() from error


def _gone() -> StoreUnavailable:
    return StoreUnavailable(
        "the lease was lost, because PostgreSQL ended its connection: nothing more is sent;"
        " resume the transfer"
    )


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in {"postgresql", "postgres"}:
        raise SettingsError("the store's database must be a URL postgresql://USER@HOST/DATABASE")
    return parsed.set(drivername="postgresql+psycopg")


def _prepare(connection: Any, _record: Any) -> None:
    """Set up a new connection; transactions are begun by us, not by the driver."""
    connection.autocommit = True
    settings = ("synchronous_commit", "fsync", "full_page_writes", "server_encoding")
    asked = ", ".join(f"current_setting('{name}')" for name in settings)
    synchronous, fsync, full_pages, encoding = connection.execute(f"SELECT {asked}").fetchone()
    if synchronous in _WEAK:
        connection.execute("SET synchronous_commit = on")
    if fsync != "on" or full_pages != "on":
        raise SettingsError(
            "PostgreSQL runs with fsync or full_page_writes off: a crash could lose what it"
            " acknowledged; turn both on"
        )
    if encoding != "UTF8":
        raise SettingsError("the store's database is not in UTF8: make it with encoding UTF8")


def _limit(connection: Any, _record: Any) -> None:
    """Let no writer wait for ever, and none that stopped in the middle keep the others waiting."""
    connection.execute(f"SET lock_timeout = '{_BUSY_SECONDS}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{2 * _BUSY_SECONDS}s'")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _begin_writing(connection: Connection) -> None:
    """Begin, and wait for the writer before; what it wrote is then seen by every statement."""
    execute(connection, _BEGIN_WRITING)


def _state(error: SQLAlchemyError) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


def _lost(error: SQLAlchemyError) -> bool:
    return isinstance(error, DBAPIError) and (error.connection_invalidated or not _state(error))
