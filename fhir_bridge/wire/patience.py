"""Waiting as data: what a server asks for, what is tried again, and when it is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock

from fhir_bridge.clock import Clock
from fhir_bridge.errors import Throttled

_DIGITS_MAX = 9
_BACKOFF_SECONDS, _BACKOFF_SECONDS_MAX = 0.25, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What is tried again without asking the caller."""

    attempts: int
    """Requests in all, the first included."""
    statuses: frozenset[int] = frozenset({429, 502, 503, 504})
    resend: bool = True
    """Whether to send again when the answer was lost: only for what changes nothing."""


PATIENT = Retry(attempts=6)
"""For reading."""

ONCE = Retry(attempts=1, statuses=frozenset(), resend=False)
"""For writing: the caller must look before it sends again."""


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """
    Return how long a server asks to wait.

    Args:
        headers: Names in lower case.
        now: Used when the server names a moment and sends no Date of its own.

    Returns:
        Seconds, never negative; None when nothing that can be understood was said.

    Source:
        RFC 9110 10.2.3: seconds or an HTTP date.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS_MAX])
    moment = http_date(text)
    if moment is None:
        return None
    since = http_date(headers.get("date", "")) or now
    return max(0.0, (moment - since).total_seconds())


def http_date(text: str) -> datetime | None:
    """Return the moment of an HTTP date; None when it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _backoff(attempt: int) -> float:
    """Four times as long each time: a server that restarts needs half a minute."""
    return float(min(_BACKOFF_SECONDS * 4 ** (attempt - 1), _BACKOFF_SECONDS_MAX))


class Patience:
    """
    One server's wish to be left alone, shared by all threads that ask it.

    A second thread that is told to wait at the same time waits with the first,
    so the time counts once.
    """

    def __init__(self, clock: Clock, *, who: str, each_max: float, all_max: float) -> None:
        """
        Start without any wait.

        Args:
            clock: Waits and tells the time.
            who: Host, for the error.
            each_max: Seconds of one wait.
            all_max: Seconds of all waits together.
        """
        self._clock = clock
        self._who = who
        self._each_max = each_max
        self._all_max = all_max
        self._quiet_until = clock.monotonic()
        self._waited = 0.0
        self._lock = Lock()

    def wait(self, asked: float | None, attempt: int) -> None:
        """
        Wait as long as the server asked, or a little longer each time.

        Args:
            asked: Seconds from Retry-After; None when it said nothing.
            attempt: How often it was asked already, from 1.

        Raises:
            Throttled: This wait or all waits together are longer than allowed.
        """
        seconds = _backoff(attempt) if asked is None else asked
        if seconds > self._each_max:
            raise self._enough(seconds)
        with self._lock:
            now = self._clock.monotonic()
            until = max(self._quiet_until, now + seconds)
            self._waited += until - max(self._quiet_until, now)
            self._quiet_until = until
            if self._waited > self._all_max:
                raise self._enough(seconds)
        self.hold()

    def hold(self) -> None:
        """Wait until the server may be asked again."""
        seconds = self._quiet_until - self._clock.monotonic()
        if seconds > 0:
            self._clock.sleep(seconds)

    def _enough(self, seconds: float) -> Throttled:
        return Throttled(
            f"{self._who} asks to be left alone for {seconds:.0f} seconds more: nothing is lost,"
            " continue later with resume",
            wait_seconds=seconds,
        )
