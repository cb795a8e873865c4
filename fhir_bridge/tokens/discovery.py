"""
Where a SMART server gives tokens, asked of the server itself.

What it answers is data from outside: a token endpoint on another host would be
shown our signature, so it must be written down by the operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.clock import Clock
from fhir_bridge.errors import BadRecord, SettingsError
from fhir_bridge.settings import ServerSettings
from fhir_bridge.wire import Limits, Side, Wire, same_origin

_PATH = ".well-known/smart-configuration"
_LIMITS = Limits(
    page_bytes_max=256 * 1024, read_seconds=10.0, header_seconds=15.0, total_seconds=20.0
)


def discovered(server: ServerSettings, algorithm: str, *, side: Side, clock: Clock) -> str:
    """
    Return the token endpoint that a server names.

    Args:
        server: It is asked without any credential.
        algorithm: What the bridge signs with there.
        side: Errors are named after it.
        clock: Tells the time and waits.

    Raises:
        SettingsError: It names none, or one at another origin, or cannot check
            our signature. The sentence says what to do.
        Unreachable: By side.

    Source:
        SMART App Launch 2.2, Conformance; that the endpoint must be at the
        server's own origin is our own rule.
    """
    wire = Wire(
        server.base,
        side=side,
        limits=_LIMITS,
        clock=clock,
        insecure=server.insecure,
        ca_file=server.trusted(),
    )
    try:
        said = _configuration(wire, server)
    finally:
        wire.close()
    _check_support(said, server, algorithm)
    url = said.get("token_endpoint")
    if not isinstance(url, str) or not url:
        raise _unusable(server, "names no token_endpoint")
    if not same_origin(server.base, url):
        raise _unusable(server, "names a token endpoint on another host than its own")
    return url


def _configuration(wire: Wire, server: ServerSettings) -> Mapping[str, Any]:
    try:
        answer = wire.exchange("GET", _PATH, accept="application/json")
        said = lossless.decode(answer.body) if answer.status == 200 else None  # noqa: PLR2004
    except BadRecord as error:
        raise _unusable(server, f"answers {_PATH} with what is not JSON") from error
    if not isinstance(said, dict):
        raise _unusable(server, f"has no {_PATH} ({answer.status})")
    return said


def _check_support(said: Mapping[str, Any], server: ServerSettings, algorithm: str) -> None:
    """A list that is there must hold what we use; one that is not there says nothing."""
    for name, ours in (
        ("grant_types_supported", "client_credentials"),
        ("token_endpoint_auth_methods_supported", "private_key_jwt"),
        ("token_endpoint_auth_signing_alg_values_supported", algorithm),
    ):
        theirs = said.get(name)
        if isinstance(theirs, list) and ours not in theirs:
            raise SettingsError(
                f"{server.name} does not list {ours} in {name}: "
                + (
                    "use a key of the other kind (ES384 or RS384)"
                    if ours == algorithm
                    else "it does not offer SMART Backend Services"
                )
            )


def _unusable(server: ServerSettings, what: str) -> SettingsError:
    return SettingsError(
        f"{server.name} {what}: ask its operator for the token endpoint and set"
        f" servers.{server.name}.credential.token_url"
    )
