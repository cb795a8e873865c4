"""
Without its log the bridge sends nothing; with it again, it goes on by itself.

Method: the disk fills up (the kernel refuses every write), the database server
dies, or a key is gone, before each entry in turn. What the second provider saw
by then is compared with what the log had said before.
"""

from __future__ import annotations

import resource
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.sandbox import Profile, Status
from fhir_bridge.transfer import State
from tests.journeys.world import World
from tests.simulators.postgresql import PostgresqlServer, postgresql_server

ENTRIES = (
    "transfer.requested",
    "consent.verified",
    "records.fetched",
    "patient.asked",
    "patient.matched",
    "disclosure.intent",
    "disclosure.result",
    "delivery.confirmed",
    "transfer.closed",
)


class Trouble:
    """Begins before the n-th entry of a transfer, and lasts."""

    def __init__(self, number: int, begin: Callable[[], None]) -> None:
        self._left = number
        self._begin = begin

    def __call__(self, write: str) -> None:
        self._left -= write == "append"
        if self._left == 0 and write == "append":
            self._begin()


@contextmanager
def a_disk_that_fills_up() -> Iterator[Callable[[], None]]:
    """The kernel takes no byte for any file of this process any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def saw_only_what_the_log_had_said(world: World, before: set[str]) -> None:
    """The second provider was asked for the patient, and sent records, only after an entry."""
    log = world.log()
    told = [one for one in world.second.requests if one.path or one.method != "GET"]
    if "patient.asked" not in log:
        assert [one.path for one in told if one.path != "metadata"] == []
    if "disclosure.intent" not in log:
        assert set(world.second.resources) == before


def goes_on_by_itself(world: World) -> None:
    """No one says what to do: the same command again, and all is there and proven."""
    report = world.transfer()
    assert report.state is State.CLOSED
    assert len(world.transfers()) == 1
    signed = [entry for entry in world.entries() if entry.transfer is not None]
    assert [entry.seq for entry in signed] == list(range(len(signed)))
    assert sorted({str(entry.type) for entry in signed}) == sorted(ENTRIES)
    world.verify()


@pytest.mark.parametrize("number", range(1, len(ENTRIES) + 1), ids=ENTRIES)
def test_when_the_disk_is_full_nothing_leaves_that_is_not_in_the_log(
    tmp_path: Path, number: int
) -> None:
    with World(tmp_path, "amelia", second=Profile(entry_limit=25)) as world:
        world.verify()
        before = set(world.second.resources)
        with a_disk_that_fills_up() as fill_up:
            world.before_write = Trouble(number, fill_up)
            with pytest.raises(StoreUnavailable, match="disk"):
                world.transfer()
        world.before_write = lambda _: None

        assert world.log()[-1] == ["log.opened", *ENTRIES][number - 1]
        saw_only_what_the_log_had_said(world, before)
        goes_on_by_itself(world)


def test_a_disk_that_is_full_from_the_beginning_lets_nothing_be_asked(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.verify()
        with a_disk_that_fills_up() as fill_up:
            fill_up()
            with pytest.raises(StoreUnavailable):
                world.transfer()
        assert [one.path for one in world.second.requests] == []
        goes_on_by_itself(world)


@pytest.mark.parametrize("name", ["log.key", "seal.key"])
def test_without_its_keys_nothing_is_asked_and_nothing_leaves(tmp_path: Path, name: str) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(lambda call: call.server == "second" and call.brings_records, Status(503))
        world.before_write = Trouble(7, _fail)
        with pytest.raises(StoreUnavailable):
            world.transfer()
        world.before_write = lambda _: None
        world.faults.clear()
        key, away = world.settings.store / name, tmp_path / "away"
        key.rename(away)
        seen = len(world.first.requests), len(world.second.requests)

        with pytest.raises(SettingsError, match=name):
            world.transfer()
        with pytest.raises(SettingsError, match=name):
            world.resume("whatever")
        assert (len(world.first.requests), len(world.second.requests)) == seen

        away.rename(key)
        goes_on_by_itself(world)


def _fail() -> None:
    raise StoreUnavailable("the store is away for this test")


def test_another_key_in_its_place_signs_nothing(tmp_path: Path) -> None:
    with World(tmp_path / "one", "amelia") as world, World(tmp_path / "two", "amelia") as other:
        world.verify()
        other.verify()
        key = world.settings.store / "log.key"
        own = key.read_bytes()
        key.write_bytes((other.settings.store / "log.key").read_bytes())

        with pytest.raises(AlteredLog):
            world.transfer()
        assert world.first.requests == []
        assert world.second.requests == []

        key.write_bytes(own)
        goes_on_by_itself(world)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        server.start()
        yield server


def an_empty_database(server: PostgresqlServer) -> str:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    return f"{server.url.rpartition('/')[0]}/{name}"


@pytest.mark.real
@pytest.mark.parametrize("number", [1, 4, 6, 7], ids=lambda number: ENTRIES[number - 1])
def test_when_the_database_server_dies_nothing_leaves_that_is_not_in_the_log(
    tmp_path: Path, postgresql: PostgresqlServer, number: int
) -> None:
    with World(tmp_path, "amelia") as world:
        world.database = an_empty_database(postgresql)
        world.verify()
        before = set(world.second.resources)
        world.before_write = Trouble(number, postgresql.stop)
        with pytest.raises(StoreUnavailable):
            world.transfer()
        world.before_write = lambda _: None
        with pytest.raises(StoreUnavailable):
            world.transfer()
        postgresql.start()

        assert world.log()[-1] == ["log.opened", *ENTRIES][number - 1]
        saw_only_what_the_log_had_said(world, before)
        goes_on_by_itself(world)
