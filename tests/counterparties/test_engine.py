"""The durable engine, with turns that are not transfers, over both databases."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import _queue

from fhir_bridge.clock import Clock
from fhir_bridge.engine import Limits, Place, Round, SealedJson, Turn
from fhir_bridge.engine.durable import Engine
from fhir_bridge.engine.places import file_system
from fhir_bridge.errors import SettingsError
from fhir_bridge.liveness import MACHINE_SECONDS_MAX, OneMachine
from fhir_bridge.store.seal import Seal
from tests.simulators.stores import Place as StorePlace
from tests.simulators.ticking import Ticking

NAME = "canary-turn"
FAST = Limits(poll_seconds=0.05, reap_seconds=0.1, at_once=4, kept_seconds=0.0)
SEALED = SealedJson("k1", {"k1": Seal(b"k" * 32)})


class Errands:
    """Turns that only say that they were carried."""

    def __init__(self, *names: str) -> None:
        self.waiting = [Turn(name, "second") for name in names]
        self.carried: list[str] = []
        self.told: list[str] = []
        self.act: Callable[[str], float | None] = lambda _: None

    def due(self) -> list[Turn]:
        return list(self.waiting)

    def carry_turn(self, name: str) -> float | None:
        self.carried.append(name)
        again = self.act(name)
        if again is None:
            self.waiting = [turn for turn in self.waiting if turn.name != name]
        return again

    def lost(self, name: str) -> None:
        self.told.append(name)
        self.waiting = [turn for turn in self.waiting if turn.name != name]


@pytest.fixture
def engines(place: StorePlace) -> Iterator[Callable[..., Engine]]:
    opened: list[Engine] = []
    place.folder.mkdir(exist_ok=True)

    def start(turns: Errands, **more: object) -> Engine:
        said: Any = {"limits": FAST, **more}
        engine = Engine(Place(place.folder, place.url), turns, SEALED, **said)
        engine.migrate()
        engine.start()
        opened.append(engine)
        return engine

    yield start
    for engine in opened:
        engine.stop(0)


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.02)


def everything(place: StorePlace) -> bytes:
    """All that the engine keeps."""
    if not place.url:
        return b"".join(path.read_bytes() for path in place.folder.glob("engine.db*"))
    url = sa.make_url(place.url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        tables = connection.execute(
            sa.text("select relname from pg_stat_user_tables where schemaname = 'dbos'")
        ).scalars()
        rows = [
            str(row)
            for table in tables.all()
            for row in connection.execute(sa.text(f"select * from dbos.{table}"))  # noqa: S608
        ]
    engine.dispose()
    return "\n".join(rows).encode()


def test_each_turn_is_carried_once_and_nothing_of_it_can_be_read(
    place: StorePlace, engines: Callable[..., Engine]
) -> None:
    turns = Errands(*(f"{number}.1" for number in range(12)))
    engine = engines(turns)
    until(lambda: not turns.waiting and engine.running == 0)

    assert sorted(turns.carried) == sorted(f"{number}.1" for number in range(12))
    kept = everything(place)
    assert b"fhir-bridge-sealed-json-1" in kept
    assert pickle.dumps("x")[:2] not in kept or place.url == ""


def test_a_turn_that_cannot_be_written_down_is_carried_again(
    engines: Callable[..., Engine],
) -> None:
    turns = Errands("1.1")
    turns.act = lambda _: 0.1 if len(turns.carried) < 3 else None
    engines(turns)
    until(lambda: not turns.waiting)

    assert turns.carried == ["1.1"] * 3


def test_a_turn_that_was_given_to_a_worker_and_could_not_start_is_handed_out_again(
    engines: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failures = _queue.execute_dequeued_workflow, iter([True, True])

    def fail_at_first(*given: Any) -> Any:
        if next(failures, False):
            raise sa.exc.OperationalError("select", {}, Exception("the database went away"))
        return start(*given)

    monkeypatch.setattr(_queue, "execute_dequeued_workflow", fail_at_first)
    turns = Errands("1.1", "2.1")
    engines(turns, limits=replace(FAST, unstarted_seconds=0.3))
    until(lambda: not turns.waiting)

    assert sorted(turns.carried) == ["1.1", "2.1"]


def test_a_turn_that_breaks_the_engine_is_told_and_its_text_is_not_kept(
    place: StorePlace, engines: Callable[..., Engine]
) -> None:
    turns = Errands("1.1")

    def broken(_: str) -> float | None:
        raise RuntimeError(NAME)

    turns.act = broken
    engine = engines(turns)
    until(lambda: engine.tell_lost() or turns.told)

    assert turns.told == ["1.1"]
    assert NAME.encode() not in everything(place)


def test_a_turn_whose_end_could_not_be_written_is_handed_out_again_by_its_own_worker(
    place: StorePlace, engines: Callable[..., Engine]
) -> None:
    """As after a disk that was full: the engine gave the turn up and could not say so."""
    turns = Errands("1.1")
    engine = engines(turns, limits=replace(FAST, unstarted_seconds=0.3))
    until(lambda: engine.running == 0 and not turns.waiting)
    until(lambda: status(place) == "SUCCESS")
    status(place, "PENDING")
    until(lambda: status(place) == "SUCCESS")

    assert turns.carried == ["1.1"] * 2


def status(place: StorePlace, becomes: str = "") -> str:
    """Say how the engine's one turn stands; or change it behind the engine's back."""
    url = sa.make_url(place.url).set(drivername="postgresql+psycopg") if place.url else ""
    engine = sa.create_engine(url or f"sqlite:///{place.folder / 'engine.db'}")
    table = "dbos.workflow_status" if place.url else "workflow_status"
    turn = "where workflow_uuid = '1.1'"
    with engine.begin() as connection:
        if becomes:
            connection.execute(sa.text(f"update {table} set status = '{becomes}' {turn}"))  # noqa: S608
        found = connection.execute(sa.text(f"select status from {table} {turn}"))  # noqa: S608
        said = str(found.scalar_one())
    engine.dispose()
    return said


def test_turns_that_are_long_over_are_forgotten(engines: Callable[..., Engine]) -> None:
    turns = Errands("1.1", "2.1")
    engine = engines(turns)
    until(lambda: not turns.waiting and engine.running == 0)
    gone: list[int] = []
    until(lambda: gone.append(engine.purge()) or sum(gone) == 2)

    assert engine.purge() == 0


def test_what_else_a_worker_does_goes_on_beside_its_turns_and_survives_a_failure(
    engines: Callable[..., Engine],
) -> None:
    done: list[int] = []

    def act() -> None:
        done.append(1)
        if len(done) == 1:
            raise RuntimeError("once")

    engines(Errands(), rounds=[Round(name="test", seconds=0.01, act=act)])
    until(lambda: len(done) >= 3)


def test_turns_of_one_destination_do_not_keep_another_waiting(
    engines: Callable[..., Engine],
) -> None:
    turns = Errands(*(f"{number}.1" for number in range(8)))
    turns.waiting.append(Turn("other.1", "elsewhere"))
    free = threading.Event()

    def act(name: str) -> float | None:
        if name != "other.1":
            free.wait(20)
        return None

    turns.act = act
    limits = Limits(poll_seconds=0.05, at_once=8, at_once_to_destination=2)
    engines(turns, limits=limits)
    try:
        until(lambda: "other.1" in turns.carried)
    finally:
        free.set()
    until(lambda: not turns.waiting)


def test_tables_of_a_newer_version_are_refused(place: StorePlace) -> None:
    place.folder.mkdir(exist_ok=True)
    engine = Engine(Place(place.folder, place.url), Errands(), SEALED)
    engine.migrate()
    engine.migrate()
    url = sa.make_url(engine._place.url)
    schema = ""
    if place.url:
        url, schema = url.set(drivername="postgresql+psycopg"), "dbos."
    opened = sa.create_engine(url)
    with opened.begin() as connection:
        connection.execute(
            sa.text(f"update {schema}dbos_migrations set version = version + 1")  # noqa: S608
        )
    opened.dispose()

    with pytest.raises(SettingsError, match="newer fhir-bridge"):
        engine.migrate()


def test_several_workers_that_start_at_once_make_the_tables_once(place: StorePlace) -> None:
    place.folder.mkdir(exist_ok=True)
    engines = [Engine(Place(place.folder, place.url), Errands(), SEALED) for _ in range(3)]

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda engine: engine.migrate(), engines))

    assert engines[0]._versions()[0] == engines[0]._versions()[1]


def test_the_engines_file_is_its_owners_alone_and_has_a_write_ahead_log(tmp_path: Path) -> None:
    engine = Engine(Place(tmp_path), Errands(), SEALED)
    engine.migrate()

    file = tmp_path / "engine.db"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes()[18:20] == b"\x02\x02"  # SQLite's file format: 2 is WAL


def test_an_environment_that_leads_to_a_service_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBOS__CLOUD", "true")
    engine = Engine(Place(tmp_path), Errands(), SEALED)
    engine.migrate()

    with pytest.raises(SettingsError, match="DBOS__CLOUD"):
        engine.start()


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /srv/share\\040one rw - nfs4 server:/x rw
31 22 0:31 / /srv/disk rw - xfs /dev/sdb rw
"""


