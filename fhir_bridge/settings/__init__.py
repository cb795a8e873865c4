"""
What the operator has written down: servers, the organisations behind them, rules.

The file is `fhir-bridge.toml`. Which organisation is custodian or recipient at
a server is settled here and not by the caller of a transfer, so that a Consent
for one clinic can never be used to send to another's server. A secret stands
in an environment variable or a file, never in the settings and never on the
command line.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.addresses import is_loopback, trusted
from fhir_bridge.settings.credentials import CredentialSettings, Secret, credential
from fhir_bridge.settings.keeping import LOG_ORIGIN, process_name, read_database, read_log
from fhir_bridge.settings.tables import paths, positive, refuse_unknown, table
from fhir_bridge.settings.watching import WatchSettings, watches
from fhir_bridge.settings.webhooks import WebhookSettings, webhooks
from fhir_bridge.settings.witnessing import (
    WithoutWitness,
    WitnessSettings,
    read_witnessing,
)
from fhir_bridge.settings.working import EngineSettings
from fhir_bridge.settings.working import engine as read_engine

__all__ = [
    "LOG_ORIGIN",
    "CredentialSettings",
    "Organisation",
    "Secret",
    "ServerSettings",
    "Settings",
    "WatchSettings",
    "WebhookSettings",
    "WithoutWitness",
    "WitnessSettings",
    "bare",
    "default_store",
    "environment",
    "load",
    "organisation",
    "process_name",
    "read_server",
]

_KEYS = {
    *("store", "database", "database_env", "log", "consent", "sensitivity", "servers"),
    *("api", "audit", "smart", "witness", "webhooks", "watch", "engine"),
}
_SERVER_KEYS = {
    "base",
    "identity",
    "organisations",
    "timezone",
    "insecure",
    "allow_treatment",
    "ca_file",
    "rate_per_second",
    "concurrency",
    "credential",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """An organisation that is responsible for, or receives, records at a server."""

    system: str
    value: str
    name: str = ""
    address: str = ""

    @property
    def identifier(self) -> str:
        """Return the identifier as ``system|value``."""
        return f"{self.system}|{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """One provider's server."""

    name: str
    """The alias; for a bare URL its host and port."""
    base: str
    identity: str
    """What copies of its records are named after; stays when the address changes."""
    organisations: tuple[Organisation, ...] = ()
    timezone: ZoneInfo | None = None
    insecure: bool = False
    allow_treatment: bool = False
    ca_file: Path | None = None
    """Certificates to trust for this server instead of the public ones."""
    rate_per_second: float | None = None
    """Requests, of all workers together; None for no limit of ours."""
    concurrency: int | None = None
    """Requests at once, of all workers together; None for no limit of ours."""
    credential: CredentialSettings = field(default_factory=CredentialSettings)
    registered: bool = True
    """False for a bare URL, which is for trying out (rules of the house)."""

    def trusted(self) -> str | None:
        """
        Return the file of the certificates to trust; None for the public ones.

        Raises:
            SettingsError: It cannot be read.
        """
        return trusted(f"servers.{self.name}", self.ca_file)

    @property
    def loopback(self) -> bool:
        """Return whether the server is on this machine."""
        return is_loopback(urlsplit(self.base).hostname)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator has settled."""

    store: Path
    database: str = ""
    """URL of a PostgreSQL database; empty for SQLite in the store."""
    log_origin: str = ""
    """Host in the audit log's name; empty: as the store has it already."""
    log_passphrase: Secret | None = None
    """What the log's key file is encrypted under; None for a plain one."""
    log_signer: Path | None = None
    """Socket of the process that has the key; None for a key file."""
    servers: Mapping[str, ServerSettings] = field(default_factory=dict[str, ServerSettings])
    accepted_policies: frozenset[str] = frozenset()
    waive_paper: bool = False
    sensitivity_answers: Mapping[str, bool] = field(default_factory=dict[str, bool])
    part2_programs: frozenset[str] = frozenset()
    """Organisation identifiers (``system|value``) of 42 CFR Part 2 programs."""
    witnessing: WitnessSettings = field(default_factory=WitnessSettings)
    audit_repository: str = ""
    """Alias of the server that is sent a copy of each AuditEvent; empty for none."""
    smart_publish: tuple[Path, ...] = ()
    """Private keys whose public half is published before a server's credential uses them."""
    watches: tuple[WatchSettings, ...] = ()
    """Whose new requests become transfers by themselves."""
    webhooks: tuple[WebhookSettings, ...] = ()
    """Who is told when a transfer changes."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    """How workers work."""
    api: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The table ``api`` as it was written; its door reads it."""

    def server(self, name: str) -> ServerSettings:
        """
        Return the server that an alias or a base URL names.

        Raises:
            SettingsError: No such alias, or not a URL.
        """
        if name in self.servers:
            return self.servers[name]
        if "://" not in name:
            known = ", ".join(sorted(self.servers)) or "none"
            raise SettingsError(
                f"{name} is neither a server of fhir-bridge.toml (known: {known}) nor a base URL"
            )
        return bare(name)


def bare(base: str) -> ServerSettings:
    """
    Describe a server known only by its address, for trying out.

    Raises:
        SettingsError: Not an http or https URL with a host.
    """
    parts = _address(base)
    base = base.rstrip("/")
    return ServerSettings(name=parts, base=base, identity=base, registered=False)


def default_store(environ: Mapping[str, str]) -> Path:
    """Return ``$XDG_DATA_HOME/fhir-bridge``."""
    home = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "fhir-bridge"


