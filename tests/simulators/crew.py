"""
Real worker processes over one store, and what a test may do to them.

    with Nest() as nest, Crew(nest, folder, settings) as crew:
        transfer = crew.request(order)
        worker = crew.hire()
        crew.wait_for(transfer)
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fhir_bridge.bridge import Bridge
from fhir_bridge.ledger import Entry, Event
from fhir_bridge.settings import load
from fhir_bridge.store import TransferRow
from fhir_bridge.transfer import ENDED, Order, State
from tests.simulators.stores import drop_database

QUICK = {"poll_seconds": 0.1, "reap_seconds": 0.3}
DATABASE = "FHIR_BRIDGE_TEST_DATABASE"
"""The variable that holds the database's URL, with its password."""

_POLL_SECONDS = 0.02
_WAIT_SECONDS = 60.0


def until(true: Callable[[], Any], what: str, seconds: float = _WAIT_SECONDS) -> Any:
    """Wait until something is so; say what did not happen."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} seconds"
        time.sleep(_POLL_SECONDS)  # noqa: TID251 - another process works meanwhile
    return found


class Nest:
    """Where workers come from; loaded once."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulators.nest"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def fork(self, order: dict[str, Any]) -> int:
        """Start a worker; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@dataclass(frozen=True)
class Worker:
    """One process."""

    pid: int
    output: Path

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def tell(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.tell(number)
        until(lambda: not self.alive, "the worker's end")

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")


class Crew:
    """The workers of one store."""

    def __init__(
        self,
        nest: Nest,
        folder: Path,
        written: str,
        *,
        limits: dict[str, Any] | None = None,
        like: Path | None = None,
        url: str = "",
    ) -> None:
        """
        Prepare a store; no worker is hired.

        Args:
            nest: Where workers come from.
            folder: For the settings, the store and what workers say.
            written: The settings.
            limits: Of the workers.
            like: A store to begin with, copied.
            url: Of a database that is removed at the end.
        """
        self._nest = nest
        self._folder = folder
        self._limits = QUICK | (limits or {})
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "fhir-bridge.toml"
        self.file.write_text(written, encoding="utf-8")
        self.workers: list[Worker] = []
        self.url = url
        self.keeps_database = False
        """Whether the database is somebody else's."""
        if like is not None:
            shutil.copytree(like, self.store)

    def __enter__(self) -> Self:
        self.bridge = self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bridge.__exit__(kind, error, trace)
        for worker in self.workers:
            worker.end()
        if self.url and not self.keeps_database:
            drop_database(self.url)

    @property
    def store(self) -> Path:
        return self._folder / "store"

    def open(self) -> Bridge:
        """Open the store as another process does."""
        settings = load(self.file, store=self.store, environ={DATABASE: self.url})
        return Bridge.open(settings, actor="cli:test", tell=lambda _: None)

    def hire(self, *, die_at: int | None = None, boundaries: Path | None = None) -> Worker:
        """Start a worker; it dies at a boundary when told so."""
        output = self._folder / f"worker-{len(self.workers)}.log"
        pid = self._nest.fork(
            {
                "arguments": ["work", "--settings", str(self.file), "--store", str(self.store)],
                "output": str(output),
                "environment": {DATABASE: self.url},
                "limits": self._limits,
                "die_at": die_at,
                "boundaries": None if boundaries is None else str(boundaries),
            }
        )
        self.workers.append(Worker(pid, output))
        return self.workers[-1]

    def row(self, transfer: str) -> TransferRow:
        return self.bridge.store.read_transfer(transfer)

    def request(self, order: Order) -> str:
        return self.bridge.request(order).id

    def wait_for(self, *transfers: str, seconds: float = _WAIT_SECONDS) -> list[State]:
        """Wait until transfers rest; their states."""
        rest = ENDED | {State.PARKED}

        def states() -> list[State]:
            return [State(self.row(one).state) for one in transfers]

        until(lambda: all(state in rest for state in states()), "the transfers' end", seconds)
        return states()

    def entries(self, transfer: str) -> list[Entry]:
        return list(self.bridge.store.entries(transfer))

    def said(self) -> str:
        return "\n".join(worker.said() for worker in self.workers if worker.output.exists())

    def unanswered(self) -> int:
        """Count the intents of the log that no result follows."""
        open_: set[str | None] = set()
        for entry in self.bridge.store.entries():
            if entry.type is Event.DISCLOSURE_INTENT:
                open_.add(entry.transfer)
            elif entry.type is Event.DISCLOSURE_RESULT:
                open_.discard(entry.transfer)
        return len(open_)
