"""What exports, proofs and witnesses read of the log."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterator
from uuid import UUID, uuid5

import pytest

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Checkpoint, Event, NewEntry, decode_entry, leaf_hash, tree_hash
from fhir_bridge.store import Store
from tests.simulators.stores import Place

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
LOG = "bridge.example/audit/2026"
LINE = "\N{EM DASH} witness.example/w1 AAAAAAAA\n"
OTHER_LINE = "\N{EM DASH} witness.example/w2 BBBBBBBB\n"


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as store:
        plain = NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada", transfer=TRANSFER)
        said = NewEntry(
            type=Event.RECORD_RELEASED, actor="cli:ada", transfer=TRANSFER, statement={"by": "Ada"}
        )
        for at, acts in enumerate(([plain], [said, plain], [said])):
            store.append(*acts, event_id=str(uuid5(UUID(TRANSFER), str(at))))
        yield store


def test_leaves_and_notes_are_enough_to_recompute_the_log(store: Store) -> None:
    leaves = list(store.leaves(LOG, 0, 1000))
    notes = list(store.notes(LOG))

    assert store.logs() == (LOG,)
    assert [decode_entry(leaf) for leaf in leaves] == list(store.entries())
    assert [size for size, _ in notes] == [1, 2, 4, 5]
    for size, note in notes:
        root = tree_hash(map(leaf_hash, leaves[:size]))
        assert Checkpoint.parse(store.verifier.open(note)) == Checkpoint(
            origin=LOG, size=size, root=root
        )
    assert notes[-1][1] == store.note()


def test_leaves_are_read_from_one_index_to_before_another(store: Store) -> None:
    whole = list(store.leaves(LOG, 0, 5))

    for first, end in itertools.combinations_with_replacement(range(6), 2):
        assert list(store.leaves(LOG, first, end)) == whole[first:end]


def test_bodies_are_opened_and_match_what_their_entries_commit_to(store: Store) -> None:
    opened = list(store.opened(LOG, 0, 5))
    entries = list(store.entries())

    assert [(idx, body) for idx, _, body in opened] == [(2, b'{"by":"Ada"}'), (4, b'{"by":"Ada"}')]
    for idx, salt, body in opened:
        committed = entries[idx].body
        assert committed is not None
        digest = hashlib.sha256(salt + body).digest()
        assert committed.digest == base64.b64encode(digest).decode()
    assert [idx for idx, _, _ in store.opened(LOG, 3, 5)] == [4]


def test_an_erased_body_is_absent_and_the_leaves_stay(store: Store) -> None:
    row = store.create_transfer(
        key="ab" * 32, state="requested", source="a", destination="b", request=b"{}"
    )
    before = list(store.leaves(LOG, 0, 5))
    said = NewEntry(
        type=Event.RECORD_RELEASED, actor="cli:ada", transfer=row.id, statement={"by": "Eve"}
    )
    store.append(said, event_id=row.id)
    store.erase(row.id, actor="cli:ada")

    assert [idx for idx, _, _ in store.opened(LOG, 0, 100)] == [2, 4]
    assert list(store.leaves(LOG, 0, 5)) == before
    store.verify()


def test_a_log_that_the_store_does_not_hold_is_refused_by_name(store: Store) -> None:
    other = "bridge.example/audit/2031"

    with pytest.raises(SettingsError, match=r"holds no log bridge.example/audit/2031"):
        list(store.leaves(other, 0, 1))
    with pytest.raises(SettingsError, match="holds no log"):
        list(store.notes(other))
    with pytest.raises(SettingsError, match="holds no log"):
        list(store.opened(other, 0, 1))
    with pytest.raises(SettingsError, match="no checkpoint of size 1"):
        store.add_cosignature(other, 1, LINE)


def test_cosignatures_stand_below_the_note_once_and_the_log_verifies(store: Store) -> None:
    plain = dict(store.notes(LOG))
    for line in (OTHER_LINE, LINE, OTHER_LINE):
        store.add_cosignature(LOG, 4, line)

    assert dict(store.notes(LOG)) == plain | {4: plain[4] + LINE + OTHER_LINE}
    store.verifier.open(dict(store.notes(LOG))[4])
    store.verify()


def test_the_last_size_that_a_witness_signed_is_known_for_each(store: Store) -> None:
    assert store.last_cosigned(LOG) is None
    store.add_cosignature(LOG, 1, OTHER_LINE)
    store.add_cosignature(LOG, 4, LINE)
    store.add_cosignature(LOG, 2, LINE)

    assert store.last_cosigned(LOG) == 4
    assert store.last_cosigned(LOG, "witness.example/w1") == 4
    assert store.last_cosigned(LOG, "witness.example/w2") == 1
    assert store.last_cosigned(LOG, "witness.example/w") is None
    assert store.last_cosigned(LOG, "Witness.example/w1") is None


def test_a_cosignature_of_no_checkpoint_is_refused(store: Store) -> None:
    with pytest.raises(SettingsError, match="no checkpoint of size 3"):
        store.add_cosignature(LOG, 3, LINE)
    assert store.last_cosigned(LOG) is None


@pytest.mark.parametrize("line", ["x y AAAA\n", LINE[:-1], LINE + LINE])
def test_what_is_not_one_signature_line_is_not_kept(store: Store, line: str) -> None:
    with pytest.raises(AssertionError):
        store.add_cosignature(LOG, 4, line)
