"""Tokens: asked for by the book, kept as long as they count, shown to one server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from fhir_bridge.errors import (
    BridgeError,
    CredentialRefused,
    ForeignLink,
    SettingsError,
    SourceUnreachable,
)
from fhir_bridge.settings import CredentialSettings, Secret, ServerSettings, Settings
from fhir_bridge.tokens import SigningKey, new_key, open_credential, public_jwks
from fhir_bridge.wire import Side, Wire
from tests.simulators.authorization_server import Authorizing, said
from tests.simulators.hostile_server import HANG_UP, Asked, HostileServer, Says
from tests.simulators.ticking import Ticking

SECRET = "canary-s3cret/&+ ü"


@pytest.fixture
def time() -> Ticking:
    return Ticking()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    files = {algorithm: folder / f"{algorithm}.pem" for algorithm in ("ES384", "RS384")}
    for algorithm, file in files.items():
        new_key(file, algorithm)
    return files


def smart(base: str, key_file: Path, **changes: Any) -> ServerSettings:
    said_of = {"kind": "smart", "client_id": "bridge", "scopes": ("system/*.rs",), **changes}
    credential = CredentialSettings(secret=Secret(file=key_file), **said_of)
    return ServerSettings(name="first", base=base, identity=base, credential=credential)


def shared_secret(base: str, token_url: str, **changes: Any) -> ServerSettings:
    credential = CredentialSettings(
        kind="client-credentials",
        client_id="the bridge",
        token_url=token_url,
        secret=Secret(value=SECRET),
        **changes,
    )
    return ServerSettings(name="first", base=base, identity=base, credential=credential)


def opened(server: ServerSettings, time: Ticking) -> Wire:
    clock = time.clock()
    credential = open_credential(server, side=Side.SOURCE, clock=clock)
    return Wire(server.base, side=Side.SOURCE, credential=credential, clock=clock)


class World:
    """One SMART server and the bridge's wire to it."""

    def __init__(
        self, server: HostileServer, script: Authorizing, time: Ticking, key: Path
    ) -> None:
        self.server = server
        self.script = script
        self.time = time
        self.key = key

    def wire(self, **changes: Any) -> Wire:
        return opened(smart(self.server.base, self.key, **changes), self.time)

    def read(self, **changes: Any) -> int:
        return self.wire(**changes).request("GET", "Patient/1").status


@contextmanager
def smart_server(time: Ticking, key: Path, **changes: Any) -> Iterator[World]:
    script = Authorizing(time, **changes)
    with HostileServer(script) as server:
        script.base = server.base
        settings = Settings(
            store=key.parent, servers={"first": smart(server.base, key, kid="the-kid")}
        )
        named = public_jwks(settings)["keys"]
        unnamed = [SigningKey.of(key.read_text(), where="the key").public_jwk()]
        script.jwks = {"keys": [*named, *unnamed]}
        yield World(server, script, time, key)


@pytest.fixture
def world(time: Ticking, keys: Mapping[str, Path]) -> Iterator[World]:
    with smart_server(time, keys["ES384"]) as opened_world:
        yield opened_world


@pytest.fixture(params=["ES384", "RS384"])
def each_world(
    request: pytest.FixtureRequest, time: Ticking, keys: Mapping[str, Path]
) -> Iterator[World]:
    with smart_server(time, keys[request.param]) as opened_world:
        yield opened_world


# By the book


def test_a_token_is_asked_for_at_the_endpoint_that_the_server_names(each_world: World) -> None:
    assert each_world.read() == 200

    (form,) = each_world.script.forms
    assert set(form) == {"grant_type", "scope", "client_assertion_type", "client_assertion"}
    assert form["scope"] == "system/*.rs"
    assert [one.target for one in each_world.server.asked] == [
        "/fhir/.well-known/smart-configuration",
        "/auth/token",
        "/fhir/Patient/1",
    ]
    assert each_world.server.asked[-1].headers["authorization"] == "Bearer canary-token-0"
    assert all("authorization" not in one.headers for one in each_world.server.asked[:2])


