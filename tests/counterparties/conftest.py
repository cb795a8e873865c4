"""The servers that tests of this folder speak to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge.sandbox import Sandbox
from fhir_bridge.store.postgresql import PostgresqlDatabase
from tests.simulators.counterparty import Counterparty, counterparty
from tests.simulators.official_validator import OfficialValidator
from tests.simulators.servers import hapi_bases, sekmet_base, validator_folder
from tests.simulators.stores import (
    OVER_BOTH,
    Place,
    PostgresqlPlace,
    create_database,
    drop_database,
)


@pytest.fixture(scope="session")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OfficialValidator]:
    """HL7's own validator, started once."""
    with OfficialValidator(validator_folder(), tmp_path_factory.mktemp("validator")) as running:
        yield running


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Counterparty]:
    """The server that a contract test is run over; named by the test's parameter."""
    product: str = request.param
    if product == "sandbox":
        with Sandbox(name="contract") as sandbox, counterparty(product, sandbox.base) as opened:
            yield opened
        return
    base = hapi_bases()[0] if product == "hapi" else sekmet_base()
    with counterparty(product, base) as opened:
        yield opened


@pytest.fixture(scope="session")
def migrated() -> Iterator[str]:
    """A PostgreSQL database with the store's tables and no row in them: each test gets a copy."""
    url = create_database()
    database = PostgresqlDatabase(url)
    database.upgrade()
    database.close()
    yield url
    drop_database(url)


@pytest.fixture(params=OVER_BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where the test's store is: in SQLite, and again in PostgreSQL."""
    if request.param == "sqlite":
        yield Place(tmp_path / "store")
        return
    place = PostgresqlPlace(
        tmp_path / "store", create_database(request.getfixturevalue("migrated"))
    )
    yield place
    place.remove()