def test_a_disk_of_another_machine_is_known_by_its_file_system(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)

    assert file_system(Path("/srv/share one/store"), mounts) == "nfs4"
    assert file_system(Path("/srv/disk/store"), mounts) == "xfs"
    assert file_system(Path("/home/x"), mounts) == "ext4"
    assert file_system(tmp_path, tmp_path / "absent") == ""
    assert file_system(tmp_path)


def test_a_store_on_a_network_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_bridge.engine.places.file_system", lambda _: "nfs4")

    with pytest.raises(SettingsError, match="nfs4"):
        Place(tmp_path).prepare()


def test_a_second_machine_on_one_sqlite_store_is_refused_until_the_first_is_gone(
    tmp_path: Path,
) -> None:
    ticking = Ticking()
    clock = ticking.clock()
    with OneMachine(tmp_path, clock, machine="first"):
        with OneMachine(tmp_path, clock, machine="first"):
            pass
        with (
            pytest.raises(SettingsError, match="workers on first use this store"),
            OneMachine(tmp_path, clock, machine="second"),
        ):
            pass
    gone = timedelta(seconds=MACHINE_SECONDS_MAX + 1)
    later = Clock(now=lambda: clock.now() + gone)
    with OneMachine(tmp_path, later, machine="second"):
        pass
    assert OneMachine(tmp_path, clock)._machine == socket.gethostname()


def test_a_file_that_says_nothing_of_a_machine_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "machine").write_text("{")
    with OneMachine(tmp_path, Clock(), machine="first"):
        assert b"first" in (tmp_path / "machine").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["machine"]
