"""A client certificate: shown to the server that asks for one, and to no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fhir_bridge.errors import BridgeError, SettingsError
from fhir_bridge.settings import CredentialSettings, Secret, ServerSettings
from fhir_bridge.tokens import ClientCertificate, open_credential
from fhir_bridge.wire import ONCE, NoCredential, Side, Wire
from tests.simulators.hostile_server import HostileServer, fhir
from tests.simulators.ticking import Ticking

OK = fhir({"resourceType": "Patient", "id": "1"})


@dataclass(frozen=True)
class Papers:
    """Certificates of one made-up authority."""

    authority: Path
    server: Path
    client: Path
    key: Path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    authority = trustme.CA()
    one = Papers(*(folder / name for name in ("ca.pem", "server.pem", "client.pem", "key.pem")))
    authority.cert_pem.write_to_path(one.authority)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(one.server)
    client = authority.issue_cert("bridge@first.example")
    client.cert_chain_pems[0].write_to_path(one.client)
    one.key.touch(0o600)
    client.private_key_pem.write_to_path(one.key)
    return one


def settings(base: str, papers: Papers) -> ServerSettings:
    return ServerSettings(
        name="first",
        base=base,
        identity=base,
        ca_file=papers.authority,
        credential=CredentialSettings(
            kind="mtls", certificate_file=papers.client, secret=Secret(file=papers.key)
        ),
    )


def opened(server: ServerSettings) -> Wire:
    clock = Ticking().clock()
    credential = open_credential(server, side=Side.SOURCE, clock=clock)
    return Wire(
        server.base,
        side=Side.SOURCE,
        credential=credential,
        clock=clock,
        ca_file=server.trusted(),
    )


def test_a_server_that_asks_for_a_certificate_is_shown_ours(papers: Papers) -> None:
    with HostileServer([OK], certificate=papers.server, clients=papers.authority) as server:
        wire = opened(settings(server.base, papers))

        assert wire.request("GET", "Patient/1").status == 200
        assert "authorization" not in server.asked[0].headers
        wire.close()


def test_a_server_that_asks_for_a_certificate_answers_nobody_without_one(papers: Papers) -> None:
    with HostileServer([OK], certificate=papers.server, clients=papers.authority) as server:
        wire = Wire(
            server.base,
            side=Side.SOURCE,
            credential=NoCredential(),
            clock=Ticking().clock(),
            ca_file=str(papers.authority),
        )
        with pytest.raises(BridgeError):
            wire.request("GET", "Patient/1", retry=ONCE)
        wire.close()

        assert server.asked == []


def test_a_server_that_another_authority_vouches_for_is_sent_nothing(papers: Papers) -> None:
    other = papers.server.parent / "other.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(other)
    with HostileServer([OK], certificate=other) as server:
        wire = opened(settings(server.base, papers))
        with pytest.raises(SettingsError, match="certificate or encryption"):
            wire.request("GET", "Patient/1")

        assert server.asked == []


def test_a_certificate_needs_tls(papers: Papers) -> None:
    with pytest.raises(SettingsError, match="needs https"):
        opened(settings("http://127.0.0.1:8080/fhir", papers))


def test_a_certificate_says_when_it_ends(papers: Papers) -> None:
    assert ClientCertificate(papers.client, papers.key).ends() > datetime(2026, 1, 1, tzinfo=UTC)


def test_a_certificate_shows_its_files_and_not_its_key(papers: Papers) -> None:
    shown = repr(ClientCertificate(papers.client, papers.key))

    assert str(papers.key) in shown
    assert papers.key.read_text().splitlines()[1] not in shown


def _with_passphrase(file: Path) -> None:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


def _another(file: Path) -> None:
    file.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_with_passphrase, "without passphrase"),
        (_another, "does not belong to the key"),
        (lambda file: file.write_text("no key"), "without passphrase"),
        (lambda file: file.chmod(0o640), "chmod 600"),
        (lambda file: file.unlink(), "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_used_stops_before_anyone_is_asked(
    change: Callable[[Path], None], sentence: str, papers: Papers, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.touch(0o600)
    key.write_bytes(papers.key.read_bytes())
    change(key)

    with pytest.raises(SettingsError, match=sentence):
        ClientCertificate(papers.client, key)


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_a_file_that_is_no_certificate_is_named(text: str, papers: Papers, tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    file.write_text(text)

    with pytest.raises(SettingsError, match=str(file)):
        ClientCertificate(file, papers.key)
    with pytest.raises(SettingsError, match="holds no certificates"):
        ServerSettings(name="a", base="https://a.example", identity="a", ca_file=file).trusted()
