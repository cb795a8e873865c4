"""
Who may connect, where a proxy ends TLS before us: the proxy, and this machine.

Without this, whoever reaches the port could go round the proxy, in plain text.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_bridge.doors.api.operations import FHIR_JSON, respond
from fhir_bridge.doors.api.problems import Problem, outcome


class Peers:
    """Lets connections in by where they come from."""

    def __init__(self, app: ASGIApp, *, allowed: Sequence[IPv4Network | IPv6Network]) -> None:
        """Keep who may; nobody named means everyone."""
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and self._allowed and not self._may(scope.get("client")):
            answer = respond(outcome(Problem.FORBIDDEN), 403, media=FHIR_JSON)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may(self, client: tuple[str, int] | None) -> bool:
        if client is None:
            return False
        address = ipaddress.ip_address(client[0].partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        return mapped.is_loopback or any(mapped in network for network in self._allowed)
