"""A process whose disk or network fails at one system call, or that is killed there (strace)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.simulators.servers import leave_out

_SECONDS_MAX = 120
_CALL = re.compile(rb"^(?:\d+ +)?(\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """What happens at which system call."""

    call: str
    when: str
    """Counted from the process's start: ``3``, or ``3..5`` for several."""
    kind: str
    """``error=EIO``, ``error=ENOSPC``, ``signal=SIGKILL``…"""

    def __str__(self) -> str:
        return f"{self.call}-{self.when}-{self.kind.partition('=')[2]}"


@dataclass(frozen=True)
class Ended:
    """How the process ended."""

    code: int
    lines: list[str]
    """What it had said, whole lines only."""
    errors: str


def strace() -> str:
    return shutil.which("strace") or leave_out()


def counted(code: str, arguments: Sequence[str], calls: Sequence[str], log: Path) -> Counter[str]:
    """Run a process without a fault; say how often it made each call."""
    options = [strace(), "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(calls)}"]
    command = [*options, sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS_MAX)
    assert done.returncode == 0, done.stderr.decode()
    return Counter(name.decode() for name in _CALL.findall(log.read_bytes()))


def run(code: str, arguments: Sequence[str], fault: Fault) -> Ended:
    """Run a process with a fault."""
    options = [strace(), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={fault.call}"]
    inject = ["-e", f"inject={fault.call}:{fault.kind}:when={fault.when}"]
    command = [*options, *inject, sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS_MAX)
    lines = [line for line in done.stdout.decode().splitlines(keepends=True) if line[-1] == "\n"]
    return Ended(done.returncode, [line.strip() for line in lines], done.stderr.decode())
