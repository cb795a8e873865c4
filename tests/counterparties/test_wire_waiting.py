"""How long the wire waits, what it asks again, and what it never sends twice."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from threading import Barrier

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fhir_bridge.errors import (
    BridgeError,
    DestinationUnreachable,
    SettingsError,
    SourceUnreachable,
    Throttled,
)
from fhir_bridge.tokens import Bearer
from fhir_bridge.wire import ONCE, AnswerLost, Limits, Side, Wire
from tests.simulators.hostile_server import HANG_UP, Asked, HostileServer, Says, fhir
from tests.simulators.ticking import Ticking

OK = fhir({"resourceType": "Patient", "id": "1"})
TOO_MANY = Says(status=429, headers={"Retry-After": "7"})


@pytest.fixture
def time() -> Ticking:
    return Ticking()


def wire_to(server: HostileServer, time: Ticking) -> Wire:
    return Wire(server.base, side=Side.SOURCE, clock=time.clock())


# Waiting


def test_retry_after_in_seconds_is_obeyed(time: Ticking) -> None:
    with HostileServer([TOO_MANY, OK]) as server:
        wire_to(server, time).request("GET", "Patient/1")

        assert time.waited == 7


def test_retry_after_as_a_date_counts_from_the_servers_own_clock(time: Ticking) -> None:
    later = {
        "Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT",
        "Date": "Fri, 31 Dec 1999 23:59:29 GMT",
    }
    with HostileServer([Says(status=503, headers=later), OK]) as server:
        wire_to(server, time).request("GET", "Patient/1")

        assert time.waited == 30


@pytest.mark.parametrize("said", ["soon", "-5", "", "1e9", "²"])
def test_a_retry_after_that_says_nothing_is_waited_out_ever_longer(
    said: str, time: Ticking
) -> None:
    with HostileServer([Says(status=503, headers={"Retry-After": said})] * 3 + [OK]) as server:
        wire_to(server, time).request("GET", "Patient/1")

        assert time.waited == 0.25 + 1 + 4


def test_the_wire_waits_at_most_two_minutes_per_retry_after(time: Ticking) -> None:
    with (
        HostileServer([Says(status=429, headers={"Retry-After": "121"})]) as server,
        pytest.raises(Throttled, match="resume") as caught,
    ):
        wire_to(server, time).request("GET", "Patient/1")

    assert caught.value.wait_seconds == 121
    assert time.waited == 0


def test_the_wire_waits_at_most_fifteen_minutes_in_all(time: Ticking) -> None:
    often = Says(status=429, headers={"Retry-After": "100"})
    with HostileServer([often, often, often, OK] * 4) as server:
        wire = wire_to(server, time)
        for _ in range(3):
            wire.request("GET", "Patient/1")
        with pytest.raises(Throttled):
            wire.request("GET", "Patient/1")

    assert time.waited == 900


def test_threads_that_are_told_to_wait_at_the_same_time_wait_together() -> None:
    together = Barrier(4)

    def script(_: Asked) -> Says:
        if len(server.asked) > 4:
            return OK
        together.wait(timeout=10)
        return Says(status=429, headers={"Retry-After": "1"})

    with HostileServer(script) as server:
        wire = Wire(server.base, side=Side.SOURCE, limits=Limits(waits_seconds_max=3.5))
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: wire.request("GET", "Patient/1").status, range(4)))

    assert found == [200] * 4


def test_a_server_that_never_stops_saying_later_is_given_up(time: Ticking) -> None:
    with HostileServer([Says(status=503)]) as server, pytest.raises(SourceUnreachable, match="503"):
        wire_to(server, time).request("GET", "Patient/1")
    with HostileServer([Says(status=429)]) as server, pytest.raises(Throttled, match="429"):
        wire_to(server, time).request("GET", "Patient/1")


@pytest.mark.parametrize("status", [400, 404, 410, 422, 500, 501])
def test_an_error_that_waiting_does_not_cure_is_returned_at_once(
    status: int, time: Ticking
) -> None:
    with HostileServer([Says(status=status)]) as server:
        assert wire_to(server, time).request("GET", "Patient/1").status == status
        assert len(server.asked) == 1


# Bad lines


def test_reading_is_asked_again_when_the_answer_was_lost(time: Ticking) -> None:
    with HostileServer([HANG_UP, HANG_UP, OK]) as server:
        assert wire_to(server, time).request("GET", "Patient/1").status == 200


def test_writing_is_never_sent_again_by_the_wire(time: Ticking) -> None:
    with HostileServer([HANG_UP, OK]) as server:
        with pytest.raises(AnswerLost):
            wire_to(server, time).request("PUT", "Patient/1", body=b"{}", retry=ONCE)

        assert len(server.asked) == 1


def test_an_answer_that_breaks_off_is_lost(time: Ticking) -> None:
    half = Says(pieces=[b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
    with HostileServer([half]) as server, pytest.raises(AnswerLost):
        wire_to(server, time).request("GET", "Patient/1", retry=ONCE)


NONSENSE = {
    "other protocol": b"\x16\x03\x01 no http\r\n\r\n",
    "no status": b"HTTP/1.1 abc\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_what_is_not_http_is_an_answer_lost(nonsense: bytes, time: Ticking) -> None:
    with HostileServer([Says(pieces=[nonsense])]) as server, pytest.raises(AnswerLost):
        wire_to(server, time).request("GET", "Patient/1", retry=ONCE)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("side", "error"),
    [(Side.SOURCE, SourceUnreachable), (Side.DESTINATION, DestinationUnreachable)],
)
def test_a_server_that_is_not_running_is_unreachable_and_nothing_was_sent(
    side: Side, error: type[BridgeError], time: Ticking
) -> None:
    wire = Wire(f"http://127.0.0.1:{closed_port()}/fhir", side=side, clock=time.clock())
    with pytest.raises(error, match="check the address and whether it is running") as caught:
        wire.request("GET", "metadata")

    assert not isinstance(caught.value, AnswerLost)


def test_a_name_that_does_not_exist_is_unreachable(
    time: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    wire = Wire("https://nowhere.invalid/fhir", side=Side.SOURCE, clock=time.clock())
    with pytest.raises(SourceUnreachable, match=r"nowhere\.invalid"):
        wire.request("GET", "metadata")


def test_a_server_without_tls_behind_https_is_a_matter_of_settings(time: Ticking) -> None:
    with HostileServer([Says(pieces=[b"HTTP/1.1 400 Bad\r\n\r\n"])]) as server:
        base = server.base.replace("http:", "https:")
        with pytest.raises(SettingsError, match="certificate"):
            Wire(base, side=Side.SOURCE, clock=time.clock()).request("GET", "metadata")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 12, 31, tzinfo=UTC))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, pkcs8, plain) + signed.public_bytes(pem))
    return path


def test_a_certificate_that_nobody_signed_is_a_matter_of_settings(
    certificate: Path, time: Ticking
) -> None:
    with HostileServer([OK], certificate=certificate) as server:
        wire = Wire(server.base, side=Side.SOURCE, clock=time.clock(), credential=Bearer("token"))
        with pytest.raises(SettingsError, match="ask its operator for a valid certificate"):
            wire.request("GET", "Patient/1")

        assert server.asked == []


def test_certificates_that_the_operator_names_are_trusted(certificate: Path, time: Ticking) -> None:
    with HostileServer([OK], certificate=certificate) as server:
        wire = Wire(server.base, side=Side.SOURCE, clock=time.clock(), ca_file=str(certificate))

        assert wire.request("GET", "Patient/1").status == 200
        wire.close()
