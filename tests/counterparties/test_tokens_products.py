"""Tokens of real authorization servers: oidc-provider, and SEKMET with SMART."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from fhir_bridge import stories
from fhir_bridge.bridge import Bridge
from fhir_bridge.clock import Clock
from fhir_bridge.errors import CredentialRefused
from fhir_bridge.manifest import Decision, Outcome
from fhir_bridge.settings import (
    CredentialSettings,
    Organisation,
    Secret,
    ServerSettings,
    Settings,
)
from fhir_bridge.tokens import SigningKey, new_key, open_credential
from fhir_bridge.transfer import Order, Party, State
from fhir_bridge.wire import Side, Wire
from tests.simulators.process import Process, free_port
from tests.simulators.servers import oidc_folder, sekmet_folder

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("tokens")]

SECRET = "s3cret with / + & %"
SCOPES = "system/*.rs system/Task.cruds"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    files = {algorithm: folder / f"{algorithm}.pem" for algorithm in ("ES384", "RS384")}
    for algorithm, file in files.items():
        new_key(file, algorithm)
    return files


def public(file: Path) -> dict[str, Any]:
    return SigningKey.of(file.read_text(), where="the key").public_jwk()


def smart(base: str, key: Path, **changes: Any) -> ServerSettings:
    members = {"client_id": f"bridge-{key.stem}", "scopes": tuple(SCOPES.split()), **changes}
    credential = CredentialSettings(kind="smart", secret=Secret(file=key), **members)
    return ServerSettings(name="first", base=base, identity=base, credential=credential)


def opened(server: ServerSettings, clock: Clock | None = None) -> Wire:
    clock = clock or Clock()
    credential = open_credential(server, side=Side.SOURCE, clock=clock)
    return Wire(server.base, side=Side.SOURCE, credential=credential, clock=clock)


# oidc-provider


@contextmanager
def oidc_provider(
    tmp_path: Path, keys: Mapping[str, Path], lifetime: int = 300
) -> Iterator[Process]:
    clients: list[dict[str, Any]] = [
        {
            "client_id": f"bridge-{algorithm}",
            "scope": SCOPES,
            "jwks": {"keys": [public(file)]},
            "alg": algorithm,
        }
        for algorithm, file in keys.items()
    ]
    clients += [
        {"client_id": name, "scope": SCOPES, "secret": SECRET, "method": f"client_secret_{name}"}
        for name in ("basic", "post")
    ]
    file = tmp_path / "clients.json"
    file.write_text(json.dumps(clients))
    command = ["node", oidc_folder() / "serve.mjs", str(free_port()), file]
    environ = {"LIFETIME": str(lifetime), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    with Process(command, ready="READY", environ=environ) as running:
        yield running


def _ready(running: Process) -> str:
    return next(line.split()[-1] for line in running.said if line.startswith("READY"))


@pytest.fixture(scope="module")
def oidc(tmp_path_factory: pytest.TempPathFactory, keys: Mapping[str, Path]) -> Iterator[str]:
    with oidc_provider(tmp_path_factory.mktemp("oidc"), keys) as running:
        yield _ready(running)


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_oidc_provider_gives_a_token_for_either_kind_of_key(
    algorithm: str, oidc: str, keys: Mapping[str, Path]
) -> None:
    answer = opened(smart(oidc, keys[algorithm])).request("GET", "Basic/seen")

    assert json.loads(answer.body)["language"] == SCOPES


def test_oidc_provider_grants_less_without_a_word_and_the_bridge_sees_it(
    oidc: str, keys: Mapping[str, Path]
) -> None:
    for scopes in (("system/Binary.d",), ("system/*.rs", "user/Binary.d")):
        with pytest.raises(CredentialRefused, match=r"Binary\.d"):
            opened(smart(oidc, keys["ES384"], scopes=scopes)).request("GET", "Basic/seen")


@pytest.mark.parametrize("method", ["basic", "post"])
def test_oidc_provider_gives_a_token_for_a_client_secret(method: str, oidc: str) -> None:
    credential = CredentialSettings(
        kind="client-credentials",
        client_id=method,
        secret=Secret(value=SECRET),
        token_url=oidc.removesuffix("/fhir") + "/token",
        scopes=("system/*.rs",),
        method=method,
    )
    server = ServerSettings(name="first", base=oidc, identity=oidc, credential=credential)

    assert opened(server).request("GET", "Basic/seen").status == 200

    wrong = replace(server, credential=replace(credential, secret=Secret(value="other")))
    with pytest.raises(CredentialRefused, match="invalid_client"):
        opened(wrong).request("GET", "Basic/seen")


def test_oidc_provider_refuses_a_client_with_another_key(
    oidc: str, keys: Mapping[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "ES384.pem"
    new_key(other, "ES384")

    with pytest.raises(CredentialRefused, match="invalid_client"):
        opened(smart(oidc, other, kid=public(keys["ES384"])["kid"])).request("GET", "Basic/seen")


def assertion(file: Path, audience: str, **changes: Any) -> dict[str, str]:
    """A request for a token as the bridge makes it, to be spoilt."""
    import time

    key = SigningKey.of(file.read_text(), where="the key")
    client = f"bridge-{file.stem}"
    claims = {"iss": client, "sub": client, "aud": audience, "jti": "once", **changes}
    claims.setdefault("exp", int(time.time()) + 200)
    signed = jwt.encode(claims, key.key, algorithm=key.algorithm, headers={"kid": key.kid})
    return {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": signed,
    }


def posted(url: str, form: Mapping[str, str]) -> int:
    origin, _, path = url.rpartition("/token")
    wire = Wire(origin, side=Side.SOURCE)
    answer = wire.exchange(
        "POST",
        f"token{path}",
        body=urlencode(form).encode(),
        content_type="application/x-www-form-urlencoded",
        accept="application/json",
    )
    wire.close()
    return answer.status


@pytest.mark.parametrize("product", ["oidc", "sekmet"])
def test_a_used_or_expired_assertion_is_refused_as_our_simulator_does(
    product: str, request: pytest.FixtureRequest, keys: Mapping[str, Path]
) -> None:
    base: str = request.getfixturevalue(product)
    base = base[0] if isinstance(base, tuple) else base
    path = "/token" if product == "oidc" else "/auth/token"
    url = base.removesuffix("/fhir") + path
    form = assertion(keys["ES384"], url)

    assert [posted(url, form), posted(url, form)] == [200, 401]
    assert posted(url, assertion(keys["ES384"], url, jti="2", exp=1_600_000_000)) == 401
    assert posted(url, assertion(keys["ES384"], "https://other.example", jti="3")) == 401


def test_fifty_threads_renew_a_token_of_oidc_provider_once(
    tmp_path: Path, keys: Mapping[str, Path]
) -> None:
    import time

    shown: set[str] = set()
    seconds = [0.0]
    clock = Clock(monotonic=lambda: time.monotonic() + seconds[0])
    gate = threading.Barrier(50)
    with oidc_provider(tmp_path, keys) as running:
        base = _ready(running)
        credential = open_credential(smart(base, keys["ES384"]), side=Side.SOURCE, clock=clock)
        wire = Wire(base, side=Side.SOURCE, credential=credential, clock=clock)
        wire.request("GET", "Basic/seen")
        shown.add(credential.headers()["Authorization"])
        seconds[0] = 280.0

        def read(_: int) -> int:
            gate.wait()
            status = wire.request("GET", "Basic/seen").status
            shown.add(credential.headers()["Authorization"])
            return status

        with ThreadPoolExecutor(50) as threads:
            assert set(threads.map(read, range(50))) == {200}
        wire.close()

    assert len(shown) == 2


def test_a_token_that_ends_while_the_bridge_works_is_renewed(
    tmp_path: Path, keys: Mapping[str, Path]
) -> None:
    """The server's clock decides: tokens of one second, used for longer."""
    import time

    with oidc_provider(tmp_path, keys, lifetime=1) as running:
        wire = opened(smart(_ready(running), keys["ES384"]))
        ends, statuses = time.monotonic() + 2.5, set()
        while time.monotonic() < ends:
            statuses.add(wire.request("GET", "Basic/seen").status)
        wire.close()

    assert statuses == {200}


