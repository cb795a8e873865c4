"""
Faults at every call to the disk and to the server: nothing acknowledged is lost or doubled.

A process writes the same acts, by the same event ids, as often as it is asked
to. Whatever happens to it at one system call: what it had acknowledged is
there, and a second run brings the log to exactly what one run without a fault
would have written.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import UUID, uuid5

import pytest

from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store
from tests.simulators.cutting_proxy import CuttingProxy
from tests.simulators.faulty_disk import Ended, Fault, counted, run
from tests.simulators.postgresql import postgresql_server
from tests.simulators.stores import OVER_BOTH, Place, PostgresqlPlace, create_database

pytestmark = pytest.mark.real

SEED = 20261125
FULL = os.environ.get("FHIR_BRIDGE_FULL") == "1"
SAMPLE = 24
TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
APPENDS = 6
RACES = 1000 if FULL else 200

WRITING = """
import sys, uuid
from pathlib import Path
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store

transfer, tries = sys.argv[3], int(sys.argv[4])

def write(store, at):
    event = str(uuid.uuid5(uuid.UUID(transfer), str(at)))
    new = NewEntry(
        type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=transfer, statement={"by": event}
    )
    for left in reversed(range(tries)):
        try:
            return store.append(new, new, event_id=event).first
        except StoreUnavailable:
            if not left:
                raise

try:
    with Store.open(Path(sys.argv[1]), log_origin="bridge.example", database=sys.argv[2]) as store:
        for at in range(6):
            print(at, write(store, at), flush=True)
            if at == 3:
                store._database.forget()
except StoreUnavailable as error:
    print(error, file=sys.stderr)
    sys.exit(6)
"""


def arguments(place: Place, tries: int = 1) -> list[str]:
    return [str(place.folder), place.url, TRANSFER, str(tries)]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A log with its first entry."""
    place = Place(tmp_path_factory.mktemp("begun") / "store")
    place.open_by_the_clock().close()
    return place


def table(counts: dict[str, int], kinds: dict[str, list[str]]) -> list[Fault]:
    """Name each fault at each call; all of them, or a sample."""
    every = [
        Fault(call, str(when), kind)
        for call, count in counts.items()
        for when in range(1, count + 1)
        for kind in kinds[call]
    ]
    print(f"{len(every)} faults, seed {SEED}")  # noqa: T201 - to repeat it by
    dice = random.Random(SEED)  # noqa: S311 - which fault, not which key
    return every if FULL else dice.sample(every, min(SAMPLE, len(every)))


def check(place: Place, ended: Ended, fault: Fault) -> None:
    acknowledged = dict(tuple(map(int, line.split())) for line in ended.lines)
    with place.open_by_the_clock() as store:
        verified = store.verify()
        assert verified.entries % 2 == 1, f"{fault}: an append is there whole or not at all"
        for at, first in acknowledged.items():
            said = {"by": str(uuid5(UUID(TRANSFER), str(at)))}
            assert store.statement(first) == store.statement(first + 1) == said, str(fault)
        again = [appended(store, at) for at in range(APPENDS)]
        assert all(again[at] == first for at, first in acknowledged.items()), str(fault)
        assert store.verify().entries == 1 + 2 * APPENDS, str(fault)
        assert [entry.seq for entry in store.entries(TRANSFER)] == list(range(2 * APPENDS))


def appended(store: Store, at: int) -> int:
    event = str(uuid5(UUID(TRANSFER), str(at)))
    new = NewEntry(
        type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=TRANSFER, statement={"by": event}
    )
    return store.append(new, new, event_id=event).first


DISK = {
    "pwrite64": ["error=EIO", "error=ENOSPC", "signal=SIGKILL"],
    "fdatasync": ["error=EIO", "signal=SIGKILL"],
    "fsync": ["error=EIO", "signal=SIGKILL"],
    "ftruncate": ["error=EIO", "signal=SIGKILL"],
    "unlink": ["error=EIO", "signal=SIGKILL"],
}


def test_a_disk_that_fails_at_any_call_loses_and_doubles_nothing(
    begun: Place, tmp_path: Path
) -> None:
    first = begun.copied(tmp_path / "counted")
    counts = counted(WRITING, arguments(first), list(DISK), tmp_path / "calls")
    assert counts["pwrite64"] > 20
    assert counts["fdatasync"] + counts["fsync"] >= APPENDS
    codes = set()
    for fault in table(counts, DISK):
        place = begun.copied(tmp_path / "store")
        ended = run(WRITING, arguments(place), fault)
        assert ended.code in {0, 6, -9, 137}, f"{fault}: {ended.errors}"
        codes.add(ended.code)
        check(place, ended, fault)
        shutil.rmtree(place.folder)

    assert {0, 6} <= codes, "a fault that is not noticed, and one that stops the bridge"


