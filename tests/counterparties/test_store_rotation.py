"""Changing the log's key: both sign the change, the old one is gone, a crash leaves one right."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry, Note, Policy, Signer, VerifierKey
from fhir_bridge.store import Store
from fhir_bridge.store.keyfiles import written
from tests.simulators.stores import ORIGIN, Place
from tests.simulators.ticking import Ticking

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
LOG = "bridge.example/audit/2026"
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
        store.append(INTENT, event_id=number(1))
        yield store


def private(place: Place) -> Ed25519PrivateKey:
    key = load_pem_private_key((place.folder / "log.key").read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def test_the_change_is_an_entry_that_both_keys_sign(store: Store) -> None:
    old = store.verifier
    new = store.rotate_key(actor="cli:ada")
    entry = list(store.entries())[-1]
    note = store.note()

    assert (entry.type, entry.actor, entry.vkey) == (Event.KEY_ROTATED, "cli:ada", str(new))
    assert new == store.verifier != old
    assert old.open(note) == new.open(note) == str(store.checkpoint())
    after = store.append(RESULT, event_id=number(2))
    assert new.open(after.note)
    with pytest.raises(AlteredLog, match="not signed"):
        old.open(after.note)
    assert store.verify().entries == 4


def test_nothing_of_the_old_key_is_left(store: Store, place: Place) -> None:
    old = private(place).private_bytes_raw()
    pem = (place.folder / "log.key").read_bytes()
    inode = (place.folder / "log.key").open("rb")
    store.rotate_key(actor="cli:ada")

    with inode:
        assert pem not in inode.read()
    assert private(place).private_bytes_raw() != old
    assert not (place.folder / "log.key.new").exists()
    assert not list(place.folder.glob("*.draft"))


def test_each_key_has_its_sizes_and_a_policy_takes_them(store: Store, ticking: Ticking) -> None:
    keys = [store.verifier, store.rotate_key(actor="cli:ada")]
    store.append(RESULT, event_id=number(2))
    keys.append(store.rotate_key(actor="cli:ada"))
    ticking.moment = datetime(2027, 1, 1, tzinfo=UTC)
    store.append(RESULT, event_id=number(3))
    epochs = store.epochs()

    assert [epoch.key for epoch in epochs] == [*keys, store.verifier]
    assert [(epoch.first, epoch.end) for epoch in epochs] == [(0, 4), (3, 6), (5, None), (0, None)]
    policy = Policy(epochs=epochs)
    assert Policy.parse(str(policy)) == policy
    for size, note in store.notes(LOG):
        for epoch in policy.epochs_at(LOG, size):
            epoch.key.open(note)


def test_an_act_from_before_the_change_is_given_back(
    store: Store, place: Place, ticking: Ticking
) -> None:
    once = store.append(INTENT, event_id=number(1))
    for _ in range(2):
        store.rotate_key(actor="cli:ada")

    assert store.append(INTENT, event_id=number(1)) == once
    with place.open(ticking) as second:
        assert second.append(INTENT, event_id=number(1)) == once
        ticking.moment = datetime(2027, 1, 1, tzinfo=UTC)
        second.rotate_key(actor="cli:ada")
        assert second.append(INTENT, event_id=number(1)) == once
    assert store.append(INTENT, event_id=number(1)) == once
    store.verify()


def test_an_intent_filed_under_a_forged_checkpoint_is_not_given_back(
    store: Store, place: Place
) -> None:
    """Whoever may write the tables cannot vouch for an entry with a key of his own."""
    store.rotate_key(actor="cli:ada")
    forger = Signer(LOG, Ed25519PrivateKey.from_private_bytes(b"f" * 32))
    (note,) = (note for size, note in store.notes(LOG) if size == 2)
    forged = forger.sign(Note.parse(note).text)
    place.alter("update audit_checkpoint set note = ? where size = 2", values=(forged,))

    with pytest.raises(AlteredLog):
        store.append(INTENT, event_id=number(1))


def test_another_process_goes_on_with_the_new_key(
    store: Store, place: Place, ticking: Ticking
) -> None:
    with place.open(ticking) as second:
        store.rotate_key(actor="cli:ada")
        assert second.verify() == store.verify()
        assert second.checkpoint() == store.checkpoint()
        store.rotate_key(actor="cli:ada")
        assert second.append(RESULT, event_id=number(2)).first == 4
        known = second.append(RESULT, event_id=number(2))
        second.rotate_key(actor="cli:eve")
        assert store.append(RESULT, event_id=number(2)) == known
        assert store.append(RESULT, event_id=number(3)).first == 6
        assert second.verify() == store.verify()


def test_who_does_not_have_the_new_key_does_not_sign(store: Store, place: Place) -> None:
    ticking = Ticking()
    with place.open(ticking) as second:
        old = (place.folder / "log.key").read_bytes()
        store.rotate_key(actor="cli:ada")
        new = (place.folder / "log.key").read_bytes()
        (place.folder / "log.key").write_bytes(old)
        with pytest.raises(StoreUnavailable, match="no key file here has it"):
            second.append(RESULT, event_id=number(2))
        with pytest.raises(StoreUnavailable, match="no key file here has it"):
            place.open(ticking)
        (place.folder / "log.key").write_bytes(new)
        assert second.append(RESULT, event_id=number(2)).entries[0].seq == 1
        second.verify()


def signed_by(key: Ed25519PrivateKey, note: str) -> str:
    return Signer(LOG, key).sign(Note.parse(note).text)


@pytest.mark.parametrize("case", ["old-later", "new-earlier", "new-alone", "old-alone", "dropped"])
def test_a_key_counts_only_for_its_own_sizes(store: Store, place: Place, case: str) -> None:
    old = private(place)
    store.rotate_key(actor="cli:ada")
    store.append(RESULT, event_id=number(2))
    new = private(place)
    notes = dict(store.notes(LOG))
    sizes = {"old-later": 4, "new-earlier": 2, "new-alone": 3, "old-alone": 3}
    if case == "dropped":
        place.alter(
            "delete from audit_checkpoint where size = 3",
            "update audit_checkpoint set n = 2 where n = 3",
            "update audit_head set checkpoints = 3",
        )
    else:
        size = sizes[case]
        forged = signed_by(old if case.startswith("old") else new, notes[size])
        place.alter("update audit_checkpoint set note = ? where size = ?", values=(forged, size))

    sentence = "signed by both keys" if case == "dropped" else "not signed by the key"
    with pytest.raises(AlteredLog, match=sentence):
        store.verify()


def test_a_log_that_another_key_ends_is_not_ours(store: Store, place: Place) -> None:
    key = str(VerifierKey(LOG, Signer(LOG, Ed25519PrivateKey.generate()).verifier.public))
    place.alter(f"update audit_head set vkey = '{key}'")  # noqa: S608 - a base64 word

    with pytest.raises(AlteredLog, match="say of its key"):
        store.verify()
    with pytest.raises(StoreUnavailable, match="no key file here has it"):
        store.append(RESULT, event_id=number(2))


def test_a_log_that_names_no_first_key_waits_for_the_next_year(store: Store, place: Place) -> None:
    (leaf,) = (leaf for (leaf,) in place.rows("select leaf from audit_entry where idx = 0"))
    vkey = f',"vkey":"{store.verifier}"'.encode()
    place.alter("update audit_entry set leaf = ? where idx = 0", values=(leaf.replace(vkey, b""),))

    with pytest.raises(SettingsError, match="next year"):
        store.rotate_key(actor="cli:ada")
    assert not (place.folder / "log.key.new").exists()


def test_an_exports_list_is_signed_by_a_key_that_there_is(store: Store, ticking: Ticking) -> None:
    former = store.verifier
    listed = f"fhir-bridge/audit-export/v1\nlog {LOG}\nsize 3\n"
    ticking.moment = datetime(2027, 1, 1, tzinfo=UTC)
    store.append(RESULT, event_id=number(2))
    assert former.open(store.sign_manifest(listed)) == listed
    store.rotate_key(actor="cli:ada")

    assert store.verifier.open(store.sign_manifest(listed)) == listed


# Changes the key and is killed at one step of it.
CHANGING = """
import os, signal, sys
from pathlib import Path
from fhir_bridge.store import Store
from fhir_bridge.store.database import Database
from fhir_bridge.store.folder import Folder

