"""An audit repository gets each AuditEvent once, the same bytes, whatever happens to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_bridge import lossless
from fhir_bridge.audit import Said
from fhir_bridge.doors.cli import main
from fhir_bridge.errors import ConsentRefused, SettingsError, StoreUnavailable
from fhir_bridge.repository import QUIET
from fhir_bridge.sandbox import DropAfter, Sandbox, Status
from fhir_bridge.transfer import State
from tests.journeys.test_consent_at_every_send import CONSENT
from tests.journeys.world import Mishap, When, World

BOOKS = "books"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, "amelia") as world:
        yield world


@pytest.fixture
def books(world: World) -> Iterator[Sandbox]:
    with Sandbox(name=BOOKS, faults=world.faults, clock=world.time.clock()) as books:
        world.written["audit"] = f'repository = "{BOOKS}"'
        world.written[f"servers.{BOOKS}"] = f'base = "{books.base}"\n'
        yield books


def down(world: World) -> None:
    world.faults.at(lambda call: call.server == BOOKS, Status(503), times=None)


def send(world: World) -> tuple[int, int, bool]:
    with world.bridge() as bridge:
        sent = bridge.repository.send()
    return sent.taken, sent.refused, sent.away


def later(world: World) -> None:
    world.time.later += QUIET


def alarms(world: World) -> list[str]:
    return [str(one.step) for one in world.entries() if one.type == "integrity.alarm"]


def kept(world: World, books: Sandbox) -> None:
    """Everything that the log commits to is there, once and unchanged."""
    bodies = [body for _, body in world.bodies()]
    assert sorted(books.resources) == sorted(
        f"AuditEvent/{json.loads(body)['id']}" for body in bodies
    )
    for body in bodies:
        content = lossless.decode(body)
        there = dict(books.resources[f"AuditEvent/{content['id']}"])
        assert books.versions(f"AuditEvent/{content['id']}") == 1
        meta = {
            name: value
            for name, value in there.pop("meta", {}).items()
            if name not in {"versionId", "lastUpdated"}
        }
        assert {**there, **({"meta": meta} if meta else {})} == content


def test_each_event_is_there_once_and_unchanged(world: World, books: Sandbox) -> None:
    world.transfer()

    assert send(world) == (9, 0, False)
    assert send(world) == (0, 0, False)
    kept(world, books)
    world.verify()


def test_a_worker_sends_when_it_has_carried(world: World, books: Sandbox) -> None:
    with world.bridge() as bridge:
        row = bridge.request(world.order())
        bridge.carry(row.id)

    kept(world, books)


def test_a_refused_transfer_is_told_too(world: World, books: Sandbox) -> None:
    world.first.remove(CONSENT)
    with world.bridge() as bridge:
        row = bridge.request(world.order())
        with pytest.raises(ConsentRefused):
            bridge.carry(row.id)

    codes = {one["type"]["code"] for one in books.resources.values()}
    assert codes == {"110109", "110113"}
    kept(world, books)


def test_a_repository_that_is_away_stops_nothing_and_gets_all_of_it_later(
    world: World, books: Sandbox
) -> None:
    down(world)
    with world.bridge() as bridge:
        row = bridge.request(world.order())
        report = bridge.carry(row.id)
    assert report.state is State.CLOSED
    assert books.resources == {}
    assert alarms(world) == ["repository-away"]

    world.faults.clear()
    later(world)
    assert send(world) == (9, 0, False)
    kept(world, books)


def test_a_worker_that_lives_long_has_patience_with_the_repository_each_time(
    world: World, books: Sandbox
) -> None:
    with world.bridge() as bridge:
        for _ in range(6):
            once = Status(503, retry_after="2")
            world.faults.at(lambda call: call.server == BOOKS, once, times=1)
            row = bridge.request(world.order(), new=True)
            bridge.carry(row.id)

    assert alarms(world) == []
    kept(world, books)


def test_what_the_former_years_log_holds_is_sent_after_new_year(
    world: World, books: Sandbox
) -> None:
    down(world)
    world.transfer()
    assert send(world) == (0, 0, True)
    world.time.later += timedelta(days=366)
    with world.bridge() as bridge:
        bridge.office.viewed([], command="audit disclosures")
        assert len(bridge.store.logs()) == 2
    world.faults.clear()

    assert send(world) == (10, 0, False)
    assert send(world) == (0, 0, False)
    assert len(books.resources) == 10
    world.verify()


def test_an_outage_is_told_once_and_the_repository_left_alone_for_a_minute(
    world: World, books: Sandbox
) -> None:
    world.transfer()
    down(world)
    for _ in range(3):
        send(world)
    asked = len(books.requests)
    later(world)
    send(world)

    assert alarms(world) == ["repository-away"]
    assert len(books.requests) > asked
    before = len(books.requests)
    send(world)
    assert len(books.requests) == before


def test_another_outage_is_told_again(world: World, books: Sandbox) -> None:
    world.transfer()
    send(world)
    for _ in range(2):
        down(world)
        with world.bridge() as bridge:
            bridge.office.viewed([world.transfers()[0]], command="show")
        send(world)
        world.faults.clear()
        later(world)
        send(world)

    assert alarms(world) == ["repository-away"] * 2
    kept(world, books)


@pytest.mark.parametrize("call", [1, 2])
def test_what_was_stored_and_not_acknowledged_is_not_stored_twice(
    world: World, books: Sandbox, call: int
) -> None:
    world.transfer()
    seen = [0]

    def lost(one: object) -> bool:
        mine = getattr(one, "server", "") == BOOKS and getattr(one, "method", "") != "GET"
        seen[0] += mine
        return mine and seen[0] >= call

    world.faults.at(lost, DropAfter(), times=None)
    send(world)
    world.faults.clear()
    later(world)
    send(world)

    kept(world, books)


def test_what_could_not_be_remembered_is_offered_again_under_its_id(
    world: World, books: Sandbox
) -> None:
    world.transfer()
    dead = Mishap("store", 1, When.BEFORE)
    with world.bridge(dead) as bridge, pytest.raises(StoreUnavailable):
        bridge.repository.send()

    assert send(world)[0] == 9
    kept(world, books)


def test_an_event_that_is_refused_is_told_and_offered_again(world: World, books: Sandbox) -> None:
    world.transfer()
    world.faults.at(
        lambda call: call.server == BOOKS and b"AuthZconsent" in call.body,
        Status(422),
        times=None,
    )
    assert send(world) == (8, 1, False)
    assert alarms(world) == ["repository-refused"]
    assert send(world) == (0, 1, False)
    assert alarms(world) == ["repository-refused"]

    world.faults.clear()
    assert send(world) == (1, 0, False)
    kept(world, books)


@pytest.mark.usefixtures("books")
def test_what_was_erased_before_it_could_be_sent_is_not_sent(world: World) -> None:
    report = world.transfer()
    world.faults.at(
        lambda call: call.server == BOOKS and b"AuthZconsent" in call.body,
        Status(422),
        times=None,
    )
    send(world)
    world.faults.clear()
    with world.bridge() as bridge:
        bridge.office.erase(report.transfer, Said(by="Ada", reason="asked"))

    assert send(world) == (1, 0, False)
    assert send(world) == (0, 0, False)


@pytest.mark.usefixtures("books")
def test_a_repository_that_the_settings_do_not_know_is_named(world: World) -> None:
    world.written["audit"] = 'repository = "nowhere"'
    with pytest.raises(SettingsError, match="nowhere"):
        world.bridge()
    world.written["audit"] = 'elsewhere = "books"'
    with pytest.raises(SettingsError, match=r"unknown setting audit\.elsewhere"):
        world.bridge()


@pytest.mark.usefixtures("books")
def test_a_secret_that_is_missing_is_an_outage_and_no_failure(world: World) -> None:
    world.written[f"servers.{BOOKS}"] += (
        'credential = { kind = "bearer", secret_env = "FHIR_BRIDGE_NOT_SET" }\n'
    )
    world.transfer()

    assert send(world) == (0, 0, True)
    assert alarms(world) == ["repository-away"]


def test_the_command_line_sends_at_the_end_of_a_command(
    world: World, books: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    report = world.transfer()
    settings, store = world.folder / "fhir-bridge.toml", world.folder / "store"
    words = ["--settings", str(settings), "--store", str(store)]
    assert main(["show", report.transfer, *words]) == 0
    capsys.readouterr()

    kept(world, books)
    assert len(books.resources) == 10
