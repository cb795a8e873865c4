"""The store's folder: rights, keys, versions, locks."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

import fhir_bridge.store
from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store, growth
from fhir_bridge.store.database import VERSION
from fhir_bridge.store.schema import metadata
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


def test_a_store_of_a_newer_version_is_refused(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path / "store.db") as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()

    with pytest.raises(SettingsError, match="newer fhir-bridge"):
        opened(path)


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


def test_the_tables_and_the_heads_lock_are_written_for_postgresql_too() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    tables = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    head = str(growth._HEAD._statement.compile(dialect=dialect))  # type: ignore[attr-defined]

    assert sum("BYTEA" in table for table in tables) == 8
    assert sum("BIGINT" in table for table in tables) == 6
    assert head.endswith("FOR UPDATE OF audit_head")


def test_the_tables_after_all_migrations_are_those_of_the_schema(path: Path) -> None:
    with opened(path) as store, store._database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_version_asked_for_is_the_newest_migration() -> None:
    folder = Path(fhir_bridge.store.__file__).parent / "migrations"

    assert ScriptDirectory(folder).get_current_head() == VERSION


def test_a_store_that_needs_no_migration_opens_without_the_migrations(path: Path) -> None:
    opened(path).close()
    code = (
        "import sys; from pathlib import Path; from fhir_bridge.store import Store;"
        f"Store.open(Path({str(path)!r}), log_origin={ORIGIN!r}).close();"
        "sys.exit('alembic' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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


def _open_and_append(path: Path, gate: Callable[[], object], at: int) -> None:
    gate()
    with Store.open(path, log_origin=ORIGIN) as store:
        for number in range(30):
            store.append(
                NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada"),
                event_id=f"{at:08x}-0000-4000-8000-{number:012x}",
            )


def test_processes_that_open_a_new_store_at_once_share_one_log(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(3)
    workers = [
        spawn.Process(target=_open_and_append, args=(path, gate.wait, at)) for at in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with Store.open(path, log_origin=ORIGIN) as store:
        assert store.verify().entries == 91


def test_one_writer_for_each_patient_at_each_destination(path: Path) -> None:
    waits: list[str] = []
    with opened(path) as store, store.lease("second", "Patient/1"):
        with store.lease("second", "Patient/2"), store.lease("third", "Patient/1"):
            pass
        with (
            pytest.raises(StoreUnavailable, match="waited 5 seconds"),
            store.lease(
                "second", "Patient/1", wait_seconds=5, on_wait=lambda: waits.append("waited")
            ),
        ):
            pass

    assert waits == ["waited"]


def test_a_lease_given_back_is_free_also_after_an_error(path: Path) -> None:
    with opened(path) as store:
        with pytest.raises(KeyError), store.lease("second", "Patient/1"):
            raise KeyError
        with store.lease("second", "Patient/1", wait_seconds=0):
            pass


def test_whoever_waits_for_a_lease_gets_it_when_it_is_given_back(path: Path) -> None:
    order: list[str] = []
    waiting = threading.Event()
    with Store.open(path, log_origin=ORIGIN) as store:

        def second() -> None:
            with store.lease("second", "Patient/1", on_wait=waiting.set):
                order.append("second")

        thread = threading.Thread(target=second)
        with store.lease("second", "Patient/1"):
            thread.start()
            assert waiting.wait(10)
            order.append("first")
        thread.join(10)

    assert order == ["first", "second"]


def test_a_lease_of_a_process_that_was_killed_is_free(path: Path) -> None:
    opened(path).close()
    code = (
        "import sys; from pathlib import Path; from fhir_bridge.store import Store;"
        f"store = Store.open(Path({str(path)!r}), log_origin={ORIGIN!r});"
        "lease = store.lease('second', 'Patient/1'); lease.__enter__();"
        "print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdin is not None
    with opened(path) as store, child.stdout, child.stdin:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StoreUnavailable), store.lease("second", "Patient/1", wait_seconds=1):
            pass
        child.kill()
        child.wait(10)
        with store.lease("second", "Patient/1", wait_seconds=0):
            pass
