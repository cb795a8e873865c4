"""A log for each year: the next one goes on where the former ended, and nothing between is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import pytest

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import (
    Checkpoint,
    Event,
    Frontier,
    NewEntry,
    VerifierKey,
    decode_entry,
    leaf_hash,
    tree_hash,
)
from fhir_bridge.store import Store
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.migrations.versions import v0012_years
from fhir_bridge.store.sqlite import SqliteDatabase
from tests.simulators.stores import Place
from tests.simulators.ticking import Ticking

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
OLD, NEW = "bridge.example/audit/2026", "bridge.example/audit/2027"
INTENT = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=TRANSFER)
SAID = NewEntry(
    type=Event.RECORD_RELEASED, actor="cli:ada", transfer=TRANSFER, statement={"by": "Ada"}
)
LATER = NewEntry(
    type=Event.RECORD_RELEASED, actor="cli:ada", transfer=TRANSFER, statement={"by": "Eve"}
)
CLOSED = NewEntry(type=Event.TRANSFER_CLOSED, actor="cli:ada", transfer=TRANSFER)


def number(at: int) -> str:
    return str(uuid5(UUID(TRANSFER), str(at)))


def year(ticking: Ticking, number: int) -> None:
    ticking.moment = datetime(number, 1, 1, tzinfo=UTC)


@pytest.fixture
def ticking() -> Ticking:
    return Ticking()


@pytest.fixture
def store(place: Place, ticking: Ticking) -> Iterator[Store]:
    """Write a log over New Year: four entries in the former year, three in the next."""
    with place.open(ticking) as store:
        store.append(INTENT, event_id=number(1))
        store.append(SAID, event_id=number(2))
        year(ticking, 2027)
        store.append(LATER, INTENT, event_id=number(3))
        yield store


def of(store: Store, log: str) -> list[Event]:
    return [decode_entry(leaf).type for leaf in store.leaves(log, 0, 100)]


def test_the_first_entry_of_a_year_closes_the_former_log_and_opens_the_next(store: Store) -> None:
    assert store.logs() == (OLD, NEW)
    assert store.log == NEW
    assert of(store, OLD) == [Event.LOG_OPENED, INTENT.type, SAID.type, Event.LOG_CLOSED]
    assert of(store, NEW) == [Event.LOG_OPENED, LATER.type, INTENT.type]
    former = list(store.notes(OLD))
    assert [size for size, _ in former] == [1, 2, 3, 4]
    assert [size for size, _ in store.notes(NEW)] == [3]
    (opened, *_) = map(decode_entry, store.leaves(NEW, 0, 1))
    assert opened.checkpoint == former[-1][1]
    assert opened.vkey == str(store.verifier)
    assert store.verifier.name == NEW


def test_each_log_recomputes_from_its_own_leaves_and_its_own_name(store: Store) -> None:
    for log in (OLD, NEW):
        leaves = list(store.leaves(log, 0, 100))
        key = VerifierKey(log, store.verifier.public)
        for size, note in store.notes(log):
            root = tree_hash(map(leaf_hash, leaves[:size]))
            assert Checkpoint.parse(key.open(note)) == Checkpoint(origin=log, size=size, root=root)
    verified = store.verify()

    assert (verified.entries, verified.checkpoints, verified.statements) == (7, 5, 2)
    assert verified.checkpoint == store.checkpoint()
    assert verified.checkpoint.origin == NEW


def test_a_transfer_over_new_year_is_numbered_on_and_counts_all_its_entries(store: Store) -> None:
    closed = store.append(CLOSED, event_id=number(4)).entries[0]

    assert [entry.seq for entry in store.entries(TRANSFER)] == [0, 1, 2, 3, 4]
    assert (closed.log, closed.seq, closed.entries) == (NEW, 4, 5)
    store.verify()


def test_an_act_of_the_former_year_is_not_written_again_in_the_next(
    store: Store, place: Place, ticking: Ticking
) -> None:
    again = store.append(INTENT, event_id=number(1))

    assert (again.first, again.entries[0].log, again.checkpoint.size) == (1, OLD, 2)
    with place.open(ticking) as second:
        assert second.append(INTENT, event_id=number(1)) == again
    assert store.verify().entries == 7


def test_another_process_goes_on_in_the_new_log(place: Place, ticking: Ticking) -> None:
    with place.open(ticking) as first, place.open(ticking) as second:
        year(ticking, 2027)
        first.append(INTENT, event_id=number(1))
        appended = second.append(INTENT, event_id=number(2))

        assert appended.entries[0].log == NEW == second.log
        assert (appended.first, appended.entries[0].seq) == (2, 1)
        assert first.append(INTENT, event_id=number(3)).first == 3
        assert second.verify() == first.verify()


def test_bodies_of_both_years_are_told_apart_and_erased_together(
    place: Place, ticking: Ticking
) -> None:
    with place.open(ticking) as store:
        row = store.create_transfer(
            key="ab" * 32, state="requested", source="a", destination="b", request=b"{}"
        )
        for at, by in enumerate(("Ada", "Eve")):
            said = NewEntry(
                type=Event.RECORD_RELEASED,
                actor="cli:ada",
                transfer=row.id,
                statement={"by": by},
            )
            store.append(said, event_id=number(at))
            year(ticking, 2027)
        assert (store.statement(1, OLD), store.statement(1)) == ({"by": "Ada"}, {"by": "Eve"})
        assert [body for _, _, body in store.opened(OLD, 0, 9)] == [b'{"by":"Ada"}']
        assert [body for _, _, body in store.opened(NEW, 0, 9)] == [b'{"by":"Eve"}']
        store.erase(row.id, actor="cli:ada")

        assert (store.statement(1, OLD), store.statement(1)) == (None, None)
        assert store.verify().erased == 2


def test_a_clock_set_back_over_new_year_stays_in_the_new_log(
    store: Store, ticking: Ticking
) -> None:
    year(ticking, 2026)
    appended = store.append(INTENT, event_id=number(4))

    assert appended.entries[0].log == NEW
    assert of(store, NEW)[-2:] == [Event.INTEGRITY_ALARM, INTENT.type]
    store.verify()


def test_years_without_an_entry_have_no_log(store: Store, place: Place, ticking: Ticking) -> None:
    year(ticking, 2031)
    store.append(INTENT, event_id=number(4))

    assert store.logs() == (OLD, NEW, "bridge.example/audit/2031")
    assert store.verify().entries == 10
    with place.open(ticking) as second:
        assert second.verify().entries == 10


def test_a_cosignature_stands_under_the_checkpoint_of_its_own_log(store: Store) -> None:
    line = "\N{EM DASH} witness.example/w1 AAAAAAAA\n"
    store.add_cosignature(OLD, 3, line)
    store.add_cosignature(NEW, 3, line)

    assert [line in note for _, note in store.notes(OLD)] == [False, False, True, False]
    assert [line in note for _, note in store.notes(NEW)] == [True]
    assert store.last_cosigned(OLD) == store.last_cosigned(NEW) == 3
    store.verify()


def test_the_files_of_each_years_log_are_listed_under_its_own_name(store: Store) -> None:
    for log in (OLD, NEW):
        listed = store.sign_manifest(f"fhir-bridge/audit-export/v1\nlog {log}\nsize 3\n")
        VerifierKey(log, store.verifier.public).open(listed)
    with pytest.raises(AssertionError):
        store.sign_manifest(f"{NEW}\n4\nAAAA\n")


def test_when_a_checkpoint_was_signed_is_told_of_each_log(store: Store) -> None:
    at = [[row.t for row in store.entries() if row.log == log] for log in (OLD, NEW)]

    assert [store.signed_after(OLD, size) for size in range(5)] == [*at[0], None]
    assert store.signed_after(NEW, 0) == store.signed_after(NEW, 2) == at[1][-1]
    assert store.signed_after(NEW, 3) is None


def test_a_silent_year_is_turned_by_a_heartbeat(place: Place, ticking: Ticking) -> None:
    with place.open(ticking) as store:
        year(ticking, 2027)
        assert store.heartbeat()
        assert of(store, NEW) == [Event.LOG_OPENED, Event.LOG_HEARTBEAT]
        store.verify()


def _without(year: int) -> list[str]:
    """Remove all rows of a year."""
    tables = ("head", "entry", "body", "checkpoint")
    return [f"delete from audit_{table} where year = {year}" for table in tables]  # noqa: S608


BODY_OF_2026 = "select body from audit_body where year = 2026"

ALTERED = [
    ("a year that has no log", ["delete from audit_head where year = 2026"]),
    ("a year that has no log", ["delete from audit_head where year = 2027"]),
    ("former year that is not there", _without(2026)),
    ("next one is missing", _without(2027)),
    (
        "statement of entry 1 was altered",
        [f"update audit_body set body = ({BODY_OF_2026}) where year = 2027"],  # noqa: S608
    ),
    (
        "entry 1 belongs to another log",
        [
            "update audit_entry set year = 0 where year = 2026 and idx = 1",
            "update audit_entry set year = 2026 where year = 2027 and idx = 1",
            "update audit_entry set year = 2027 where year = 0",
        ],
    ),
]


@pytest.mark.parametrize(("sentence", "statements"), ALTERED)
def test_each_altered_year_is_found_and_named(
    store: Store, place: Place, sentence: str, statements: list[str]
) -> None:
    place.alter(*statements)

    with pytest.raises(AlteredLog, match=sentence):
        store.verify()


def test_a_former_year_cut_off_before_its_end_is_found(store: Store, place: Place) -> None:
    frontier = Frontier()
    for leaf in store.leaves(OLD, 0, 3):
        frontier = frontier.appended(leaf_hash(leaf))
    place.alter(
        "delete from audit_entry where year = 2026 and idx = 3",
        "delete from audit_checkpoint where year = 2026 and n = 3",
    )
    place.alter(
        "update audit_head set size = 3, checkpoints = 3, frontier = ?, at ="
        " (select at from audit_checkpoint where year = 2026 and n = 2) where year = 2026",
        values=(bytes(frontier),),
    )

    with pytest.raises(AlteredLog, match="was not closed"):
        store.verify()


def test_a_former_year_of_another_store_does_not_fit(
    store: Store, place: Place, tmp_path: Path, ticking: Ticking
) -> None:
    """Right in itself, signed by some other key: only the next year's first entry tells."""
    other = Place(tmp_path / "other")
    year(ticking, 2026)
    with other.open(ticking) as forged:
        forged.append(INTENT, event_id=number(1))
        forged.append(INTENT, event_id=number(2))
        year(ticking, 2027)
        forged.append(INTENT, event_id=number(3))
    place.alter("delete from audit_body where year = 2026")
    for table, columns in (
        ("entry", "year, idx, event_id, transfer, leaf"),
        ("checkpoint", "year, n, size, at, note"),
        ("head", "year, log, size, checkpoints, frontier, at, behind, vkey"),
    ):
        place.alter(f"delete from audit_{table} where year = 2026")  # noqa: S608 - our names
        marks = ", ".join("?" * len(columns.split(",")))
        for row in other.rows(f"select {columns} from audit_{table} where year = 2026"):  # noqa: S608
            place.alter(f"insert into audit_{table} ({columns}) values ({marks})", values=row)  # noqa: S608

    with pytest.raises(AlteredLog, match="does not go on from the last checkpoint"):
        store.verify()


