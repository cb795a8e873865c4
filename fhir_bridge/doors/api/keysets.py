"""
The keys that an issuer signs its tokens with.

Each key fixes its algorithm, or a short list of one family, so that a token
can never choose another: no shared secrets, no "none", no key from the token.
A set that is fetched is kept for a while and asked for again when a token
names a key that it lacks, but not more often than every half minute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from fhir_bridge import lossless
from fhir_bridge.clock import Clock
from fhir_bridge.errors import BadRecord, BridgeError, SettingsError, SourceUnreachable
from fhir_bridge.wire import Side, Wire
from fhir_bridge.wire.answer import Limits
from fhir_bridge.wire.patience import ONCE

_RSA = ("RS256", "RS384", "RS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_RSA_BITS_MIN = 2048
_FRESH_SECONDS = 300.0
_ASK_SECONDS_MIN = 30.0
_FAILED_SECONDS = 5.0
_BYTES_MAX = 256 * 1024
_PRIVATE = {"d", "p", "q", "k"}

Keys = Mapping[str, Mapping[str, PyJWK]]
"""By kid, then by algorithm."""


def parse(raw: bytes) -> Keys:
    """
    Read a JWK set; keys that are not for signatures of ours are left out.

    Raises:
        SettingsError: It is no JWK set, names a key twice, or holds a weak or private key.

    Source:
        RFC 7517 5.
    """
    try:
        keys = lossless.decode(raw)["keys"]
        rows = [one for one in keys if _usable(one)]
    except (BadRecord, KeyError, TypeError, AttributeError) as error:
        raise SettingsError("api.jwks does not lead to a JWK set") from error
    found: dict[str, Mapping[str, PyJWK]] = {}
    for row in rows:
        if row["kid"] in found:
            raise SettingsError("the JWK set of api.jwks has two keys of the same kid")
        found[row["kid"]] = _key(row)
    return found


@dataclass(slots=True)
class _Seen:
    keys: Keys
    at: float


class KeySet:
    """The keys in force."""

    def __init__(self, load: Callable[[], bytes], clock: Clock) -> None:
        """Load nothing yet; `load` gives the set's JSON."""
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: _Seen | None = None
        self._failed_at: float | None = None

    def key(self, kid: str, algorithm: str) -> PyJWK | None:
        """
        Return the key that a token names; None when there is none for that algorithm.

        Raises:
            Unreachable: The set cannot be fetched, and none was fetched before.
            SettingsError: What was fetched is none.
        """
        found = self._keys(kid).get(kid)
        return None if found is None else found.get(algorithm)

    def _keys(self, kid: str) -> Keys:
        with self._lock:
            seen, now = self._seen, self._clock.monotonic()
            if seen is not None:
                age = now - seen.at
                wanted = _FRESH_SECONDS if kid in seen.keys else _ASK_SECONDS_MIN
                if age < wanted:
                    return seen.keys
            keys = self._loaded(now)
            self._seen = _Seen(keys, now)
            return keys

    def _loaded(self, now: float) -> Keys:
        if self._failed_at is not None and now - self._failed_at < _FAILED_SECONDS:
            raise SourceUnreachable("the issuer's keys could not be fetched just now")
        try:
            return parse(self._load())
        except BridgeError:
            if self._seen is not None:
                return self._seen.keys  # an issuer that is away for a while locks nobody out
            self._failed_at = now
            raise


def from_file(path: Path) -> Callable[[], bytes]:
    """Return what reads a key set from a file, each time it is wanted."""

    def load() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise SettingsError(f"the JWK set {path} cannot be read") from error

    return load


def from_url(url: str, clock: Clock) -> Callable[[], bytes]:
    """
    Return what fetches a key set, from that address only.

    Raises:
        SettingsError: The address is plain http to another machine.
    """
    limits = Limits(read_seconds=5, header_seconds=10, total_seconds=10)
    Wire(url, side=Side.SOURCE, limits=limits, clock=clock).close()  # refuses a wrong address now

    def load() -> bytes:
        wire = Wire(url, side=Side.SOURCE, limits=limits, clock=clock)
        try:
            answer = wire.request(
                "GET", "", accept="application/json", bytes_max=_BYTES_MAX, retry=ONCE
            )
        finally:
            wire.close()
        if answer.status != 200:  # noqa: PLR2004
            raise SettingsError("the address of api.jwks answers, but not with a JWK set")
        return answer.body

    return load


def _usable(row: Mapping[str, Any]) -> bool:
    """Tell whether a key can verify tokens of ours; one that is for something else is not."""
    if row.get("use", "sig") != "sig" or "verify" not in row.get("key_ops", ["verify"]):
        return False
    return isinstance(row.get("kid"), str) and bool(_algorithms(row))


def _algorithms(row: Mapping[str, Any]) -> tuple[str, ...]:
    fixed = {
        "RSA": _RSA,
        "EC": (_CURVES.get(str(row.get("crv")), ""),),
        "OKP": (_CURVES.get(str(row.get("crv")), ""),),
    }.get(str(row.get("kty")), ())
    said = row.get("alg")
    return tuple(one for one in fixed if one and said in {None, one})


def _key(row: Mapping[str, Any]) -> Mapping[str, PyJWK]:
    if _PRIVATE & set(row):
        raise SettingsError("the JWK set of api.jwks holds a private key: publish the public ones")
    try:
        found = {name: PyJWK(dict(row), algorithm=name) for name in _algorithms(row)}
    except (PyJWTError, ValueError) as error:
        raise SettingsError("the JWK set of api.jwks holds a key that is none") from error
    for one in found.values():
        if isinstance(one.key, RSAPublicKey) and one.key.key_size < _RSA_BITS_MIN:
            raise SettingsError(
                f"the JWK set of api.jwks has an RSA key below {_RSA_BITS_MIN} bits"
            )
    return found
