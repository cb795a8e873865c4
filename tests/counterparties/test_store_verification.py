"""Verification finds every row that was altered, dropped, swapped, doubled or added."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fhir_bridge.errors import AlteredLog, StoreUnavailable
from fhir_bridge.ledger import (
    Checkpoint,
    Event,
    Frontier,
    NewEntry,
    Signer,
    decode_entry,
    leaf_hash,
    tree_hash,
)
from fhir_bridge.store import Store
from tests.simulators.stores import OVER_BOTH, Place, PostgresqlPlace, create_database

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
OTHER = "6f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"


def _append(store: Store, at: int, *new: NewEntry) -> None:
    store.append(*new, event_id=str(uuid5(UUID(TRANSFER), str(at))))


@pytest.fixture(scope="module", params=OVER_BOTH)
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Write a log of eight entries and six checkpoints, with two statements, and close it."""
    folder = tmp_path_factory.mktemp("log") / "store"
    if request.param == "sqlite":
        place = Place(folder)
    else:
        template = request.getfixturevalue("migrated")
        place = PostgresqlPlace(folder, create_database(template))
    with place.open() as store:
        for at, transfer in enumerate((TRANSFER, OTHER, TRANSFER)):
            new = NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada", transfer=transfer)
            _append(store, at, new)
        said = NewEntry(
            type=Event.RECORD_RELEASED,
            actor="cli:ada",
            transfer=OTHER,
            statement={"by": "Ada", "reason": "asked"},
        )
        plain = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=OTHER)
        _append(store, 3, said, plain, said)
        _append(store, 4, plain)
    yield place
    place.remove()


@pytest.fixture
def place(written: Place, tmp_path: Path) -> Iterator[Place]:
    """Copy the log; what a test alters, it alters under an open store."""
    copy = written.copied(tmp_path / "store")
    yield copy
    copy.remove()


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as store:
        yield store


def only_over(product: str) -> pytest.MarkDecorator:
    """Where a test is about one database's own ways."""
    marks = [pytest.mark.real] if product == "postgresql" else []
    return pytest.mark.parametrize("written", [pytest.param(product, marks=marks)], indirect=True)


def test_a_log_that_nobody_touched_is_verified(store: Store) -> None:
    verified = store.verify()

    assert (verified.entries, verified.checkpoints) == (8, 6)
    assert (verified.statements, verified.erased) == (2, 0)
    assert verified.checkpoint == store.checkpoint()
    assert verified.key == store.verifier


def test_a_statement_that_was_erased_leaves_a_log_that_verifies(store: Store, place: Place) -> None:
    place.alter("delete from audit_body where idx = 4")

    assert (store.verify().statements, store.verify().erased) == (1, 1)


def _case(name: str, sentence: str, *statements: str) -> Any:
    return pytest.param(statements, sentence, id=name)


