"""
Print the figures: python -m tests.benchmarks

Ratios against a floor measured in the same run, in alternating rounds; an
absolute time says more about the machine than about the bridge. FHIR_BRIDGE_HAPI
names two running HAPI servers, ``BASE,BASE``; without it only what needs no
server is measured. FHIR_BRIDGE_POSTGRES names a server for the log's figures
over PostgreSQL. FHIR_BRIDGE_FULL=1 adds 10,000 resources, once a side,
verifies an export of 1,000,000 entries instead of 100,000, and drains 500
queued transfers. Whether the service grows is measured by itself, for an hour:
python -m tests.benchmarks.soak
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

import requests

from fhir_bridge.bridge import Bridge
from fhir_bridge.settings import Organisation, ServerSettings, Settings
from fhir_bridge.transfer import Order, State
from tests.benchmarks import appending, audit, cpu, engine, floor, patients, triggering, verifying

ROUNDS = 3


def main() -> None:
    """Measure and print."""
    print(f"Peak memory of the libraries alone: {_peak_mib():.0f} MiB")
    cpu.report()
    audit.report()
    appending.report()
    verifying.report()
    triggering.report()
    servers = os.environ.get("FHIR_BRIDGE_HAPI", "")
    engine.report(servers)
    _cold_start()
    if not servers:
        print("No HAPI servers given (FHIR_BRIDGE_HAPI): transfers are not measured.")
        return
    source, destination = servers.split(",")
    print("\nTransfer, HAPI to HAPI, against a raw copy without checks (seconds, min / median)")
    print(
        f"{'resources':>9} {'floor':>15} {'transfer':>15} {'ratio':>6} {'again':>15} {'ratio':>6}"
    )
    sizes = [54, 1022] + ([9998] if os.environ.get("FHIR_BRIDGE_FULL") == "1" else [])
    with _Bench(source, destination) as bench:
        bench.warm()
        for size in sizes:
            bench.compare(size, rounds=1 if size > 5000 else ROUNDS)
    audit.share(source, destination, _servers)
    print(f"Peak memory: {_peak_mib():.0f} MiB")


class _Bench:
    def __init__(self, source: str, destination: str) -> None:
        self._source, self._destination = source, destination
        self._session = requests.Session()
        self._folder = tempfile.TemporaryDirectory()
        self._bridge = Bridge.open(
            Settings(
                store=Path(self._folder.name) / "store",
                servers=_servers(source, destination),
            ),
            actor="cli:benchmark",
            tell=lambda _: None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bridge.__exit__(None, None, None)
        self._session.close()
        self._folder.cleanup()

    def warm(self) -> None:
        """Let both servers and the bridge load what they need."""
        for size in (54, 200):
            self._floor(size)
            self._transfer(size)

    def compare(self, size: int, rounds: int) -> None:
        """Measure floor and transfer in alternating rounds."""
        raw, carried, again = [], [], []
        for _ in range(rounds):
            raw.append(self._floor(size))
            first, second = self._transfer(size)
            carried.append(first)
            again.append(second)
        base = statistics.median(raw)
        print(
            f"{size:>9} {_span(raw):>15} {_span(carried):>15}"
            f" {statistics.median(carried) / base:>6.2f} {_span(again):>15}"
            f" {statistics.median(again) / base:>6.2f}",
            flush=True,
        )

    def _floor(self, size: int) -> float:
        name = f"f{uuid.uuid4().hex[:12]}"
        floor.load(self._session, self._source, patients.record(name, size))
        return _timed(lambda: floor.copy(self._session, self._source, self._destination, name))

    def _transfer(self, size: int) -> tuple[float, float]:
        name = f"t{uuid.uuid4().hex[:12]}"
        floor.load(self._session, self._source, patients.record(name, size))
        floor.load(self._session, self._destination, patients.destination(name))
        order = Order(source="first", destination="second", patient=f"Patient/{name}")

        def carry() -> None:
            report = self._bridge.transfer(order)
            assert report.state is State.CLOSED, report.gaps

        return _timed(carry), _timed(carry)


def _servers(source: str, destination: str) -> dict[str, ServerSettings]:
    return {
        "first": _server("first", source, patients.CUSTODIAN),
        "second": _server("second", destination, patients.RECIPIENT),
    }


def _server(name: str, base: str, organisation: tuple[str, str]) -> ServerSettings:
    system, value = organisation
    return ServerSettings(
        name=name,
        base=base,
        identity=base,
        organisations=(Organisation(system=system, value=value, name=value),),
    )


def _cold_start() -> None:
    """Time whole processes, the first one left out because it writes the byte code."""
    command = [sys.executable, "-m", "fhir_bridge", "--help"]
    bare = [sys.executable, "-c", "pass"]

    def run(what: list[str]) -> float:
        return _timed(lambda: subprocess.run(what, check=True, capture_output=True))

    run(command)
    ours, python = [run(command) for _ in range(5)], [run(bare) for _ in range(5)]
    print(
        f"fhir-bridge --help, cold: {statistics.median(ours):.2f} s"
        f" (python itself {statistics.median(python):.2f} s)"
    )


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _span(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} / {statistics.median(seconds):.2f}"


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
