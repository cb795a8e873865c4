"""What the operator has settled about the API: the table ``api`` of the settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fhir_bridge.doors.api.bearer import Issuer
from fhir_bridge.doors.api.roles import Role
from fhir_bridge.errors import SettingsError

HOST = "127.0.0.1"
PORT = 8480

_SCOPES = {f"fhir-bridge/{role}": role for role in Role}


class Table(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The table as it is written."""

    host: str = HOST
    port: Annotated[int, Meta(ge=0, le=65535)] = PORT
    tls_certificate: str = ""
    tls_key: str = ""
    client_ca: str = ""
    trusted_proxy: tuple[str, ...] = ()
    rate_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 600
    issuer: str = ""
    audience: str = ""
    jwks: str = ""
    tenant_claim: str = "organisation"
    scopes: dict[str, str] = msgspec.field(default_factory=lambda: dict(_SCOPES))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The table as it is used."""

    host: str = HOST
    port: int = PORT
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    """Whoever connects must show a certificate of this authority."""
    trusted_proxy: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where the proxies are that end TLS before us; without TLS nobody else may connect."""
    rate_per_minute: int = 600
    """Requests of one caller."""
    issuer: Issuer | None = None
    jwks: str = ""
    """Path or https address of the issuer's keys."""

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_binding(self) -> None:
        """
        Refuse to be reachable from elsewhere in plain text.

        Raises:
            SettingsError: Neither TLS nor a trusted proxy is set.
        """
        if not (self.loopback or self.tls_certificate or self.trusted_proxy):
            raise SettingsError(
                f"{self.host} is reachable from other machines, and keys and patients would pass"
                " in plain text: set api.tls_certificate and api.tls_key, or api.trusted_proxy"
                " when a proxy ends TLS before the bridge, or bind 127.0.0.1"
            )


def read(table: Mapping[str, Any]) -> ApiSettings:
    """
    Read the table.

    Raises:
        SettingsError: Something is missing or wrong; the setting is named.
    """
    try:
        said = msgspec.convert(dict(table), Table)
    except msgspec.ValidationError as error:
        raise SettingsError(f"the settings' table api: {error}") from error
    if bool(said.tls_certificate) != bool(said.tls_key):
        raise SettingsError("api.tls_certificate and api.tls_key belong together")
    if said.client_ca and not said.tls_certificate:
        raise SettingsError("api.client_ca needs api.tls_certificate: clients show theirs in TLS")
    return ApiSettings(
        host=said.host,
        port=said.port,
        tls_certificate=_file("tls_certificate", said.tls_certificate),
        tls_key=_file("tls_key", said.tls_key),
        client_ca=_file("client_ca", said.client_ca),
        trusted_proxy=tuple(map(_address, said.trusted_proxy)),
        rate_per_minute=said.rate_per_minute,
        issuer=_issuer(said),
        jwks=said.jwks,
    )


def _issuer(said: Table) -> Issuer | None:
    given = [bool(one) for one in (said.issuer, said.audience, said.jwks)]
    if not any(given):
        return None
    if not all(given):
        raise SettingsError("api.issuer, api.audience and api.jwks belong together")
    return Issuer(
        name=said.issuer,
        audience=said.audience,
        tenant_claim=said.tenant_claim,
        scopes={scope: _role(name) for scope, name in said.scopes.items()},
    )


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError as error:
        raise SettingsError(f"api.scopes leads to one of {', '.join(Role)}") from error


def _file(name: str, text: str) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise SettingsError(f"api.{name}: there is no file {path}")
    return path


def _address(text: str) -> IPv4Network | IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingsError("api.trusted_proxy holds addresses or networks") from error
