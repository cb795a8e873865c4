"""
The gate before each server: every process of the bridge passes it with each request.

What a server asks of one worker (429, Retry-After) holds for all of them, and so
do the limits that the operator has set: requests a second, requests at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Protocol

from fhir_bridge.clock import Clock
from fhir_bridge.errors import Throttled
from fhir_bridge.liveness import FileLiveness, Liveness, PostgresqlLiveness
from fhir_bridge.settings import process_name

WAIT_SECONDS_MAX = 120.0
"""As long as one Retry-After is waited for; a transfer waits longer without holding anything."""

_LOOK_SECONDS = 1.0
"""How long an answer of the store counts, where nothing but the server's wish limits."""

_POLL_SECONDS = 0.02


class Paces(Protocol):
    """Where it is written when a server may be asked again."""

    def reserve_request(self, server: str, gap_seconds: float, most_seconds: float) -> float:
        """Take the next moment at which a server may be asked."""

    def push_back(self, server: str, seconds: float) -> None:
        """Leave a server alone, as it asked."""

    def quiet_seconds(self, server: str) -> float:
        """Return for how long a server wants to be left alone."""


class Places:
    """So many places, for all processes; one is free again when whoever had it is gone."""

    def __init__(self, locks: Liveness, name: str, count: int, clock: Clock) -> None:
        """
        Take none yet.

        Args:
            locks: End with their holder.
            name: Of the server.
            count: How many places there are.
            clock: To wait by.
        """
        self._locks = locks
        self._name = name
        self._free = set(range(count))
        self._lock = Lock()
        self._clock = clock

    @contextmanager
    def one(self) -> Iterator[None]:
        """
        Have a place.

        Raises:
            Throttled: None became free in time.
        """
        ends = self._clock.monotonic() + WAIT_SECONDS_MAX
        while (number := self._take()) is None:
            if self._clock.monotonic() > ends:
                raise Throttled(
                    f"{self._name} is asked by others as often at once as the settings allow:"
                    " nothing is lost, continue later with resume",
                    wait_seconds=_LOOK_SECONDS,
                )
            self._clock.sleep(_POLL_SECONDS)
        try:
            yield
        finally:
            with self._lock:
                self._locks.release(f"{self._name}.{number}")
                self._free.add(number)

    def _take(self) -> int | None:
        """Take one that neither a thread of ours nor another process has."""
        with self._lock:
            for number in sorted(self._free):
                if self._locks.take(f"{self._name}.{number}"):
                    self._free.discard(number)
                    return number
        return None


class Gate:
    """Before one server."""

    def __init__(
        self,
        server: str,
        who: str,
        paces: Paces,
        clock: Clock,
        *,
        rate_per_second: float | None,
        places: Places | None,
    ) -> None:
        """
        Let nobody through yet.

        Args:
            server: Its alias, else its host.
            who: Whose it is, for the error.
            paces: Shared by every process.
            clock: To wait by.
            rate_per_second: Requests, of all processes; None for no limit.
            places: For requests at once; None for no limit.
        """
        self._server = server
        self._who = who
        self._paces = paces
        self._clock = clock
        self._rate = rate_per_second
        self._places = places
        self._looked_at: float | None = None

    @contextmanager
    def passing(self) -> Iterator[None]:
        """
        Send one request, when it is its turn.

        Raises:
            Throttled: The server wants to be left alone for longer than a request waits.
        """
        place: AbstractContextManager[None] = self._places.one() if self._places else nullcontext()
        with place:
            seconds = self._seconds()
            if seconds > WAIT_SECONDS_MAX:
                raise Throttled(
                    f"{self._who} asks to be left alone for {seconds:.0f} seconds more: nothing"
                    " is lost, continue later with resume",
                    wait_seconds=seconds,
                )
            if seconds > 0:
                self._clock.sleep(seconds)
            yield

    def push_back(self, seconds: float) -> None:
        """Let nobody through for a while, in any process: the server asked for it."""
        self._paces.push_back(self._server, seconds)

    def _seconds(self) -> float:
        if self._rate is not None:
            return self._paces.reserve_request(self._server, 1 / self._rate, WAIT_SECONDS_MAX)
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at < _LOOK_SECONDS:
            return 0.0
        self._looked_at = now
        return self._paces.quiet_seconds(self._server)


class Gates:
    """Makes the gate of each server, over one database."""

    def __init__(self, paces: Paces, clock: Clock, *, folder: Path, database: str) -> None:
        """
        Make none yet.

        Args:
            paces: The store.
            clock: To wait by.
            folder: The store's; holds the locks where SQLite is used.
            database: URL of the PostgreSQL database; empty for SQLite.
        """
        self._paces = paces
        self._clock = clock
        self._folder = folder
        self._database = database
        self._locks: Liveness | None = None
        self._places: dict[tuple[str, int], Places] = {}

    def close(self) -> None:
        """Let every place go."""
        if self._locks is not None:
            self._locks.close()

    def gate(
        self, server: str, who: str, *, rate_per_second: float | None, concurrency: int | None
    ) -> Gate:
        """
        Return the gate of a server.

        Args:
            server: Its alias, else its host.
            who: Whose it is, for errors.
            rate_per_second: Requests, of all processes; None for no limit.
            concurrency: Requests at once, of all processes; None for no limit.
        """
        places = None if concurrency is None else self._of(server, concurrency)
        return Gate(
            server,
            who,
            self._paces,
            self._clock,
            rate_per_second=rate_per_second,
            places=places,
        )

    def _of(self, server: str, count: int) -> Places:
        """One set of places in a process: a database session gives its own locks twice."""
        if (server, count) not in self._places:
            if self._locks is None:
                self._locks = self._opened()
            self._places[server, count] = Places(self._locks, server, count, self._clock)
        return self._places[server, count]

    def _opened(self) -> Liveness:
        if self._database:
            return PostgresqlLiveness(self._database, process_name())
        return FileLiveness(self._folder / "places", keeps_files=True)
