"""
OAuth 2.0 bearer tokens: who the issuer says the caller is.

A token counts when the pinned issuer signed it for this bridge, with a key of
its published set and that key's own algorithm, and when it is in force now.
Everything else is answered alike, so that a forger learns nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jwt import PyJWS
from jwt.exceptions import PyJWTError

from fhir_bridge import lossless
from fhir_bridge.clock import Clock
from fhir_bridge.doors.api.keysets import KeySet
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import OF_AN_ORGANISATION, Caller, Role
from fhir_bridge.errors import BadRecord, SettingsError
from fhir_bridge.settings import organisation

SKEW_SECONDS = 60
"""How far the issuer's clock and ours may differ."""

_LENGTH_MAX = 8192
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,50}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")


class NotAToken(Exception):
    """What was shown does not count. Never told to the caller in more words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whose tokens count, and what they say."""

    name: str
    """The claim ``iss``, to the letter."""
    audience: str
    """What ``aud`` must name."""
    tenant_claim: str
    """Claim that holds the organisation, ``system|value``."""
    scopes: Mapping[str, Role]
    """What each scope lets its bearer be."""


class Bearers:
    """Reads tokens of one issuer."""

    def __init__(self, issuer: Issuer, keys: KeySet, clock: Clock) -> None:
        """Keep whose tokens count."""
        self._issuer = issuer
        self._keys = keys
        self._clock = clock
        self._jws = PyJWS()

    def caller(self, token: str) -> Caller:
        """
        Return who a token says the caller is.

        Raises:
            NotAToken: It does not count.
            Answered: It was signed rightly, but is not in force any more.
            Unreachable: The issuer's keys cannot be fetched.
        """
        claims = self._signed(token)
        self._for_us(claims)
        self._in_force(claims)
        roles = frozenset(
            self._issuer.scopes[word] for word in _scopes(claims) if word in self._issuer.scopes
        )
        tenant = _tenant(claims.get(self._issuer.tenant_claim))
        if not tenant:
            roles -= OF_AN_ORGANISATION
        return Caller(_name(claims), tenant, roles)

    def _signed(self, token: str) -> dict[str, Any]:
        """Return the claims, once the signature is verified."""
        if len(token) > _LENGTH_MAX or not _TOKEN.match(token):
            raise NotAToken
        header, payload = (_part(one) for one in token.split(".")[:2])
        _bytes(token.rsplit(".", 1)[1])
        algorithm, kid = header.get("alg"), header.get("kid")
        if not (isinstance(algorithm, str) and isinstance(kid, str)) or "crit" in header:
            raise NotAToken
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise NotAToken
        key = self._keys.key(kid, algorithm)
        if key is None:
            raise NotAToken
        try:
            self._jws.decode(token, key, algorithms=[algorithm])
        except PyJWTError as error:
            raise NotAToken from error
        return payload

    def _for_us(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._issuer.name or self._issuer.audience not in named:
            raise NotAToken

    def _in_force(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now().timestamp()
        end, start, made = (claims.get(name) for name in ("exp", "nbf", "iat"))
        if not _is_time(end) or not all(one is None or _is_time(one) for one in (start, made)):
            raise NotAToken
        if max(start or 0, made or 0) > now + SKEW_SECONDS:
            raise NotAToken
        if end is None or now >= end + SKEW_SECONDS:
            raise Answered(Problem.EXPIRED)


def _part(text: str) -> dict[str, Any]:
    try:
        found = lossless.decode(_bytes(text))
    except BadRecord as error:
        raise NotAToken from error
    if not isinstance(found, dict):
        raise NotAToken
    return found


def _bytes(text: str) -> bytes:
    """Read base64url in its one spelling: other last bits would be a second token."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise NotAToken from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise NotAToken
    return raw


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    said = claims.get("scope", claims.get("scp"))
    words = said.split(" ") if isinstance(said, str) else said
    return [one for one in words if isinstance(one, str)] if isinstance(words, list) else []


def _tenant(said: Any) -> str:
    if not isinstance(said, str):
        return ""
    try:
        organisation(said)
    except SettingsError:
        return ""
    return said


def _name(claims: Mapping[str, Any]) -> str:
    """Name the caller for the log: the subject where it is a plain word, else its digest."""
    subject = claims.get("sub", claims.get("client_id"))
    if not isinstance(subject, str) or not subject:
        raise NotAToken
    if _NAME.match(subject):
        return f"oauth.{subject}"
    return "oauth." + hashlib.sha256(f"{claims['iss']}\0{subject}".encode()).hexdigest()[:32]
