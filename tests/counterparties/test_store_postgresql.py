"""The store on PostgreSQL: servers that are away, weak or killed; leases that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from fhir_bridge.errors import SettingsError, StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store
from tests.simulators.postgresql import PostgresqlServer, postgresql_server
from tests.simulators.stores import Place, PostgresqlPlace
from tests.simulators.ticking import Ticking

INTENT = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada")
ID = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
OTHER = "6f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"

over_postgresql = pytest.mark.parametrize(
    "place", [pytest.param("postgresql", marks=pytest.mark.real)], indirect=True
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        yield server


@pytest.fixture
def own(cluster: PostgresqlServer, tmp_path: Path) -> Iterator[PostgresqlPlace]:
    """A store on a server that the test may kill."""
    if not cluster.runs:
        cluster.start()
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    yield PostgresqlPlace(tmp_path / "store", cluster.url)
    if cluster.runs:
        cluster.stop()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ada:canary@127.0.0.1/x",
        "ada:canary@127.0.0.1",
        "postgresql://ada:canary@127.0.0.1:port/x",
        "postgresql+asyncpg://ada:canary@127.0.0.1/x",
        "sqlite:///x.db",
    ],
)
def test_what_is_no_postgresql_url_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="URL postgresql://USER@HOST/DATABASE") as refused:
        Store.open(tmp_path / "store", log_origin="bridge.example", database=url)

    assert "canary" not in str(refused.value)


def test_a_server_that_is_not_there_is_said_to_be_away(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="check that PostgreSQL runs"):
        Store.open(
            tmp_path / "store",
            log_origin="bridge.example",
            database="postgresql://ada:canary@127.0.0.1:1/x",
        )


@pytest.mark.real
@pytest.mark.parametrize("setting", ["fsync=off", "full_page_writes=off"])
def test_a_server_that_does_not_keep_what_it_acknowledges_is_refused(
    cluster: PostgresqlServer, tmp_path: Path, setting: str
) -> None:
    cluster.start(setting)
    try:
        with pytest.raises(SettingsError, match="could lose what it acknowledged"):
            PostgresqlPlace(tmp_path / "store", cluster.url).open()
    finally:
        cluster.stop()


@over_postgresql
def test_a_commit_is_on_the_servers_disk_whatever_the_role_was_set_to(place: Place) -> None:
    name = place.url.rpartition("/")[2]
    place.alter(f"alter database {name} set synchronous_commit = off")
    with place.open() as store:
        asked = "show synchronous_commit"
        with store._database.writing() as connection:
            assert connection.exec_driver_sql(asked).scalar_one() == "on"
        with store._database.reading() as connection:
            levels = connection.exec_driver_sql(
                "select current_setting('transaction_isolation'),"
                " current_setting('transaction_read_only')"
            ).one()

    assert tuple(levels) == ("repeatable read", "on")


@over_postgresql
def test_a_second_folder_of_keys_does_not_begin_a_second_log(place: Place, tmp_path: Path) -> None:
    place.open().close()
    other = PostgresqlPlace(tmp_path / "other", place.url)
    for _ in range(2):
        with pytest.raises(SettingsError, match="missing, and the log has entries"):
            other.open()
    other_keys = {path.name for path in other.folder.iterdir() if path.is_file()}

    assert other_keys == set()
    with place.open() as store:
        assert store.verify().entries == 1


@pytest.mark.real
def test_a_server_that_was_away_while_nobody_asked_is_not_noticed(
    own: PostgresqlPlace, cluster: PostgresqlServer
) -> None:
    with own.open() as store:
        cluster.stop()
        cluster.start()
        assert store.append(INTENT, event_id=ID).first == 1
        assert store.verify().entries == 2


@pytest.mark.real
def test_a_store_goes_on_by_itself_when_its_server_is_back(
    own: PostgresqlPlace, cluster: PostgresqlServer
) -> None:
    with own.open() as store:
        cluster.stop()
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="nothing was sent"):
                store.append(INTENT, event_id=ID)
            with pytest.raises(StoreUnavailable, match="cannot be read"):
                store.checkpoint()
        cluster.start()
        assert store.append(INTENT, event_id=ID).first == 1
        assert store.append(INTENT, event_id=ID).first == 1
        assert store.verify().entries == 2


@pytest.mark.real
def test_a_lease_that_the_server_ended_lets_no_intent_be_signed(
    own: PostgresqlPlace, cluster: PostgresqlServer
) -> None:
    said = NewEntry(type=Event.TRANSFER_REQUESTED, actor="cli:ada")
    with own.open() as store:
        with store.lease("second", "Patient/1"):
            cluster.stop()
            cluster.start()
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="lease was lost"):
                    store.append(INTENT, event_id=ID)
            store.append(said, event_id=OTHER)
        with store.lease("second", "Patient/1", wait_seconds=0):
            store.append(INTENT, event_id=ID)
        assert store.verify().entries == 3


@pytest.mark.real
def test_a_lease_is_not_had_while_the_server_is_away(
    own: PostgresqlPlace, cluster: PostgresqlServer
) -> None:
    with own.open() as store:
        cluster.stop()
        with pytest.raises(StoreUnavailable), store.lease("second", "Patient/1"):
            pass


@over_postgresql
def test_a_writer_that_keeps_the_others_waiting_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhir_bridge.store.postgresql._BUSY_SECONDS", 1)
    ticking = Ticking()
    with place.open(ticking) as store, place.open(ticking) as second:
        with store._database.writing(), pytest.raises(StoreUnavailable, match="another process"):
            second.append(INTENT, event_id=ID)
        assert second.append(INTENT, event_id=ID).first == 1


@over_postgresql
def test_a_read_only_server_takes_nothing_and_goes_on_when_it_may_be_written(
    place: Place,
) -> None:
    name = place.url.rpartition("/")[2]
    ticking = Ticking()
    place.open(ticking).close()
    place.alter(f"alter database {name} set default_transaction_read_only = on")
    with place.open(ticking) as store:
        with pytest.raises(StoreUnavailable, match="read-only"):
            store.append(INTENT, event_id=ID)
        place.alter(
            "set default_transaction_read_only = off",
            f"alter database {name} set default_transaction_read_only = off",
        )
        assert store.append(INTENT, event_id=ID).first == 1


@over_postgresql
def test_a_commit_whose_answer_was_lost_is_looked_for_and_not_repeated(place: Place) -> None:
    """The server ends the connection after the commit and before the answer arrives."""
    with place.open() as store:
        with suppress(StoreUnavailable), store._database.writing() as connection:
            store._append(connection, [INTENT], ID)
            session = connection.connection.driver_connection
            assert isinstance(session, psycopg.Connection)
            session.execute("commit")
            place.alter(f"select pg_terminate_backend({session.info.backend_pid})")
            connection.exec_driver_sql("select 1")

        assert session.broken
        assert store.append(INTENT, event_id=ID).first == 1
        assert store.verify().entries == 2
