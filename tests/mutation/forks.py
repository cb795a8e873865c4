"""Running something in a process of its own, within bounds: what it spoils ends with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable

_MEMORY_BYTES = 3 * 1024**3
_PR_SET_PDEATHSIG = 1


class Died(Exception):
    """The process gave no answer: it was endless, or ended by force."""


def in_fork(act: Callable[[], object], *, seconds: float | None = None) -> object:
    """
    Return what a function returns in a copy of this process.

    Args:
        act: What it returns is pickled.
        seconds: Of processor time; None: no bounds at all.

    Raises:
        Died: It took longer, or ended without an answer.
    """
    reading, writing = os.pipe()
    folder = tempfile.mkdtemp(prefix="mutation-")
    pid = os.fork()
    if not pid:
        os.close(reading)
        _be_the_child(act, writing, folder, seconds)
    os.close(writing)
    try:
        answer = _answer(reading, None if seconds is None else 60 + 10 * seconds)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        shutil.rmtree(folder, ignore_errors=True)
    if not answer:
        raise Died("no answer")
    return pickle.loads(answer)  # noqa: S301 - of our own process


def _answer(reading: int, seconds: float | None) -> bytes:
    deadline = None if seconds is None else time.monotonic() + seconds
    parts: list[bytes] = []
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            return b""
        part = os.read(reading, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _be_the_child(
    act: Callable[[], object], writing: int, folder: str, seconds: float | None
) -> None:
    """Run, answer, end; nothing of the copied process goes on."""
    try:
        os.setpgid(0, 0)
        _end_with_the_parent()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        if seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        answer = pickle.dumps(act())
        with os.fdopen(writing, "wb") as file:
            file.write(answer)
    except BaseException:  # noqa: BLE001 - whatever it was, the process ends here
        sys.stderr.flush()
    finally:
        os._exit(0)


def _end_with_the_parent() -> None:
    """Let nothing go on by itself when a run is stopped; known to Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
