"""
Who may be carried beside whom, in one worker.

A transfer that kills its worker takes with it what the worker carries beside
it. So one over which workers have died before is carried alone: it can then
kill for itself only, and what died beside it is not blamed for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Quarantine:
    """Many at once, or one alone; who wants to be alone goes first."""

    def __init__(self) -> None:
        """Start with nobody inside."""
        self._changed = Condition()
        self._inside = 0
        self._alone = False
        self._waiting = 0

    @contextmanager
    def entered(self, *, alone: bool) -> Iterator[None]:
        """
        Be inside, with others or alone.

        Args:
            alone: Wait until everybody has left, and let nobody in.
        """
        with self._changed:
            self._waiting += alone
            self._changed.wait_for(self._empty if alone else self._open)
            self._waiting -= alone
            self._inside, self._alone = self._inside + 1, alone
        try:
            yield
        finally:
            with self._changed:
                self._inside, self._alone = self._inside - 1, False
                self._changed.notify_all()

    def _empty(self) -> bool:
        return self._inside == 0

    def _open(self) -> bool:
        return not self._alone and not self._waiting
