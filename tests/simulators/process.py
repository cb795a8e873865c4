"""A real server as a process of the test's own, for as long as a ``with`` block."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_STOP_SECONDS = 30


_PORTS = range(10_000, 32_000)
"""Below those that the kernel takes for outgoing connections (Linux: from 32,768 on)."""


def free_port() -> int:
    """A port that nobody has, and that no outgoing connection takes before it is used."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Process:
    """Starts a command, waits until it says that it is ready, and ends it."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """
        Describe the process.

        Args:
            command: Program and arguments.
            ready: Stands in the line that it prints when it listens.
            environ: The whole environment, if not this process's.
        """
        self.said: list[str] = []
        self._command = command
        self._ready = ready
        self._environ = environ

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environ,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line)
            if self._ready in line:
                break
        else:
            self._process.wait(_STOP_SECONDS)
            self._process.stdout.close()
            raise AssertionError(f"{self._command[0]} did not start: {''.join(self.said[-20:])}")
        self._reader = threading.Thread(target=self._drain, args=(self._process.stdout,))
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
        self._reader.join(_STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _drain(self, stdout: IO[str]) -> None:
        """A pipe that nobody reads would stop the server."""
        self.said.extend(stdout)
