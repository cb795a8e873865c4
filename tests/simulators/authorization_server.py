"""
A FHIR server with its own authorization server, strict as SMART asks and hostile where told.

It checks each assertion with the published key set alone, never takes one
twice, and opens its records only to tokens that it gave and that still count.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import jwt

from tests.simulators.hostile_server import Asked, Says, fhir
from tests.simulators.ticking import Ticking

DISCOVERY = "/fhir/.well-known/smart-configuration"
TOKEN = "/auth/token"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def said(content: object, status: int = 200) -> Says:
    """Answer in JSON."""
    return Says(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


@dataclass
class Authorizing:
    """The script of a `HostileServer`; what is `None` or empty is done as SMART says."""

    time: Ticking
    jwks: Mapping[str, Any] = field(default_factory=dict[str, Any])
    client_id: str = "bridge"
    client_secret: str = ""
    base: str = ""
    """Set once the address is known."""
    allowed: frozenset[str] = frozenset({"system/*.rs", "system/*.cruds", "system/Task.c"})
    lifetime: Any = 300
    configuration: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Replaces members of the discovery document."""
    instead: Callable[[Asked], Says | None] | None = None
    """Answers instead of the token endpoint."""
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Replaces members of a token answer; None removes one."""
    prefix: str = "canary-token"
    refusals: int = 0
    """So many requests for records get a 401 although their token counts."""
    given: list[str] = field(default_factory=list[str])
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    errors: list[str] = field(default_factory=list[str])
    _used: set[str] = field(default_factory=set[str])
    _counts_until: dict[str, float] = field(default_factory=dict[str, float])

    def __call__(self, asked: Asked) -> Says:
        if asked.target == DISCOVERY:
            return said(self._discovery())
        if asked.target == TOKEN:
            return (self.instead and self.instead(asked)) or self._token(asked)
        return self._record(asked)

    @property
    def origin(self) -> str:
        return self.base.removesuffix("/fhir")

    def _discovery(self) -> dict[str, Any]:
        document = {
            "token_endpoint": self.origin + TOKEN,
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "grant_types_supported": ["client_credentials"],
            "capabilities": ["client-confidential-asymmetric"],
            **self.configuration,
        }
        return {name: value for name, value in document.items() if value is not None}

    def _token(self, asked: Asked) -> Says:
        form = dict(parse_qsl(asked.body.decode()))
        self.forms.append(form)
        fault = self._fault(asked, form)
        if fault is not None:
            self.errors.append(fault)
            code, _, _ = fault.partition(":")
            return said({"error": code, "error_description": form.get("client_assertion")}, 400)
        scopes = [one for one in form.get("scope", "").split() if one in self.allowed]
        if form.get("scope") and not scopes:
            return said({"error": "invalid_scope"}, 400)
        token = f"{self.prefix}-{len(self.given)}"
        self.given.append(token)
        seconds = self.lifetime if isinstance(self.lifetime, int) else 300
        self._counts_until[token] = self.time.waited + seconds
        answer = {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": self.lifetime,
            "scope": " ".join(scopes),
            **self.changes,
        }
        return said({name: value for name, value in answer.items() if value is not None})

    def _fault(self, asked: Asked, form: Mapping[str, str]) -> str | None:
        if form.get("grant_type") != "client_credentials":
            return "unsupported_grant_type"
        if self.client_secret:
            return self._fault_of_secret(asked, form)
        if form.get("client_assertion_type") != _ASSERTION:
            return "invalid_request"
        return self._fault_of_assertion(form.get("client_assertion", ""))

    def _fault_of_secret(self, asked: Asked, form: Mapping[str, str]) -> str | None:
        shown = (form.get("client_id"), form.get("client_secret"))
        kind, _, value = asked.headers.get("authorization", "").partition(" ")
        if kind == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            shown = (unquote_plus(user), unquote_plus(password))
        return None if shown == (self.client_id, self.client_secret) else "invalid_client"

    def _fault_of_assertion(self, assertion: str) -> str | None:
        try:
            claims = self._claims(assertion)
        except (jwt.PyJWTError, StopIteration) as error:
            return f"invalid_client: {type(error).__name__}"
        if claims["iss"] != self.client_id or claims["sub"] != self.client_id:
            return "invalid_client: another client"
        left = claims["exp"] - self.time.moment.timestamp()
        if not 0 < left <= 300:
            return "invalid_client: expired or good for more than five minutes"
        if claims["jti"] in self._used:
            return "invalid_client: used before"
        self._used.add(claims["jti"])
        return None

    def _claims(self, assertion: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(assertion)
        jwk = next(one for one in self.jwks["keys"] if one["kid"] == header["kid"])
        assert header["typ"] == "JWT"
        claims: dict[str, Any] = jwt.decode(
            assertion,
            jwt.PyJWK(jwk).key,
            algorithms=[jwk["alg"]],
            audience=self.origin + TOKEN,
            options={"require": ["exp", "iss", "sub", "aud", "jti"], "verify_exp": False},
        )
        return claims

    def _record(self, asked: Asked) -> Says:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if self.refusals > 0:
            self.refusals -= 1
            return said({"resourceType": "OperationOutcome"}, 401)
        if self._counts_until.get(token, 0) <= self.time.waited:
            return said({"resourceType": "OperationOutcome"}, 401)
        return fhir({"resourceType": "Patient", "id": "1"})
