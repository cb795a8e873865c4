"""
What the bridge shows a server to be let in.

A secret never appears in a representation, a log or an error. It is bound to
one `Wire`, so it is sent to one base only.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_bridge.errors import SettingsError
from fhir_bridge.wire import Credential, NoCredential

__all__ = ["Basic", "Bearer", "Credential", "NoCredential"]


@dataclass(frozen=True, slots=True)
class Basic:
    """
    User name and password.

    Source:
        RFC 7617 2, with UTF-8.
    """

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """
        Check that it can be written at all.

        Raises:
            SettingsError: A colon in the user name would end it early.
        """
        if ":" in self.user or not self.user:
            raise SettingsError("a user name is not empty and holds no colon")
        _check(self.password)

    def headers(self) -> Mapping[str, str]:
        """Return the headers of one request."""
        pair = f"{self.user}:{self.password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


@dataclass(frozen=True, slots=True)
class Bearer:
    """
    A token that the operator was given.

    Source:
        RFC 6750 2.1.
    """

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        """
        Check that it can be written at all.

        Raises:
            SettingsError: Empty, or holds what a header must not.
        """
        _check(self.token)
        if " " in self.token or not self.token.isascii():
            raise SettingsError("a bearer token is one word of ASCII characters")

    def headers(self) -> Mapping[str, str]:
        """Return the headers of one request."""
        return {"Authorization": f"Bearer {self.token}"}


def _check(secret: str) -> None:
    """A line end in a secret would let it write headers of its own."""
    if not secret or any(ord(char) < 0x20 or ord(char) == 0x7F for char in secret):  # noqa: PLR2004
        raise SettingsError("a secret is not empty and holds no line end or control character")
