"""
Stopped by the patient or by a person at any boundary, nothing starts once that is known.

Method: carry one transfer undisturbed and note the moments at which a request
arrives, an answer leaves or the store is written. A row of the table lies
between two that matter (a question about consent, a write, a commit); reads in
between belong to one row. Then carry it again, and at a random moment of one row
the consent is revoked at the first provider, or another process cancels the
transfer. Both sandboxes write down what arrives, so that the proof is the second
provider's: no write arrives after the bridge was told, and at most the one that
was on its way after the fact itself. The log names what had gone. The table
grows by itself; FHIR_BRIDGE_FULL=1 walks each row twenty times, the build a
seeded sample once.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.errors import Cancelled, ConsentRefused, SettingsError
from fhir_bridge.sandbox import Call, Failure, Profile, Reply
from fhir_bridge.transfer import State
from tests.journeys.test_consent_at_every_send import revoke
from tests.journeys.test_intents_and_results import pairs
from tests.journeys.world import FIRST, SECOND, World

SEED = int(os.environ.get("FHIR_BRIDGE_SEED", "20261125"))
FULL = os.environ.get("FHIR_BRIDGE_FULL") == "1"
SHARES, TIMES = 16, 20 if FULL else 1
"""Of the table; a sample has one row in each. Which rows there are is known only when it is run."""

STOPS = ("revoked", "cancelled")
MANY_REQUESTS = Profile(
    software="HAPI FHIR Server", software_version="8.8.0", if_match="creates", entry_limit=5
)


@dataclass
class Seen(Failure):
    """Nothing fails; what passes the sandboxes and the store is written down."""

    at_boundary: Callable[[int], None]
    boundaries: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    writes: list[int] = field(default_factory=list[int])
    """Numbers of the requests that bring something to the second provider."""
    known: int | None = None
    """Number of the last request before the bridge was told."""

    def boundary(self, name: str) -> None:
        self.boundaries.append((name, time.monotonic()))
        self.at_boundary(len(self.boundaries))

    def before(self, call: Call) -> Reply | None:
        brings = call.method == "PUT" or (call.method == "POST" and b'"PUT"' in call.body)
        if call.server == SECOND and brings:
            self.writes.append(call.number)
        what = "write" if brings else "ask" if is_question(call) else "read"
        self.boundary(f"{what} {call.path}")
        return None

    def after(self, call: Call, reply: Reply) -> Reply:
        if is_question(call) and b'"inactive"' in reply.body and self.known is None:
            self.known = call.number
        self.boundary(f"answer {call.path}" if is_question(call) else f"read {call.path}")
        return reply


def is_question(call: Call) -> bool:
    return call.server == FIRST and call.path == "Consent"


class Run:
    """One transfer, stopped after a boundary or never."""

    def __init__(
        self, folder: Path, stop: str = "", boundary: int = 0, seconds: float = 0.0
    ) -> None:
        with World(folder, "amelia", second=MANY_REQUESTS) as world:
            self.world = world
            self._stop, self._boundary, self._seconds = stop, boundary, seconds
            self._stopping: threading.Thread | None = None
            self.sent_when_stopped: int | None = None
            self.seen = Seen(self._passed)
            with self._another() as self._other, world.bridge() as bridge:
                self.transfer = bridge.request(world.order(kinds=("pathology",))).id
                self._watch()
                self.error = self._carry(bridge)
                if self._stopping is not None:
                    self._stopping.join()
                self.copies = {
                    line.destination for line in bridge.show(self.transfer).lines if line.outcome
                }
            world.faults.clear()
            self.state = State(world.rows()[0].state)
            self.log = world.log()
            self.intents = pairs(world)
            self.arrived = world.arrived()
            world.verify()

    def _carry(self, bridge: Bridge) -> Exception | None:
        try:
            bridge.carry(self.transfer)
        except (Cancelled, ConsentRefused) as error:
            return error
        return None

    def _watch(self) -> None:
        self.world.faults.at(lambda _: True, self.seen, times=None)
        self.world.mortal.before = lambda name: self.seen.boundary(f"commit {name}")
        asked: Any = self.world.mortal.is_cancelled

        def watched(transfer: str) -> bool:
            cancelled: bool = asked(transfer)
            if cancelled and self.seen.known is None:
                self.seen.known = self.world.faults.calls
            return cancelled

        self.world.mortal.is_cancelled = watched

    def _passed(self, number: int) -> None:
        if number == self._boundary:
            self._stopping = threading.Thread(target=self._stop_now)
            self._stopping.start()

    def _stop_now(self) -> None:
        time.sleep(self._seconds)  # noqa: TID251 - the moment is what is tried
        if self._stop == "revoked":
            revoke(self.world)
        else:
            with suppress(SettingsError):  # it has ended
                self._other.cancel(self.transfer, by="Ada", reason="asked by the patient")
        self.sent_when_stopped = len(self.seen.writes)

    def _another(self) -> Bridge:
        """Open the store as another process does."""
        clock = self.world.time.clock()
        store, settings = self.world.opened(clock), self.world.settings
        return Bridge(settings, store, actor="cli:2", tell=lambda _: None, clock=clock)


@cache
def undisturbed() -> Run:
    with TemporaryDirectory() as folder:
        run = Run(Path(folder))
    assert run.state is State.CLOSED
    assert run.error is None
    assert len(run.seen.writes) > 5
    return run


@dataclass(frozen=True)
class Row:
    """What lies between two moments that matter."""

    stop: str
    number: int
    boundaries: tuple[tuple[int, str, float], ...]
    """Its own: number, name and the seconds to the next."""

    def moment(self, chosen: random.Random) -> tuple[int, str, float]:
        """Choose a boundary and the seconds after it, each moment as likely as another."""
        weights = [seconds + 1e-4 for _, _, seconds in self.boundaries]
        boundary, name, seconds = chosen.choices(self.boundaries, weights)[0]
        return boundary, name, chosen.random() * seconds


@cache
def rows() -> list[Row]:
    passed = undisturbed().seen.boundaries
    later = [at for _, at in passed[1:]] + [passed[-1][1] + 0.01]
    spans: list[list[tuple[int, str, float]]] = []
    for number, ((name, at), end) in enumerate(zip(passed, later, strict=True), 1):
        if not (name.startswith("read") and spans and spans[-1][-1][1].startswith("read")):
            spans.append([])
        spans[-1].append((number, name, max(0.0, end - at)))
    table = [Row(stop, at, tuple(span)) for at, span in enumerate(spans) for stop in STOPS]
    return table if FULL else random.Random(SEED).sample(table, SHARES)  # noqa: S311 - a sample


_ended: Counter[str] = Counter()


@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_starts_after_the_bridge_knows_that_it_must_stop(
    tmp_path: Path, share: int
) -> None:
    for row in rows()[share::SHARES]:
        for time_ in range(TIMES):
            stopped_at(tmp_path / f"{row.stop}-{row.number}-{time_}", row, time_)
    print(dict(_ended))  # noqa: T201


def stopped_at(folder: Path, row: Row, time_: int) -> None:
    chosen = random.Random(f"{SEED} {row.stop} {row.number} {time_}")  # noqa: S311 - a moment
    boundary, name, seconds = row.moment(chosen)
    print(f"seed {SEED}: {row.stop} {seconds * 1e3:.2f} ms after {boundary} {name}")  # noqa: T201
    run = Run(folder, row.stop, boundary, seconds)
    stopped_in_time(run, row.stop)
    _ended[f"{row.stop}: {run.state}, {'too late' if run.error is None else 'in time'}"] += 1


def stopped_in_time(run: Run, stop: str) -> None:
    assert run.sent_when_stopped is not None
    assert len(run.seen.writes) - run.sent_when_stopped <= 1, "more than what was on its way"
    for _, result in run.intents:
        assert result.content is not None
        assert result.content.count == len(undisturbed().copies & run.arrived)
    if run.seen.known is None and run.error is None:
        assert run.state is State.CLOSED, "it came too late"
        return
    # What was cancelled before it began needs no second look.
    known = run.seen.known or 0
    assert [number for number in run.seen.writes if number > known] == []
    assert run.error is not None
    assert run.state is (State.REFUSED if stop == "revoked" else State.CANCELLED)
    assert ("consent.denied" if stop == "revoked" else "transfer.cancelled") in run.log


def test_the_table_has_a_row_for_every_question_answer_write_and_commit() -> None:
    names = Counter(name.partition(" ")[0] for name, _ in undisturbed().seen.boundaries)

    assert names["write"] == len(undisturbed().seen.writes)
    assert names["ask"] == names["answer"] > names["write"]
    assert names["commit"] > 15
