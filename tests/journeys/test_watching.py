"""New requests at a watched server: each becomes one transfer, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.bridge import Bridge, Looked
from fhir_bridge.bridge.watching import caller_of
from fhir_bridge.doors.working import rounds_of
from fhir_bridge.errors import BridgeError, Incomplete, RecipientUnknown, SettingsError
from fhir_bridge.sandbox import Profile, Status
from fhir_bridge.settings import Settings, WatchSettings
from fhir_bridge.store import Store
from fhir_bridge.transfer import State
from tests.journeys.world import FIRST, NOW, SECOND, World

WATCH = WatchSettings(source=FIRST, destination=SECOND, every_seconds=60)
SECOND_OPINION = {"system": "http://snomed.info/sct", "code": "77406008"}
TRIGGERS = "urn:oid:2.25.84313090840741123070861490212228975968"


class Watched(World):
    """Both providers, and a bridge that watches the first."""

    watches: tuple[WatchSettings, ...] = (WATCH,)

    several_custodians = False

    @property
    def settings(self) -> Settings:
        settings = replace(super().settings, watches=self.watches)
        if self.several_custodians:
            first = settings.servers[FIRST]
            both = (*first.organisations, replace(first.organisations[0], value="other"))
            servers = {**settings.servers, FIRST: replace(first, organisations=both)}
            settings = replace(settings, servers=servers)
        return settings

    def forget_when_it_was_looked(self) -> None:
        """Make each watch due again."""
        with self.store() as store:
            for watch in self.watches:
                place = store.watch_place(watch.name)
                if place is not None:
                    since = datetime.fromisoformat(place.since)
                    store.watch_moved(watch.name, since=since, looked=NOW - timedelta(hours=1))

    def ask(self, id_: str = "wish", **changes: Any) -> None:
        """Have the first provider write a request for a second opinion."""
        content = {
            "resourceType": "ServiceRequest",
            "id": id_,
            "status": "active",
            "intent": "order",
            "code": {"coding": [SECOND_OPINION]},
            "subject": {"reference": self.story.patient},
            **changes,
        }
        self.first.load([{name: value for name, value in content.items() if value is not None}])

    def look(self) -> Looked:
        with self.bridge() as bridge:
            return bridge.watch()

    @contextmanager
    def store(self) -> Iterator[Store]:
        clock = self.time.clock()
        with Store.open(self.settings.store, clock=clock, log_origin="test.example") as store:
            yield store


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Watched]:
    with Watched(tmp_path, "amelia") as opened:
        yield opened


# What triggers


def test_a_new_request_becomes_a_transfer_that_workers_carry(world: Watched) -> None:
    world.ask(
        reasonCode=[{"coding": [{"system": TRIGGERS, "code": "cancer"}]}],
        note=[{"text": "Is surgery needed?"}],
    )
    with world.bridge() as bridge:
        assert bridge.watch() == Looked(found=1, asked=1)
        (row,) = world.rows()
        report = bridge.carry(row.id)

    assert row.tenant == world.story.custodian.identifier
    assert report.state in {State.CLOSED, State.INCOMPLETE}
    with world.bridge() as bridge:
        order = bridge._order(row.id)
    assert order.reasons == ("cancer",)
    assert order.question == "Is surgery needed?"
    assert order.patient == world.story.patient


def test_a_request_seen_twice_becomes_one_transfer(world: Watched) -> None:
    world.ask()
    with world.bridge() as bridge:
        bridge.watch()
    world.ask(note=[{"text": "written again, another version"}])
    with world.bridge() as bridge:
        world.forget_when_it_was_looked()
        assert bridge.watch() == Looked(found=1, passed=1)

    assert len(world.rows()) == 1


def test_the_workers_act_is_signed_in_the_name_of_the_watch(world: Watched) -> None:
    world.ask()
    world.look()

    (row,) = world.rows()
    assert row.actor == "svc:watch"


def test_two_workers_that_look_at_the_same_time_make_one_transfer(world: Watched) -> None:
    world.ask()
    gate = threading.Barrier(2)
    looked: list[Looked] = []

    def look(bridge: Bridge) -> None:
        gate.wait()
        looked.append(bridge.watch())

    with world.bridge() as one, world.bridge() as two:
        threads = [threading.Thread(target=look, args=(each,)) for each in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sum(one.asked for one in looked) == 1
    assert len(world.rows()) == 1


def test_each_of_several_requests_becomes_a_transfer_of_its_own(world: Watched) -> None:
    for number in range(3):
        world.ask(f"wish-{number}")

    assert world.look() == Looked(found=3, asked=3)
    assert len(world.rows()) == 3


# What does not


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "draft"},
        {"status": "completed"},
        {"intent": "plan"},
        {"intent": "directive"},
        {"code": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}},
        {"code": {"coding": [{"system": "http://other.example", "code": "77406008"}]}},
        {"code": {"text": "second opinion"}},
        {"doNotPerform": True},
        {"subject": {"reference": "Group/1"}},
        {"subject": {"reference": "https://other.example/fhir/Patient/1"}},
        {"subject": {"display": "somebody"}},
        {"subject": None},
        {"performer": [{"identifier": {"system": "urn:oid:9", "value": "another"}}]},
        {"performer": [{"type": "Organization", "reference": "Organization/nowhere"}]},
    ],
    ids=str,
)
def test_what_is_no_clear_order_for_us_triggers_nothing(
    changes: dict[str, Any], world: Watched
) -> None:
    world.first.load([{"resourceType": "Group", "id": "1", "type": "person", "actual": True}])
    world.ask(**changes)

    assert world.look().asked == 0
    assert world.rows() == []


def test_a_request_that_names_the_recipient_triggers(world: Watched) -> None:
    party = world.story.recipient
    organisation = {
        "resourceType": "Organization",
        "id": "second-opinion-centre-here",
        "identifier": [{"system": party.system, "value": party.value}],
    }
    world.first.load([organisation])
    world.ask("one", performer=[{"reference": "Organization/second-opinion-centre-here"}])
    identifier = {"system": party.system, "value": party.value}
    world.ask("two", performer=[{"type": "Organization", "identifier": identifier}])
    world.ask("three", performer=[{"reference": "Practitioner/somebody"}])

    assert world.look() == Looked(found=3, asked=3)


def test_what_the_bridge_wrote_itself_never_triggers(world: Watched) -> None:
    """The second provider is watched too, and gets our request and our copies."""
    world.watches = (replace(WATCH, source=SECOND, destination=FIRST),)
    world.transfer()
    authored = [
        one
        for one in world.second.resources.values()
        if one["resourceType"] == "ServiceRequest" and one["status"] == "active"
    ]

    assert len(authored) == 1
    assert world.look() == Looked(found=1, passed=1)
    assert len(world.rows()) == 1


def test_a_copy_of_a_request_for_a_second_opinion_never_triggers(world: Watched) -> None:
    """Another bridge's copies are known by their own names too."""
    from fhir_bridge.records import RecordRef
    from fhir_bridge.references import copy_id

    unknown = "https://third.example/fhir"
    world.ask(
        copy_id(unknown, RecordRef("ServiceRequest/7")),
        identifier=[{"system": f"{unknown}/ServiceRequest", "value": "7"}],
    )
    world.ask("theirs", identifier=[{"system": f"{unknown}/ServiceRequest", "value": "8"}])
    world.ask("authored", identifier=[{"system": f"{unknown}/second-opinion", "value": "9"}])

    assert world.look() == Looked(found=3, asked=1, passed=2)


