"""Keys that the bridge signs with, and what is published of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings import Settings, load
from fhir_bridge.tokens import SigningKey, new_key, public_jwks

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


def server(name: str, file: Path, kid: str = "") -> str:
    return (
        f"[servers.{name}]\nbase = 'https://{name}.example/fhir'\n"
        f"[servers.{name}.credential]\nkind = 'smart'\nclient_id = 'bridge'\n"
        f"scopes = ['system/*.rs']\nkey_file = '{file}'\nkid = '{kid}'\n"
    )


def settings(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "fhir-bridge.toml"
    file.write_text(text)
    return load(file, store=tmp_path, environ={})


def pem(key: object, passphrase: bytes | None = None) -> str:
    return key.private_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_what_the_key_signs_is_checked_with_what_is_published(
    tmp_path: Path, algorithm: str
) -> None:
    key = new_key(tmp_path / "key.pem", algorithm)
    published = public_jwks(settings(tmp_path, server("first", tmp_path / "key.pem")))["keys"]

    signed = jwt.encode({"a": 1}, key.key, algorithm=key.algorithm)
    assert [one["alg"] for one in published] == [algorithm]
    assert jwt.decode(signed, jwt.PyJWK(published[0]).key, algorithms=[algorithm]) == {"a": 1}


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_nothing_private_is_published_or_shown(tmp_path: Path, algorithm: str) -> None:
    key = new_key(tmp_path / "key.pem", algorithm)
    (published,) = public_jwks(settings(tmp_path, server("first", tmp_path / "key.pem")))["keys"]
    body = "".join((tmp_path / "key.pem").read_text().splitlines()[1:-1])

    assert not PRIVATE & set(published)
    assert published["use"] == "sig"
    assert repr(key) == f"SigningKey({algorithm}, kid={key.kid})"
    assert body[40:80] not in json.dumps(published) + repr(key)


def test_a_kid_is_the_thumbprint_of_rfc_7638_unless_it_is_named(tmp_path: Path) -> None:
    key = new_key(tmp_path / "key.pem", "ES384")
    thumbprint = key.kid

    named = settings(tmp_path, server("first", tmp_path / "key.pem", "mine"))
    assert public_jwks(named)["keys"][0]["kid"] == "mine"
    unnamed = settings(tmp_path, server("first", tmp_path / "key.pem"))
    assert public_jwks(unnamed)["keys"][0]["kid"] == thumbprint
    assert len(thumbprint) == 43


def test_the_thumbprint_of_rfc_7638_is_the_documents_own() -> None:
    # RFC 7638 3.1 gives the key and its thumbprint; only the public half is needed for it.
    from fhir_bridge.tokens.keys import _thumbprint

    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
        "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
        "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4"
        "vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    assert (
        _thumbprint({"kty": "RSA", "n": n, "e": "AQAB"})
        == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    )


def test_one_key_for_two_servers_is_published_once(tmp_path: Path) -> None:
    new_key(tmp_path / "a.pem", "ES384")
    new_key(tmp_path / "b.pem", "RS384")
    text = server("first", tmp_path / "a.pem") + server("second", tmp_path / "a.pem")
    text += server("third", tmp_path / "b.pem")

    assert len(public_jwks(settings(tmp_path, text))["keys"]) == 2


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    new_key(tmp_path / "a.pem", "ES384")
    new_key(tmp_path / "b.pem", "ES384")
    text = server("first", tmp_path / "a.pem", "x") + server("second", tmp_path / "b.pem", "x")

    with pytest.raises(SettingsError, match="two keys have the kid 'x'"):
        public_jwks(settings(tmp_path, text))


def test_a_key_is_published_before_a_server_uses_it(tmp_path: Path) -> None:
    new_key(tmp_path / "now.pem", "ES384")
    later = new_key(tmp_path / "later.pem", "ES384")
    text = f"[smart]\npublish = ['{tmp_path / 'later.pem'}']\n"
    text += server("first", tmp_path / "now.pem")

    published = public_jwks(settings(tmp_path, text))["keys"]

    assert len(published) == 2
    assert later.kid in {one["kid"] for one in published}


def test_a_key_is_made_for_its_owner_only_and_never_over_another(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    new_key(file, "ES384")
    made = file.read_bytes()

    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SettingsError, match="never overwritten"):
        new_key(file, "ES384")
    assert file.read_bytes() == made


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused_with_its_cure(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key.pem"
    new_key(file, "ES384")
    file.chmod(mode)

    with pytest.raises(SettingsError, match=f"chmod 600 {file}"):
        public_jwks(settings(tmp_path, server("first", file)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key",
        pem(ec.generate_private_key(ec.SECP384R1()), b"passphrase"),
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - it must be refused
    ],
    ids=["empty", "text", "passphrase", "P-256", "Ed25519", "RSA 1024"],
)
def test_a_file_that_is_no_key_for_smart_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="here is"):
        SigningKey.of(text, where="here")


def test_a_key_made_by_openssl_is_read(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    command = ["openssl", "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)

    assert SigningKey.of(file.read_text(), where="here").algorithm == "ES384"
