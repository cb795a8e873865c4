"""What a server asks of one process holds for all, and so do the operator's limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError, Throttled
from fhir_bridge.gates import Gate, Gates
from fhir_bridge.liveness import FileLiveness, PostgresqlLiveness
from fhir_bridge.sandbox import Faults, Sandbox, Status
from fhir_bridge.settings import read_server
from fhir_bridge.store import Store
from fhir_bridge.wire import Side, Wire
from tests.simulators.stores import Place


@pytest.fixture
def stores(place: Place) -> Iterator[list[Store]]:
    """One store as two processes have it open."""
    with place.open_by_the_clock() as first, place.open_by_the_clock() as second:
        yield [first, second]


class Waiting:
    """A clock that notes waits, and really waits when told so."""

    def __init__(self, *, really: bool = False) -> None:
        self.waits: list[float] = []
        self._really = really

    def clock(self) -> Clock:
        return Clock(sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self._really:
            Clock().sleep(seconds)


def gate(
    store: Store,
    place: Place,
    waiting: Waiting,
    *,
    rate: float | None = None,
    concurrency: int | None = None,
) -> tuple[Gates, Gate]:
    gates = Gates(store, waiting.clock(), folder=place.folder, database=place.url)
    return gates, gates.gate("second", "it", rate_per_second=rate, concurrency=concurrency)


def test_requests_of_two_processes_keep_the_rate_of_the_settings(
    place: Place, stores: list[Store]
) -> None:
    waits = [Waiting(really=True), Waiting(really=True)]
    opened = [
        gate(store, place, waiting, rate=50.0) for store, waiting in zip(stores, waits, strict=True)
    ]
    sent: list[float] = []

    def ask(number: int) -> None:
        with opened[number % 2][1].passing():
            sent.append(time.monotonic())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(30)))
    for gates, _ in opened:
        gates.close()

    sent.sort()
    assert sent[-1] - sent[0] >= 29 / 50 * 0.9
    for first, later in zip(sent, sent[10:], strict=False):
        assert later - first >= 10 / 50 * 0.6


def test_a_servers_wish_to_one_process_is_kept_by_the_other(
    place: Place, stores: list[Store]
) -> None:
    waits = [Waiting(), Waiting()]
    one, other = (gate(store, place, w)[1] for store, w in zip(stores, waits, strict=True))
    one.push_back(30)
    one.push_back(5)
    with other.passing():
        pass

    assert waits[1].waits == [pytest.approx(30, abs=2)]


def test_a_wish_longer_than_a_request_waits_is_told_at_once(
    place: Place, stores: list[Store]
) -> None:
    waiting = Waiting()
    for rate in (None, 10.0):
        _, opened = gate(stores[0], place, waiting, rate=rate)
        opened.push_back(3600)
        with pytest.raises(Throttled) as told, opened.passing():
            pass
        assert told.value.wait_seconds == pytest.approx(3600, abs=5)
    assert waiting.waits == []


def test_no_more_requests_at_once_than_the_settings_allow_and_a_dead_ones_place_is_free(
    place: Place, stores: list[Store]
) -> None:
    waits = [Waiting(really=True), Waiting(really=True)]
    opened = [
        gate(store, place, waiting, concurrency=2)
        for store, waiting in zip(stores, waits, strict=True)
    ]
    now: list[int] = [0]
    most: list[int] = []
    lock = threading.Lock()

    def ask(number: int) -> None:
        with opened[number % 2][1].passing():
            with lock:
                now[0] += 1
                most.append(now[0])
            Clock().sleep(0.01)
            with lock:
                now[0] -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(24)))
    assert max(most) == 2

    for gates, _ in opened:
        gates.close()


def test_the_place_of_a_process_that_died_is_free_again(place: Place, stores: list[Store]) -> None:
    waiting = Waiting(really=True)
    gates, opened = gate(stores[0], place, waiting, concurrency=1)
    other = (
        PostgresqlLiveness(place.url, "other")
        if place.url
        else FileLiveness(place.folder / "places")
    )
    assert other.take("second.0")
    threading.Timer(0.2, other.close).start()  # as the kernel or the server does for the dead

    with opened.passing():
        assert waiting.waits
    gates.close()


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_pushes_everybody_back(place: Place, stores: list[Store], status: int) -> None:
    faults = Faults()
    with Sandbox(name="second", faults=faults) as sandbox:
        waits = [Waiting(), Waiting()]
        wires = [
            Wire(
                sandbox.base,
                side=Side.DESTINATION,
                clock=waiting.clock(),
                gate=gate(store, place, waiting)[1],
            )
            for store, waiting in zip(stores, waits, strict=True)
        ]
        faults.at(1, Status(status, retry_after="20"))
        for wire in wires:
            wire.request("GET", "metadata")
            wire.close()

        assert waits[0].waits[0] == pytest.approx(20, abs=1)
        assert waits[1].waits == [pytest.approx(20, abs=2)]


def test_settings_name_the_limits_of_a_server() -> None:
    base = {"base": "https://second.example/fhir"}
    read = read_server("second", base | {"rate_per_second": 2.5, "concurrency": 3})
    assert (read.rate_per_second, read.concurrency) == (2.5, 3)
    for wrong in ({"rate_per_second": 0}, {"concurrency": 1.5}, {"concurrency": True}):
        with pytest.raises(SettingsError, match="servers"):
            read_server("second", base | wrong)
