"""Time comes from here, so that a test decides what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one place that asks


@dataclass(frozen=True, slots=True)
class Clock:
    """What the bridge knows of time."""

    now: Callable[[], datetime] = _now
    """The time of day, with its zone."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds since some moment; never goes back."""
    sleep: Callable[[float], None] = time.sleep  # noqa: TID251 - the one place that waits
    """Wait for so many seconds."""