# SEKMET


@contextmanager
def sekmet_server(folder: Path, keys: Mapping[str, Path], scopes: str) -> Iterator[str]:
    from cryptography.hazmat.primitives import serialization

    folder.mkdir()
    lines = ["server_auth:", "  types: [smart]", "  smart_clients:"]
    for algorithm, file in keys.items():
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        pem = folder / f"{algorithm}.public.pem"
        pem.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        lines.append(
            f'    - {{client_id: bridge-{algorithm}, scopes: "{scopes}", public_key_path: {pem}}}'
        )
    (folder / "clients.yaml").write_text("\n".join(lines) + "\n")
    port = free_port()
    command = ["bash", sekmet_folder() / "serve.sh", folder, str(port), folder / "clients.yaml"]
    with Process(command, ready="Uvicorn running"):
        yield f"http://127.0.0.1:{port}/fhir"


@pytest.fixture(scope="module")
def sekmet(
    tmp_path_factory: pytest.TempPathFactory, keys: Mapping[str, Path]
) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("sekmet")
    with (
        sekmet_server(folder / "a", keys, "system/*.cruds") as first,
        sekmet_server(folder / "b", keys, "system/*.cruds") as second,
    ):
        yield first, second


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_sekmet_gives_a_token_for_either_kind_of_key(
    algorithm: str, sekmet: tuple[str, str], keys: Mapping[str, Path]
) -> None:
    wire = opened(smart(sekmet[0], keys[algorithm], scopes=("system/*.rs",)))

    assert wire.request("GET", "Patient").status == 200
    wire.close()