def test_a_log_of_the_first_tables_moves_into_its_year(tmp_path: Path, ticking: Ticking) -> None:
    new, old = Place(tmp_path / "new"), Place(tmp_path / "old")
    with new.open(ticking) as store:
        store.append(SAID, event_id=number(1))
        before = list(store.leaves(store.log, 0, 9))
    _as_it_was(new, old)
    with old.open(ticking) as store:
        assert list(store.leaves(store.log, 0, 9)) == before
        assert store.append(SAID, event_id=number(1)).first == 1
        assert store.append(INTENT, event_id=number(2)).first == 2
        assert store.verify().statements == 1
        year(ticking, 2027)
        store.append(INTENT, event_id=number(3))
        assert store.verify().entries == 6


def _as_it_was(new: Place, old: Place) -> None:
    """Write a store's log into the tables that were there before there were years."""
    shutil.copytree(new.folder, old.folder)
    (old.folder / "store.db").unlink()
    database = SqliteDatabase(Folder(old.folder))
    Folder(old.folder).prepare_database()
    database.upgrade(v0012_years.down_revision)
    database.close()
    for table, columns in (
        ("entry", "idx, event_id, transfer, leaf"),
        ("body", "idx, salt, body"),
        ("checkpoint", "n, size, at, note"),
        ("head", "1, log, size, checkpoints, frontier, at, behind"),
    ):
        marks = ", ".join("?" * len(columns.split(",")))
        for row in new.rows(f"select {columns} from audit_{table}"):  # noqa: S608 - our names
            old.alter(f"insert into audit_{table} values ({marks})", values=row)  # noqa: S608
