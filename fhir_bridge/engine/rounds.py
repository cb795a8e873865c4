"""What is done again and again beside the transfers, by one thread of a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from fhir_bridge.clock import Clock
from fhir_bridge.logs import Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Something done again and again."""

    name: str
    """For the log."""
    seconds: float
    """From the end of one time to the beginning of the next."""
    act: Callable[[], object]


class Rounds:
    """Does each round when it is due; one that fails is told, and done again at its next time."""

    def __init__(self, rounds: Sequence[Round], clock: Clock) -> None:
        """Start nothing yet; each is due at once."""
        self._due = dict.fromkeys(range(len(rounds)), clock.monotonic())
        self._rounds = rounds
        self._clock = clock
        self._woken = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="fhir-bridge-rounds", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Do every round now: something has happened."""
        now = self._clock.monotonic()
        self._due = dict.fromkeys(self._due, now)
        self._woken.set()

    def stop(self, *, wait_seconds: float = 10.0) -> None:
        """End, after the round that is being done."""
        self._ended = True
        self._woken.set()
        self._thread.join(wait_seconds)

    def _run(self) -> None:
        while not self._ended:
            self.do_due()
            wait = min(self._due.values()) - self._clock.monotonic()
            self._woken.wait(max(0.0, wait))
            self._woken.clear()

    def do_due(self) -> None:
        """Do what is due."""
        for number, one in enumerate(self._rounds):
            if self._ended or self._due[number] > self._clock.monotonic():
                continue
            try:
                one.act()
            except Exception as error:  # noqa: BLE001 - a round must not end the others
                structlog.get_logger().error(
                    Log.ROUND_FAILED, step=one.name, error=type(error).__name__.lower()
                )
            self._due[number] = self._clock.monotonic() + one.seconds