def test_an_assertion_says_who_to_whom_and_for_less_than_five_minutes(each_world: World) -> None:
    each_world.read(kid="the-kid")

    assertion = each_world.script.forms[0]["client_assertion"]
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert claims["iss"] == claims["sub"] == "bridge"
    assert claims["aud"] == each_world.script.origin + "/auth/token"
    assert 0 < claims["exp"] - each_world.time.moment.timestamp() <= 300
    assert jwt.get_unverified_header(assertion)["kid"] == "the-kid"


def test_a_token_is_kept_and_asked_for_again_shortly_before_it_ends(world: World) -> None:
    wire = world.wire()
    for _ in range(3):
        wire.request("GET", "Patient/1")
    world.time.sleep(269)
    wire.request("GET", "Patient/1")
    assert len(world.script.given) == 1

    world.time.sleep(2)
    wire.request("GET", "Patient/1")

    assert world.script.given == ["canary-token-0", "canary-token-1"]
    assert world.server.asked[-1].headers["authorization"] == "Bearer canary-token-1"


def test_each_assertion_is_new_because_a_used_one_is_refused(each_world: World) -> None:
    wire = each_world.wire()
    for _ in range(5):
        wire.request("GET", "Patient/1")
        each_world.time.sleep(300)
    assert each_world.script.errors == []
    assertions = [form["client_assertion"] for form in each_world.script.forms]
    ids = {jwt.decode(one, options={"verify_signature": False})["jti"] for one in assertions}
    assert len(ids) == 5

    replayed = f"grant_type=client_credentials&client_assertion={assertions[0]}"
    replayed += "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    Wire(each_world.script.origin, side=Side.SOURCE).exchange(
        "POST", "/auth/token", body=replayed.encode(), accept="application/json"
    )

    assert each_world.script.errors == ["invalid_client: used before"]


def test_a_token_refused_before_its_time_is_asked_for_anew_once(world: World) -> None:
    wire = world.wire()
    wire.request("GET", "Patient/1")
    world.script.refusals = 1

    assert wire.request("GET", "Patient/1").status == 200
    assert len(world.script.given) == 2


def test_a_write_that_was_refused_for_its_token_is_sent_again_because_nothing_was_done(
    world: World,
) -> None:
    from fhir_bridge.wire import ONCE

    wire = world.wire()
    wire.request("GET", "Patient/1")
    world.script.refusals = 1

    assert wire.request("POST", "", body=b"{}", retry=ONCE).status == 200


def test_a_server_that_refuses_each_token_ends_the_transfer_and_is_not_asked_for_ever(
    world: World,
) -> None:
    world.script.refusals = 1_000

    with pytest.raises(CredentialRefused, match="does not accept"):
        world.read()

    assert len(world.script.given) == 2


def test_a_key_that_was_exchanged_is_used_without_a_new_start(
    time: Ticking, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    new_key(file, "ES384")
    with smart_server(time, file) as world:
        wire = world.wire()
        wire.request("GET", "Patient/1")
        file.unlink()
        fresh = new_key(file, "ES384")
        world.script.jwks = {"keys": [fresh.public_jwk()]}
        time.sleep(300)

        assert wire.request("GET", "Patient/1").status == 200


# What is granted


def test_a_scope_that_is_not_granted_is_named(world: World) -> None:
    with pytest.raises(CredentialRefused, match=r"does not grant user/Foo\.rs .*1 of 2 granted"):
        world.read(scopes=("system/*.rs", "user/Foo.rs"))

    assert "/fhir/Patient/1" not in [one.target for one in world.server.asked]


def test_scopes_that_are_all_refused_are_named(world: World) -> None:
    with pytest.raises(CredentialRefused, match=r"invalid_scope.*user/Foo\.rs"):
        world.read(scopes=("user/Foo.rs",))


@pytest.mark.parametrize("scope", [None, "", 7, ["system/*.rs"], "openid"])
def test_an_answer_that_does_not_say_what_it_grants_grants_nothing(
    scope: object, world: World
) -> None:
    world.script.changes = {"scope": scope}

    with pytest.raises(CredentialRefused, match=r"does not grant system/\*\.rs"):
        world.read()


# A token endpoint that means no good, or is broken


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"token_type": "mac"}, "not a bearer token"),
        ({"token_type": None}, "not a bearer token"),
        ({"token_type": ["bearer"]}, "not a bearer token"),
        ({"access_token": None}, "without a token"),
        ({"access_token": ""}, "without a token"),
        ({"access_token": 7}, "without a token"),
        ({"access_token": "a\r\nX-Other: b"}, "without a token"),
        ({"access_token": "two words"}, "without a token"),
        ({"access_token": "schlüssel"}, "without a token"),
        ({"access_token": "x" * 20_000}, "without a token"),
        ({"expires_in": 0}, "how long"),
        ({"expires_in": -5}, "how long"),
        ({"expires_in": "soon"}, "how long"),
        ({"expires_in": 12.5}, "how long"),
        ({"expires_in": True}, "how long"),
        ({"expires_in": "9" * 40}, "how long"),
        ({"expires_in": {"seconds": 300}}, "how long"),
    ],
    ids=str,
)
def test_an_answer_that_is_no_good_token_is_refused_in_one_sentence(
    changes: Mapping[str, Any], sentence: str, world: World
) -> None:
    world.script.changes = changes

    with pytest.raises(CredentialRefused, match=sentence):
        world.read()

    assert "/fhir/Patient/1" not in [one.target for one in world.server.asked]


