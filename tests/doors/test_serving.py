"""The service as an operator runs it: started, reached, refused, stopped."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from fhir_bridge.doors.api.configuration import ApiSettings, read
from fhir_bridge.doors.serving import _listener
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Event
from fhir_bridge.sandbox import Sandbox
from fhir_bridge.store import Store
from fhir_bridge.stories import Story, load
from tests.doors.api.test_tokens import SIGNS, claims
from tests.simulators.running import Running, done, running

STORY = load("amelia")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with settings that keep the store in it."""
    (tmp_path / "fhir-bridge.toml").write_text('store = "store"\n')
    return tmp_path


@pytest.fixture
def providers() -> Iterator[tuple[Sandbox, Sandbox]]:
    with Sandbox(name="first") as first, Sandbox(name="second") as second:
        first.load(STORY.source)
        second.load(STORY.destination)
        yield first, second


def settings_with(providers: tuple[Sandbox, Sandbox], story: Story = STORY) -> str:
    text = 'store = "store"\n'
    for alias, sandbox, party in (
        ("first", providers[0], story.custodian),
        ("second", providers[1], story.recipient),
    ):
        text += (
            f'[servers.{alias}]\nbase = "{sandbox.base}"\n'
            f'organisations = [{{ identifier = "{party.identifier}", name = "{party.name}" }}]\n'
        )
    return text


def asked() -> dict[str, object]:
    return {
        "source": "first",
        "destination": "second",
        "patient": {"reference": STORY.patient},
        "referral": {"reasons": list(STORY.reasons), "question": STORY.question},
    }


def key(folder: Path, role: str) -> dict[str, str]:
    organisation = ("--organisation", STORY.custodian.identifier)
    words = () if role in {"administrator", "monitor"} else organisation
    made = done(folder, "keys", "add", "--role", role, *words)
    return {"Authorization": f"Bearer {made}"}


def followed(base: str, transfer: str, who: dict[str, str]) -> list[str]:
    """The states of a transfer, to its end."""
    with httpx.stream(
        "GET", f"{base}/v1/transfers/{transfer}/events", headers=who, timeout=60
    ) as answer:
        data = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    return [str(json.loads(one)["state"]) for one in data]


def test_the_first_start_says_what_is_there_what_is_not_and_how_to_get_the_first_key(
    folder: Path,
) -> None:
    with running(folder, "serve", "--port", "0") as service:
        assert service.base.startswith("http://127.0.0.1:")
        assert httpx.get(f"{service.base}/readyz").json() == {"status": "ok"}
        assert service.stop() == 0

    assert len(service.said) == 3
    assert "Configured: SQLite in store, a worker for 8 transfers at once." in service.said[0]
    for lacking in ("servers", "keys", "OAuth2 tokens", "TLS", "webhooks", "witnesses"):
        assert lacking in service.said[0].split("Not configured:")[1]
    assert service.said[1].startswith("Nobody can call yet. The first key: fhir-bridge keys add")
    assert service.said[2] == "Stopped."


def test_a_second_start_with_a_key_says_nothing_of_the_first(folder: Path) -> None:
    key(folder, "administrator")
    with running(folder, "serve", "--port", "0", "--role", "api") as service:
        assert "1 keys" in service.base + service.said[0]
        assert service.stop(signal.SIGINT) == 0

    assert len(service.said) == 2


def test_a_transfer_is_triggered_carried_and_told_in_one_process(
    folder: Path, providers: tuple[Sandbox, Sandbox]
) -> None:
    (folder / "fhir-bridge.toml").write_text(settings_with(providers))
    who = key(folder, "integrator")
    with running(folder, "serve", "--port", "0") as service:
        answer = httpx.post(
            f"{service.base}/v1/transfers",
            json=asked(),
            headers={**who, "Idempotency-Key": "order-1"},
        )
        assert answer.status_code == 202, answer.text
        transfer = answer.json()["transfer"]
        states = followed(service.base, transfer, who)
        shown = httpx.get(f"{service.base}/v1/transfers/{transfer}", headers=who).json()
        assert service.stop() == 0

    assert states[0] == "requested"
    assert states[-1] == "closed"
    assert shown["counts"]["identical"] == 60
    text = "\n".join(service.logged)
    for word in ("Amelia", "amelia", "Brandt", "Consent/", "Observation"):
        assert word not in text
    assert all(json.loads(line)["event"] for line in service.logged)


