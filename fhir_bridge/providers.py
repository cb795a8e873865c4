"""Open one provider's server from what the operator has settled about it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from fhir_bridge.clock import Clock
from fhir_bridge.fhir_server import FhirServer, Kept
from fhir_bridge.gates import Gate, Gates
from fhir_bridge.journey import Provider
from fhir_bridge.journey.ordering import is_public_sandbox
from fhir_bridge.settings import ServerSettings, Settings, read_server
from fhir_bridge.store import ServerRow
from fhir_bridge.tokens import open_credential
from fhir_bridge.transfer import Party
from fhir_bridge.wire import Limits, Side, Wire, normalised_base


class Registered(Protocol):
    """Where servers lie that were registered while the bridge ran."""

    def registered_server(self, alias: str) -> ServerRow | None:
        """Return one; None when there is none."""


class Servers:
    """What is known of each server: the settings are asked first, then the store."""

    def __init__(self, settings: Settings, registered: Registered) -> None:
        """Ask nothing yet."""
        self._settings = settings
        self._registered = registered

    def server(self, name: str) -> ServerSettings:
        """
        Return the server that an alias or a base URL names.

        Raises:
            SettingsError: No such alias, or not a URL.
        """
        if name not in self._settings.servers and "://" not in name:
            row = self._registered.registered_server(name)
            if row is not None:
                return read_server(name, msgspec.json.decode(row.described), secret=row.secret)
        return self._settings.server(name)


class Providers:
    """The servers that were named so far; each is opened once and its connections are kept."""

    def __init__(
        self,
        servers: Servers,
        clock: Clock,
        statements: Kept | None = None,
        gates: Gates | None = None,
    ) -> None:
        """
        Open nothing yet.

        Args:
            servers: What is known of each.
            clock: Tells the time and waits.
            statements: Where what a server said of itself is kept for a while.
            gates: What requests of every process pass; closed here.
        """
        self._servers = servers
        self._clock = clock
        self._statements = statements
        self._gates = gates
        self._open = ExitStack()
        if gates is not None:
            self._open.callback(gates.close)
        self._known: dict[tuple[str, Side, Limits], tuple[ServerSettings, Provider]] = {}

    def close(self) -> None:
        """Close every connection."""
        self._open.close()

    def provider(self, name: str, side: Side, limits: Limits | None = None) -> Provider:
        """
        Return the provider that an alias or a base URL names, for one use of it.

        Connections are shared by every use; what the server may take is counted
        anew for each, or a worker that lives for weeks would give up a server
        that is well.

        Args:
            name: Alias of the settings, or a base URL.
            side: Which end of a transfer it is; errors are named after it.
            limits: How long and how much in all; None for those of a transfer.

        Raises:
            SettingsError: No such alias, not a URL, or its secret is missing.
        """
        limits = limits or Limits()
        said = self._servers.server(name)
        opened_for, provider = self._known.get((name, side, limits), (None, None))
        if provider is None or opened_for != said:  # registered anew: another address or secret
            provider = self._opened(said, side, limits)
            self._known[name, side, limits] = said, provider
        return replace(provider, server=provider.server.fresh())

    def _opened(self, server: ServerSettings, side: Side, limits: Limits) -> Provider:
        wire = Wire(
            server.base,
            side=side,
            credential=open_credential(server, side=side, clock=self._clock),
            limits=limits,
            clock=self._clock,
            insecure=server.insecure,
            ca_file=server.trusted(),
            gate=self._gate(server, side),
        )
        self._open.callback(wire.close)
        return Provider(
            server=FhirServer(wire, statements=self._statements),
            name=_log_name(server),
            identity=identity(server),
            organisations=tuple(
                Party(system=one.system, value=one.value, name=one.name or one.value)
                for one in server.organisations
            ),
            timezone=server.timezone,
            allow_treatment=server.allow_treatment or (not server.registered and server.loopback),
            registered=server.registered,
            loopback=server.loopback,
            sandbox=is_public_sandbox(wire.base),
        )

    def _gate(self, server: ServerSettings, side: Side) -> Gate | None:
        if self._gates is None:
            return None
        whose = "first" if side is Side.SOURCE else "second"
        name = _log_name(server)
        return self._gates.gate(
            name,
            f"the {whose} provider's server ({name})",
            rate_per_second=server.rate_per_second,
            concurrency=server.concurrency,
        )


def identity(server: ServerSettings) -> str:
    """Return what copies of a server's records are named after; by default its base."""
    if server.identity != server.base:
        return server.identity
    return normalised_base(server.base, insecure=True)


def _log_name(server: ServerSettings) -> str:
    """Name a server as the log does: its alias, else its host and port."""
    return server.name if server.registered else urlsplit(server.base).netloc