@pytest.mark.parametrize(
    ("lifetime", "still", "over"),
    [(None, 200, 400), ("300", 200, 400), (10**12, 3_000, 3_700), (2, 1, 3), (3600, 3_500, 3_600)],
    ids=str,
)
def test_how_long_a_token_counts_is_understood(
    lifetime: object, still: int, over: int, world: World
) -> None:
    world.script.changes = {"expires_in": lifetime}
    world.script.lifetime = 10**6
    wire = world.wire()
    wire.request("GET", "Patient/1")
    world.time.sleep(still)
    wire.request("GET", "Patient/1")
    assert len(world.script.given) == 1
    world.time.sleep(over - still)
    wire.request("GET", "Patient/1")
    assert len(world.script.given) == 2


HTML = Says(b"<!DOCTYPE html><p>Sign in", headers={"Content-Type": "text/html"})


@pytest.mark.parametrize(
    ("answer", "error", "sentence"),
    [
        (HTML, CredentialRefused, "not JSON"),
        (said([1]), CredentialRefused, "not JSON"),
        (Says(b'{"access_token": NaN}'), CredentialRefused, "not JSON"),
        (Says(b'{"a":' * 5_000), CredentialRefused, "not JSON"),
        (Says(b"x" * 100_000), CredentialRefused, "no token"),
        (Says(b"\x00" * 90_000, zipped=True), CredentialRefused, "no token"),
        (Says(b"not gzip", headers={"Content-Encoding": "gzip"}), CredentialRefused, "no token"),
        (Says(status=204), CredentialRefused, "no token"),
        (said({"error": "invalid_client"}, 401), CredentialRefused, "does not know this client_id"),
        (said({"error": "unauthorized_client"}, 400), CredentialRefused, "may not have tokens"),
        (said({"error": "canary-error"}, 400), CredentialRefused, r"gave no token \(400\)"),
        (said({"error": ["x"]}, 400), CredentialRefused, r"gave no token \(400\)"),
        (Says(status=404), CredentialRefused, r"gave no token \(404\)"),
        (Says(status=500), SourceUnreachable, "does not answer"),
        (Says(status=503), SourceUnreachable, "does not answer"),
        (HANG_UP, SourceUnreachable, "does not answer"),
        (
            Says(pieces=[b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"]),
            SourceUnreachable,
            "not",
        ),
    ],
)
def test_an_endpoint_that_gives_no_token_ends_in_one_sentence(
    answer: Says, error: type[BridgeError], sentence: str, world: World
) -> None:
    world.script.instead = lambda _: answer

    with pytest.raises(error, match=sentence) as caught:
        world.read()

    assert "canary" not in str(caught.value)
    assert "/fhir/Patient/1" not in [one.target for one in world.server.asked]


def test_a_slow_token_endpoint_holds_nobody_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fhir_bridge.tokens import endpoint
    from fhir_bridge.wire import Limits

    monkeypatch.setattr(endpoint, "_LIMITS", Limits(read_seconds=0.1, header_seconds=0.2))
    world.script.instead = lambda _: Says(pieces=[b"HTTP"] * 30, between_seconds=0.05)

    with pytest.raises(SourceUnreachable):
        world.read()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_assertion_follows_no_redirect(status: int, world: World) -> None:
    with HostileServer([said({})]) as other:
        away = {"Location": other.base + "/token"}
        world.script.instead = lambda _: Says(status=status, headers=away)
        with pytest.raises(CredentialRefused, match="follows no redirect"):
            world.read()

        assert other.asked == []


def test_a_busy_endpoint_is_asked_again_with_a_new_assertion(world: World) -> None:
    busy = iter([Says(status=429, headers={"Retry-After": "7"}), Says(status=503)])
    world.script.instead = lambda _: next(busy, None)

    assert world.read() == 200
    assert world.time.waited >= 7
    assert len(world.script.forms) == 1


# Where the endpoint may be


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://127.0.0.1:{port}/auth/token",
        "http://localhost:{port}/auth/token",
        "http://127.0.0.2:{port}/auth/token",
        "http://127.0.0.1:{other}/auth/token",
        "http://bridge@127.0.0.1:{port}/auth/token",
        "http://127.0.0.1:{port}@other.example/auth/token",
        "//other.example/token",
        "/auth/token",
        "http://127.0.0.1:{port}\\@other.example/",
        "http://127.0.0.1:{port} /auth",
        "http://[::1/auth",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "",
        7,
        None,
    ],
    ids=str,
)
def test_a_discovered_endpoint_elsewhere_is_never_shown_our_signature(
    endpoint: object, world: World
) -> None:
    with HostileServer([said({})]) as other:
        if isinstance(endpoint, str):
            endpoint = endpoint.format(port=world.server.port, other=other.port)
        world.script.configuration = {"token_endpoint": endpoint}
        with pytest.raises(SettingsError, match=r"servers\.first\.credential\.token_url"):
            world.read()

        assert other.connections == 0
        assert [one.method for one in world.server.asked] == ["GET"]


