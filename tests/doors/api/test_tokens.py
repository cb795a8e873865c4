"""A bearer token counts only as the pinned issuer made it; every other one is answered alike."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from fhir_bridge.clock import Clock
from fhir_bridge.doors.api.bearer import Bearers, Issuer, NotAToken
from fhir_bridge.doors.api.keysets import KeySet, from_file, from_url, parse
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Role
from fhir_bridge.errors import SettingsError, SourceUnreachable
from tests.journeys.world import NOW
from tests.simulators.hostile_server import HostileServer, Says
from tests.simulators.reception import Reception, code

ISSUER = "https://login.first.example"
AUDIENCE = "https://bridge.first.example"
TENANT = "urn:oid:2.999.1.1|first-clinic"
START = int(NOW.timestamp())

Claims = dict[str, Any]


@dataclass
class Signs:
    """An issuer with a key of each family."""

    keys: Mapping[str, Any] = field(
        default_factory=lambda: {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "ES384": ec.generate_private_key(ec.SECP384R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
    )

    def published(self) -> bytes:
        rows = []
        for name, key in self.keys.items():
            kind: Any = {"RS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}[name[:2]]
            public = json.loads(kind.to_jwk(key.public_key()))
            rows.append({**public, "kid": name, "use": "sig"})
        return json.dumps({"keys": rows}).encode()

    def token(self, claims: Claims, *, name: str = "ES256", **header: Any) -> str:
        return jwt.encode(claims, self.keys[name], algorithm=name, headers={"kid": name, **header})


SIGNS = Signs()


def claims(**changes: Any) -> Claims:
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ehr-7",
        "iat": START,
        "nbf": START,
        "exp": START + 300,
        "scope": "openid fhir-bridge/integrator",
        "organisation": TENANT,
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def bearers(load: Callable[[], bytes] = SIGNS.published, now: Any = None) -> Bearers:
    clock = Clock(now=lambda: now or NOW)
    scopes = {f"fhir-bridge/{role}": role for role in Role}
    issuer = Issuer(name=ISSUER, audience=AUDIENCE, tenant_claim="organisation", scopes=scopes)
    return Bearers(issuer, KeySet(load, clock), clock)


@pytest.mark.parametrize("name", SIGNS.keys)
def test_a_token_of_the_issuer_says_who_calls(name: str) -> None:
    caller = bearers().caller(SIGNS.token(claims(), name=name))

    assert caller.actor == "key:oauth.ehr-7"
    assert caller.tenant == TENANT
    assert caller.roles == {Role.INTEGRATOR}


def test_scopes_may_be_a_list_and_audiences_too() -> None:
    said = claims(scope=..., scp=["fhir-bridge/auditor", 7], aud=["other", AUDIENCE])

    assert bearers().caller(SIGNS.token(said)).roles == {Role.AUDITOR}


def test_a_subject_that_is_no_plain_word_is_named_by_its_digest() -> None:
    caller = bearers().caller(SIGNS.token(claims(sub="Jane Roe <jane@first.example>")))

    assert caller.id.startswith("oauth.")
    assert len(caller.id) == len("oauth.") + 32


@pytest.mark.parametrize("tenant", [..., "", "first-clinic", 7, "|x", ["a|b"]])
def test_without_an_organisation_a_token_opens_no_transfers(tenant: Any) -> None:
    said = claims(organisation=tenant, scope="fhir-bridge/integrator fhir-bridge/administrator")

    assert bearers().caller(SIGNS.token(said)).roles == {Role.ADMINISTRATOR}


def part(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed_with_the_public_key(name: str) -> str:
    """HS256 with the published key as its secret: the classic confusion."""
    pem = (
        SIGNS.keys[name]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    body = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': name})}.{part(claims())}"
    return f"{body}.{part(hmac.new(pem, body.encode(), hashlib.sha256).digest())}"


def mutations() -> Iterator[tuple[str, str]]:  # noqa: PLR0915
    """Sixty and more tokens that must not count, each with its name."""
    good = SIGNS.token(claims())
    head, body, signature = good.split(".")
    stranger = Signs()
    header = {"alg": "ES256", "typ": "JWT", "kid": "ES256"}

    for alg in ("none", "None", "NONE", "nOnE", ""):
        none = part({**header, "alg": alg})
        yield f"alg {alg!r} without signature", f"{none}.{body}."
        yield f"alg {alg!r} with a signature", f"{none}.{body}.{signature}"
    for name in SIGNS.keys:
        yield f"public key of {name} as a shared secret", signed_with_the_public_key(name)
        yield f"stranger's {name}", stranger.token(claims(), name=name)
    for alg in ("HS256", "HS512", "RS256", "ES384", "PS256", "ES256K", "EdDSA", "dir"):
        yield f"header says {alg}", f"{part({**header, 'alg': alg})}.{body}.{signature}"
    yield "no alg", f"{part({'kid': 'ES256'})}.{body}.{signature}"
    yield "alg is a number", f"{part({**header, 'alg': 1})}.{body}.{signature}"

    yield "no kid", jwt.encode(claims(), SIGNS.keys["ES256"], algorithm="ES256")
    for kid in ("unknown", "RS256", "../../etc/passwd", "' or 1=1 --", "ES256 "):
        yield f"kid {kid!r}", SIGNS.token(claims(), kid=kid)
    yield "kid is a list", f"{part({**header, 'kid': ['ES256']})}.{body}.{signature}"

    own = json.loads(ECAlgorithm.to_jwk(stranger.keys["ES256"].public_key()))
    yield "brings its own key", stranger.token(claims(), jwk=own)
    yield "names a key address", stranger.token(claims(), jku="https://evil.example/jwks")
    yield "brings a certificate address", stranger.token(claims(), x5u="https://evil.example/c")
    yield "critical extension", SIGNS.token(claims(), crit=["exp"], exp=1)
    yield "unencoded payload", f"{part({**header, 'b64': False, 'crit': ['b64']})}..{signature}"
    yield "another type", SIGNS.token(claims(), typ="dpop+jwt")

    wrong: dict[str, Claims] = {
        "another issuer": {"iss": "https://evil.example"},
        "issuer with a slash": {"iss": ISSUER + "/"},
        "no issuer": {"iss": ...},
        "issuer is a list": {"iss": [ISSUER]},
        "another audience": {"aud": "https://other.example"},
        "no audience": {"aud": ...},
        "empty audience": {"aud": []},
        "audience within a text": {"aud": f"{AUDIENCE}.evil.example"},
        "no expiry": {"exp": ...},
        "expiry is text": {"exp": str(START + 300)},
        "expiry is true": {"exp": True},
        "expiry has a fraction": {"exp": START + 300.5},
        "expiry is negative": {"exp": -1},
        "expiry is null": {"exp": None},
        "not before tomorrow": {"nbf": START + 86400},
        "not before is text": {"nbf": "0"},
        "made in the future": {"iat": START + 86400},
        "no subject": {"sub": ...},
        "empty subject": {"sub": ""},
        "subject is a number": {"sub": 7},
    }
    for name, changes in wrong.items():
        # PyJWT refuses to sign some of these, so they are signed as bytes.
        payload = json.dumps(claims(**changes)).encode()
        token = jwt.PyJWS().encode(
            payload, SIGNS.keys["ES256"], algorithm="ES256", headers={"kid": "ES256", "typ": "JWT"}
        )
        yield name, token
    for name, payload in {
        "payload is a list": b"[]",
        "payload is not JSON": b"{",
        "payload holds a member twice": json.dumps(claims()).encode()[:-1] + b',"sub":"admin"}',
        "payload holds NaN": json.dumps(claims()).encode()[:-1] + b',"x":NaN}',
        "payload is not UTF-8": b'{"sub":"\xff"}',
        "payload is empty": b"",
        "payload is deep": b'{"a":' * 100 + b"1" + b"}" * 100,
    }.items():
        yield (
            name,
            jwt.PyJWS().encode(
                payload, SIGNS.keys["ES256"], algorithm="ES256", headers={"kid": "ES256"}
            ),
        )

    yield "first bit of the signature", f"{head}.{body}.{_flipped(signature)}"
    yield "payload of another token", f"{head}.{part(claims(sub='admin'))}.{signature}"
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = last[last.index(signature[-1]) ^ 1]
    yield "another spelling of the signature", f"{head}.{body}.{signature[:-1]}{other}"
    yield "padded", f"{good}="
    yield "signature cut", good[:-4]
    yield "no signature", f"{head}.{body}"
    yield "signature empty", f"{head}.{body}."
    yield "a part more", f"{good}.{signature}"
    yield "encrypted", f"{head}.{head}.{body}.{body}.{signature}"
    yield "blank inside", f"{head}. {body}.{signature}"
    yield "plus and slash", good.replace("-", "+").replace("_", "/") + "+"
    yield "too long", SIGNS.token(claims(x="y" * 9000))
    yield "empty", ""
    yield "dots", ".."


def _flipped(signature: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[0] ^= 1
    return part(bytes(raw))


MUTATIONS = dict(mutations())


def test_there_are_at_least_sixty_mutations() -> None:
    assert len(MUTATIONS) >= 60


@pytest.mark.parametrize("token", MUTATIONS.values(), ids=MUTATIONS)
def test_a_mutated_token_does_not_count(token: str) -> None:
    with pytest.raises(NotAToken):
        bearers().caller(token)


def test_an_expired_token_is_told_from_a_forged_one() -> None:
    token = SIGNS.token(claims())
    late = NOW + timedelta(seconds=300 + 61)

    assert bearers(now=NOW + timedelta(seconds=300 + 59)).caller(token).roles
    with pytest.raises(Answered) as refused:
        bearers(now=late).caller(token)
    assert refused.value.problem is Problem.EXPIRED


def test_over_http_every_mutation_is_401_and_says_nothing_more(tmp_path: Path) -> None:
    with Reception(tmp_path, bearers=bearers()) as reception:
        good = {"Authorization": f"Bearer {SIGNS.token(claims())}"}
        assert reception.get("/v1/transfers", good).status_code == 200
        answers = set()
        for token in MUTATIONS.values():
            if not token:
                continue  # no client sends a header that ends in a blank
            answer = reception.get("/v1/transfers", {"Authorization": f"Bearer {token}"})
            answers.add((answer.status_code, answer.text, answer.headers["www-authenticate"]))
            assert code(answer) == "unauthenticated"

    assert len(answers) == 1
    assert answers.pop()[0] == 401


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic dTpw", "bearer", "Token x", "Bearer a b", "Bearer\tx", "Bearer x,y z"],
)
def test_another_kind_of_authorization_is_401(tmp_path: Path, header: str) -> None:
    with Reception(tmp_path) as reception:
        answer = reception.get("/v1/transfers", {"Authorization": header})

    assert (answer.status_code, code(answer)) == (401, "unauthenticated")


def test_without_an_issuer_no_token_counts(tmp_path: Path) -> None:
    with Reception(tmp_path) as reception:
        good = {"Authorization": f"Bearer {SIGNS.token(claims())}"}
        assert reception.get("/v1/transfers", good).status_code == 401


def test_keys_are_read_from_a_file_and_again_when_a_token_names_a_new_one(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(b'{"keys":[]}')
    moment = [0.0]
    keys = KeySet(from_file(file), Clock(monotonic=lambda: moment[0]))

    assert keys.key("ES256", "ES256") is None
    file.write_bytes(SIGNS.published())
    assert keys.key("ES256", "ES256") is None  # asked a moment ago
    moment[0] = 31.0
    assert keys.key("ES256", "ES256") is not None
    file.unlink()
    moment[0] = 400.0
    assert keys.key("ES256", "ES256") is not None  # an issuer that is away locks nobody out


def test_a_key_set_that_was_never_there_is_not_asked_for_at_each_request(tmp_path: Path) -> None:
    asked = []
    moment = [0.0]

    def load() -> bytes:
        asked.append(moment[0])
        raise SourceUnreachable("away")

    keys = KeySet(load, Clock(monotonic=lambda: moment[0]))
    for at in (0.0, 1.0, 4.0, 6.0):
        moment[0] = at
        with pytest.raises(SourceUnreachable):
            keys.key("a", "ES256")

    assert asked == [0.0, 6.0]
    del tmp_path


def test_keys_are_fetched_from_the_issuers_address_and_its_fault_is_503(tmp_path: Path) -> None:
    says = Says(SIGNS.published(), headers={"Content-Type": "application/json"})
    with HostileServer([says]) as server:
        load = from_url(f"{server.base}/jwks", Clock())
        assert bearers(load).caller(SIGNS.token(claims())).tenant == TENANT
    with Reception(tmp_path, bearers=bearers(load)) as reception:
        answer = reception.get(
            "/v1/transfers", {"Authorization": f"Bearer {SIGNS.token(claims())}"}
        )

    assert (answer.status_code, code(answer)) == (503, "not-ready")
    assert answer.headers["retry-after"] == "30"


def test_keys_are_never_fetched_in_plain_text_from_another_machine() -> None:
    with pytest.raises(SettingsError):
        from_url("http://login.first.example/jwks", Clock())


def weak() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    row = {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "weak"}
    return json.dumps({"keys": [row]}).encode()


def private() -> bytes:
    row = {**json.loads(ECAlgorithm.to_jwk(SIGNS.keys["ES256"])), "kid": "private"}
    return json.dumps({"keys": [row]}).encode()


def twice() -> bytes:
    rows = json.loads(SIGNS.published())["keys"]
    return json.dumps({"keys": [rows[0], rows[0]]}).encode()


@pytest.mark.parametrize(
    "raw", [weak(), private(), twice(), b"{}", b"[]", b"{", b'{"keys":7}', b'{"keys":[7]}'],
    ids=["weak", "private", "twice", "no keys", "list", "cut", "number", "key is a number"],
)  # fmt: skip
def test_a_key_set_that_cannot_be_trusted_is_refused(raw: bytes) -> None:
    with pytest.raises(SettingsError):
        parse(raw)


def test_keys_for_other_uses_are_left_out() -> None:
    rows = json.loads(SIGNS.published())["keys"]
    rows[0]["use"] = "enc"
    rows[1]["key_ops"] = ["encrypt"]
    rows[2]["alg"] = "ES256"
    rows.append({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"})
    rows.append({"kty": "EC", "crv": "secp256k1", "kid": "coin"})

    assert set(parse(json.dumps({"keys": rows}).encode())) == {"EdDSA"}
