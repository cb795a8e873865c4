"""The store's tables, over SQLite and over PostgreSQL."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import fhir_bridge.store
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store
from fhir_bridge.store.database import VERSION
from fhir_bridge.store.schema import metadata
from tests.simulators.stores import (
    ORIGIN,
    OVER_BOTH,
    Place,
    PostgresqlPlace,
    create_database,
    drop_database,
)

OPENING = """
import sys
from pathlib import Path
from fhir_bridge.store import Store

Store.open(Path(sys.argv[1]), log_origin="bridge.example", database=sys.argv[2]).close()
sys.exit("alembic" in sys.modules)
"""


def test_a_store_of_a_newer_version_is_refused(place: Place) -> None:
    place.open().close()
    place.alter("update alembic_version set version_num = '9999'")

    with pytest.raises(SettingsError, match="newer fhir-bridge"):
        place.open()


def test_the_tables_after_all_migrations_are_those_of_the_schema(place: Place) -> None:
    with place.open() as store, store._database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_version_asked_for_is_the_newest_migration() -> None:
    folder = Path(fhir_bridge.store.__file__).parent / "migrations"

    assert ScriptDirectory(folder).get_current_head() == VERSION


def test_a_store_that_needs_no_migration_opens_without_the_migrations(place: Place) -> None:
    place.open().close()
    arguments = [sys.executable, "-c", OPENING, str(place.folder), place.url]

    assert subprocess.run(arguments, check=False).returncode == 0


def _open_and_append(path: Path, url: str, gate: Callable[[], object], at: int) -> None:
    gate()
    with Store.open(path, log_origin=ORIGIN, database=url) as store:
        for number in range(30):
            store.append(
                NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada"),
                event_id=f"{at:08x}-0000-4000-8000-{number:012x}",
            )


@pytest.mark.parametrize("product", OVER_BOTH)
def test_processes_that_open_a_new_store_at_once_share_one_log(
    product: str, tmp_path: Path
) -> None:
    url = "" if product == "sqlite" else create_database()
    place = PostgresqlPlace(tmp_path, url) if url else Place(tmp_path / "store")
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(3)
    workers = [
        spawn.Process(target=_open_and_append, args=(place.folder, url, gate.wait, at))
        for at in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with place.open_by_the_clock() as store:
        assert store.verify().entries == 91
    if url:
        drop_database(url)
