"""
A process that appends for ever and says so, forked where everything is loaded already.

Loading Python anew for each of a thousand kills would take an hour and test
nothing more.
"""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store
from tests.simulators.stores import ORIGIN

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "fhir_bridge.store.postgresql"])
_SECONDS_MAX = 30


class Appender:
    """One process; what it acknowledges is an append's first index and what was said in it."""

    def __init__(self, folder: Path, url: str) -> None:
        self._reader, writer = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=append_for_ever, args=(folder, url, writer))
        self._process.start()
        writer.close()

    def acknowledged(self) -> tuple[int, str]:
        """Wait for one."""
        assert self._reader.poll(_SECONDS_MAX)
        first, event = self._reader.recv_bytes().decode().split()
        return int(first), event

    def kill(self) -> Iterator[tuple[int, str]]:
        """End it; return what it acknowledged meanwhile."""
        self._process.kill()
        with suppress(EOFError):
            while True:
                yield self.acknowledged()
        self._process.join(_SECONDS_MAX)
        assert self._process.exitcode == -9
        self._process.close()
        self._reader.close()


def append_for_ever(folder: Path, url: str, acknowledge: Connection) -> None:
    with Store.open(folder, log_origin=ORIGIN, database=url) as store:
        while True:
            event = str(uuid.uuid4())
            new = NewEntry(
                type=Event.DISCLOSURE_INTENT,
                actor="cli:ada",
                transfer=str(uuid.uuid4()),
                statement={"by": event},
            )
            first = store.append(new, new, event_id=event).first
            acknowledge.send_bytes(f"{first} {event}".encode())
