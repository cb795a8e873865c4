"""How much one caller may ask: so many requests a minute, unused ones saved up for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from fhir_bridge.clock import Clock
from fhir_bridge.doors.api.problems import Answered, Problem

_CALLERS_MAX = 10_000
_SECONDS = 60.0


class Rates:
    """
    One bucket a caller, which drains evenly.

    Each process counts for itself: two that serve the same callers let twice
    as much through.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        """Start with every caller's bucket full."""
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, caller: str) -> None:
        """
        Count one request.

        Raises:
            Answered: Nothing is left; says how long to wait.
        """
        rate = self._per_minute / _SECONDS
        with self._lock:
            now = self._clock.monotonic()
            left, at = self._left.pop(caller, (float(self._per_minute), now))
            left = min(float(self._per_minute), left + (now - at) * rate)
            spent = left >= 1
            self._left[caller] = (left - 1 if spent else left, now)
            if len(self._left) > _CALLERS_MAX:
                self._left.popitem(last=False)
        if not spent:
            wait = max(1, round((1 - left) / rate))
            raise Answered(Problem.TOO_MANY_REQUESTS, headers={"Retry-After": str(wait)})


class Places:
    """How many of one costly thing may run at once, in all and for each caller."""

    def __init__(self, in_all: int, each: int) -> None:
        """Start with every place free."""
        self._in_all = in_all
        self._each = each
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}

    @contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """
        Hold a place.

        Raises:
            Answered: None is free.
        """
        self.take(caller)
        try:
            yield
        finally:
            self.leave(caller)

    def take(self, caller: str) -> None:
        """
        Take a place, to be left.

        Raises:
            Answered: None is free.
        """
        with self._lock:
            mine = self._taken.get(caller, 0)
            if mine >= self._each or sum(self._taken.values()) >= self._in_all:
                raise Answered(Problem.BUSY, headers={"Retry-After": "5"})
            self._taken[caller] = mine + 1

    def leave(self, caller: str) -> None:
        """Leave a place that was taken."""
        with self._lock:
            left = self._taken[caller] - 1
            if left:
                self._taken[caller] = left
            else:
                del self._taken[caller]
