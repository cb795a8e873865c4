"""What workers and persons ask of a transfer, over both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store, TransferRow
from fhir_bridge.transfer import ENDED, State
from tests.simulators.stores import Place
from tests.simulators.ticking import Ticking

KEY = "ab" * 32
ID = "0b1c9f3e-0f6d-4d6b-9d3e-3d1c6a1f0a11"


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open(Ticking()) as store:
        yield store


def asked(store: Store, transfer: str | None = None, request: bytes = b"asked") -> TransferRow:
    return store.request_transfer(
        state=State.REQUESTED,
        source="first",
        destination="second",
        request=request,
        tenant="urn:x|1",
        transfer=transfer,
        actor="key:abc",
        trace=None,
    )


def cancelled(store: Store, row: TransferRow) -> None:
    entry = NewEntry(type=Event.TRANSFER_CANCELLED, actor="cli:ada", transfer=row.id)
    store.cancel_transfer(row.id, entry, event_id=row.id)


def told(store: Store, transfer: str) -> list[tuple[str, int]]:
    return [(one.state, one.attempt) for one in store.events(0, transfer=transfer)]


def test_a_request_asked_twice_under_one_id_is_one(store: Store) -> None:
    first = asked(store, ID)
    second = asked(store, ID, request=b"asked again")

    assert first == second
    assert store.request(ID) == b"asked"
    assert [turn.transfer for turn in store.turns()] == [ID]
    assert not first.settled


def test_a_request_whose_key_is_new_gets_it(store: Store) -> None:
    row = store.settle_transfer(asked(store).id, KEY)

    assert row.settled
    assert row.joined is None
    assert store.find_by_key(KEY) == row


def test_a_request_whose_key_another_has_becomes_that_transfer(store: Store) -> None:
    first = store.settle_transfer(asked(store).id, KEY)
    second = asked(store, request=b"asked later")
    carried = store.settle_transfer(second.id, KEY)
    store.set_state(first.id, State.ANNOUNCED)

    assert carried.id == first.id
    joined = store.read_transfer(second.id)
    assert (joined.joined, joined.state) == (first.id, State.ANNOUNCED)
    assert store.request(first.id) == b"asked later"
    assert told(store, second.id) == [(State.REQUESTED, 1), (State.ANNOUNCED, 1)]


def test_an_end_before_the_request_is_a_new_attempt_and_one_after_it_answers_it(
    store: Store,
) -> None:
    first = store.settle_transfer(asked(store).id, KEY)
    store.set_state(first.id, State.CLOSED)
    later = store.settle_transfer(asked(store).id, KEY)
    meanwhile = asked(store)
    store.set_state(first.id, State.CLOSED)
    last = store.settle_transfer(meanwhile.id, KEY)

    assert (later.id, later.state, later.attempt) == (first.id, State.REQUESTED, 2)
    assert (last.id, last.state, last.attempt) == (first.id, State.CLOSED, 2)
    assert store.read_transfer(meanwhile.id).attempt == 2


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_moves_only_with_a_new_attempt(store: Store, state: State) -> None:
    row = asked(store)
    store.set_state(row.id, state)
    store.set_state(row.id, State.DELIVERED)
    store.park(row.id, reason="fault", trouble="late")

    assert store.read_transfer(row.id).state == state
    assert store.turns() == []
    again = store.reopen_transfer(row.id, for_workers=True)
    assert (again.state, again.attempt, again.run) == (State.REQUESTED, 2, 2)
    assert [turn.run for turn in store.turns()] == [2]


def test_a_wait_is_told_and_gives_the_transfer_away_again_when_its_time_has_come(
    place: Place,
) -> None:
    ticking = Ticking()
    with place.open(ticking) as store:
        row = asked(store)
        store.wait(row, 60, reason="throttled", trouble="the second asks to wait")
        store.wait(row, 90, reason="late", trouble="of a turn that is over")
        waits = store.read_transfer(row.id)
        at_once = store.turns()
        ticking.moment += timedelta(seconds=61)
        later = store.turns()
        store.wait(waits, 60, reason="throttled", trouble="again")
        again = store.read_transfer(row.id)
        store.set_state(row.id, State.PERMITTED)
        goes_on = store.read_transfer(row.id)
        store.set_state(row.id, State.CLOSED)
        store.wait(goes_on, 60, reason="throttled", trouble="too late")
        ended = store.read_transfer(row.id)

    assert waits.wait_until is not None
    assert waits.wait_until > waits.updated
    assert (waits.wait_reason, waits.trouble) == ("throttled", "the second asks to wait")
    assert (at_once, [turn.run for turn in later]) == ([], [2])
    assert (waits.waits, again.waits, again.run) == (1, 2, 3)
    assert again.trouble_since == waits.trouble_since
    assert ended.wait_until is None
    assert (goes_on.wait_until, goes_on.wait_reason, goes_on.trouble) == (None, None, None)


def test_what_is_parked_waits_for_a_person_and_keeps_its_attempt(store: Store) -> None:
    row = asked(store)
    store.set_state(row.id, State.ANNOUNCED)
    store.park(row.id, reason="worker-died", trouble="three workers died")
    parked = store.read_transfer(row.id)
    turns = store.turns()
    again = store.reopen_transfer(row.id, for_workers=True)

    assert (parked.state, parked.wait_reason) == (State.PARKED, "worker-died")
    assert turns == []
    assert (again.state, again.attempt, again.run, again.trouble) == (State.REQUESTED, 1, 2, None)


def test_a_refusal_before_the_journey_is_signed_in_the_commit_that_makes_it_known(
    store: Store,
) -> None:
    row = asked(store)
    entry = NewEntry(type=Event.TRANSFER_CLOSED, actor="cli:ada", transfer=row.id)
    store.end_refused(row.id, entry, event_id=row.id, trouble="no such patient")
    store.end_refused(row.id, entry, event_id=row.id, trouble="again")
    found = store.read_transfer(row.id)

    assert (found.state, found.trouble) == (State.REFUSED, "no such patient")
    assert [entry.type for entry in store.entries(row.id)] == [Event.TRANSFER_CLOSED]


def test_a_cancel_is_signed_in_the_commit_that_makes_it_known(store: Store) -> None:
    row = asked(store)
    assert not store.is_cancelled(row.id)
    cancelled(store, row)
    cancelled(store, row)

    assert store.is_cancelled(row.id)
    assert [entry.type for entry in store.entries(row.id)] == [Event.TRANSFER_CANCELLED]
    found = store.read_transfer(row.id)
    assert (found.state, found.run) == (State.REQUESTED, 2)
    assert found.cancelled == next(iter(store.entries(row.id))).t


def test_what_has_ended_cannot_be_cancelled_and_a_new_attempt_is_not(store: Store) -> None:
    row = asked(store)
    cancelled(store, row)
    store.set_state(row.id, State.CANCELLED)
    again = store.reopen_transfer(row.id, for_workers=False)
    store.set_state(row.id, State.CLOSED)

    assert (again.cancelled, again.run) == (None, 2)
    with pytest.raises(SettingsError, match="has ended"):
        cancelled(store, row)


def test_every_change_of_state_is_told_once_and_in_order(store: Store) -> None:
    first, second = asked(store), asked(store)
    store.set_state(first.id, State.PERMITTED)
    store.set_state(second.id, State.REFUSED)
    store.set_state(first.id, State.PERMITTED)
    store.reopen_transfer(second.id, for_workers=True)

    events = store.events(0)
    assert [one.number for one in events] == list(range(1, len(events) + 1))
    assert told(store, first.id) == [(State.REQUESTED, 1), (State.PERMITTED, 1)]
    assert told(store, second.id) == [
        (State.REQUESTED, 1),
        (State.REFUSED, 1),
        (State.REQUESTED, 2),
    ]
    assert {one.tenant for one in events} == {"urn:x|1"}
    assert [one.number for one in store.events(3, limit=1)] == [4]


def test_the_oldest_request_comes_first_and_the_command_lines_own_not_at_all(store: Store) -> None:
    store.create_transfer(
        key=KEY, state=State.REQUESTED, source="first", destination="second", request=b"{}"
    )
    rows = [asked(store) for _ in range(3)]

    assert [turn.transfer for turn in store.turns()] == [row.id for row in rows]


def test_deaths_are_counted_for_who_was_carried_and_end_with_a_turn_that_ends(store: Store) -> None:
    row = asked(store)
    first = store.begin_turn(row)
    second = store.begin_turn(row)
    assert first is not None
    assert second is not None
    died = store.read_transfer(row.id).deaths
    store.end_turn(second)

    assert (first.deaths, second.deaths, died) == (0, 1, 2)
    assert store.read_transfer(row.id).deaths == 0
    given_away = store.reopen_transfer(row.id, for_workers=True)
    assert store.begin_turn(row) is None
    store.begin_turn(given_away)
    store.end_turn(row)
    assert store.read_transfer(row.id).deaths == 1
    store.set_state(row.id, State.CLOSED)
    assert store.begin_turn(given_away) is None