def test_sekmet_grants_a_part_with_200_and_the_bridge_names_what_is_lacking(
    tmp_path: Path, keys: Mapping[str, Path]
) -> None:
    with sekmet_server(tmp_path / "c", keys, "system/Observation.rs") as base:
        asked = ("system/Observation.rs", "system/Patient.rs")
        with pytest.raises(CredentialRefused, match=r"does not grant system/Patient\.rs .*1 of 2"):
            opened(smart(base, keys["ES384"], scopes=asked)).request("GET", "Observation")
        with pytest.raises(CredentialRefused, match=r"invalid_scope.*system/Patient\.rs"):
            opened(smart(base, keys["ES384"], scopes=asked[1:])).request("GET", "Patient")


def test_a_whole_record_moves_between_two_servers_that_ask_for_tokens(
    sekmet: tuple[str, str], keys: Mapping[str, Path], tmp_path: Path
) -> None:
    story = stories.load("amelia")
    scopes = ("system/*.cruds",)

    def server(name: str, base: str, key: Path, party: Party) -> ServerSettings:
        organisation = Organisation(system=party.system, value=party.value, name=party.name)
        return replace(smart(base, key, scopes=scopes), name=name, organisations=(organisation,))

    settings = Settings(
        store=tmp_path / "store",
        log_origin="test.example",
        servers={
            "first": server("first", sekmet[0], keys["ES384"], story.custodian),
            "second": server("second", sekmet[1], keys["RS384"], story.recipient),
        },
    )
    order = Order(
        source="first",
        destination="second",
        patient=story.patient,
        kinds=story.kinds,
        purpose=story.purpose,
        reasons=story.reasons,
        question=story.question,
    )
    with Bridge.open(settings, actor="cli:test", tell=lambda _: None) as bridge:
        bridge.seed("first", story.source)
        bridge.seed("second", story.destination)

        report = bridge.transfer(order)

    released = [line for line in report.lines if line.decision is Decision.RELEASED]
    assert report.state is State.CLOSED
    assert len(released) == story.expected["counts"]["released"]
    assert {line.outcome for line in released} == {Outcome.IDENTICAL}
