"""
Real worker processes together: one dies, stops, or is told to end; a server is away.

Whatever happens, no worker needs a hand: each transfer ends, nothing is doubled,
each intent has its result and the log verifies.
"""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fhir_bridge.sandbox import Call, DropBefore, Slow, Status, Watch
from fhir_bridge.transfer import State
from tests.benchmarks import patients
from tests.journeys.world import SECOND
from tests.simulators.crew import Crew, Nest, until
from tests.simulators.postgresql import postgresql_server
from tests.simulators.providers import THIRD, Pair
from tests.simulators.servers import leave_out, postgres_url
from tests.simulators.stages import Stage, settings
from tests.simulators.stores import OVER_BOTH

PICK_UP_SECONDS_MAX = 10.0


@pytest.fixture(scope="module")
def nest() -> Iterator[Nest]:
    with Nest() as nest:
        yield nest


over_sqlite = pytest.mark.parametrize("stage", OVER_BOTH[:1], indirect=True)
over_postgresql = pytest.mark.parametrize("stage", OVER_BOTH[1:], indirect=True)


@pytest.fixture(scope="module", params=OVER_BOTH)
def stage(
    request: pytest.FixtureRequest, nest: Nest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A store with nothing in it, in each database."""
    if request.param == "postgresql":
        postgres_url()
    stage = Stage.set(nest, tmp_path_factory.mktemp("stage"), request.param)
    yield stage
    stage.remove()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as pair:
        yield pair


@pytest.fixture
def crew(stage: Stage, pair: Pair, tmp_path: Path) -> Iterator[Crew]:
    with stage.crew(tmp_path / "crew", pair.settings()) as crew:
        yield crew


def ended_well(crew: Crew, pair: Pair, *transfers: str, seconds: float = 60.0) -> None:
    assert set(crew.wait_for(*transfers, seconds=seconds)) == {State.CLOSED}, crew.said()
    assert pair.doubled() == []
    assert crew.unanswered() == 0
    crew.bridge.verify_log()


def test_a_killed_workers_transfer_is_gone_on_with_by_another_within_ten_seconds(
    crew: Crew, pair: Pair
) -> None:
    pair.faults.at(lambda call: call.server == SECOND, Slow(0.3), times=None)
    victim = crew.hire()
    transfer = crew.request(pair.order("one"))
    until(lambda: crew.row(transfer).state == State.ANNOUNCED, "the transfer's middle")
    crew.hire()
    victim.end()
    killed, calls = time.monotonic(), pair.faults.calls
    until(lambda: pair.faults.calls > calls + 2, "the other's first call", PICK_UP_SECONDS_MAX)
    print(f"picked up after {time.monotonic() - killed:.1f} s")  # noqa: T201
    pair.faults.clear()

    ended_well(crew, pair, transfer)


@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL], ids=["goes on", "is killed"])
def test_a_worker_that_was_stopped_goes_on_or_is_replaced(
    crew: Crew, pair: Pair, then: signal.Signals
) -> None:
    pair.faults.at(lambda call: call.server == SECOND, Slow(0.1), times=None)
    transfers = [crew.request(pair.order(f"p{number}")) for number in range(6)]
    stopped, killed = crew.hire(), crew.hire()
    until(lambda: pair.faults.calls > 20, "both at work")
    stopped.tell(signal.SIGSTOP)
    killed.end()
    crew.hire()
    time.sleep(1)  # noqa: TID251 - so long it is stopped
    stopped.tell(then)
    pair.faults.clear()

    ended_well(crew, pair, *transfers)


@over_postgresql
def test_a_worker_that_lost_its_lock_while_it_slept_doubles_nothing_when_it_wakes(
    crew: Crew, pair: Pair
) -> None:
    pair.faults.at(lambda call: call.server == SECOND, Slow(0.2), times=None)
    sleeper = crew.hire()
    transfer = crew.request(pair.order("one"))
    until(lambda: crew.row(transfer).state == State.ANNOUNCED, "the transfer's middle")
    sleeper.tell(signal.SIGSTOP)
    with psycopg.connect(crew.url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    crew.hire()
    until(lambda: crew.row(transfer).state == State.CLOSED, "the other's end")
    sleeper.tell(signal.SIGCONT)
    later = crew.request(pair.order("two"))
    pair.faults.clear()

    ended_well(crew, pair, transfer, later)
    until(lambda: "turn.ended" in sleeper.said(), "the sleeper's own end")


@over_postgresql
def test_a_worker_that_stays_stopped_holds_up_nobody_and_doubles_nothing_when_it_wakes(
    stage: Stage, pair: Pair, tmp_path: Path
) -> None:
    """It has every place at the destination, and nobody tells it to go on."""
    written = pair.settings("[engine]\nper_destination = 4\n")
    with stage.crew(tmp_path / "crew", written, limits={"stalled_seconds": 2.0}) as crew:
        pair.faults.at(lambda call: call.server == SECOND, Slow(0.2), times=None)
        transfers = [crew.request(pair.order(f"p{number}")) for number in range(6)]
        sleeper = crew.hire()
        until(lambda: sum(crew.row(one).deaths for one in transfers) == 4, "every place taken")
        until(lambda: pair.faults.calls > 40, "some work")
        sleeper.tell(signal.SIGSTOP)
        healthy = crew.hire()
        pair.faults.clear()
        while_it_slept = crew.wait_for(*transfers)
        assert set(while_it_slept) == {State.CLOSED}, crew.said()
        assert "worker.stalled" in healthy.said()

        sleeper.tell(signal.SIGCONT)
        healthy.end()
        only_the_woken_is_left = crew.request(pair.order("later"))
        ended_well(crew, pair, *transfers, only_the_woken_is_left)


def test_a_transfer_that_kills_its_workers_rests_until_a_person_retries_it(
    crew: Crew, pair: Pair
) -> None:
    transfer = crew.request(pair.order("one"))
    for _ in range(3):
        worker = crew.hire(die_at=7)
        until(lambda worker=worker: not worker.alive, "its death")
    healthy = crew.hire()
    states = crew.wait_for(transfer)
    row = crew.row(transfer)
    crew.bridge.reopen(transfer)

    assert states == [State.PARKED]
    assert row.wait_reason == "worker-died"
    assert "3 workers died" in str(row.trouble)
    ended_well(crew, pair, transfer)
    assert healthy.alive


def test_a_destination_that_is_away_is_waited_for_and_holds_up_nobody_else(
    crew: Crew, pair: Pair
) -> None:
    pair.faults.at(lambda call: call.server == SECOND, DropBefore(), times=None)
    away = [crew.request(pair.order(f"p{number}")) for number in range(6)]
    crew.hire()
    until(lambda: all(crew.row(one).wait_until for one in away), "every wait", 40)
    waits = {crew.row(one).wait_reason for one in away}
    assert crew.wait_for(crew.request(pair.order("other", to=THIRD))) == [State.CLOSED]
    pair.faults.clear()
    for one in away:
        crew.bridge.reopen(one)

    assert waits == {"destination-unreachable"}
    ended_well(crew, pair, *away)


def test_retry_after_is_waited_for_by_the_row_and_the_transfer_ends_by_itself(
    crew: Crew, pair: Pair
) -> None:
    seen: list[float] = []

    def note(_: Call) -> None:
        seen.append(time.monotonic())

    pair.faults.at(lambda call: call.server == SECOND, Watch(note), times=None)
    pair.faults.at(lambda call: call.server == SECOND, Status(429, retry_after="3"), times=1)
    crew.hire()
    transfer = crew.request(pair.order("one"))

    ended_well(crew, pair, transfer)
    assert seen[1] - seen[0] >= 2.9


def test_told_to_stop_a_worker_ends_what_it_carries_and_leaves_the_rest_to_the_next(
    crew: Crew, pair: Pair
) -> None:
    pair.faults.at(lambda call: call.server == SECOND, Slow(0.05), times=None)
    transfers = [crew.request(pair.order(f"p{number}")) for number in range(6)]
    worker = crew.hire()
    until(lambda: pair.faults.calls > 10, "its work")
    worker.tell(signal.SIGTERM)
    until(lambda: not worker.alive, "its end", 30)
    running = [one for one in transfers if crew.row(one).state not in {"closed", "requested"}]
    pair.faults.clear()
    crew.hire()

    assert "Stopped" in worker.said()
    assert running == []
    ended_well(crew, pair, *transfers)


def test_two_requests_for_one_patient_wait_for_each_other_and_hold_no_worker(
    crew: Crew, pair: Pair
) -> None:
    pair.faults.at(lambda call: call.server == SECOND, Slow(0.1), times=None)
    question = [pair.order("one", question=text) for text in ("first?", "second?")]
    transfers = [crew.request(order) for order in question]
    crew.hire()
    crew.hire()

    assert set(crew.wait_for(*transfers)) == {State.CLOSED}
    assert pair.doubled() == []
    assert crew.unanswered() == 0


def test_random_kills_of_three_workers_lose_nothing(
    stage: Stage, pair: Pair, tmp_path: Path
) -> None:
    with stage.crew(tmp_path / "many", pair.settings("[engine]\ndeaths = 100\n")) as crew:
        killed_at_random(crew, pair)


def killed_at_random(crew: Crew, pair: Pair) -> None:
    chosen = random.Random(20261125)  # noqa: S311 - a sample, not a secret
    pair.faults.at(lambda call: call.server == SECOND, Slow(0.02), times=None)
    transfers = [crew.request(pair.order(f"p{number}")) for number in range(8)]
    team = [crew.hire() for _ in range(3)]
    for _ in range(5):
        calls = pair.faults.calls
        until(lambda calls=calls: pair.faults.calls > calls + 15, "some work")
        victim = chosen.randrange(3)
        team[victim].end()
        team[victim] = crew.hire()
        if all(crew.row(one).state == State.CLOSED for one in transfers):
            break

    ended_well(crew, pair, *transfers)


@pytest.mark.real
def test_postgresql_killed_and_started_again_needs_no_hand(
    nest: Nest, pair: Pair, tmp_path: Path
) -> None:
    with postgresql_server() as server:
        server.start()
        crew = Crew(nest, tmp_path / "crew", settings(server.url, pair.settings()))
        crew.url = server.url
        with crew:
            crew.keeps_database = True
            pair.faults.at(lambda call: call.server == SECOND, Slow(0.1), times=None)
            transfers = [crew.request(pair.order(f"p{number}")) for number in range(8)]
            first, second = crew.hire(), crew.hire()
            until(lambda: pair.faults.calls > 30, "both at work")
            server.stop()
            time.sleep(3)  # noqa: TID251 - so long it is away
            server.start()
            pair.faults.clear()

            crew.bridge.__exit__(None, None, None)
            crew.bridge = crew.open()
            ended_well(crew, pair, *transfers, seconds=90)
            assert first.alive
            assert second.alive


@pytest.mark.real
def test_a_worker_speaks_to_the_servers_of_its_transfers_and_to_nobody_else(
    pair: Pair, tmp_path: Path
) -> None:
    strace = shutil.which("strace") or leave_out()
    traced = tmp_path / "traced"
    with Stage.set(_no_nest(), tmp_path / "stage", "sqlite").crew(
        tmp_path / "crew", pair.settings()
    ) as crew:
        transfer = crew.request(pair.order("one"))
        worker = subprocess.Popen(
            [
                *(strace, "-f", "-e", "trace=connect,sendto", "-o", traced),
                *(sys.executable, "-m", "fhir_bridge", "work", "--settings", crew.file),
                *("--store", crew.store),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            crew.wait_for(transfer)
        finally:
            subprocess.run(["pkill", "-TERM", "-P", str(worker.pid)], check=False)
            worker.wait(60)
    asked = set(re.findall(r"sin6?_port=htons\((\d+)\)", traced.read_text(encoding="utf-8")))

    assert asked <= {base.rpartition(":")[2].partition("/")[0] for base in pair.bases}
    assert asked


def _no_nest() -> Nest:
    return Nest()


@over_sqlite
def test_nothing_of_the_patient_is_in_the_engines_file_or_what_workers_say(
    crew: Crew, pair: Pair
) -> None:
    crew.hire()
    transfer = crew.request(pair.order("canary-patient", question="canary-question"))
    crew.wait_for(transfer)
    kept = b"".join(path.read_bytes() for path in crew.store.glob("engine.db*"))

    for canary in (b"canary-patient", b"canary-question", b"Bench-canary"):
        assert canary not in kept
        assert canary.decode() not in crew.said()
    assert patients.IDENTIFIERS.encode() not in kept


@over_sqlite
def test_the_engines_file_may_be_lost_without_losing_a_transfer(crew: Crew, pair: Pair) -> None:
    pair.faults.at(lambda call: call.server == SECOND, Slow(0.2), times=None)
    worker = crew.hire()
    transfers = [crew.request(pair.order(f"p{number}")) for number in range(3)]
    until(lambda: crew.row(transfers[0]).state == State.ANNOUNCED, "the transfer's middle")
    worker.end()
    for path in crew.store.glob("engine.db*"):
        path.unlink()
    pair.faults.clear()
    crew.hire()

    ended_well(crew, pair, *transfers)