step = sys.argv[3]
store = Store.open(Path(sys.argv[1]), log_origin="bridge.example", database=sys.argv[2])

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def after(kind, name):
    real = getattr(kind, name)
    def then(*arguments):
        real(*arguments)
        die()
    setattr(kind, name, then)

def torn(self, path):
    with path.open("r+b") as file:
        file.write(b"x" * 40)
    die()

def unlinked(self, path):
    path.unlink()
    die()

def renamed(self, old, new):
    os.replace(old, new)
    if new.name == "log.key":
        die()

def uncommitted(*_):
    from fhir_bridge.store.batch import Batch
    after(Batch, "change_key")

{
    "before": lambda: setattr(Folder, "write_private", die),
    "written": lambda: after(Folder, "write_private"),
    "uncommitted": uncommitted,
    "committed": lambda: setattr(type(store._opened.keys), "change", die),
    "unsettled": lambda: setattr(Folder, "destroy", die),
    "torn": lambda: setattr(Folder, "destroy", torn),
    "unlinked": lambda: setattr(Folder, "destroy", unlinked),
    "destroyed": lambda: after(Folder, "destroy"),
    "renamed": lambda: setattr(Folder, "rename", renamed),
}[step]()
store.rotate_key(actor="cli:ada")
"""
UNCHANGED = ("before", "written", "uncommitted")
STEPS = (*UNCHANGED, "committed", "unsettled", "torn", "unlinked", "destroyed", "renamed")


@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_while_it_changes_the_key_leaves_a_store_that_is_right(
    place: Place, step: str
) -> None:
    with place.open_by_the_clock() as store:
        store.append(INTENT, event_id=number(1))
        old = store.verifier
        arguments = [sys.executable, "-c", CHANGING, str(place.folder), place.url, step]
        child = subprocess.run(arguments, check=False, capture_output=True, timeout=60)
        assert child.returncode == -9, child.stderr.decode()
        assert store.append(RESULT, event_id=number(2)).entries[0].seq == 1
    with place.open_by_the_clock() as store:
        assert (store.verifier == old) == (step in UNCHANGED)
        assert [path.name for path in place.folder.glob("log.key*")] == ["log.key"]
        verified = store.verify()
        assert verified.entries == 3 + (step not in UNCHANGED)
        store.rotate_key(actor="cli:ada")
        assert store.append(RESULT, event_id=number(3)).entries[0].seq == 2
        assert store.verify().entries == verified.entries + 2


def opened(place: Place, passphrase: bytes | None) -> Store:
    return Store.open(place.folder, log_origin=ORIGIN, database=place.url, passphrase=passphrase)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_key_is_kept_encrypted_where_a_passphrase_is_given(place: Place) -> None:
    with opened(place, b"correct horse") as store:
        assert b"ENCRYPTED" in (place.folder / "log.key").read_bytes()
        store.rotate_key(actor="cli:ada")
        assert b"ENCRYPTED" in (place.folder / "log.key").read_bytes()
    with opened(place, b"correct horse") as store:
        assert store.append(INTENT, event_id=number(1)).first == 2
        assert store.verify().entries == 3


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("made", "given", "sentence"),
    [
        (b"correct horse", b"wrong horse", "the passphrase does not open log.key"),
        (b"correct horse", None, "give its passphrase with log.passphrase_env"),
        (None, b"correct horse", "log.key is not encrypted"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_said_to(
    place: Place, made: bytes | None, given: bytes | None, sentence: str
) -> None:
    opened(place, made).close()

    with pytest.raises(SettingsError, match=sentence) as refused:
        opened(place, given)
    assert "horse" not in str(refused.value)
    with opened(place, made) as store:
        assert store.verify().entries == 1


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_two_keys_in_one_file_are_refused(place: Place) -> None:
    opened(place, None).close()
    path = place.folder / "log.key"
    path.write_bytes(path.read_bytes() * 2)

    with pytest.raises(SettingsError, match="holds two keys"):
        opened(place, None)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_of_two_key_files_the_one_that_the_log_names_counts(place: Place) -> None:
    with opened(place, None) as store:
        verifier = store.verifier
    new = Ed25519PrivateKey.generate()
    (place.folder / "log.key.new").write_bytes(written(new, None))
    (place.folder / "log.key.new").chmod(0o600)
    with opened(place, None) as store:
        assert store.verifier == verifier
    assert not (place.folder / "log.key.new").exists()
