"""
What a token endpoint answered, read as data from outside.

Nothing of it is shown but the error codes of OAuth2: a description may repeat
what was sent, and the rest is a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.errors import BridgeError, CredentialRefused, MalformedJson, OversizedAnswer
from fhir_bridge.tokens.scopes import missing
from fhir_bridge.wire import Answer

BYTES_MAX = 64 * 1024
"""An answer; a token with all its claims has 2 to 8 KiB."""

_TOKEN_CHARS_MAX = 16 * 1024
_SECONDS_DEFAULT = 300
_SECONDS_MAX = 3600
"""A token is asked for anew each hour, whatever its server says."""

_ERRORS = {
    "invalid_client": "it does not know this client_id or its key or secret; with a key, the"
    " clock of this machine may also be wrong",
    "unauthorized_client": "this client may not have tokens in this way",
    "invalid_scope": "it grants none of the scopes asked for",
    "unsupported_grant_type": "it gives no tokens for client credentials",
    "invalid_request": "it does not understand the request",
    "invalid_grant": "it does not accept what was shown",
}
"""RFC 6749 5.2; what any other code says is not shown."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it was given."""

    value: str = field(repr=False)
    seconds: float
    """How long it counts from the moment it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must be to be used."""

    who: str
    """The token endpoint, in the words of an error."""
    scopes: Sequence[str]
    scopes_are_told: bool
    """The answer must say what it grants (SMART); else silence means all (RFC 6749 5.1)."""


def read_token(answer: Answer, expected: Expected) -> Token:
    """
    Return the token of an answer.

    Raises:
        CredentialRefused: The endpoint gave none, gave less than was asked, or
            answered what is no token. The sentence says what to do.
    """
    said = _object(answer)
    if answer.status != 200:  # noqa: PLR2004 - RFC 6749 5.1
        raise _refused(answer, said, expected)
    if said is None:
        raise CredentialRefused(f"{expected.who} answered what is not JSON: check its address")
    kind, value = said.get("token_type"), said.get("access_token")
    if not (isinstance(kind, str) and kind.lower() == "bearer"):
        raise CredentialRefused(f"{expected.who} gave a token that is not a bearer token")
    if not (isinstance(value, str) and _is_token(value)):
        raise CredentialRefused(f"{expected.who} answered without a token that can be sent")
    _check_scopes(said, expected)
    return Token(value, _seconds(said.get("expires_in"), expected))


def _object(answer: Answer) -> Mapping[str, Any] | None:
    try:
        value = lossless.decode(answer.body)
    except (MalformedJson, OversizedAnswer):
        return None
    return value if isinstance(value, dict) else None


def _refused(answer: Answer, said: Mapping[str, Any] | None, expected: Expected) -> BridgeError:
    code = str((said or {}).get("error", ""))
    if code not in _ERRORS:
        return CredentialRefused(
            f"{expected.who} gave no token ({answer.status}): check its address and the credential"
        )
    why = _ERRORS[code]
    if code == "invalid_scope" and expected.scopes:
        why += f" ({' '.join(expected.scopes)}): ask its operator for them"
    return CredentialRefused(f"{expected.who} gave no token ({code}): {why}")


def _check_scopes(said: Mapping[str, Any], expected: Expected) -> None:
    granted = said.get("scope")
    if granted is None and not expected.scopes_are_told:
        return
    given = granted.split() if isinstance(granted, str) else []
    if lacking := missing(expected.scopes, given):
        raise CredentialRefused(
            f"{expected.who} does not grant {lacking[0]}"
            + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else "")
            + f" ({len(expected.scopes) - len(lacking)} of {len(expected.scopes)} granted): ask its"
            " operator for it, or take it out of scopes in fhir-bridge.toml"
        )


def _is_token(value: str) -> bool:
    return (
        0 < len(value) <= _TOKEN_CHARS_MAX
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def _seconds(value: Any, expected: Expected) -> float:
    """Some servers write the number as text; one that says nothing is taken to be short."""
    if value is None:
        return _SECONDS_DEFAULT
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:  # noqa: PLR2004
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise CredentialRefused(f"{expected.who} does not say how long its token counts")
    return min(value, _SECONDS_MAX)