ALTERED = [
    _case(
        "dropped-first",
        "entry 0 is missing",
        "delete from audit_entry where idx = 0",
    ),
    _case(
        "dropped-middle",
        "entry 3 is missing",
        "delete from audit_entry where idx = 3",
    ),
    _case(
        "dropped-last",
        "entries are missing at the end",
        "delete from audit_entry where idx = 7",
    ),
    _case(
        "dropped-all",
        "entries are missing at the end",
        "delete from audit_entry",
    ),
    _case(
        "dropped-and-renumbered",
        "entry 3 was moved: it was written as entry 4",
        "delete from audit_entry where idx = 3",
        "update audit_entry set idx = idx - 1 where idx > 3",
    ),
    _case(
        "swapped",
        "entry 3 was moved",
        "update audit_entry set idx = -1 where idx = 3",
        "update audit_entry set idx = 3 where idx = 4",
        "update audit_entry set idx = 4 where idx = -1",
    ),
    _case(
        "doubled-at-the-end",
        "entry 8 was moved",
        "insert into audit_entry select year, 8, '6f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c2', "
        "transfer, leaf from audit_entry where idx = 7",
    ),
    _case(
        "leaf-of-another",
        "entry 2 was moved",
        "update audit_entry set leaf = (select leaf from audit_entry where idx = 1) where idx = 2",
    ),
    _case(
        "leaf-not-json",
        "entry 2 was altered: it is not JSON",
        "update audit_entry set leaf = zeros(1) where idx = 2",
    ),
    _case(
        "leaf-with-a-space",
        "entry 2 was altered: it is not in its one written form",
        "update audit_entry set leaf = rewritten(leaf, ',', ', ') where idx = 2",
    ),
    _case(
        "actor-changed",
        "checkpoint 2 does not match the 3 entries below it",
        "update audit_entry set leaf = rewritten(leaf, 'ada', 'bob') where idx = 2",
    ),
    _case(
        "another-log",
        "entry 2 belongs to another log",
        "update audit_entry set leaf = rewritten(leaf, 'bridge.example', 'other.example') "
        "where idx = 2",
    ),
    _case(
        "back-dated",
        "entry 2 is earlier than the one before it",
        "update audit_entry set leaf = rewritten(leaf, '2026-11', '2026-10') where idx = 2",
    ),
    _case(
        "renumbered-in-its-transfer",
        "entry 3 is number 2 of its transfer, but 1 came before it",
        "update audit_entry set leaf = rewritten(leaf, '\"seq\":1', '\"seq\":2') where idx = 3",
    ),
    _case(
        "filed-elsewhere",
        "entry 1 is filed under another transfer",
        "update audit_entry set transfer = 'urn:uuid:6f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1' "
        "where idx = 1",
    ),
    _case(
        "filed-nowhere",
        "entry 1 is filed under another transfer",
        "update audit_entry set transfer = null where idx = 1",
    ),
    _case(
        "filed-although-of-none",
        "entry 0 is filed under another transfer",
        "update audit_entry set transfer = 'urn:uuid:6f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1' "
        "where idx = 0",
    ),
    _case(
        "event-id",
        "entry 1 was altered: its event id is none",
        "update audit_entry set event_id = 'x' where idx = 1",
    ),
    _case(
        "checkpoint-dropped-first",
        "checkpoint 0 is missing",
        "delete from audit_checkpoint where n = 0",
    ),
    _case(
        "checkpoint-dropped-middle",
        "checkpoint 2 is missing",
        "delete from audit_checkpoint where n = 2",
    ),
    _case(
        "checkpoint-dropped-last",
        "the last checkpoint covers 7",
        "delete from audit_checkpoint where n = 5",
    ),
    _case(
        "checkpoints-dropped-all",
        "the last checkpoint covers 0",
        "delete from audit_checkpoint",
    ),
    _case(
        "checkpoint-dropped-and-renumbered",
        "head is not what",
        "delete from audit_checkpoint where n = 2",
        "update audit_checkpoint set n = n - 1 where n > 2",
    ),
    _case(
        "checkpoint-of-another-size",
        "checkpoint 4 does not match the 5 entries",
        "update audit_checkpoint set size = 5 where n = 4",
    ),
    _case(
        "checkpoints-swapped",
        "checkpoint 2 is out of order",
        "update audit_checkpoint set n = -1 where n = 1",
        "update audit_checkpoint set n = 1 where n = 2",
        "update audit_checkpoint set n = 2 where n = -1",
    ),
    _case(
        "checkpoint-notes-swapped",
        "checkpoint 2 does not match",
        "update audit_checkpoint set note = (select note from audit_checkpoint where n = 1) "
        "where n = 2",
    ),
    _case(
        "checkpoint-doubled",
        "covers 9 entries, but there are 8",
        "insert into audit_checkpoint select year, 6, 9, at, note from audit_checkpoint "
        "where n = 5",
    ),
    _case(
        "checkpoint-for-nothing",
        "checkpoint 0 is out of order",
        "update audit_checkpoint set n = n + 1000",
        "update audit_checkpoint set n = n - 999",
        "insert into audit_checkpoint select year, 0, 0, at, note from audit_checkpoint "
        "where n = 1",
    ),
    _case(
        "checkpoint-note-cut",
        "checkpoint 2 was altered: a signed note has no signatures",
        "update audit_checkpoint set note = substr(note, 1, 60) where n = 2",
    ),
    _case(
        "checkpoint-root-changed",
        "checkpoint 2 was altered: a checkpoint's signature",
        "update audit_checkpoint set note = replace(note, '\n3\n', '\n4\n') where n = 2",
    ),
    _case(
        "checkpoint-time",
        "checkpoint 2 has another time",
        "update audit_checkpoint set at = '2026-01-01T00:00:00.000Z' where n = 2",
    ),
    _case(
        "head-dropped",
        "the log has 0 heads",
        "delete from audit_head",
    ),
    _case(
        "head-size",
        "head is not what",
        "update audit_head set size = 7",
    ),
    _case(
        "head-frontier",
        "head is not what",
        "update audit_head set frontier = zeros(32)",
    ),
    _case(
        "head-count",
        "head is not what",
        "update audit_head set checkpoints = 7",
    ),
    _case(
        "head-time",
        "head is not what",
        "update audit_head set at = '2027'",
    ),
    _case(
        "head-log",
        "head is not what",
        "update audit_head set log = 'other/audit/2026'",
    ),
    _case(
        "statement-altered",
        "the statement of entry 4 was altered",
        "update audit_body set body = zeros(60) where idx = 4",
    ),
    _case(
        "statement-salt",
        "the statement of entry 4 was altered",
        "update audit_body set salt = zeros(32) where idx = 4",
    ),
    _case(
        "statements-swapped",
        "the statement of entry 4 was altered",
        "update audit_body set idx = -1 where idx = 4",
        "update audit_body set idx = 4 where idx = 6",
        "update audit_body set idx = 6 where idx = -1",
    ),
    _case(
        "statement-added",
        "a statement was added to entry 5",
        "insert into audit_body select year, 5, salt, body from audit_body where idx = 4",
    ),
    _case(
        "statement-before-all",
        "a statement is there for entry -1",
        "insert into audit_body select year, -1, salt, body from audit_body where idx = 4",
    ),
    _case(
        "statement-after-all",
        "a statement is there for entry 8",
        "insert into audit_body select year, 8, salt, body from audit_body where idx = 4",
    ),
]


