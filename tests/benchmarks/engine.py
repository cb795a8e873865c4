"""
What the durable engine costs and bears, with real worker processes and their real limits.

Short by default; FHIR_BRIDGE_FULL=1 drains 500 transfers and repeats the rest. The
engine's cost and the gain of a second worker are ratios of the same run.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import requests

from fhir_bridge.bridge import Bridge
from fhir_bridge.settings import load
from fhir_bridge.transfer import ENDED, Order, State
from tests.benchmarks import floor, integrator, patients
from tests.benchmarks.providers import slow_providers
from tests.simulators.crew import DATABASE
from tests.simulators.running import Running, running
from tests.simulators.stores import create_database, drop_database

FULL = os.environ.get("FHIR_BRIDGE_FULL") == "1"
_ROUNDS = 5 if FULL else 1
_SIZE = 1_022
_REMOTE_SECONDS, _KILLED_SECONDS = 0.05, 0.2
"""That an answer of a provider takes."""

_TOGETHER = 96 if FULL else 16
_QUEUED = 500 if FULL else 30
_IDLE_SECONDS = 20.0 if FULL else 10.0
_AT_ONCE = 64
"""To one destination: what is measured are the workers and not this limit."""

_TICKS = os.sysconf("SC_CLK_TCK")
_REST = ENDED | {State.PARKED}


def report(hapi: str) -> None:
    """
    Measure and print.

    Args:
        hapi: Bases of two HAPI servers, ``BASE,BASE``; empty: the cost is left out.
    """
    print(f"\nThe engine, real worker processes, {os.cpu_count()} cores")
    databases = ["SQLite"] + (["PostgreSQL"] if os.environ.get("FHIR_BRIDGE_POSTGRES") else [])
    _idle(databases)
    for database in databases:
        _pick_up(database)
    for database in databases if FULL else databases[-1:]:
        _drain(database)
    if "PostgreSQL" in databases:
        _two_workers()
    if hapi:
        _cost(*hapi.split(","))


class _Place:
    """A store and its settings, for workers and for whoever asks them."""

    def __init__(self, folder: Path, url: str, first: str, second: str) -> None:
        self.folder = folder
        self.environ = {DATABASE: url}
        written = f'database_env = "{DATABASE}"\n' if url else ""
        written += integrator.settings(first, second, per_destination=_AT_ONCE)
        file = folder / "fhir-bridge.toml"
        file.write_text(written, encoding="utf-8")
        settings = load(file, store=folder / "store", environ=self.environ)
        self.bridge = Bridge.open(settings, actor="cli:benchmark", tell=lambda _: None)

    def request(self, patient: str) -> str:
        return self.bridge.request(order(patient)).id

    def row(self, transfer: str) -> tuple[str, int]:
        """Its state, and how many workers had it in hand."""
        row = self.bridge.store.read_transfer(transfer)
        return row.state, row.deaths

    def turn(self, transfer: str, *columns: str) -> tuple[Any, ...]:
        """What the engine's own table says of its first turn."""
        table = "dbos.workflow_status" if self.environ[DATABASE] else "workflow_status"
        asked = f"select {', '.join(columns)} from {table} where workflow_uuid = '{transfer}.1'"  # noqa: S608
        if self.environ[DATABASE]:
            with psycopg.connect(self.environ[DATABASE]) as server:
                return tuple(server.execute(asked.encode()).fetchone() or ())
        with closing(sqlite3.connect(self.folder / "store" / "engine.db")) as file:
            return tuple(file.execute(asked).fetchone() or ())

    def wait(self, *transfers: str, seconds: float = 900.0) -> Counter[str]:
        """Wait until transfers rest; how many ended in which state."""
        late = time.monotonic() + seconds
        left, states = list(transfers), Counter[str]()
        while left and time.monotonic() < late:
            while left and (state := self.bridge.store.read_transfer(left[-1]).state) in _REST:
                states[state] += 1
                left.pop()
            time.sleep(0.02)  # noqa: TID251 - others work
        states["late"] += len(left)
        return +states


def order(patient: str) -> Order:
    """A transfer of one patient's record."""
    return Order(source="first", destination="second", patient=f"Patient/{patient}")