def test_an_endpoint_on_another_host_is_used_when_the_operator_wrote_it_down(
    time: Ticking, keys: Mapping[str, Path]
) -> None:
    with smart_server(time, keys["ES384"]) as world, HostileServer(world.script) as other:
        world.script.base = other.base

        assert world.read(token_url=f"{world.script.origin}/auth/token") == 200
        assert [one.target for one in other.asked] == ["/auth/token"]
        assert [one.target for one in world.server.asked] == ["/fhir/Patient/1"]


@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [
        ({"token_endpoint_auth_signing_alg_values_supported": ["RS256"]}, "of the other kind"),
        ({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, "Backend Services"),
        ({"grant_types_supported": ["authorization_code"]}, "Backend Services"),
    ],
)
def test_a_server_that_cannot_check_our_signature_is_named_before_it_is_tried(
    configuration: Mapping[str, Any], sentence: str, world: World
) -> None:
    world.script.configuration = configuration

    with pytest.raises(SettingsError, match=sentence):
        world.read()

    assert world.script.forms == []


@pytest.mark.parametrize(
    "answer",
    [HTML, said([]), Says(status=404), Says(b"{" * 1_000), Says(b"x" * 300_000)],
    ids=["html", "list", "404", "deep", "huge"],
)
def test_a_server_without_discovery_is_told_how_to_set_the_endpoint(
    answer: Says, time: Ticking, keys: Mapping[str, Path]
) -> None:
    with (
        HostileServer(lambda _: answer) as server,
        pytest.raises(SettingsError, match=r"servers\.first\.credential\.token_url"),
    ):
        opened(smart(server.base, keys["ES384"]), time).request("GET", "Patient/1")


def test_an_endpoint_that_moved_is_looked_for_again(world: World) -> None:
    wire = world.wire()
    wire.request("GET", "Patient/1")
    world.script.instead = lambda _: Says(status=404)
    world.time.sleep(300)
    with pytest.raises(CredentialRefused):
        wire.request("GET", "Patient/1")
    world.script.instead = None

    assert wire.request("GET", "Patient/1").status == 200
    assert sum("smart-configuration" in one.target for one in world.server.asked) == 2