def test_api_and_worker_may_be_two_processes(
    folder: Path, providers: tuple[Sandbox, Sandbox]
) -> None:
    (folder / "fhir-bridge.toml").write_text(settings_with(providers))
    who = key(folder, "integrator")
    with (
        running(folder, "serve", "--port", "0", "--role", "api") as api,
        running(folder, "serve", "--role", "worker"),
    ):
        answer = httpx.post(
            f"{api.base}/v1/transfers", json=asked(), headers={**who, "Idempotency-Key": "o"}
        )
        states = followed(api.base, answer.json()["transfer"], who)

    assert states[-1] == "closed"


def test_a_stream_does_not_keep_the_service_from_stopping(
    folder: Path, providers: tuple[Sandbox, Sandbox]
) -> None:
    (folder / "fhir-bridge.toml").write_text(settings_with(providers))
    who = key(folder, "integrator")
    with running(folder, "serve", "--port", "0", "--role", "api") as service:
        answer = httpx.post(
            f"{service.base}/v1/transfers", json=asked(), headers={**who, "Idempotency-Key": "o"}
        )
        path = f"{service.base}{answer.headers['location']}/events"
        with httpx.stream("GET", path, headers=who) as stream:
            pieces = stream.iter_text()
            next(pieces)
            service.process.send_signal(signal.SIGTERM)
            assert "".join(pieces) is not None  # it ends, and in order
        assert service.ended() == 0


def test_keys_are_listed_and_revoked_and_each_change_is_signed(folder: Path) -> None:
    shown = done(folder, "keys", "add", "--role", "monitor", "--label", "prometheus", "--days", "7")
    id_ = shown.split("_")[1]

    assert f"{id_}  monitor · valid until" in done(folder, "keys", "list")
    assert "prometheus" in done(folder, "keys", "list")
    done(folder, "keys", "revoke", id_)
    assert "revoked" in done(folder, "keys", "list")
    assert shown not in done(folder, "keys", "list")
    with Store.open(folder / "store", log_origin="fhir-bridge.localhost") as store:
        changes = [entry for entry in store.entries() if entry.type is Event.CONFIG_CHANGED]
        assert [entry.step for entry in changes] == ["key.added", "key.revoked"]
        assert shown.encode() not in (folder / "store" / "store.db").read_bytes()
        store.verify()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("keys", "add", "--role", "integrator"), "acts for one organisation"),
        (("keys", "add", "--role", "integrator", "--organisation", "x"), "SYSTEM|VALUE"),
        (("keys", "add", "--role", "monitor", "--days", "0"), "1 to 366 days"),
        (("keys", "add", "--role", "monitor", "--days", "367"), "1 to 366 days"),
        (("keys", "add", "--role", "monitor", "--label", "x" * 61), "at most 60"),
        (("keys", "revoke", "nothing"), "no such key"),
        (("serve", "--host", "0.0.0.0"), "in plain text"),  # noqa: S104
        (("serve", "--host", "::"), "in plain text"),
        (("serve", "--port", "70000"), "cannot be listened on"),
        (("sandbox", "--story", "nobody"), "nobody"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    folder: Path, words: tuple[str, ...], expected: str
) -> None:
    process = Running(folder, *words)

    assert process.ended() == 2
    assert len(process.logged) == 1
    assert expected in process.logged[0]
    assert "exit 2" in process.logged[0]


