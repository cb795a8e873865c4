"""What the engine is told about turns, and what it may do at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Turn:
    """Something to carry, once."""

    name: str
    """Unique: a transfer and how often it was given to the workers."""
    destination: str
    """What it waits in line for."""


class Turns(Protocol):
    """Where turns come from, and what is done in one. Safe for many threads."""

    def due(self) -> Iterable[Turn]:
        """Return the turns whose time has come, oldest first."""

    def carry_turn(self, name: str) -> float | None:
        """
        Carry one as far as it goes; everything about it is written down on return.

        Returns:
            None, or seconds after which to try again, because what became of it
            could not be written down.
        """

    def lost(self, name: str) -> None:
        """Write down that a turn was given up because it broke the engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once, and how often."""

    at_once: int = 8
    """Transfers that one worker carries at the same time."""
    at_once_to_destination: int = 4
    """Transfers to one destination, over all workers."""
    poll_seconds: float = 0.5
    """Between two looks for new turns."""
    reap_seconds: float = 2.0
    """Between two looks for dead workers; found dead twice, one is."""
    unstarted_seconds: float = 15.0
    """For which a turn may be this worker's and not run, before it is handed out again."""
    stalled_seconds: float = 30.0
    """A worker that does not even say that it lives for so long has lost what it holds."""
    kept_seconds: float = 86_400.0
    """How long the engine remembers a turn that is over."""