# Many threads


@pytest.mark.parametrize("round_", range(3))
def test_fifty_threads_renew_a_token_once(
    round_: int, time: Ticking, keys: Mapping[str, Path]
) -> None:
    gate = threading.Barrier(50)
    with smart_server(time, keys["ES384"]) as world:
        wire = world.wire()
        wire.request("GET", "Patient/1")
        time.sleep(300 + round_)

        def read(_: int) -> int:
            gate.wait()
            return wire.request("GET", "Patient/1").status

        with ThreadPoolExecutor(50) as threads:
            assert set(threads.map(read, range(50))) == {200}

        assert len(world.script.given) == 2
        used = {one.headers["authorization"] for one in world.server.asked[-50:]}
        assert used == {"Bearer canary-token-1"}


def test_fifty_threads_whose_token_was_refused_renew_it_once(
    time: Ticking, keys: Mapping[str, Path]
) -> None:
    gate = threading.Barrier(50)
    with smart_server(time, keys["ES384"]) as world:
        wire = world.wire()
        wire.request("GET", "Patient/1")
        world.script._counts_until.clear()

        def read(_: int) -> int:
            gate.wait()
            return wire.request("GET", "Patient/1").status

        with ThreadPoolExecutor(50) as threads:
            assert set(threads.map(read, range(50))) == {200}

        assert len(world.script.given) == 2


def test_threads_that_wait_for_a_token_fail_together_and_do_not_ask_one_by_one(
    time: Ticking, keys: Mapping[str, Path]
) -> None:
    gate = threading.Barrier(20)
    asking = threading.Event()
    credential_of: list[Any] = []
    with smart_server(time, keys["ES384"]) as world:

        def refuse(_: Asked) -> Says:
            asking.wait(5)
            return said({"error": "invalid_client"}, 401)

        world.script.instead = refuse
        credential = open_credential(
            smart(world.server.base, world.key), side=Side.SOURCE, clock=time.clock()
        )

        def ask(number: int) -> str:
            gate.wait()
            if number == 0:
                asking.set()
            try:
                credential.headers()
            except CredentialRefused as error:
                return str(error)
            credential_of.append(number)
            return ""

        with ThreadPoolExecutor(20) as threads:
            sentences = set(threads.map(ask, range(20)))

        assert credential_of == []
        assert len(sentences) == 1
        assert sum(one.target == "/auth/token" for one in world.server.asked) < 5


# Client id and secret


@pytest.mark.parametrize("method", ["basic", "post"])
def test_a_client_secret_goes_where_the_server_wants_it(method: str, time: Ticking) -> None:
    script = Authorizing(time, client_id="the bridge", client_secret=SECRET)
    with HostileServer(script) as server:
        script.base = server.base
        wire = opened(
            shared_secret(server.base, script.origin + "/auth/token", method=method), time
        )

        assert wire.request("GET", "Patient/1").status == 200
        assert script.errors == []
        assert ("client_secret" in script.forms[0]) == (method == "post")
        assert SECRET not in str(server.asked[-1])


def test_a_plain_oauth_answer_that_is_silent_about_scopes_grants_what_was_asked(
    time: Ticking,
) -> None:
    script = Authorizing(
        time, client_id="the bridge", client_secret=SECRET, changes={"scope": None}
    )
    with HostileServer(script) as server:
        script.base = server.base
        where = script.origin + "/auth/token"
        server_settings = shared_secret(server.base, where, scopes=("system/*.rs",))

        assert opened(server_settings, time).request("GET", "Patient/1").status == 200

        script.changes = {"scope": "system/Task.c"}
        with pytest.raises(CredentialRefused, match=r"does not grant system/\*\.rs"):
            opened(server_settings, time).request("GET", "Patient/1")


def test_a_wrong_client_secret_is_said_in_words_without_the_secret(time: Ticking) -> None:
    script = Authorizing(time, client_id="the bridge", client_secret="other")
    with HostileServer(script) as server:
        script.base = server.base
        wire = opened(shared_secret(server.base, script.origin + "/auth/token"), time)
        with pytest.raises(CredentialRefused, match="invalid_client") as caught:
            wire.request("GET", "Patient/1")

        assert "canary" not in str(caught.value)