@pytest.mark.parametrize(("statements", "sentence"), ALTERED)
def test_each_altered_row_is_found_and_named(
    store: Store, statements: tuple[str, ...], sentence: str, place: Place
) -> None:
    place.alter(*statements)

    with pytest.raises(AlteredLog) as found:
        store.verify()

    assert sentence in str(found.value)


def test_two_heads_are_found_where_the_constraint_was_removed(store: Store, place: Place) -> None:
    place.alter(
        "create table loose as select * from audit_head",
        "drop table audit_head",
        "alter table loose rename to audit_head",
        "insert into audit_head select * from audit_head",
    )

    with pytest.raises(AlteredLog, match="2 heads"):
        store.verify()


def test_rows_doubled_where_the_constraints_were_removed_are_found(
    store: Store, place: Place
) -> None:
    for table, key, sentence in (
        ("audit_entry", "idx", "entry 4 is missing: the next one is 3"),
        ("audit_checkpoint", "n", "checkpoint 4 is missing: the next is 3"),
    ):
        place.alter(
            f"create table loose as select * from {table}",  # noqa: S608 - the name is ours
            f"alter table {table} rename to kept",
            f"alter table loose rename to {table}",
            f"insert into {table} select * from {table} where {key} = 3",  # noqa: S608 - the same
        )

        with pytest.raises(AlteredLog, match=sentence):
            store.verify()
        place.alter(f"drop table {table}", f"alter table kept rename to {table}")
    store.verify()


def test_every_single_byte_of_every_leaf_counts(store: Store, place: Place) -> None:
    rows = place.rows("select idx, leaf from audit_entry")
    change = "update audit_entry set leaf = ? where idx = ?"
    unseen = []
    for idx, leaf in rows[::3]:
        for at in range(0, len(leaf), 7):
            changed = leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1 :]
            place.alter(change, values=(changed, idx))
            try:
                store.verify()
                unseen.append((idx, at))
            except AlteredLog:
                place.alter(change, values=(leaf, idx))

    assert unseen == []


