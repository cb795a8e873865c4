"""
A worker whose log cannot be written sends nothing, and goes on without a hand.

Method: the disk fills up, the disk refuses, the database server dies, the signer
dies, or the key is gone, at one moment of a transfer that a real worker process
carries; and some time later all is well again. The second provider says what it
saw meanwhile. A worker that ends is started again, as a supervisor would; nobody
does anything else.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fhir_bridge.ledger import Event
from fhir_bridge.sandbox import Call, Watch
from fhir_bridge.transfer import State
from tests.simulators.crew import Crew, Nest, until
from tests.simulators.postgresql import PostgresqlServer, postgresql_server
from tests.simulators.providers import FIRST, SECOND, Pair
from tests.simulators.small_disk import refuse_writes, small_disk
from tests.simulators.stages import Stage, settings

LASTS_SECONDS = 7.0
"""Longer than the five seconds after which a worker asks its store again."""

PAUSE_SECONDS = 0.2


class Trouble:
    """Something that the log needs is away for a while."""

    crew: Crew

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def hired(self) -> None:
        """A worker was started while it lasts."""


class FullDisk(Trouble):
    """The file system has no byte left."""

    def __init__(self, stage: Stage, folder: Path, pair: Pair, stack: ExitStack) -> None:
        self._disk = stack.enter_context(small_disk(folder / "disk"))
        self.crew = stack.enter_context(stage.crew(folder / "disk" / "crew", pair.settings()))
        self._refusing = DiskThatRefuses(self.crew)

    def begin(self) -> None:
        (self._refusing.begin if self._disk is None else self._disk.fill_up)()

    def end(self) -> None:
        (self._refusing.end if self._disk is None else self._disk.make_room)()

    def hired(self) -> None:
        if self._disk is None:
            self._refusing.hired()


class DiskThatRefuses(Trouble):
    """No byte of the worker is taken, and nobody knows why."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    def begin(self) -> None:
        refuse_writes(self.crew.workers[-1].pid)

    def end(self) -> None:
        if self.crew.workers[-1].alive:
            refuse_writes(self.crew.workers[-1].pid, refuse=False)

    def hired(self) -> None:
        self.begin()


class ServerDown(Trouble):
    """PostgreSQL dies."""

    def __init__(self, server: PostgresqlServer, crew: Crew) -> None:
        self._server, self.crew = server, crew

    def begin(self) -> None:
        self._server.stop()

    def end(self) -> None:
        self._server.start()


class KeyGone(Trouble):
    """The key file is away when the worker is started again."""

    def __init__(self, crew: Crew, name: str) -> None:
        self.crew = crew
        self._key, self._away = crew.store / name, crew.store.parent / "away"

    def begin(self) -> None:
        self._key.rename(self._away)
        self.crew.workers[-1].tell(signal.SIGKILL)

    def end(self) -> None:
        self._away.rename(self._key)


class SignerDown(Trouble):
    """The process that has the key dies."""

    def __init__(self, nest: Nest, folder: Path, pair: Pair, stack: ExitStack) -> None:
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s-", dir="/tmp")))
        self._socket, self._own = short / "s", folder / "signer"
        stack.callback(self.begin)
        self.end()
        written = pair.settings().replace("[log]\n", f'[log]\nsigner = "unix:{self._socket}"\n')
        self.crew = stack.enter_context(Crew(nest, folder / "crew", settings("", written)))

    def begin(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def end(self) -> None:
        command = [sys.executable, "-m", "fhir_bridge", "audit", "signer", str(self._own)]
        self._process = subprocess.Popen(
            [*command, "--socket", str(self._socket)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        with self._process.stdout:
            assert self._process.stdout.readline().startswith(b"Signing")


@pytest.fixture(scope="module")
def nest() -> Iterator[Nest]:
    with Nest() as nest:
        yield nest


@pytest.fixture(scope="module")
def stage(nest: Nest, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.set(nest, tmp_path_factory.mktemp("stage"), "sqlite")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as pair:
        yield pair


@pytest.fixture
def trouble(
    request: pytest.FixtureRequest, nest: Nest, stage: Stage, pair: Pair, tmp_path: Path
) -> Iterator[Trouble]:
    with ExitStack() as stack:
        match request.param:
            case "disk-full":
                yield FullDisk(stage, tmp_path, pair, stack)
            case "signer-down":
                yield SignerDown(nest, tmp_path, pair, stack)
            case "server-down":
                server = stack.enter_context(postgresql_server())
                server.start()
                crew = Crew(nest, tmp_path / "crew", settings(server.url, pair.settings()))
                crew.url, crew.keeps_database = server.url, True
                yield ServerDown(server, stack.enter_context(crew))
            case kind:
                crew = stack.enter_context(stage.crew(tmp_path / "crew", pair.settings()))
                yield DiskThatRefuses(crew) if kind == "disk-refuses" else KeyGone(crew, kind)


def is_asked_first(call: Call) -> bool:
    """The source is asked: nothing has been said to the destination."""
    return call.server == FIRST


def brings_records(call: Call) -> bool:
    return call.server == SECOND and call.brings_records


MOMENTS = (is_asked_first, brings_records)


ROWS = [
    *(
        (kind, moment)
        for kind in ("disk-full", "disk-refuses", "signer-down")
        for moment in MOMENTS
    ),
    *(pytest.param("server-down", moment, marks=pytest.mark.real) for moment in MOMENTS),
    *((key, brings_records) for key in ("log.key", "seal.key")),
]


@pytest.mark.parametrize(("trouble", "moment"), ROWS, indirect=["trouble"])
def test_without_its_log_a_worker_sends_nothing_and_with_it_goes_on_by_itself(
    trouble: Trouble, pair: Pair, moment: Callable[[Call], bool]
) -> None:
    crew, second = trouble.crew, pair.second
    begun: list[bool] = []

    def begin(_: Call) -> None:
        trouble.begin()
        begun.append(True)

    crew.hire()
    transfer = crew.request(pair.order("one"))
    pair.faults.at(moment, Watch(begin), times=1)
    until(lambda: begun, "the trouble")
    lasts(trouble)
    told = [one for one in second.requests if one.path != "metadata"]
    there = {ref.partition("/")[0] for ref in second.resources}
    trouble.end()
    crew.bridge.__exit__(None, None, None)
    until(lambda: supervised(crew), "a worker that runs")
    crew.bridge = crew.open()
    until(lambda: supervised(crew) and crew.row(transfer).state == State.CLOSED, "its end")

    # What the signed intent names may go; the second doctor is told after the signed result.
    assert told == [] or moment is brings_records
    assert "Task" not in there
    assert pair.doubled() == []
    assert crew.unanswered() == 0
    signed = crew.entries(transfer)
    assert [entry.seq for entry in signed] == list(range(len(signed)))
    assert signed[-1].type is Event.TRANSFER_CLOSED
    crew.bridge.verify_log()


def lasts(trouble: Trouble) -> None:
    """Let it last, while a supervisor starts again what ends."""
    end = time.monotonic() + LASTS_SECONDS
    while time.monotonic() < end:
        if not supervised(trouble.crew):
            trouble.hired()
        time.sleep(PAUSE_SECONDS)  # noqa: TID251 - so long it lasts


def supervised(crew: Crew) -> bool:
    """Start the worker again when it has ended; say whether it ran."""
    if not (alive := crew.workers[-1].alive):
        crew.hire()
    return alive