# To whom


@pytest.mark.parametrize(
    "link",
    [
        "{other}/Patient/1",
        "{other}/fhir/Patient/1",
        "//127.0.0.1:{port}/fhir/Patient/1",
        "{base}-evil/Patient/1",
        "{base}/../admin",
        "{base}/%2e%2e/admin",
        "{origin}/auth/other",
        "https://127.0.0.1:1/fhir/Patient/1",
        "http://user@127.0.0.1:{port}/fhir/Patient/1",
        "file:///etc/passwd",
    ],
)
def test_a_token_never_leaves_its_base(link: str, world: World) -> None:
    with HostileServer([said({})]) as other:
        link = link.format(
            other=other.base.removesuffix("/fhir"),
            port=other.port,
            base=world.server.base,
            origin=world.script.origin,
        )
        wire = world.wire()
        wire.request("GET", "Patient/1")
        before = len(world.server.asked)
        with pytest.raises(ForeignLink):
            wire.request("GET", link)

        assert other.connections == 0
        assert len(world.server.asked) == before


def test_each_servers_token_and_key_are_seen_at_that_server_only(
    time: Ticking, keys: Mapping[str, Path]
) -> None:
    with (
        smart_server(time, keys["ES384"], prefix="canary-first") as first,
        smart_server(time, keys["RS384"], prefix="canary-second") as second,
    ):
        wires = first.wire(), second.wire()
        for _ in range(3):
            for wire in wires:
                wire.request("GET", "Patient/1")
            time.sleep(300)

        assert "canary-first-1" in str(first.server.asked)
        assert "canary-second" not in str(first.server.asked)
        assert "canary-second-1" in str(second.server.asked)
        assert "canary-first" not in str(second.server.asked)


def test_a_token_never_travels_over_plain_http_to_another_machine(
    time: Ticking, keys: Mapping[str, Path]
) -> None:
    with pytest.raises(SettingsError, match="plain http"):
        opened(smart("http://first.example/fhir", keys["ES384"]), time)


def test_no_secret_is_in_a_representation_or_a_traceback(
    world: World, time: Ticking, capsys: pytest.CaptureFixture[str]
) -> None:
    import traceback

    wire = world.wire()
    wire.request("GET", "Patient/1")
    world.script.instead = lambda asked: said(
        {"error": "invalid_client", "error_description": asked.body.decode()}, 401
    )
    time.sleep(300)
    with pytest.raises(CredentialRefused) as caught:
        wire.request("GET", "Patient/1")

    shown = "".join(traceback.format_exception(caught.value)) + repr(wire) + repr(vars(wire))
    shown += repr(wire._credential) + capsys.readouterr().err
    for secret in ("canary-token", world.script.forms[0]["client_assertion"]):
        assert secret not in shown
    assert SECRET not in repr(shared_secret("https://a.example", "https://a.example/token"))


def test_nothing_is_asked_of_anyone_before_the_first_request(
    time: Ticking, keys: Mapping[str, Path]
) -> None:
    with smart_server(time, keys["ES384"]) as world:
        world.wire()

        assert world.server.connections == 0


Change = Callable[[Path], None]


@pytest.mark.parametrize(
    "change",
    [lambda file: file.chmod(0o644), lambda file: file.unlink(), lambda file: file.write_text("x")],
    ids=["open to others", "missing", "no key"],
)
def test_a_wrong_key_file_stops_before_anyone_is_asked(
    change: Change, time: Ticking, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    new_key(file, "ES384")
    change(file)

    with pytest.raises(SettingsError, match=str(file)):
        opened(smart("https://first.example/fhir", file), time)


def test_a_forged_assertion_is_what_the_simulator_refuses(
    world: World, keys: Mapping[str, Path]
) -> None:
    """The simulator is no judge if it takes anything."""
    mallory = "RS384" if world.key == keys["ES384"] else "ES384"
    wire = opened(smart(world.server.base, keys[mallory]), world.time)

    with pytest.raises(CredentialRefused):
        wire.request("GET", "Patient/1")
    world.time.moment = world.time.moment.replace(year=2027)
    assert json.dumps(world.script.errors).count("StopIteration") == 1
