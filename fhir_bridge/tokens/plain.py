"""A secret that the operator was given and that is shown as it is: password or token."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_bridge.errors import SettingsError
from fhir_bridge.wire import Credential


@dataclass(frozen=True, slots=True)
class Basic(Credential):
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
        check_secret(self.password)

    @property
    def secret(self) -> bool:
        """Return that the password must not be read on the way."""
        return True

    def headers(self) -> Mapping[str, str]:
        """Return the headers of one request."""
        pair = f"{self.user}:{self.password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


@dataclass(frozen=True, slots=True)
class Bearer(Credential):
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
        check_secret(self.token)
        if " " in self.token or not self.token.isascii():
            raise SettingsError("a bearer token is one word of ASCII characters")

    @property
    def secret(self) -> bool:
        """Return that the token must not be read on the way."""
        return True

    def headers(self) -> Mapping[str, str]:
        """Return the headers of one request."""
        return {"Authorization": f"Bearer {self.token}"}


def check_secret(secret: str) -> None:
    """
    Check that a secret can be written into a header.

    Raises:
        SettingsError: Empty, or it holds a line end, which would let it write
            headers of its own.
    """
    if not secret or any(ord(char) < 0x20 or ord(char) == 0x7F for char in secret):  # noqa: PLR2004
        raise SettingsError("a secret is not empty and holds no line end or control character")