def load(path: Path | None, *, store: Path | None, environ: Mapping[str, str]) -> Settings:
    """
    Read the settings.

    Args:
        path: The file the operator named; None looks for `fhir-bridge.toml` in
            the working directory and in ``$XDG_CONFIG_HOME/fhir-bridge``.
        store: The store the operator named; it wins over the file.
        environ: The environment.

    Raises:
        SettingsError: The named file is missing, or a setting is wrong. The
            message names the setting.
    """
    found = _find(path, environ)
    tree: dict[str, Any] = {}
    if found is not None:
        try:
            tree = tomllib.loads(found.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"the settings file {found} cannot be read") from error
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{found} is not TOML: {error}") from error
    refuse_unknown(tree, _KEYS, "")
    consent = table(tree, "consent")
    refuse_unknown(consent, {"policies", "waive_paper", "part2_programs"}, "consent.")
    smart = table(tree, "smart")
    refuse_unknown(smart, {"publish"}, "smart.")
    log = read_log(tree)
    named = store or (Path(str(tree["store"])).expanduser() if "store" in tree else None)
    return Settings(
        store=named or default_store(environ),
        database=read_database(tree, environ),
        log_origin=log.origin,
        log_passphrase=log.passphrase,
        log_signer=log.signer,
        servers={name: read_server(name, value) for name, value in table(tree, "servers").items()},
        accepted_policies=frozenset(map(str, consent.get("policies", []))),
        waive_paper=bool(consent.get("waive_paper", False)),
        sensitivity_answers={k: bool(v) for k, v in table(tree, "sensitivity").items()},
        part2_programs=frozenset(map(str, consent.get("part2_programs", []))),
        witnessing=read_witnessing(tree),
        audit_repository=_audit_repository(tree),
        smart_publish=paths("smart.publish", smart.get("publish", [])),
        watches=watches(tree.get("watch", [])),
        webhooks=webhooks(tree.get("webhooks", [])),
        engine=read_engine(tree.get("engine", {})),
        api=table(tree, "api"),
    )


def _audit_repository(tree: Mapping[str, Any]) -> str:
    audit = table(tree, "audit")
    refuse_unknown(audit, {"repository"}, "audit.")
    name = str(audit.get("repository", ""))
    if name and name not in table(tree, "servers"):
        raise SettingsError(f"audit.repository = {name!r} is not one of servers: add it there")
    return name


def organisation(text: str) -> Organisation:
    """
    Read an organisation written as ``system|value``.

    Raises:
        SettingsError: There is no bar, or one side is empty.
    """
    system, _, value = text.partition("|")
    if not (system and value):
        raise SettingsError("an organisation is written SYSTEM|VALUE, e.g. urn:oid:1.2.3|4711")
    return Organisation(system=system, value=value)


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    home = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    for place in (Path("fhir-bridge.toml"), Path(home) / "fhir-bridge" / "fhir-bridge.toml"):
        if place.is_file():
            return place
    return None


def read_server(name: str, value: Any, *, secret: str | None = None) -> ServerSettings:
    """
    Read what is said of one server.

    Args:
        name: Its alias.
        value: A table of the settings, or the same as JSON.
        secret: Its secret when it stands in the store; the table then names none.

    Raises:
        SettingsError: Something is missing or wrong; the message names the member.
    """
    where = f"servers.{name}"
    if not isinstance(value, dict):
        raise SettingsError(f"{where} must be a table")
    refuse_unknown(value, _SERVER_KEYS, f"{where}.")
    base = str(value.get("base", "")).rstrip("/")
    _address(base)
    return ServerSettings(
        name=name,
        base=base,
        identity=str(value.get("identity", base)).rstrip("/"),
        organisations=tuple(
            _organisation(where, entry) for entry in value.get("organisations", [])
        ),
        timezone=_timezone(where, value.get("timezone")),
        insecure=bool(value.get("insecure", False)),
        allow_treatment=bool(value.get("allow_treatment", False)),
        ca_file=Path(str(value["ca_file"])).expanduser() if "ca_file" in value else None,
        rate_per_second=positive(f"{where}.rate_per_second", value.get("rate_per_second")),
        concurrency=_whole(f"{where}.concurrency", value.get("concurrency")),
        credential=credential(f"{where}.credential", value.get("credential", {}), kept=secret),
    )


def _whole(where: str, value: Any) -> int | None:
    number = positive(where, value)
    if number is not None and number != int(number):
        raise SettingsError(f"{where} is a whole number")
    return None if number is None else int(number)


def _organisation(where: str, entry: Any) -> Organisation:
    if not isinstance(entry, dict) or not isinstance(entry.get("identifier"), str):
        raise SettingsError(f"{where}.organisations needs identifier = 'SYSTEM|VALUE' in each")
    bare_one = organisation(entry["identifier"])
    return Organisation(
        system=bare_one.system,
        value=bare_one.value,
        name=str(entry.get("name", "")),
        address=str(entry.get("address", "")),
    )


def _timezone(where: str, name: Any) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(f"{where}.timezone is not a time zone, e.g. Europe/Zurich") from error


def _address(base: str) -> str:
    try:
        parts = urlsplit(base)
        port = parts.port
    except ValueError as error:
        raise SettingsError("the server's base is not a URL") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError("a server's base starts with https:// (or http:// on this machine)")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError("a server's base holds no user, no query and no fragment")
    return f"{parts.hostname}:{port}" if port else parts.hostname


def environment() -> Mapping[str, str]:
    """Return the process's environment: the only place that reads it."""
    return os.environ
