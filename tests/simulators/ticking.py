"""A clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fhir_bridge.clock import Clock

START = datetime(2026, 11, 22, 6, 0, 0, tzinfo=UTC)


class Ticking:
    """Each look at the time of day is one second later; waiting takes no time."""

    def __init__(self) -> None:
        self.moment = START
        self.waited = 0.0

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.waited += seconds

    def clock(self) -> Clock:
        return Clock(now=self.now, monotonic=lambda: self.waited, sleep=self.sleep)
