"""What is shown to a server to be let in, as far as the wire must know it."""

from __future__ import annotations

from collections.abc import Mapping


class Credential:
    """One server's way of being asked who we are; this one shows nothing."""

    __slots__ = ()

    @property
    def secret(self) -> bool:
        """Return whether something travels that others must not read."""
        return False

    @property
    def certificate(self) -> tuple[str, str] | None:
        """Return the files of a client certificate and its key."""
        return None

    def headers(self) -> Mapping[str, str]:
        """
        Return the headers of one request.

        Raises:
            BridgeError: A token had to be asked for, and was not given.
        """
        return {}

    def renew(self, shown: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing can be renewed
        """
        Tell whether asking again can help, now that the server refused these headers (401).

        Args:
            shown: What `headers` had returned.
        """
        return False


class NoCredential(Credential):
    """Nothing is shown: an open server."""

    __slots__ = ()
