"""The service as a process of its own, as an operator runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.house.checkout import ROOT

_SECONDS_MAX = 60


class Running:
    """One process; what it says is read as it says it."""

    def __init__(self, folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fhir_bridge", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self.logged: list[str] = []
        self._spoken = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=(stream, into))
            for stream, into in (
                (self.process.stdout, self.said),
                (self.process.stderr, self.logged),
            )
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Iterator[str], into: list[str]) -> None:
        for line in stream:
            with self._spoken:
                into.append(line.rstrip("\n"))
                self._spoken.notify_all()

    @property
    def base(self) -> str:
        """The address that it said it serves; waits for that."""
        found = re.search(r"https?://\S+", self.line("https?://"))
        assert found
        return found[0]

    def line(self, pattern: str) -> str:
        """Wait for a line that says this, and return it."""
        with self._spoken:
            assert self._spoken.wait_for(lambda: self._said(pattern), _SECONDS_MAX), self.logged
        found = self._said(pattern)
        assert found is not None
        return found

    def _said(self, pattern: str) -> str | None:
        return next((line for line in self.said if re.search(pattern, line)), None)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code once it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        try:
            code = self.process.wait(_SECONDS_MAX)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for thread in self._threads:
                thread.join()
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()
        return code


@contextmanager
def running(
    folder: Path, *words: str, environ: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run `fhir-bridge` with these words for as long as a ``with`` block."""
    process = Running(folder, *words, environ=environ)
    try:
        yield process
    finally:
        process.stop()


def done(folder: Path, *words: str) -> str:
    """Run a command to its end; return what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "fhir_bridge", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS_MAX,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()