def test_a_port_that_is_taken_is_refused_before_anything_is_carried(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = Running(folder, "serve", "--port", str(taken.getsockname()[1]))
        assert process.ended() == 2

    assert "cannot be listened on" in process.logged[0]


def test_an_answer_is_sent_at_once_and_not_held_back_until_the_caller_has_heard_the_last() -> None:
    with (
        _listener(ApiSettings(port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_behind_a_trusted_proxy_it_may_be_bound_wider(folder: Path) -> None:
    (folder / "fhir-bridge.toml").write_text(
        'store = "store"\n[api]\nhost = "0.0.0.0"\ntrusted_proxy = ["127.0.0.1"]\n'
    )
    with running(folder, "serve", "--port", "0", "--role", "api") as service:
        assert service.base.startswith("http://0.0.0.0:")
        port = service.base.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_with_tls_and_client_certificates_only_a_known_client_gets_in(folder: Path) -> None:
    authority = trustme.CA()
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("ehr.example")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server.private_key_pem.write_to_path(folder / "key.pem")
    server.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    (folder / "fhir-bridge.toml").write_text(
        'store = "store"\n[api]\ntls_certificate = "certificate.pem"\ntls_key = "key.pem"\n'
        'client_ca = "ca.pem"\n'
    )
    known = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    unknown = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    client.configure_cert(known)
    with running(folder, "serve", "--port", "0", "--role", "api") as service:
        assert service.base.startswith("https://")
        assert httpx.get(f"{service.base}/healthz", verify=known).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{service.base}/healthz", verify=unknown)
        assert "TLS, client certificates" in service.said[0]


def test_tokens_of_the_issuer_in_the_settings_let_in(folder: Path) -> None:
    (folder / "jwks.json").write_bytes(SIGNS.published())
    (folder / "fhir-bridge.toml").write_text(
        'store = "store"\n[api]\nissuer = "https://login.first.example"\n'
        'audience = "https://bridge.first.example"\njwks = "jwks.json"\n'
    )
    token = SIGNS.token(claims(iat=..., nbf=..., exp=4102444800))
    with running(folder, "serve", "--port", "0", "--role", "api") as service:
        answer = httpx.get(
            f"{service.base}/v1/transfers", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text
        assert "OAuth2 tokens" in service.said[0].split("Not configured")[0]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"canary": 1}, "canary"),
        ({"port": 70000}, "port"),
        ({"tls_certificate": "x"}, "belong together"),
        ({"client_ca": "x"}, "needs api.tls_certificate"),
        ({"tls_certificate": "/nowhere", "tls_key": "/nowhere"}, "no file"),
        ({"issuer": "x"}, "belong together"),
        ({"issuer": "x", "audience": "y", "jwks": "z", "scopes": {"a": "king"}}, "api.scopes"),
        ({"trusted_proxy": ["proxy.example"]}, "addresses or networks"),
        ({"rate_per_minute": 0}, "rate_per_minute"),
    ],
)
def test_a_setting_of_the_api_that_is_wrong_is_named(
    table: dict[str, object], expected: str
) -> None:
    with pytest.raises(SettingsError, match=expected):
        read(table)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), # noqa: S104
     ("::", False), ("10.0.0.1", False), ("bridge.example", False)],
)  # fmt: skip
def test_only_addresses_of_this_machine_need_no_tls(host: str, *, loopback: bool) -> None:
    assert read({"host": host}).loopback is loopback


def test_the_sandbox_serves_both_providers_of_a_story(folder: Path) -> None:
    with running(folder, "sandbox", "--port", "0") as sandbox:
        sandbox.line("trying out only")
        first, second = (line.split()[2] for line in sandbox.said[1:3])
        httpx.get(f"{first}/Patient/amelia").raise_for_status()
        httpx.get(f"{second}/metadata").raise_for_status()
        assert sandbox.stop() == 0
