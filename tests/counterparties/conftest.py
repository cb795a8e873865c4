"""The servers that tests of this folder speak to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhir_bridge.sandbox import Sandbox
from tests.simulators.counterparty import Counterparty, counterparty
from tests.simulators.official_validator import OfficialValidator
from tests.simulators.servers import hapi_bases, sekmet_base, validator_folder


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
