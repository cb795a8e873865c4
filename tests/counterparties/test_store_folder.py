"""The store's folder: rights, keys, versions, locks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store
from tests.simulators.ticking import Ticking

ORIGIN = "bridge.example"
ID = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "store"


def opened(path: Path, origin: str = ORIGIN) -> Store:
    return Store.open(path, clock=Ticking().clock(), log_origin=origin)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_may_look_into_a_store(path: Path) -> None:
    umask = os.umask(0)
    try:
        with opened(path) as store:
            store.append(NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada"), event_id=ID)
            with store.lease("second", "Patient/1"):
                files = {file for file in path.rglob("*") if file.is_file()}
                assert {mode(file) for file in files} == {0o600}
                assert {file.name for file in files} >= {"store.db", "store.db-wal", "log.key"}
                assert {mode(path), mode(path / "locks")} == {0o700}
    finally:
        os.umask(umask)


@pytest.mark.parametrize("name", ["log.key", "seal.key", "store.db", ""])
@pytest.mark.parametrize("extra", [0o040, 0o004, 0o020])
def test_a_store_that_others_may_look_into_is_refused(path: Path, name: str, extra: int) -> None:
    opened(path).close()
    os.chmod(path / name, mode(path / name) | extra)  # noqa: PTH101 - the folder itself, too

    with pytest.raises(SettingsError, match=r"run chmod [67]00"):
        opened(path)


@pytest.mark.parametrize("name", ["log.key", "seal.key"])
def test_a_key_that_is_missing_while_the_log_has_entries_is_refused(path: Path, name: str) -> None:
    opened(path).close()
    (path / name).rename(path / "away")

    with pytest.raises(SettingsError, match="put the key back from a backup"):
        opened(path)
    assert not (path / name).exists()
    (path / "away").rename(path / name)
    opened(path).close()


def test_a_key_that_is_a_link_is_refused(path: Path) -> None:
    opened(path).close()
    (path / "log.key").rename(path / "elsewhere")
    (path / "log.key").symlink_to(path / "elsewhere")

    with pytest.raises(SettingsError, match="cannot be read"):
        opened(path)


@pytest.mark.parametrize("name", ["log.key", "seal.key"])
@pytest.mark.parametrize("content", [b"", b"not a key", b"x" * 33])
def test_a_key_that_is_none_is_refused(path: Path, name: str, content: bytes) -> None:
    opened(path).close()
    (path / name).write_bytes(content)

    with pytest.raises(SettingsError, match="from a backup"):
        opened(path)


def test_a_key_of_another_kind_is_refused(path: Path) -> None:
    opened(path).close()
    other = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (path / "log.key").write_bytes(other)

    with pytest.raises(SettingsError, match="Ed25519"):
        opened(path)


def test_a_key_of_another_log_is_refused(path: Path, tmp_path: Path) -> None:
    opened(path).close()
    opened(tmp_path / "other").close()
    (path / "log.key").write_bytes((tmp_path / "other" / "log.key").read_bytes())

    with pytest.raises(AlteredLog, match="not signed by the key"):
        opened(path)


def test_a_log_that_was_removed_beside_its_key_is_not_begun_anew(path: Path) -> None:
    opened(path).close()
    (path / "store.db").unlink()

    with pytest.raises(AlteredLog, match="someone removed the log"):
        opened(path)
    with pytest.raises(AlteredLog, match="someone removed the log"):
        opened(path)


def test_a_log_whose_beginning_was_interrupted_is_begun_again(path: Path) -> None:
    """The key waits under another name until the first entry is on the disk."""
    opened(path).close()
    key = (path / "log.key").read_bytes()
    (path / "log.key").rename(path / "log.key.new")
    with opened(path) as store:
        assert store.verify().entries == 1
    assert not (path / "log.key.new").exists()
    (path / "log.key").rename(path / "log.key.new")
    (path / "store.db").unlink()
    with opened(path) as store:
        assert store.verify().entries == 1

    assert (path / "log.key").read_bytes() == key


def test_a_log_keeps_its_name(path: Path) -> None:
    opened(path).close()

    with pytest.raises(SettingsError, match=r"log is bridge.example/audit/2026"):
        opened(path, origin="other.example")


def test_a_name_that_no_log_can_have_is_refused_before_anything_is_signed(path: Path) -> None:
    with pytest.raises(SettingsError, match="name"):
        opened(path, origin="two words")
    with opened(path) as store:
        assert store.verify().entries == 1


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    opened(path).close()
    (path / "store.db").write_bytes(b"no database at all" * 100)

    with pytest.raises(SettingsError, match="not a database"):
        opened(path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(SettingsError, match=r"cannot be used \(E[A-Z]+\).*--store"):
        opened(tmp_path / "file" / "store")


def test_a_key_that_cannot_be_written_stops_the_bridge(path: Path) -> None:
    (path / "seal.key.draft").mkdir(parents=True)
    path.chmod(0o700)

    with pytest.raises(StoreUnavailable, match="could not be written"):
        opened(path)


def test_a_lock_that_cannot_be_taken_stops_the_bridge(path: Path) -> None:
    with opened(path) as store:
        (path / "locks" / "opening").unlink()
        (path / "locks").rmdir()
        (path / "locks").write_bytes(b"")
        with pytest.raises(StoreUnavailable, match="cannot be written"), store.lease("a", "b"):
            pass


def test_a_commit_is_on_the_disk_and_what_is_deleted_is_overwritten(path: Path) -> None:
    with opened(path) as store, store._database.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"pragma {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }

    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
    }
