"""
How long a trigger takes to be accepted while 8 transfers run: the API and a worker, two processes.

The floor is an answer of the same process that touches no store, asked in turn
with the triggers. The providers are sandboxes of another process that take 50 ms
for each answer, so that the transfers run for as long as is measured.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.integrator import Integrator, integrator, new_key, settings
from tests.benchmarks.providers import slow_providers
from tests.simulators.running import running

_RUNNING = 8
_TRIGGERS = 300
_RESOURCES = 400
_LATENCY_SECONDS = 0.05


def report() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as folder,
        slow_providers(_RUNNING, _RESOURCES, _LATENCY_SECONDS) as (first, second),
    ):
        _measure(Path(folder), first, second)


def _measure(folder: Path, first: str, second: str) -> None:
    (folder / "fhir-bridge.toml").write_text(settings(first, second), encoding="utf-8")
    key = new_key(folder)
    with (
        running(folder, "serve", "--port", "0", "--role", "api") as api,
        running(folder, "serve", "--role", "worker"),
        integrator(api.base, key) as caller,
    ):
        for number in range(_RUNNING):
            caller.trigger(f"p{number}", f"carried-{number}")
        _wait_for(caller, _RUNNING)
        triggers, floor = [], []
        for number in range(_TRIGGERS):
            triggers.append(_timed(lambda n=number: caller.trigger("p0", f"order-{n}")))
            floor.append(_timed(lambda: caller.client.get("/healthz").raise_for_status()))
        running_still = caller.under_way()
    print(
        f"Trigger accepted with {_RUNNING} transfers running ({running_still} at the end):"
        f" p50 {_at(triggers, 0.5):.1f} ms, p99 {_at(triggers, 0.99):.1f} ms;"
        f" an answer without a store: p50 {_at(floor, 0.5):.1f} ms, p99 {_at(floor, 0.99):.1f} ms;"
        f" ratio of the medians {statistics.median(triggers) / statistics.median(floor):.1f}"
    )


def _wait_for(caller: Integrator, count: int) -> None:
    begun = time.monotonic()
    while caller.under_way() < count and time.monotonic() - begun < 60:
        time.sleep(0.1)  # noqa: TID251 - a benchmark waits for the world


def _timed(act: Any) -> float:
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    report()
