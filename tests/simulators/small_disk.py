"""
A disk that a test fills up: a small file system of its own, in memory.

Where nobody may mount one, the kernel is told to take no byte from the processes
that a test names: they meet a disk that refuses every write.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEGABYTES = 32
_CHUNKS = (1 << 20, 1 << 12, 1)


class SmallDisk:
    """A folder on a small file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill_up(self) -> None:
        """Leave not one byte."""
        with self._ballast.open("ab", buffering=0) as file:
            for chunk in _CHUNKS:
                self._fill(file.fileno(), chunk)

    def make_room(self) -> None:
        self._ballast.unlink()

    def _fill(self, descriptor: int, chunk: int) -> None:
        try:
            while os.write(descriptor, b"\0" * chunk):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk | None]:
    """Mount one; None where this account may not."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m,mode=0700", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        yield None
        return
    if done.returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def refuse_writes(process: int, *, refuse: bool = True) -> None:
    """Let the kernel take no byte for any file of a process, or take it again."""
    _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0 if refuse else hard, hard))
