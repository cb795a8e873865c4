"""Appends that share a commit: each gets its own, all keep their order, nobody waits in vain."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Self
from uuid import UUID, uuid5

import pytest

from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.ledger import Checkpoint, Event, NewEntry
from fhir_bridge.store import Appended, Store, appending
from fhir_bridge.store.appending import Request
from tests.simulators.stores import Place
from tests.simulators.ticking import Ticking

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
INTENT = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=TRANSFER)
RESULT = NewEntry(type=Event.DISCLOSURE_RESULT, actor="cli:ada", transfer=TRANSFER)


def number(at: int) -> str:
    return str(uuid5(UUID(TRANSFER), str(at)))


@pytest.fixture
def ticking() -> Ticking:
    return Ticking()


@pytest.fixture
def store(place: Place, ticking: Ticking) -> Iterator[Store]:
    with place.open(ticking) as store:
        yield store


class Held:
    """Holds the sequencer while others come, so that what they ask for goes into one commit."""

    def __init__(self, store: Store, threads: ThreadPoolExecutor) -> None:
        self._store = store
        self._threads = threads
        self._asked: list[Future[Appended]] = []

    def __enter__(self) -> Self:
        self._store._database._writer.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._store._database._writer.release()

    def ask(self, *entries: NewEntry, event_id: str) -> Future[Appended]:
        """Ask, and return when the request waits."""
        asked = self._threads.submit(self._store.append, *entries, event_id=event_id)
        self._asked.append(asked)
        while len(self._store._sequencer._waiting) < len(self._asked):
            time.sleep(0.001)  # noqa: TID251 - until the thread has come so far
        return asked


@pytest.fixture
def held(store: Store) -> Iterator[Held]:
    with ThreadPoolExecutor(32) as threads:
        yield Held(store, threads)


def test_what_comes_during_a_commit_shares_the_next_and_keeps_its_order(
    store: Store, held: Held
) -> None:
    with held:
        asked = [held.ask(INTENT, RESULT, event_id=number(at)) for at in range(20)]
    appended = [one.result(10) for one in asked]

    assert [one.first for one in appended] == list(range(1, 41, 2))
    assert [entry.seq for entry in store.entries(TRANSFER)] == list(range(40))
    assert len({one.note for one in appended}) == 1
    assert appended[0].checkpoint == Checkpoint.parse(store.verifier.open(appended[0].note))
    assert appended[0].checkpoint.size == 41
    assert store.verify().checkpoints == 2


def test_an_entry_that_cannot_be_written_fails_alone(store: Store, held: Held) -> None:
    bad = NewEntry(type=Event.DISCLOSURE_INTENT, actor="nobody in particular")
    too_long = NewEntry(type=Event.RECORD_RELEASED, actor="cli:ada", checkpoint="x" * 8193)
    with held:
        good = held.ask(INTENT, event_id=number(1))
        for new in (bad, too_long):
            with pytest.raises(SettingsError, match="cannot take this entry"):
                store.append(new, event_id=number(2))
        other = held.ask(RESULT, event_id=number(3))

    assert (good.result(10).first, other.result(10).first) == (1, 2)
    assert store.verify().entries == 3


def test_an_event_that_is_filed_as_another_act_fails_alone(store: Store, held: Held) -> None:
    store.append(INTENT, event_id=number(1))
    with held:
        first = held.ask(RESULT, event_id=number(2))
        wrong = held.ask(RESULT, event_id=number(1))
        again = held.ask(INTENT, event_id=number(1))
        last = held.ask(RESULT, event_id=number(3))

    assert (first.result(10).first, last.result(10).first) == (2, 3)
    assert again.result(10).first == 1
    with pytest.raises(AlteredLog, match="filed as another act"):
        wrong.result(10)


def test_the_same_event_at_once_is_written_once(store: Store, held: Held) -> None:
    with held:
        asked = [held.ask(INTENT, event_id=number(1)) for _ in range(5)]
        wrong = held.ask(RESULT, event_id=number(1))
    appended = [one.result(10) for one in asked]

    assert appended == appended[:1] * 5
    with pytest.raises(AlteredLog, match="filed as another"):
        wrong.result(10)
    assert store.verify().entries == 2


def test_a_disk_that_fails_releases_all_that_wait(
    held: Held, place: Place, ticking: Ticking
) -> None:
    with held:
        asked = [held.ask(INTENT, event_id=number(at)) for at in range(20)]
        place.alter("alter table audit_checkpoint rename to away")
    for one in asked:
        with pytest.raises(StoreUnavailable, match="nothing was sent"):
            one.result(10)
    errors = {id(one.exception()) for one in asked}
    place.alter("alter table away rename to audit_checkpoint")

    assert len(errors) == 20, "each waiter has an error of his own"
    with place.open(ticking) as second:
        assert second.append(INTENT, event_id=number(1)).first == 1
        assert second.verify().entries == 2


def test_a_log_that_was_altered_is_told_to_all_that_wait(
    store: Store, held: Held, place: Place
) -> None:
    store.append(INTENT, event_id=number(0))
    with held:
        asked = [held.ask(INTENT, event_id=number(at)) for at in range(1, 9)]
        place.alter("update audit_head set size = 1, frontier = zeros(32)")
    for one in asked:
        with pytest.raises(AlteredLog):
            one.result(10)


def test_who_is_interrupted_while_writing_leaves_nobody_waiting(store: Store, held: Held) -> None:
    real = store._sequencer._commit

    def interrupt(_: object) -> None:
        store._sequencer._commit = real
        with store._database._writer:
            raise KeyboardInterrupt

    store._sequencer._commit = interrupt
    with held:
        asked = [held.ask(INTENT, event_id=number(at)) for at in range(8)]
    with pytest.raises(KeyboardInterrupt):
        asked[0].result(10)
    for one in asked[1:]:
        with pytest.raises(StoreUnavailable, match="interrupted"):
            one.result(10)

    assert store.append(INTENT, event_id=number(1)).first == 1


def test_many_threads_and_openings_make_one_log_without_a_hole(
    store: Store, place: Place, ticking: Ticking
) -> None:
    answers: dict[str, Appended] = {}

    def work(opening: Store, start: int) -> None:
        new = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=number(start))
        for at in range(start, start + 10):
            answers[number(at)] = opening.append(new, event_id=number(at))

    with place.open(ticking) as second:
        threads = [
            threading.Thread(target=work, args=(opening, 1000 * at + 100 * who))
            for at, opening in enumerate((store, second))
            for who in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    written = list(store.entries())
    assert len(answers) == 160
    assert all(written[one.first] == one.entries[0] for one in answers.values())
    verified = store.verify()
    assert verified.entries == 161 + sum(one.type is Event.INTEGRITY_ALARM for one in written)
    assert verified.checkpoints <= verified.entries


def test_a_closed_transfer_says_how_many_entries_it_has(store: Store, held: Held) -> None:
    closed = NewEntry(type=Event.TRANSFER_CLOSED, actor="cli:ada", transfer=TRANSFER)
    store.append(INTENT, event_id=number(1))
    with held:
        held.ask(RESULT, event_id=number(2))
        first = held.ask(closed, event_id=number(3))
        held.ask(INTENT, RESULT, event_id=number(4))
    second = store.append(closed, event_id=number(5))

    assert first.result(10).entries[0].entries == 3
    assert second.entries[0].entries == 6
    assert len(list(store.entries(TRANSFER))) == 6
    store.verify()


def test_a_log_that_is_silent_for_a_minute_says_that_it_lives(
    store: Store, ticking: Ticking, place: Place
) -> None:
    assert not store.heartbeat()
    ticking.moment += timedelta(seconds=60)
    with place.open(ticking) as second:
        found = [store.heartbeat(), second.heartbeat(), store.heartbeat()]

    assert found == [True, False, False]
    assert [entry.type for entry in store.entries()] == [Event.LOG_OPENED, Event.LOG_HEARTBEAT]
    assert store.verify().checkpoints == 2


def test_two_that_find_the_same_silence_break_it_once(
    store: Store, ticking: Ticking, held: Held
) -> None:
    ticking.moment += timedelta(hours=1)
    with held:
        for at in range(2):
            held._threads.submit(store.heartbeat)
            while len(store._sequencer._waiting) <= at:
                time.sleep(0.001)  # noqa: TID251 - until the thread has come so far
    held._threads.shutdown()

    assert store.verify().entries == 2


def test_coroutines_share_commits_with_each_other_and_with_threads(
    store: Store, held: Held
) -> None:
    async def ask() -> list[Appended]:
        asked = [store.append_soon(INTENT, event_id=number(at)) for at in range(50)]
        return await asyncio.gather(*asked)

    with held:
        thread = held.ask(RESULT, event_id=number(100))
        coroutines = held._threads.submit(asyncio.run, ask())
        while len(store._sequencer._waiting) < 51:
            time.sleep(0.001)  # noqa: TID251 - until all have come so far
    appended = coroutines.result(10)

    assert thread.result(10).first == 1
    assert [one.first for one in appended] == list(range(2, 52))
    assert store.verify().checkpoints == 2


def test_coroutines_alone_are_written_for(store: Store) -> None:
    async def ask() -> list[int]:
        firsts = []
        for at in range(5):
            asked = [store.append_soon(INTENT, event_id=number(10 * at + one)) for one in range(4)]
            firsts += [one.first for one in await asyncio.gather(*asked)]
        return firsts

    assert asyncio.run(ask()) == list(range(1, 21))
    assert store.append(RESULT, event_id=number(100)).first == 21
    assert store.verify().checkpoints < 22


def test_each_coroutine_gets_its_own_error(store: Store, place: Place) -> None:
    async def ask() -> list[Appended | BaseException]:
        asked = [
            store.append_soon(INTENT, event_id=number(1)),
            store.append_soon(RESULT, event_id=number(1)),
            store.append_soon(RESULT, event_id=number(2)),
        ]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, wrong, last = asyncio.run(ask())
    assert isinstance(first, Appended)
    assert isinstance(wrong, AlteredLog)
    assert isinstance(last, Appended)
    place.alter("alter table audit_checkpoint rename to away")

    assert [type(one) for one in asyncio.run(ask())] == [StoreUnavailable] * 3


def test_a_coroutine_that_was_cancelled_hinders_nobody(store: Store, held: Held) -> None:
    async def ask() -> Appended:
        first = asyncio.create_task(store.append_soon(INTENT, event_id=number(1)))
        second = asyncio.create_task(store.append_soon(RESULT, event_id=number(2)))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    with held:
        asked = held._threads.submit(asyncio.run, ask())
        while len(store._sequencer._waiting) < 2:
            time.sleep(0.001)  # noqa: TID251 - until both have come so far

    assert asked.result(10).first == 2
    assert store.append(INTENT, event_id=number(1)).first == 1


def test_who_is_interrupted_while_waiting_hinders_nobody(
    store: Store, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the turn to write for the others comes to him just then."""
    real = Request.wait

    def interrupted(request: Request) -> None:
        real(request)
        raise KeyboardInterrupt

    with held:
        leader = held.ask(INTENT, event_id=number(1))
        monkeypatch.setattr(Request, "wait", interrupted)
        monkeypatch.setattr(appending, "_ENTRIES_MAX", 1)
        heir = held.ask(INTENT, event_id=number(2))
        monkeypatch.setattr(Request, "wait", real)
        last = held.ask(RESULT, event_id=number(3))

    assert leader.result(10).first == 1
    with pytest.raises(KeyboardInterrupt):
        heir.result(10)
    assert last.result(10).first == 2
    assert store.append(INTENT, event_id=number(2)).first == 3