def rebuild(place: Place, change: Callable[[list[bytes]], list[bytes]], signer: Signer) -> None:
    """Write the whole log anew, as someone could who may write every table."""
    leaves = change([leaf for (leaf,) in place.rows("select leaf from audit_entry order by idx")])
    entries = [decode_entry(leaf) for leaf in leaves]
    place.alter("delete from audit_entry", "delete from audit_checkpoint")
    frontier = Frontier()
    for leaf, entry in zip(leaves, entries, strict=True):
        frontier = frontier.appended(leaf_hash(leaf))
        signed = signer.sign(
            str(Checkpoint(origin=signer.name, size=frontier.size, root=frontier.root()))
        )
        id_ = str(uuid5(UUID(OTHER), str(entry.idx)))
        place.alter(
            "insert into audit_entry values (2026, ?, ?, ?, ?)",
            values=(entry.idx, id_, entry.transfer, leaf),
        )
        place.alter(
            "insert into audit_checkpoint values (2026, ?, ?, ?, ?)",
            values=(entry.idx, frontier.size, entry.t, signed),
        )
    place.alter(
        "update audit_head set size = ?, checkpoints = ?, frontier = ?",
        values=(frontier.size, len(leaves), bytes(frontier)),
    )


def _altered(leaves: list[bytes]) -> list[bytes]:
    return [leaf.replace(b"cli:ada", b"cli:bob") for leaf in leaves]


def test_a_log_written_anew_without_the_key_is_found(store: Store, place: Place) -> None:
    forger = Signer(store.log, Ed25519PrivateKey.from_private_bytes(b"f" * 32))
    rebuild(place, _altered, forger)

    with pytest.raises(AlteredLog, match="not signed by the key"):
        store.verify()


def test_a_log_written_anew_with_the_stolen_key_verifies_and_its_checkpoint_tells(
    store: Store, place: Place
) -> None:
    """What no database can show by itself: someone must have kept a checkpoint outside."""
    kept = store.checkpoint()
    private = load_pem_private_key(store._opened.folder.log_key.read_bytes(), password=None)
    rebuild(place, _altered, Signer(store.log, private))  # type: ignore[arg-type]

    verified = store.verify()

    assert verified.checkpoint.size == kept.size
    assert verified.checkpoint.root != kept.root


def test_a_log_without_any_row_is_not_a_log(store: Store, place: Place) -> None:
    place.alter(
        "delete from audit_entry",
        "delete from audit_checkpoint",
        "delete from audit_body",
        "delete from audit_head",
    )

    with pytest.raises(AlteredLog, match="0 entries"):
        store.verify()


@pytest.mark.parametrize("table", ["entry", "checkpoint", "head", "body"])
def test_a_table_that_is_gone_is_found(store: Store, table: str, place: Place) -> None:
    place.alter(f"drop table audit_{table}")

    with pytest.raises(AlteredLog, match="tables are damaged"):
        store.verify()


@only_over("sqlite")
def test_a_database_that_cannot_be_opened_is_not_called_an_alteration(store: Store) -> None:
    store.close()
    store._opened.folder.path.rename(store._opened.folder.path.with_name("away"))

    with pytest.raises(StoreUnavailable, match="cannot be read"):
        store.verify()


@only_over("sqlite")
def test_rows_that_cannot_be_read_are_named_as_damage(store: Store, place: Place) -> None:
    path = store._opened.folder.database
    store.verify()
    place.alter("pragma wal_checkpoint(truncate)")
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    path.write_bytes(raw)
    store.close()

    with pytest.raises((AlteredLog, StoreUnavailable), match=r"damaged|read"):
        store.verify()


def test_verification_recomputes_the_root_that_the_standard_defines(
    store: Store, place: Place
) -> None:
    leaves = [leaf for (leaf,) in place.rows("select leaf from audit_entry order by idx")]

    assert store.verify().checkpoint.root == tree_hash(map(leaf_hash, leaves))
