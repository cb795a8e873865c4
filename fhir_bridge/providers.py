"""Open one provider's server from what the operator has settled about it."""

from __future__ import annotations

from contextlib import ExitStack
from urllib.parse import urlsplit

from fhir_bridge.clock import Clock
from fhir_bridge.fhir_server import FhirServer
from fhir_bridge.journey import Provider
from fhir_bridge.journey.ordering import public_sandboxes
from fhir_bridge.settings import ServerSettings, Settings, environment
from fhir_bridge.tokens import Basic, Bearer, Credential, NoCredential
from fhir_bridge.transfer import Party
from fhir_bridge.wire import Side, Wire


class Providers:
    """The servers that were named so far; each is opened once and its connections are kept."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Open nothing yet."""
        self._settings = settings
        self._clock = clock
        self._open = ExitStack()
        self._known: dict[tuple[str, Side], Provider] = {}

    def close(self) -> None:
        """Close every connection."""
        self._open.close()

    def provider(self, name: str, side: Side) -> Provider:
        """
        Return the provider that an alias or a base URL names.

        Args:
            name: Alias of the settings, or a base URL.
            side: Which end of a transfer it is; errors are named after it.

        Raises:
            SettingsError: No such alias, not a URL, or its secret is missing.
        """
        if (name, side) not in self._known:
            self._known[name, side] = self._opened(name, side)
        return self._known[name, side]

    def _opened(self, name: str, side: Side) -> Provider:
        server = self._settings.server(name)
        wire = Wire(
            server.base,
            side=side,
            credential=_credential(server),
            clock=self._clock,
            insecure=server.insecure,
        )
        self._open.callback(wire.close)
        return Provider(
            server=FhirServer(wire),
            name=_log_name(server),
            identity=server.identity,
            organisations=tuple(
                Party(system=one.system, value=one.value, name=one.name or one.value)
                for one in server.organisations
            ),
            timezone=server.timezone,
            allow_treatment=server.allow_treatment or (not server.registered and server.loopback),
            registered=server.registered,
            loopback=server.loopback,
            sandbox=server.base in public_sandboxes(),
        )


def _log_name(server: ServerSettings) -> str:
    """Name a server as the log does: its alias, else its host and port."""
    return server.name if server.registered else urlsplit(server.base).netloc


def _credential(server: ServerSettings) -> Credential:
    settings = server.credential
    if settings.secret is None:
        return NoCredential()
    secret = settings.secret.read(environment())
    return Basic(settings.user, secret) if settings.kind == "basic" else Bearer(secret)
