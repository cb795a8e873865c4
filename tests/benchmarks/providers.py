"""
Two slow providers in a process of their own.

Prints their bases and ends with its input, so that what is measured beside them
does not share an interpreter with them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fhir_bridge.sandbox import Faults, Sandbox, Slow
from tests.benchmarks import patients

FORBIDDEN = "forbidden"
"""A patient who has signed no consent."""


@contextmanager
def slow_providers(number: int, resources: int, seconds: float) -> Iterator[tuple[str, str]]:
    """
    Run them.

    Args:
        number: Of patients, ``p0`` and on; `FORBIDDEN` is one more.
        resources: Of each patient.
        seconds: That each answer takes.

    Returns:
        The bases of the first and the second.
    """
    command = [sys.executable, "-m", __name__, str(number), str(resources), str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline().split()
        yield first, second
        assert process.stdin is not None
        process.stdin.close()


def main(number: int, resources: int, seconds: float) -> None:
    """Serve until the input ends."""
    faults = Faults()
    with (
        Sandbox(name="first", faults=faults) as first,
        Sandbox(name="second", faults=faults) as second,
    ):
        for one in range(number):
            first.load(patients.record(f"p{one}", resources))
            second.load(patients.destination(f"p{one}"))
        unconsented = patients.record(FORBIDDEN, 12)
        first.load(one for one in unconsented if one["resourceType"] != "Consent")
        faults.at(lambda _: True, Slow(seconds), times=None)
        print(first.base, second.base, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