@contextmanager
def _place(database: str, first: str, second: str) -> Iterator[_Place]:
    """Make a store, and remove it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = ""
        if database == "PostgreSQL":
            url = create_database()
            stack.callback(drop_database, url)
        place = _Place(folder, url, first, second)
        stack.callback(place.bridge.__exit__, None, None, None)
        yield place


@contextmanager
def _worker(place: _Place) -> Iterator[Running]:
    """Run a worker; it is ready."""
    with running(place.folder, "work", environ=place.environ) as worker:
        worker.line("^Working")
        yield worker


def _idle(databases: list[str]) -> None:
    """Let a worker of each database find nothing to do."""
    nowhere = "http://127.0.0.1:9/fhir"
    with ExitStack() as stack:
        places = [stack.enter_context(_place(one, nowhere, f"{nowhere}/2")) for one in databases]
        workers = [stack.enter_context(_worker(one)).process.pid for one in places]
        processes = [Path(f"/proc/{pid}") for pid in workers]
        time.sleep(2)  # noqa: TID251 - they settle
        before = list(map(_cpu_seconds, processes))
        time.sleep(_IDLE_SECONDS)  # noqa: TID251 - they are idle
        after = list(map(_cpu_seconds, processes))
        said = [(one / "status").read_text(encoding="utf-8") for one in processes]
    for database, first, last, status in zip(databases, before, after, said, strict=True):
        mib = int(status.split("VmRSS:")[1].split()[0]) / 1024
        share = (last - first) / _IDLE_SECONDS
        print(f"Idle worker, {database}: {share:.1%} of a core, {mib:.0f} MiB", flush=True)


def _cpu_seconds(process: Path) -> float:
    after_name = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def _pick_up(database: str) -> None:
    """Kill the worker that has a transfer in its hands; how long until another has it."""
    seconds = ", ".join(f"{_taken_over(database):.1f}" for _ in range(_ROUNDS))
    print(f"Taken over after kill -9, {database}: {seconds} s", flush=True)


def _taken_over(database: str) -> float:
    with (
        slow_providers(1, 100, _KILLED_SECONDS) as (first, second),
        _place(database, first, second) as place,
        _worker(place) as one,
        _worker(place) as other,
    ):
        transfer = place.request("p0")
        _until(lambda: place.row(transfer) == (State.ANNOUNCED, 1))
        who = place.turn(transfer, "executor_id")[0].split("-")[-2]
        victim = next(x.process for x in (one, other) if x.process.pid == int(who))
        start = time.perf_counter()
        victim.send_signal(signal.SIGKILL)
        _until(lambda: place.row(transfer)[1] == 2)
        taken = time.perf_counter() - start
        ends = place.wait(transfer)
    assert ends == {State.CLOSED: 1}, ends
    return taken


def _drain(database: str) -> None:
    """Let one worker carry what was queued while none ran."""
    with (
        slow_providers(_QUEUED, 12, 0.0) as (first, second),
        _place(database, first, second) as place,
    ):
        queued = [place.request(f"p{number}") for number in range(_QUEUED)]
        with _worker(place):
            start = time.perf_counter()
            ends = place.wait(*queued)
            seconds = time.perf_counter() - start
        entries = place.bridge.verify_log().entries
    print(
        f"{_QUEUED} queued transfers of 12 resources, one worker, {database}:"
        f" {ends[State.CLOSED]} closed, {_QUEUED - ends[State.CLOSED]} failed,"
        f" {_QUEUED / seconds:.1f} a second; log of {entries} entries verified",
        flush=True,
    )


def _two_workers() -> None:
    """Carry the same with one worker and with two, both providers 50 ms away."""
    rates = []
    for workers in (1, 2):
        with (
            slow_providers(_TOGETHER, 54, _REMOTE_SECONDS) as (first, second),
            _place("PostgreSQL", first, second) as place,
            ExitStack() as team,
        ):
            for _ in range(workers):
                team.enter_context(_worker(place))
            start = time.perf_counter()
            ends = place.wait(*[place.request(f"p{number}") for number in range(_TOGETHER)])
            rates.append(_TOGETHER / (time.perf_counter() - start))
            assert ends == {State.CLOSED: _TOGETHER}, ends
    print(
        f"{_TOGETHER} transfers of 54 resources, 50 ms to each provider, PostgreSQL: one worker"
        f" {rates[0]:.2f} a second, two {rates[1]:.2f}: ratio {rates[1] / rates[0]:.2f} on"
        f" {os.cpu_count()} cores, which the providers and the database share",
        flush=True,
    )


def _cost(first: str, second: str) -> None:
    """Carry a record by the command line's way and by a worker, in turn."""
    direct, carried = [], []
    with (
        requests.Session() as session,
        _place("SQLite", first, second) as place,
        _worker(place),
    ):
        for size in (54, *[_SIZE] * _ROUNDS):
            names = [f"e{uuid.uuid4().hex[:12]}" for _ in range(2)]
            for name in names:
                floor.load(session, first, patients.record(name, size))
                floor.load(session, second, patients.destination(name))
            start = time.perf_counter()
            state = place.bridge.transfer(order(names[0])).state
            direct.append(time.perf_counter() - start)
            transfer = place.request(names[1])
            assert (state, place.wait(transfer)) == (State.CLOSED, {State.CLOSED: 1})
            carried.append(_turn_seconds(place, transfer))
    base, ours = (statistics.median(one[1:]) for one in (direct, carried))
    print(
        f"Transfer of {_SIZE} resources on HAPI: by the command line's way {base:.2f} s, by a"
        f" worker {ours:.2f} s, its wait in line apart: ratio {ours / base:.2f}",
        flush=True,
    )


def _turn_seconds(place: _Place, transfer: str) -> float:
    """Return how long the engine had a turn in hand, by its own account."""
    _until(lambda: place.turn(transfer, "completed_at")[0] is not None)
    started, over = place.turn(transfer, "started_at_epoch_ms", "completed_at")
    return float(over - started) / 1000


def _until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    late = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < late
        time.sleep(0.01)  # noqa: TID251 - others work


if __name__ == "__main__":
    report(os.environ.get("FHIR_BRIDGE_HAPI", ""))
