"""Open a server's credential from what the operator has settled about it."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import quote_plus

from fhir_bridge.clock import Clock
from fhir_bridge.errors import CredentialRefused, SettingsError
from fhir_bridge.settings import ServerSettings, environment
from fhir_bridge.tokens.answering import Expected, Token
from fhir_bridge.tokens.certificate import ClientCertificate
from fhir_bridge.tokens.discovery import discovered
from fhir_bridge.tokens.endpoint import TokenEndpoint
from fhir_bridge.tokens.kept import KeptToken
from fhir_bridge.tokens.keys import KeyOf
from fhir_bridge.tokens.plain import Basic, Bearer, check_secret
from fhir_bridge.wire import Credential, NoCredential, Side

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 240
"""SMART allows 300; the minute less is for a server whose clock is behind ours."""


def open_credential(server: ServerSettings, *, side: Side, clock: Clock) -> Credential:
    """
    Return what is shown to a server; nothing is asked of anyone yet.

    Args:
        server: As the operator settled it.
        side: Errors are named after it.
        clock: Tells when a token ends.

    Raises:
        SettingsError: A secret or key is missing, or others may read it.
    """
    said = server.credential
    if said.kind == "none":
        return NoCredential()
    if said.kind == "mtls":
        return _certificate(server)
    if said.kind == "smart":
        return KeptToken(_Smart(server, side, clock).ask, clock)
    assert said.secret is not None
    if said.kind == "client-credentials":
        check_secret(said.secret.read(environment()))
        return KeptToken(_ClientCredentials(server, side, clock).ask, clock)
    secret = said.secret.read(environment())
    return Basic(said.user, secret) if said.kind == "basic" else Bearer(secret)


def _certificate(server: ServerSettings) -> ClientCertificate:
    said = server.credential
    if not server.base.startswith("https://"):
        raise SettingsError(f"servers.{server.name}: a client certificate needs https")
    assert said.certificate_file is not None
    if said.secret is None or said.secret.file is None:
        raise SettingsError(f"servers.{server.name}: a client certificate needs its key_file")
    return ClientCertificate(said.certificate_file, said.secret.file)


class _Smart:
    """
    Asks by a signed assertion.

    Source:
        SMART App Launch 2.2, Backend Services; RFC 7523 2.2.
    """

    def __init__(self, server: ServerSettings, side: Side, clock: Clock) -> None:
        self._server = server
        self._side = side
        self._clock = clock
        self._url = server.credential.token_url
        self._key = KeyOf(server)
        self._key.key()  # a key that is missing stops the start

    def ask(self) -> Token:
        """Get a token; `KeptToken` sees to it that one thread asks at a time."""
        server = self._server
        if not self._url:
            algorithm = self._key.key().algorithm
            self._url = discovered(server, algorithm, side=self._side, clock=self._clock)
        endpoint = TokenEndpoint(self._url, server, side=self._side, clock=self._clock)
        expected = Expected(who=endpoint.who, scopes=server.credential.scopes, scopes_are_told=True)
        try:
            return endpoint.ask(lambda: (self._form(endpoint.url), {}), expected)
        except CredentialRefused:
            self._url = server.credential.token_url  # it may have moved: the server is asked again
            raise

    def _form(self, url: str) -> Mapping[str, str]:
        return {
            "grant_type": "client_credentials",
            "scope": " ".join(self._server.credential.scopes),
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(url),
        }

    def _assertion(self, url: str) -> str:
        import jwt

        key = self._key.key()
        client = self._server.credential.client_id
        ends = self._clock.now() + timedelta(seconds=_ASSERTION_SECONDS)
        claims = {
            "iss": client,
            "sub": client,
            "aud": url,
            "exp": int(ends.timestamp()),
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, key.key, algorithm=key.algorithm, headers={"kid": key.kid})


class _ClientCredentials:
    """
    Asks by client id and secret.

    Source:
        RFC 6749 4.4 and 2.3.1: in a header, form-encoded first, or in the form.
    """

    def __init__(self, server: ServerSettings, side: Side, clock: Clock) -> None:
        said = server.credential
        self._said = said
        self._endpoint = TokenEndpoint(said.token_url, server, side=side, clock=clock)
        self._expected = Expected(who=self._endpoint.who, scopes=said.scopes, scopes_are_told=False)

    def ask(self) -> Token:
        return self._endpoint.ask(self._question, self._expected)

    def _question(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        said = self._said
        assert said.secret is not None
        secret = said.secret.read(environment())
        form = {"grant_type": "client_credentials"}
        if said.scopes:
            form["scope"] = " ".join(said.scopes)
        if said.method == "post":
            return {**form, "client_id": said.client_id, "client_secret": secret}, {}
        pair = f"{quote_plus(said.client_id)}:{quote_plus(secret)}".encode()
        return form, {"Authorization": "Basic " + base64.b64encode(pair).decode()}