def test_a_disk_that_is_full_for_a_while_needs_no_new_process(begun: Place, tmp_path: Path) -> None:
    for first in (10, 20, 30):
        place = begun.copied(tmp_path / f"store-{first}")
        fault = Fault("pwrite64", f"{first}..{first + 5}", "error=ENOSPC")
        ended = run(WRITING, arguments(place, tries=20), fault)
        assert ended.code == 0, ended.errors
        assert len(ended.lines) == APPENDS
        check(place, ended, fault)


@pytest.fixture
def served(migrated: str, tmp_path: Path) -> Iterator[PostgresqlPlace]:
    """A log on PostgreSQL with its first entry."""
    place = PostgresqlPlace(tmp_path / "begun", create_database(migrated))
    place.open_by_the_clock().close()
    yield place
    place.remove()


SERVER = {"sendto": ["signal=SIGKILL"], "recvfrom": ["signal=SIGKILL", "error=ECONNRESET"]}


def test_a_process_killed_at_any_message_to_its_server_loses_and_doubles_nothing(
    served: PostgresqlPlace, tmp_path: Path
) -> None:
    first = served.copied(tmp_path / "counted")
    counts = counted(WRITING, arguments(first), list(SERVER), tmp_path / "calls")
    first.remove()
    assert counts["sendto"] > 20
    for fault in table(counts, SERVER):
        place = served.copied(tmp_path / "store")
        ended = run(WRITING, arguments(place, tries=3), fault)
        assert ended.code in {0, 6, -9, 137}, f"{fault}: {ended.errors}"
        check(place, ended, fault)
        place.remove()
        shutil.rmtree(place.folder)


@pytest.mark.parametrize("answer_only", [False, True], ids=["message-lost", "answer-lost"])
def test_an_append_whose_connection_is_cut_anywhere_is_written_once_without_asking_again(
    served: PostgresqlPlace, *, answer_only: bool
) -> None:
    """Whether the commit or its answer was lost, the store finds out by itself."""
    with CuttingProxy(served.url) as proxy:
        through = PostgresqlPlace(served.folder, proxy.url)
        with through.open_by_the_clock() as store:
            appended(store, 0)
            cuts, size = 0, store.checkpoint().size
            for at in range(1, 100):
                proxy.cut(at, answer_only=answer_only)
                first = appended(store, at)
                assert first == size, f"cut at message {at}"
                size += 2
                if not proxy.has_cut:
                    break
                cuts += 1
    with served.open_by_the_clock() as store:
        assert store.verify().entries == size

    assert cuts >= 4, "begin, look, write, commit"


def test_a_server_that_is_killed_while_it_is_written_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    acknowledged: list[int] = []
    over = threading.Event()

    def write(store: Store) -> None:
        while not over.is_set():
            with suppress(StoreUnavailable):
                acknowledged.append(appended(store, len(acknowledged)))

    def wait_for(more: int) -> None:
        goal = len(acknowledged) + more
        while len(acknowledged) < goal:
            assert writer.is_alive()
            over.wait(0.01)

    with postgresql_server() as server:
        server.start()
        place = PostgresqlPlace(tmp_path / "store", server.url)
        with place.open_by_the_clock() as store:
            writer = threading.Thread(target=write, args=(store,))
            writer.start()
            for stop in range(30 if FULL else 4):
                wait_for(20 * (stop % 3))
                server.stop()
                server.start()
            wait_for(50)
            over.set()
            writer.join(30)
            assert store.verify().entries == 1 + 2 * len(acknowledged)

    assert acknowledged == [1 + 2 * at for at in range(len(acknowledged))]


RACING = """
import sys, uuid
from pathlib import Path
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store

with Store.open(Path(sys.argv[1]), log_origin="bridge.example", database=sys.argv[2]) as store:
    print("ready", flush=True)
    for line in sys.stdin:
        new = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=sys.argv[3])
        print(store.append(new, event_id=line.strip()).first, flush=True)
"""


@pytest.mark.parametrize("place", OVER_BOTH, indirect=True)
def test_two_sequencers_that_race_make_no_fork(place: Place) -> None:
    """In every tenth race both write the same act."""
    place.open_by_the_clock().close()
    command = [sys.executable, "-c", RACING, *arguments(place)]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        racers = [
            stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            for _ in range(2)
        ]
        assert [_line(racer) for racer in racers] == ["ready", "ready"]
        expected = 1
        for race in range(RACES):
            same = race % 10 == 0
            ids = [str(uuid5(UUID(TRANSFER), f"{race}/{0 if same else who}")) for who in range(2)]
            for racer, event in zip(racers, ids, strict=True):
                assert racer.stdin is not None
                racer.stdin.write(f"{event}\n")
                racer.stdin.flush()
            firsts = sorted(int(_line(racer)) for racer in racers)
            assert firsts == [expected, expected + (not same)]
            expected += 1 if same else 2
    with place.open_by_the_clock() as store:
        assert store.verify().entries == expected


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
