"""The signed log: what an append promises."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID, uuid5

import pytest
from sqlalchemy import Connection, event

from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.ledger import Checkpoint, Event, NewEntry, VerifierKey, event_id
from fhir_bridge.store import Store
from tests.simulators.stores import Place
from tests.simulators.ticking import Ticking

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
OTHER = "6f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
REQUESTED = NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada", transfer=TRANSFER)
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


def test_a_log_begins_with_the_entry_that_opens_it(store: Store) -> None:
    (first,) = store.entries()

    assert first.type is Event.LOG_OPENED
    assert first.log == store.log == "bridge.example/audit/2026"
    assert first.idx == 0
    assert store.checkpoint().size == 1


def test_an_append_returns_its_entries_and_a_signed_checkpoint_over_them(store: Store) -> None:
    appended = store.append(REQUESTED, INTENT, event_id=number(1))

    assert appended.first == 1
    assert [entry.type for entry in appended.entries] == [REQUESTED.type, INTENT.type]
    assert [entry.idx for entry in appended.entries] == [1, 2]
    assert appended.checkpoint.size == 3
    key = VerifierKey.parse(str(store.verifier))
    assert Checkpoint.parse(key.open(appended.note)) == appended.checkpoint == store.checkpoint()


def test_what_was_acknowledged_is_seen_at_once_by_another_opening(
    store: Store, ticking: Ticking, place: Place
) -> None:
    appended = store.append(INTENT, event_id=number(1))

    with place.open(ticking) as second:
        assert list(second.entries())[-1] == appended.entries[0]
        assert second.checkpoint() == appended.checkpoint


def test_the_same_event_is_never_written_twice(
    store: Store, ticking: Ticking, place: Place
) -> None:
    once = store.append(REQUESTED, INTENT, event_id=number(1))
    store.append(RESULT, event_id=number(2))

    assert store.append(REQUESTED, INTENT, event_id=number(1)) == once
    with place.open(ticking) as second:
        assert second.append(REQUESTED, INTENT, event_id=number(1)) == once
    assert store.verify().entries == 4
    assert store.append(RESULT, event_id=number(3)).first == 4


def test_entries_of_a_transfer_are_numbered_without_holes(store: Store) -> None:
    store.append(REQUESTED, event_id=number(1))
    other = NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada", transfer=OTHER)
    store.append(other, event_id=number(2))
    store.append(INTENT, RESULT, event_id=number(3))

    assert [entry.seq for entry in store.entries(TRANSFER)] == [0, 1, 2]
    assert [entry.seq for entry in store.entries(OTHER)] == [0]
    assert [entry.seq for entry in store.entries()] == [None, 0, 0, 1, 2]


def test_entries_of_two_transfers_are_not_appended_together(store: Store) -> None:
    other = NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada", transfer=OTHER)
    with pytest.raises(AssertionError):
        store.append(REQUESTED, other, event_id=number(1))
    with pytest.raises(AssertionError):
        store.append(event_id=number(1))


def test_an_entry_that_cannot_be_written_leaves_the_log_as_it_was(store: Store) -> None:
    bad = NewEntry(type=Event.TRANSFER_REQUESTED, actor="nobody in particular")
    with pytest.raises(SettingsError, match="actor"):
        store.append(bad, event_id=number(1))

    assert store.verify().entries == 1
    assert store.append(REQUESTED, event_id=number(1)).first == 1


def test_times_never_decrease_and_a_clock_that_goes_back_raises_one_alarm(
    store: Store, ticking: Ticking
) -> None:
    before = store.append(REQUESTED, event_id=number(1)).entries[0]
    ticking.moment -= timedelta(days=1)
    appended = store.append(INTENT, event_id=number(2))
    again = store.append(RESULT, event_id=number(3))

    alarm = list(store.entries())[2]
    assert (alarm.type, alarm.step, alarm.outcome) == (
        Event.INTEGRITY_ALARM,
        "clock-went-back",
        "8",
    )
    assert (appended.first, again.first) == (3, 4)
    assert alarm.t == appended.entries[0].t == again.entries[0].t == before.t
    assert store.verify().entries == 5


def test_a_clock_that_caught_up_and_goes_back_again_raises_another_alarm(
    store: Store, ticking: Ticking
) -> None:
    for days in (-1, 2, -3):
        ticking.moment += timedelta(days=days)
        store.append(INTENT, event_id=number(days))

    types = [entry.type for entry in store.entries()]
    assert types.count(Event.INTEGRITY_ALARM) == 2
    store.verify()


def test_an_alarm_is_not_what_the_caller_gets_back(store: Store, ticking: Ticking) -> None:
    ticking.moment -= timedelta(days=1)
    once = store.append(INTENT, RESULT, event_id=number(1))

    assert [entry.type for entry in once.entries] == [INTENT.type, RESULT.type]
    assert store.append(INTENT, RESULT, event_id=number(1)) == once


def test_what_a_person_said_is_committed_to_sealed_and_readable(store: Store) -> None:
    said = {"by": "Dr Ada", "reason": "canary-reason", "refs": ["Observation/1"]}
    new = NewEntry(type=Event.RECORD_RELEASED, actor="cli:ada", transfer=TRANSFER, statement=said)
    (entry,) = store.append(new, event_id=number(1)).entries

    assert entry.body is not None
    assert entry.body.type == "Statement"
    assert store.statement(entry.idx) == said
    assert store.statement(0) is None
    assert store.verify().statements == 1


def test_two_threads_append_one_after_the_other(store: Store) -> None:
    def work(start: int) -> None:
        for at in range(start, start + 20):
            store.append(INTENT, event_id=number(at))

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.verify().entries == 61
    assert [entry.seq for entry in store.entries(TRANSFER)] == list(range(60))


def test_two_openings_append_in_turn_without_a_fork(
    store: Store, ticking: Ticking, place: Place
) -> None:
    with place.open(ticking) as second:
        for at in range(0, 20, 2):
            store.append(INTENT, event_id=number(at))
            second.append(RESULT, event_id=number(at + 1))

    assert store.verify().entries == 21


def test_who_appends_second_waits_while_the_first_reads_the_head_it_will_extend(
    store: Store, ticking: Ticking, place: Place
) -> None:
    with place.open(ticking) as second:
        other = threading.Thread(
            target=second.append, args=(RESULT,), kwargs={"event_id": number(2)}
        )
        with store._database.writing() as connection:
            connection.exec_driver_sql("select size from audit_head").one()
            other.start()
            other.join(0.2)
            store._append(connection, [INTENT], number(1))
        other.join(30)

    assert [entry.type for entry in store.entries(TRANSFER)] == [INTENT.type, RESULT.type]
    assert store.verify().entries == 3


def test_exactly_the_bytes_of_an_audit_event_are_committed_to(store: Store) -> None:
    stored = b'{"resourceType":"AuditEvent","recorded":"2026-11-22T06:00:00.000Z","n":1.10}'
    new = NewEntry(
        type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=TRANSFER, audit_event=stored
    )

    (entry,) = store.append(new, event_id=number(1)).entries

    assert entry.body is not None
    assert entry.body.type == "AuditEvent"
    assert store.body(entry.idx) == stored
    ((idx, salt, body),) = store.opened(store.log, 0, 9)
    assert (idx, body) == (entry.idx, stored)
    assert len(salt) == 32
    digest = base64.b64encode(hashlib.sha256(salt + stored).digest()).decode()
    assert entry.body.digest == digest
    assert store.verify().statements == 1


def test_an_entry_commits_to_one_body() -> None:
    with pytest.raises(AssertionError, match="one body"):
        NewEntry(
            type=Event.RECORD_RELEASED, actor="cli:ada", statement={"by": "Ada"}, audit_event=b"{}"
        )


TWO_HEADS = (
    "create table loose as select * from audit_head",
    "insert into loose select * from audit_head",
    "drop table audit_head",
    "alter table loose rename to audit_head",
)
NOTE_OF_ANOTHER = (
    "update audit_checkpoint set note = (select note from audit_checkpoint where n = 0)"
    " where size = 3"
)


@pytest.mark.parametrize(
    "change",
    [
        ["update audit_head set size = 2"],
        ["update audit_head set frontier = zeros(32)"],
        ["update audit_head set frontier = zeros(64)"],
        ["delete from audit_head"],
        ["delete from audit_checkpoint where size = 3"],
        [NOTE_OF_ANOTHER],
        TWO_HEADS,
    ],
)
def test_a_log_altered_under_the_bridge_is_not_signed_on(
    store: Store, ticking: Ticking, change: Sequence[str], place: Place
) -> None:
    store.append(REQUESTED, event_id=number(1))
    store.append(INTENT, event_id=number(2))
    place.alter(*change)

    with pytest.raises(AlteredLog), place.open(ticking) as second:
        second.append(RESULT, event_id=number(3))


HEAD = "select size, checkpoints, frontier, at from audit_head"
SET_BACK = "update audit_head set size = ?, checkpoints = ?, frontier = ?, at = ?"


def test_a_log_set_back_under_the_bridge_is_not_signed_on(store: Store, place: Place) -> None:
    store.append(REQUESTED, event_id=number(1))
    (row,) = place.rows(HEAD)
    store.append(INTENT, event_id=number(2))
    place.alter(
        "delete from audit_entry where idx = 2", "delete from audit_checkpoint where size = 3"
    )
    place.alter(SET_BACK, values=row)

    with pytest.raises(AlteredLog, match="set back"):
        store.append(RESULT, event_id=number(3))


def test_a_head_set_back_before_its_rows_does_not_make_a_fork(
    store: Store, ticking: Ticking, place: Place
) -> None:
    store.append(REQUESTED, event_id=number(1))
    (row,) = place.rows(HEAD)
    store.append(INTENT, event_id=number(2))
    place.alter(SET_BACK, values=row)

    with place.open(ticking) as second, pytest.raises(AlteredLog, match="beyond its head"):
        second.append(RESULT, event_id=number(3))


def test_an_acknowledged_entry_without_its_checkpoint_is_not_given_back(
    store: Store, place: Place
) -> None:
    store.append(REQUESTED, event_id=number(1))
    place.alter("delete from audit_checkpoint where size = 2")

    with pytest.raises(AlteredLog, match="missing"):
        store.append(REQUESTED, event_id=number(1))


def test_an_entry_filed_under_the_id_of_an_intent_does_not_pass_for_it(
    store: Store, place: Place
) -> None:
    """Whoever may write the table could else let a disclosure go without its intent."""
    store.append(REQUESTED, event_id=number(1))
    store.append(INTENT, event_id=number(2))
    place.alter(
        "create table away as select event_id from audit_entry where idx = 2",
        "update audit_entry set event_id = 'x' where idx = 2",
        "update audit_entry set event_id = (select event_id from away) where idx = 1",
        "drop table away",
    )

    with pytest.raises(AlteredLog, match="filed as another act"):
        store.append(INTENT, event_id=number(2))


def test_what_an_event_is_filed_as_cannot_be_foretold(store: Store, place: Place) -> None:
    store.append(REQUESTED, event_id=number(1))

    assert number(1).encode() not in place.everything()
    place.alter(f"update audit_entry set event_id = '{number(2)}' where idx = 1")  # noqa: S608
    assert store.append(REQUESTED, event_id=number(2)).first == 2


def test_an_append_does_not_pass_for_a_longer_one(store: Store) -> None:
    store.append(REQUESTED, event_id=number(1))

    with pytest.raises(AlteredLog, match="filed as another act"):
        store.append(REQUESTED, INTENT, event_id=number(1))


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_after_a_failed_write_the_store_takes_no_more_until_it_is_opened_again(
    store: Store, ticking: Ticking, place: Place
) -> None:
    store.append(REQUESTED, event_id=number(1))
    place.alter("alter table audit_checkpoint rename to away")
    with pytest.raises(StoreUnavailable, match="nothing was sent"):
        store.append(INTENT, event_id=number(2))
    place.alter("alter table away rename to audit_checkpoint")
    with pytest.raises(StoreUnavailable, match="takes no more"):
        store.append(INTENT, event_id=number(2))
    with pytest.raises(StoreUnavailable, match="takes no more"):
        store.set_state(TRANSFER, "closed")

    assert store.verify().entries == 2
    with place.open(ticking) as second:
        assert second.append(INTENT, event_id=number(2)).first == 2


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("limit", "lifted", "reason"),
    [
        ("max_page_count = 1", "max_page_count = 1000000", "its disk is full"),
        ("query_only = on", "query_only = off", "it is read-only"),
    ],
)
def test_a_store_goes_on_by_itself_when_its_disk_takes_more_again(
    store: Store, limit: str, lifted: str, reason: str
) -> None:
    """SQLite has rolled back when it says so: what is there is known."""
    pragma = limit

    def restrict(connection: Connection) -> None:
        connection.exec_driver_sql(f"pragma {pragma}")

    event.listen(store._database._reading_engine, "begin", restrict)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=reason):
            store.append(*[INTENT] * 100, event_id=number(1))
    assert not store._database.stopped
    pragma = lifted

    assert store.append(INTENT, event_id=number(1)).first == 1
    assert store.verify().entries == 2


def test_an_error_of_the_database_shows_no_value(store: Store, place: Place) -> None:
    place.alter("alter table transfer rename to away")
    with pytest.raises(StoreUnavailable) as failed:
        store.create_transfer(
            key="canary", state="canary", source="canary", destination="canary", request=b"canary"
        )

    shown = f"{failed.value} {failed.value.__cause__} {failed.value.__cause__!r}"
    assert "canary" not in shown


def test_a_store_that_cannot_be_read_says_so(store: Store, place: Place) -> None:
    place.alter("drop table audit_head")
    with pytest.raises(StoreUnavailable, match="read"):
        store.checkpoint()


def test_the_event_ids_of_a_transfers_acts_are_made_from_it(store: Store) -> None:
    store.append(INTENT, event_id=event_id(TRANSFER, "deliver.1", 1, "intent"))
    store.append(RESULT, event_id=event_id(TRANSFER, "deliver.1", 1, "result"))

    assert store.append(INTENT, event_id=event_id(TRANSFER, "deliver.1", 1, "intent")).first == 1
