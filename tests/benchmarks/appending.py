"""Durable signed appends, beside what the database does raw in the same run."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store
from tests.simulators.stores import create_database, drop_database

_IN_FLIGHT = (1, 16, 64, 512)
_SECONDS = 2.0
_ENTRIES = 30
"""Of a transfer."""
_ROW = os.urandom(2500)
_BODY = b'{"resourceType":"AuditEvent","text":"' + b"x" * 2400 + b'"}'
"""As long as an AuditEvent of a disclosure."""


def report() -> None:
    """Measure with 1 to 512 appends in flight; print appends a second and how long one took."""
    print("\nDurable signed appends, each with a body of 2.4 KB (a second; p50 and p99 in ms)")
    print(f"{'':<23}{'raw, 1 a commit':>16}" + "".join(f"{at:>24}" for at in _IN_FLIGHT))
    with tempfile.TemporaryDirectory() as folder:
        _measure("SQLite", _raw_sqlite(Path(folder) / "raw.db"), Path(folder) / "store", "")
        if os.environ.get("FHIR_BRIDGE_POSTGRES"):
            url = create_database()
            _measure("PostgreSQL", _raw_postgresql(url), Path(folder) / "keys", url)
            drop_database(url)


def _measure(name: str, raw: Callable[[], None], folder: Path, url: str) -> None:
    floor = _rate_alone(raw)
    with Store.open(folder, log_origin="bridge.example", database=url) as store:
        for how, run in (("threads", _threads), ("coroutines", _coroutines)):
            shown = []
            for in_flight in _IN_FLIGHT:
                start, taken = time.perf_counter(), run(store, in_flight)
                times = sorted(taken)
                rate = len(times) / (time.perf_counter() - start)
                p50, p99 = (1000 * times[int(len(times) * part)] for part in (0.5, 0.99))
                ratio = f" {rate / floor:.2f}x" if in_flight == 1 else ""
                shown.append(f"{rate:>9,.0f}{ratio} ({p50:.1f}, {p99:.1f})".rjust(24))
            print(f"{name + ', ' + how:<23}{floor:>16,.0f}" + "".join(shown), flush=True)
        store.verify()


def _threads(store: Store, in_flight: int) -> list[float]:
    """Append from so many threads; return how long each append took."""
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS

    def work() -> None:
        acts = _acts()
        while time.perf_counter() < end:
            start = time.perf_counter()
            store.append(next(acts), event_id=str(uuid.uuid4()))
            taken.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def _coroutines(store: Store, in_flight: int) -> list[float]:
    """Append from so many coroutines; return how long each append took."""
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS

    async def work() -> None:
        acts = _acts()
        while time.perf_counter() < end:
            start = time.perf_counter()
            await store.append_soon(next(acts), event_id=str(uuid.uuid4()))
            taken.append(time.perf_counter() - start)

    async def all_of_them() -> None:
        await asyncio.gather(*(work() for _ in range(in_flight)))

    asyncio.run(all_of_them())
    return taken


def _acts() -> Iterator[NewEntry]:
    """Give acts without end, so many to each transfer."""
    while True:
        new = NewEntry(
            type=Event.DISCLOSURE_RESULT,
            actor="svc:bench",
            transfer=str(uuid.uuid4()),
            step="deliver.1",
            attempt=1,
            source="first-clinic",
            destination="second-opinion-centre",
            purpose="TREAT",
            custodian="urn:oid:1.2.3|4711",
            recipient="urn:oid:1.2.3|4712",
            subject="hmac-sha256:" + "ab" * 32,
            trace="cd" * 16,
            audit_event=_BODY,
        )
        yield from itertools.repeat(new, _ENTRIES)


def _rate_alone(act: Callable[[], None]) -> float:
    rates = []
    for _ in range(3):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < _SECONDS / 3:
            act()
            count += 1
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates)


def _raw_sqlite(path: Path) -> Callable[[], None]:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "pragma journal_mode = wal",
        "pragma synchronous = full",
        "create table raw (id integer primary key, content blob not null) strict",
    ):
        connection.execute(statement)
    return lambda: connection.execute("insert into raw (content) values (?)", (_ROW,)).close()


def _raw_postgresql(url: str) -> Callable[[], None]:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("create table raw (id bigserial primary key, content bytea not null)")
    return lambda: connection.execute("insert into raw (content) values (%s)", (_ROW,)).close()


if __name__ == "__main__":
    report()
