"""What stands before a server, for every process that asks it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

LEAVE_ALONE = {429, 503}
"""With Retry-After they hold for everyone who asks this server (RFC 6585 4, RFC 9110 15.6.4)."""


class Gate(Protocol):
    """What each request passes before it is sent."""

    def passing(self) -> AbstractContextManager[None]:
        """Send one request, when it is its turn."""

    def push_back(self, seconds: float) -> None:
        """Let nobody through for a while: the server asked for it."""
