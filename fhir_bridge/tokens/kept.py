"""
A token that is kept until shortly before it ends, in memory only.

Many threads use one; when it ends, one of them asks for the next and the
others wait for it. When that fails, all that waited fail with it, instead of
asking one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError
from fhir_bridge.tokens.answering import Token
from fhir_bridge.wire import Credential

_EARLY_SECONDS = 30.0
_EARLY_SHARE = 0.25
"""A token is renewed so long before it ends, and a short one in the last quarter of its time."""


class KeptToken(Credential):
    """Asks for a token when one is needed, and shows it to one server."""

    __slots__ = ("_ask", "_clock", "_ended", "_failure", "_kept", "_lock")

    def __init__(self, ask: Callable[[], Token], clock: Clock) -> None:
        """
        Ask for nothing yet.

        Args:
            ask: Gets a new token, or raises.
            clock: Tells when it ends.
        """
        self._ask = ask
        self._clock = clock
        self._lock = Lock()
        self._kept: tuple[Mapping[str, str], float] | None = None
        self._ended = 0
        self._failure: BridgeError | None = None

    @property
    def secret(self) -> bool:
        """Return that the token must not be read on the way."""
        return True

    def headers(self) -> Mapping[str, str]:
        """
        Return the token's header; ask for a token when there is none that counts.

        Raises:
            CredentialRefused: The server gives none, or grants less than was asked.
            Unreachable: Its token endpoint does not answer.
        """
        shown = self._current()
        if shown is not None:
            return shown
        ended = self._ended
        with self._lock:
            shown = self._current()
            if shown is not None:
                return shown
            if self._failure is not None and self._ended != ended:
                raise self._failure.with_traceback(None)
            return self._renewed()

    def renew(self, shown: Mapping[str, str]) -> bool:
        """Forget the token that was refused; one that another thread got since is kept."""
        with self._lock:
            if self._kept is not None and self._kept[0] == shown:
                self._kept = None
        return True

    def _current(self) -> Mapping[str, str] | None:
        kept = self._kept
        return kept[0] if kept is not None and self._clock.monotonic() < kept[1] else None

    def _renewed(self) -> Mapping[str, str]:
        asked = self._clock.monotonic()
        try:
            token = self._ask()
        except BridgeError as error:
            self._failure = error
            raise
        finally:
            self._ended += 1
        self._failure = None
        early = min(_EARLY_SECONDS, token.seconds * _EARLY_SHARE)
        shown = {"Authorization": f"Bearer {token.value}"}
        self._kept = shown, asked + token.seconds - early
        return shown
