"""
The private keys that the bridge signs with to get tokens, and what is published of them.

A key lies in a file that only its owner may read. Its public half is published
as a JSON Web Key Set, where a server's operator finds it; nothing private ever
goes there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings import ServerSettings, Settings, environment

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

ALGORITHMS = ("ES384", "RS384")
"""Both that a SMART server may ask for; one of them each server knows."""

_RSA_BITS, _RSA_BITS_MIN = 3072, 2048
_READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, its algorithm and the name that servers know it by."""

    key: RSAPrivateKey | EllipticCurvePrivateKey
    algorithm: str
    kid: str

    def __repr__(self) -> str:
        """Name the key without holding it."""
        return f"SigningKey({self.algorithm}, kid={self.kid})"

    @classmethod
    def of(cls, pem: str, *, kid: str = "", where: str) -> SigningKey:
        """
        Read a private key.

        Args:
            pem: PKCS #8, PKCS #1 or SEC 1, without passphrase.
            kid: Empty for the key's thumbprint.
            where: Named in the message.

        Raises:
            SettingsError: It is no RSA key of 2048 bits or more and no P-384 key.

        Source:
            RFC 7518 3.3 and 3.4; the thumbprint is RFC 7638.
        """
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key: Any = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"{where} is not a private key as PEM without passphrase"
            ) from error
        algorithm = _algorithm(key)
        if algorithm is None:
            raise SettingsError(
                f"{where} is neither an RSA key of {_RSA_BITS_MIN} bits or more (RS384) nor an"
                " elliptic key on P-384 (ES384), which SMART asks for"
            )
        return cls(key, algorithm, kid or _thumbprint(_jwk(key)))

    def public_jwk(self) -> dict[str, Any]:
        """Return what a server needs to check a signature, and nothing private."""
        return {
            **_jwk(self.key),
            "kid": self.kid,
            "alg": self.algorithm,
            "use": "sig",
            "key_ops": ["verify"],
        }


class KeyOf:
    """
    The key that the bridge signs with for one server.

    The file is read each time, so that a key may be exchanged while the bridge
    runs; what it held is understood once, because to check an RSA key takes
    a third of a second.
    """

    def __init__(self, server: ServerSettings) -> None:
        """Read nothing yet."""
        self._server = server
        self._known: tuple[str, SigningKey] | None = None

    def key(self) -> SigningKey:
        """
        Return the key as it is now.

        Raises:
            SettingsError: The file is missing, others may read it, or it is no key.
        """
        said = self._server.credential
        assert said.secret is not None
        if said.secret.file is None:
            pem, where = said.secret.read(environment()), f"the key of {self._server.name}"
        else:
            pem, where = private_pem(said.secret.file), f"the key file {said.secret.file}"
        if self._known is None or self._known[0] != pem:
            self._known = pem, SigningKey.of(pem, kid=said.kid, where=where)
        return self._known[1]


def private_pem(file: Path) -> str:
    """
    Read a file that only its owner may read.

    Raises:
        SettingsError: It cannot be read, or others could read it too.
    """
    try:
        with file.open(encoding="ascii") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if mode & _READABLE_BY_OTHERS:
                raise SettingsError(
                    f"the key file {file} is open to other accounts: chmod 600 {file}"
                )
            return opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the key file {file} cannot be read") from error


def public_jwks(
    settings: Settings, registered: Iterable[ServerSettings] = ()
) -> dict[str, list[dict[str, Any]]]:
    """
    Return what is published, so that servers can check our signatures.

    Args:
        settings: Each server of kind ``smart`` there, and the keys of
            ``smart.publish``, which are to be used later.
        registered: Servers that were registered while the bridge ran.

    Raises:
        SettingsError: A key cannot be read, or two keys have one name.

    Source:
        RFC 7517 5; SMART App Launch 2.2, Client Authentication: Asymmetric.
    """
    servers = [*settings.servers.values(), *registered]
    keys = [KeyOf(one).key() for one in servers if one.credential.kind == "smart"]
    keys += [
        SigningKey.of(private_pem(file), where=f"the key file {file}")
        for file in settings.smart_publish
    ]
    published: dict[str, dict[str, Any]] = {}
    for key in keys:
        jwk = key.public_jwk()
        if published.setdefault(key.kid, jwk) != jwk:
            raise SettingsError(f"two keys have the kid {key.kid!r}: name one of them otherwise")
    return {"keys": list(published.values())}


def new_key(file: Path, algorithm: str) -> SigningKey:
    """
    Make a key that only this account may read.

    Args:
        file: Must not exist: a key that servers know is never overwritten.
        algorithm: One of `ALGORITHMS`.

    Raises:
        SettingsError: The file exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = (
        ec.generate_private_key(ec.SECP384R1())
        if algorithm == "ES384"
        else rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(pem)
    except FileExistsError as error:
        raise SettingsError(f"{file} exists already, and a key is never overwritten") from error
    except OSError as error:
        raise SettingsError(f"the key file {file} cannot be written") from error
    return SigningKey.of(pem.decode(), where=f"the key file {file}")


def _algorithm(key: Any) -> str | None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _RSA_BITS_MIN:
        return "RS384"
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return "ES384"
    return None


def _jwk(key: RSAPrivateKey | EllipticCurvePrivateKey) -> dict[str, str]:
    """Return the members of RFC 7518 6 that make up the public key."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        return {"kty": "RSA", "n": _base64url(public.n), "e": _base64url(public.e)}
    point = key.public_key().public_numbers()
    size = (key.curve.key_size + 7) // 8
    return {
        "kty": "EC",
        "crv": "P-384",
        "x": _base64url(point.x, size),
        "y": _base64url(point.y, size),
    }


def _thumbprint(jwk: dict[str, str]) -> str:
    text = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _base64url(number: int, size: int | None = None) -> str:
    raw = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