# When


def test_a_server_is_looked_at_no_more_often_than_said(world: Watched) -> None:
    world.look()
    world.ask()
    asked = len(world.first.requests)

    assert world.look() == Looked()
    assert len(world.first.requests) == asked


def test_a_watch_that_is_new_looks_back_five_minutes(world: Watched) -> None:
    world.look()

    (search,) = [one for one in world.first.requests if "ServiceRequest" in one.path]
    assert search.method == "GET"
    since = (NOW - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S")
    assert f"_lastUpdated=ge{since}" in search.query


def test_a_source_whose_clock_is_behind_is_looked_at_by_its_own_clock(tmp_path: Path) -> None:
    """Also when what it said of itself is known already, and only its search tells its time."""
    with Watched(tmp_path, "amelia", first=Profile(clock_skew_seconds=-600)) as world:
        with world.bridge() as bridge:
            bridge.check(FIRST)
        world.look()
        (search,) = [one for one in world.first.requests if "ServiceRequest" in one.path]

    since = (NOW - timedelta(minutes=15)).strftime("%Y-%m-%dT%H:%M:%S")
    assert f"_lastUpdated=ge{since}" in search.query


# When something is wrong


def test_a_request_whose_transfer_cannot_be_written_holds_up_no_other_and_is_tried_again(
    world: Watched,
) -> None:
    world.watches = (replace(WATCH, recipient="urn:oid:9|nobody"),)
    world.ask("one")
    world.ask("two")
    with pytest.raises(RecipientUnknown):
        world.look()
    assert world.rows() == []

    world.watches = (WATCH,)
    world.forget_when_it_was_looked()

    assert world.look() == Looked(found=2, asked=2)


def test_a_server_that_is_away_loses_no_request_and_holds_up_no_other_watch(
    world: Watched,
) -> None:
    away = replace(WATCH, source=SECOND, destination=FIRST)
    world.watches = (away, WATCH)
    world.ask()
    world.faults.at(lambda call: call.server == SECOND, Status(503), times=None)

    with pytest.raises(BridgeError):
        world.look()

    assert len(world.rows()) == 1


def test_a_server_that_does_not_filter_by_time_is_named(tmp_path: Path) -> None:
    profile = Profile(ignored_parameters=frozenset({"_lastUpdated"}))
    with Watched(tmp_path, "amelia", first=profile) as world:
        world.ask()
        with pytest.raises(Incomplete, match="must search by _lastUpdated"):
            world.look()


def test_a_request_that_a_dead_worker_had_in_hand_is_looked_at_again(world: Watched) -> None:
    world.ask()
    caller = caller_of(*(world.settings.server(name).identity for name in (FIRST, SECOND)))
    with world.store() as store:
        claim = store.claim_trigger(caller, "ServiceRequest/wish", b"")
    assert world.look() == Looked(found=1, passed=1)
    with world.store() as store:
        place = store.watch_place(WATCH.name)
        store.release_trigger(claim.transfer)
    assert place is not None
    assert datetime.fromisoformat(place.since) == NOW - timedelta(minutes=5)
    world.forget_when_it_was_looked()

    assert world.look() == Looked(found=1, asked=1)


def test_several_custodians_must_be_told_apart(world: Watched) -> None:
    world.ask()
    world.several_custodians = True

    with pytest.raises(SettingsError, match="set custodian in its watch"):
        world.look()


def test_a_worker_looks_at_what_is_watched_and_sends_what_is_due(world: Watched) -> None:
    with world.bridge() as bridge:
        rounds = {one.name: one for one in rounds_of(bridge)}
        assert set(rounds) == {"heartbeat", "watch"}
        world.ask()
        assert rounds["watch"].act() == Looked(found=1, asked=1)
