"""
Worker processes that start quickly, and can be told where to die.

Starting Python and loading the engine takes seconds, which a table of kills
cannot afford: this program loads them once and forks. What runs in the fork is
`fhir-bridge work` as the command line runs it; only the limits of time are
shorter, and a counter of boundaries may send SIGKILL to the process itself:
before and after each HTTP request and each commit of a turn, in the store and
in the engine.

It reads one JSON object a line and answers with a process id.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

import fhir_bridge.engine.durable
from fhir_bridge.bridge import working
from fhir_bridge.doors import cli
from fhir_bridge.engine import Limits
from fhir_bridge.store.database import Database
from fhir_bridge.wire.connection import Wire

LOADED = (fhir_bridge.engine.durable, sa)


class Boundaries:
    """Counts the boundaries of turns, and ends the process at one of them."""

    def __init__(self, die_at: int | None, told: Path | None) -> None:
        self._die_at = die_at
        self._told = told
        self._lock = threading.Lock()
        self._turn = threading.local()
        self.passed = 0

    def install(self) -> None:
        """Put the counter around requests, commits and turns."""
        self._around_requests()
        self._around_commits()
        carry = working.Working.carry_turn

        def counted(bridge: Any, name: str) -> Any:
            self._turn.begun, self._turn.inside = True, 0
            return carry(bridge, name)

        working.Working.carry_turn = counted  # type: ignore[method-assign]

    def _around_requests(self) -> None:
        request = Wire._once

        def counted(wire: Wire, *arguments: Any, **named: Any) -> Any:
            self._boundary("request")
            try:
                return request(wire, *arguments, **named)
            finally:
                self._boundary("answer")

        Wire._once = counted  # type: ignore[method-assign]

    def _around_commits(self) -> None:
        """Of the store by its room, of the engine by the library below."""
        commit, writing, reading = DefaultDialect.do_commit, Database.writing, Database.reading

        @contextmanager
        def counted_write(database: Database) -> Iterator[Any]:
            with self._ours(), writing(database) as connection:
                yield connection
                self._boundary("commit")
            self._boundary("committed")

        @contextmanager
        def uncounted_read(database: Database) -> Iterator[Any]:
            with self._ours(), reading(database) as connection:
                yield connection

        def counted_commit(dialect: DefaultDialect, connection: Any) -> None:
            engines = getattr(self._turn, "begun", False) and not self._turn.inside
            if engines:
                self._boundary("engine-commit")
            commit(dialect, connection)
            if engines:
                self._boundary("engine-committed")

        Database.writing = counted_write  # type: ignore[method-assign]
        Database.reading = uncounted_read  # type: ignore[method-assign]
        DefaultDialect.do_commit = counted_commit  # type: ignore[method-assign]

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """Tell the store's transactions from the engine's, in one thread."""
        self._turn.inside = getattr(self._turn, "inside", 0) + 1
        try:
            yield
        finally:
            self._turn.inside -= 1

    def _boundary(self, name: str) -> None:
        with self._lock:
            self.passed += 1
            if self._told is not None:
                with self._told.open("a", encoding="utf-8") as file:
                    file.write(name + "\n")
            if self.passed == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # noqa: TID251 - the signal is on its way


def child(order: dict[str, Any]) -> None:
    """Be a worker."""
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["environment"])
    working.Limits = functools.partial(Limits, **order["limits"])  # type: ignore[misc]
    told = Path(order["boundaries"]) if order["boundaries"] else None
    if told is not None or order["die_at"] is not None:
        Boundaries(order["die_at"], told).install()
    code = cli.main(order["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Fork for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                child(json.loads(line))
            finally:
                os._exit(99)
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
