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

import httpx

from tests.benchmarks import patients
from tests.benchmarks.providers import slow_providers
from tests.simulators.running import done, running

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
    (folder / "fhir-bridge.toml").write_text(_settings(first, second))
    organisation = "|".join(patients.CUSTODIAN)
    key = done(folder, "keys", "add", "--role", "integrator", "--organisation", organisation)
    with (
        running(folder, "serve", "--port", "0", "--role", "api") as api,
        running(folder, "serve", "--role", "worker"),
        httpx.Client(
            base_url=api.base, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as client,
    ):
        for number in range(_RUNNING):
            _trigger(client, f"p{number}", f"carried-{number}")
        _wait_for(client, _RUNNING)
        triggers, floor = [], []
        for number in range(_TRIGGERS):
            triggers.append(_timed(lambda n=number: _trigger(client, "p0", f"order-{n}")))
            floor.append(_timed(lambda: client.get("/healthz").raise_for_status()))
        running_still = _under_way(client)
    print(
        f"Trigger accepted with {_RUNNING} transfers running ({running_still} at the end):"
        f" p50 {_at(triggers, 0.5):.1f} ms, p99 {_at(triggers, 0.99):.1f} ms;"
        f" an answer without a store: p50 {_at(floor, 0.5):.1f} ms, p99 {_at(floor, 0.99):.1f} ms;"
        f" ratio of the medians {statistics.median(triggers) / statistics.median(floor):.1f}"
    )


def _settings(first: str, second: str) -> str:
    text = 'store = "store"\n[engine]\ntransfers = 8\nper_destination = 8\n'
    text += "[api]\nrate_per_minute = 1000000\n"
    for alias, base, party in (
        ("first", first, patients.CUSTODIAN),
        ("second", second, patients.RECIPIENT),
    ):
        organisation = f'{{ identifier = "{party[0]}|{party[1]}", name = "{party[1]}" }}'
        text += f'[servers.{alias}]\nbase = "{base}"\norganisations = [{organisation}]\n'
    return text


def _trigger(client: httpx.Client, patient: str, key: str) -> None:
    body = {
        "source": "first",
        "destination": "second",
        "patient": {"reference": f"Patient/{patient}"},
        "referral": {"question": key},
    }
    answer = client.post("/v1/transfers", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 202, answer.text


def _under_way(client: httpx.Client) -> int:
    states = ("permitted", "gathered", "matched", "announced", "delivered", "verified")
    pages = [client.get(f"/v1/transfers?state={state}").json() for state in states]
    return sum(len(page["transfers"]) for page in pages)


def _wait_for(client: httpx.Client, count: int) -> None:
    begun = time.monotonic()
    while _under_way(client) < count and time.monotonic() - begun < 60:
        time.sleep(0.1)  # noqa: TID251 - a benchmark waits for the world


def _timed(act: Any) -> float:
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    report()
