"""Waiting for SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import threading

_LOOK_SECONDS = 1.0


class Stopping:
    """Told to stop by a signal, or by `stop`."""

    def __init__(self) -> None:
        """Begin untold; a signal still ends the process."""
        self._told = threading.Event()

    def listen(self) -> None:
        """Take both signals from now on. In the main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())

    def stop(self) -> None:
        """Tell; any thread may."""
        self._told.set()

    def wait(self) -> None:
        """
        Wait until told. In the main thread only.

        The kernel may give a signal to any thread, and Python acts on it in the
        main one, which does not wake for it: without a look now and then such a
        signal would be lost until the next.
        """
        while not self._told.wait(_LOOK_SECONDS):
            continue
