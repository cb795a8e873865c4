"""
One message to one target.

A target is somebody else's server: it may be slow, huge or hostile. It gets
one request, is read briefly, and cannot lead us anywhere. What it answers is
never kept but for its status.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from fhir_bridge.clock import Clock
from fhir_bridge.errors import BadRecord, BridgeError, SettingsError, Unreachable
from fhir_bridge.settings import WebhookSettings, environment
from fhir_bridge.webhooks.signing import keys, signed_headers
from fhir_bridge.wire import ONCE, Answer, Limits, Side, Wire, retry_after_seconds

_LIMITS = Limits(
    page_bytes_max=64 * 1024,
    connect_seconds=3.0,
    read_seconds=10.0,
    header_seconds=12.0,
    total_seconds=15.0,
)
_TOO_MANY, _GONE = 429, 410
_AWAY = frozenset({_TOO_MANY, 408, 502, 503, 504})
"""Says something of the target, and nothing of the message."""


class Ending(StrEnum):
    """What became of one request."""

    TAKEN = "taken"
    REFUSED = "refused"
    """The target does not want this message, or has a fault with it."""
    AWAY = "away"
    """The target cannot take any message now."""
    GONE = "gone"
    """The target wants no message ever again."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one request, and why."""

    ending: Ending
    reason: str
    """A status, or one word; never anything that the target said."""
    wait_seconds: float | None = None
    """How long the target asked to be left alone."""


class Sender:
    """Sends to one target; its connection is kept as long as a ``with`` block."""

    def __init__(self, target: WebhookSettings, clock: Clock) -> None:
        """
        Make ready; nothing is sent.

        Raises:
            SettingsError: Its secret or its certificates cannot be read.
        """
        parts = urlsplit(target.url)
        self._clock = clock
        self._keys = keys(target.secret.read(environment()), f"webhooks.{target.name}")
        self._where = parts.path + (f"?{parts.query}" if parts.query else "")
        self._wire = Wire(
            f"{parts.scheme}://{parts.netloc}",
            side=Side.DESTINATION,
            limits=_LIMITS,
            clock=clock,
            ca_file=target.trusted(),
        )

    def __enter__(self) -> Self:
        """Return the sender itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._wire.close()

    def send(self, message_id: str, body: bytes) -> Sent:
        """Send a message once; whatever happens is told in the return."""
        now = self._clock.now()
        headers = signed_headers(message_id, now, body, self._keys)
        try:
            answer = self._wire.exchange(
                "POST",
                self._where,
                body=body,
                content_type="application/json",
                accept="*/*",
                headers=headers,
                retry=ONCE,
            )
        except BridgeError as error:
            return Sent(Ending.AWAY, _word(error))
        return self._told(answer, now)

    def _told(self, answer: Answer, now: datetime) -> Sent:
        status = answer.status
        reason = str(status)
        if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110 15.3
            return Sent(Ending.TAKEN, reason)
        if status == _GONE:
            return Sent(Ending.GONE, reason)
        if status in _AWAY:
            return Sent(Ending.AWAY, reason, retry_after_seconds(answer.headers, now))
        return Sent(Ending.REFUSED, "redirect" if status < 400 else reason)  # noqa: PLR2004


def _word(error: BridgeError) -> str:
    if isinstance(error, SettingsError):
        return "tls"
    if isinstance(error, BadRecord):
        return "answer-too-long"
    return "unreachable" if isinstance(error, Unreachable) else "failed"
