"""What the audit costs: one AuditEvent written, and all entries of a transfer signed and kept."""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from fhir_bridge.audit import write
from fhir_bridge.bridge import Bridge
from fhir_bridge.clock import Clock
from fhir_bridge.settings import Settings
from fhir_bridge.store import Store
from fhir_bridge.transfer import Order, State
from tests.benchmarks import floor, patients
from tests.simulators.audit_events import ACTS, SCENE

_TIMES = 2_000
_ROUNDS = 3
_SIZE = 1_022
_NOW = "2026-11-22T10:00:00Z"


def report() -> None:
    """Print how long one AuditEvent takes to write, over one of each kind."""
    kinds = list(ACTS.values())
    start = time.process_time()
    for _ in range(_TIMES):
        for event, act, outcome in kinds:
            write(
                SCENE, act, event=event, id_="x", recorded="2026-11-22T10:00:00Z", outcome=outcome
            )
    each = (time.process_time() - start) / (_TIMES * len(kinds))
    print(f"One AuditEvent written: {each * 1e6:.0f} µs, {len(kinds)} kinds")


class _Timed:
    """The store, which counts the seconds that its log takes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.seconds = 0.0
        self.signed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, *entries: Any, **names: Any) -> Any:
        start = time.perf_counter()
        try:
            return self._store.append(*entries, **names)
        finally:
            self.seconds += time.perf_counter() - start
            self.signed += len(entries)


def share(source: str, destination: str, servers: Callable[[str, str], Any]) -> None:
    """
    Print which part of a transfer the audit is: bodies, signatures and commits.

    `servers` makes the settings of both.
    """
    parts, entries = [], 0
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(store=Path(folder) / "store", servers=servers(source, destination))
        store = Store.open(settings.store, log_origin=settings.log_origin)
        timed = _Timed(store)
        opened: Any = timed
        bridge = Bridge(settings, opened, actor="cli:benchmark", tell=lambda _: None, clock=Clock())
        with bridge, requests.Session() as session:
            for _ in range(_ROUNDS + 1):
                timed.seconds, timed.signed = 0.0, 0
                whole = _transfer(bridge, session, source, destination)
                parts.append(timed.seconds / whole)
                entries = timed.signed
    warm = statistics.median(parts[1:])
    print(f"The audit's part of a transfer of {_SIZE} resources: {warm:.2%}, {entries} entries")


def _transfer(bridge: Bridge, session: requests.Session, source: str, destination: str) -> float:
    name = f"a{uuid.uuid4().hex[:12]}"
    floor.load(session, source, patients.record(name, _SIZE))
    floor.load(session, destination, patients.destination(name))
    order = Order(source="first", destination="second", patient=f"Patient/{name}")
    start = time.perf_counter()
    report = bridge.transfer(order)
    assert report.state is State.CLOSED, report.gaps
    return time.perf_counter() - start
