"""Which certificates are trusted: the authority that the operator names, and no other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError
from fhir_bridge.providers import Providers, Servers
from fhir_bridge.settings import load
from fhir_bridge.store import Store
from fhir_bridge.transfer import Order
from fhir_bridge.wire import Side
from tests.journeys.world import World
from tests.simulators.hostile_server import HostileServer, fhir

OK = fhir({"resourceType": "Patient", "id": "1"})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def asked(folder: Path, server: HostileServer, authority: trustme.CA) -> str:
    """Ask the server by its alias, as `fhir-bridge.toml` names it; return what it is said to be."""
    authority.cert_pem.write_to_path(folder / "ca.pem")
    file = folder / "fhir-bridge.toml"
    file.write_text(
        f'[servers.first]\nbase = "{server.base}"\nca_file = "{folder / "ca.pem"}"\n',
        encoding="utf-8",
    )
    settings = load(file, store=folder / "store", environ={})
    with Store.open(settings.store, log_origin=settings.log_origin) as store:
        providers = Providers(Servers(settings, store), Clock())
        try:
            return str(providers.provider("first", Side.SOURCE).server.read("Patient/1").ref)  # type: ignore[arg-type]
        finally:
            providers.close()


def papers(folder: Path, issued: trustme.LeafCert) -> Path:
    path = folder / "server.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(path)
    return path


def test_a_server_that_the_named_authority_vouches_for_is_asked(
    tmp_path: Path, authority: trustme.CA
) -> None:
    issued = papers(tmp_path, authority.issue_cert("127.0.0.1"))
    with HostileServer([OK], certificate=issued) as server:
        assert asked(tmp_path, server, authority) == "Patient/1"


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(
        "127.0.0.1",
        not_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_after=datetime(2020, 2, 1, tzinfo=UTC),
    )


def for_another_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("another.example")


def of_another_authority(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


@pytest.mark.parametrize("issue", [expired, for_another_host, of_another_authority])
def test_a_certificate_that_is_not_right_ends_in_one_sentence_and_nothing_is_sent(
    tmp_path: Path, authority: trustme.CA, issue: object
) -> None:
    assert callable(issue)
    with HostileServer([OK], certificate=papers(tmp_path, issue(authority))) as server:
        with pytest.raises(SettingsError) as caught:
            asked(tmp_path, server, authority)

        assert server.asked == []
    said = str(caught.value)
    assert "certificate" in said
    assert "nothing was sent" in said
    assert "\n" not in said


def test_no_record_is_sent_to_a_destination_whose_certificate_is_not_right(
    tmp_path: Path, authority: trustme.CA
) -> None:
    with HostileServer(
        [OK], certificate=papers(tmp_path, of_another_authority(authority))
    ) as server:
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        written = {
            "servers.third": f'base = "{server.base}"\nca_file = "{tmp_path / "ca.pem"}"\n'
            'organisations = [{ identifier = "urn:oid:2.999.1.2|second-opinion-centre" }]\n'
        }
        with World(tmp_path / "world", "amelia", written=written) as world:
            order: Order = world.order(destination="third")
            with world.bridge() as bridge, pytest.raises(SettingsError, match="certificate"):
                bridge.transfer(order)

            assert world.rows()[0].state == "incomplete"
            assert "disclosure.intent" not in world.log()
        assert server.asked == []
