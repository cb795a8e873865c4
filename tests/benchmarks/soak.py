"""
Does the service grow while it works? python -m tests.benchmarks.soak --minutes 60

`fhir-bridge serve` carries transfers between two providers of another process,
one after the other at a steady pace: new ones, the same again under the same
key and under another, one that is refused, one that is cancelled. Its memory,
threads and open files are sampled all the time; its end is a verified log.
Growth is the median of the last tenth over that of the first tenth after the
service is warm. Linux only: /proc is read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fhir_bridge.transfer import State
from tests.benchmarks.integrator import Integrator, integrator, new_key, settings
from tests.benchmarks.providers import FORBIDDEN, slow_providers
from tests.simulators.running import Running, done, running

_PATIENTS, _RESOURCES = 40, 54
_ANSWER_SECONDS = 0.01
_SAMPLE_SECONDS = 10.0
_END_SECONDS = 60.0
_WARM_PART = 0.15
_SHOWN_EACH = 6
_ACTS = (*("new",) * 6, "again", *("new",) * 5, "refused", "other key", *("new",) * 5, "cancelled")


@dataclass(frozen=True)
class Sample:
    """What the service holds at a moment."""

    minutes: float
    mib: float
    threads: int
    files: int

    @classmethod
    def of(cls, process: int, minutes: float) -> Sample:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        said = dict(line.split(":", 1) for line in status.splitlines())
        return cls(
            minutes=minutes,
            mib=int(said["VmRSS"].split()[0]) / 1024,
            threads=int(said["Threads"]),
            files=sum(1 for _ in Path(f"/proc/{process}/fd").iterdir()),
        )


@dataclass
class Soak:
    """One run."""

    caller: Integrator
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    former: tuple[str, str, str] = ("", "", "")
    """The last new transfer: its patient, its key and its id."""

    def act(self, number: int) -> None:
        """Trigger what is due and wait for its end."""
        kind = _ACTS[number % len(_ACTS)]
        state = getattr(self, "_" + kind.replace(" ", "_"))(number)
        self.ends[f"{kind}: {state}"] += 1
        wanted = {State.CLOSED}
        if kind == "refused":
            wanted = {State.REFUSED}
        elif kind == "cancelled":
            wanted = {State.CLOSED, State.CANCELLED}
        if state not in wanted:
            self.failures.append(f"{kind} {number}: {state}")

    def _new(self, number: int) -> str:
        patient, key = f"p{number % _PATIENTS}", f"order-{number}"
        _, transfer = self.caller.trigger(patient, key)
        self.former = patient, key, transfer
        state = self.caller.end(transfer, _END_SECONDS)
        self.caller.look(transfer)
        return state

    def _again(self, _: int) -> str:
        patient, key, transfer = self.former
        status, found = self.caller.trigger(patient, key)
        return self.caller.state(found) if (status, found) == (200, transfer) else "another"

    def _other_key(self, number: int) -> str:
        patient, key, _ = self.former
        _, found = self.caller.trigger(patient, f"order-{number}", question=key)
        return self.caller.end(found, _END_SECONDS)

    def _refused(self, number: int) -> str:
        _, transfer = self.caller.trigger(FORBIDDEN, f"order-{number}")
        return self.caller.end(transfer, _END_SECONDS)

    def _cancelled(self, number: int) -> str:
        _, transfer = self.caller.trigger(f"p{number % _PATIENTS}", f"order-{number}")
        self.caller.cancel(transfer)
        return self.caller.end(transfer, _END_SECONDS)


def main() -> None:
    """Run, and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=2.5, help="seconds between two transfers")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        slow_providers(_PATIENTS, _RESOURCES, _ANSWER_SECONDS) as (first, second),
    ):
        folder = Path(name)
        (folder / "fhir-bridge.toml").write_text(settings(first, second), encoding="utf-8")
        key = new_key(folder)
        with running(folder, "serve", "--port", "0") as service:
            with integrator(service.base, key) as caller, _sampled(service) as samples:
                soak = Soak(caller)
                _run(soak, seconds=60 * asked.minutes, every=asked.every)
            code = service.stop()
        print(f"Ended with {code}. {done(folder, 'audit', 'verify-db')}")
        size = sum(one.stat().st_size for one in (folder / "store").rglob("*") if one.is_file())
    _report(soak, samples, size / 2**20)


def _run(soak: Soak, *, seconds: float, every: float) -> None:
    begun, number = time.monotonic(), 0
    while (now := time.monotonic()) < begun + seconds:
        due = begun + number * every
        if due > now:
            time.sleep(due - now)  # noqa: TID251 - the pace
        soak.act(number)
        number += 1


@contextmanager
def _sampled(service: Running) -> Iterator[list[Sample]]:
    """Sample the service for as long as a ``with`` block."""
    samples: list[Sample] = []
    over, begun = threading.Event(), time.monotonic()

    def run() -> None:
        print(f"{'minutes':>8}{'RSS MiB':>9}{'threads':>9}{'files':>7}", flush=True)
        while not over.wait(_SAMPLE_SECONDS):
            one = Sample.of(service.process.pid, (time.monotonic() - begun) / 60)
            if len(samples) % _SHOWN_EACH == 0:
                print(
                    f"{one.minutes:>8.1f}{one.mib:>9.1f}{one.threads:>9}{one.files:>7}", flush=True
                )
            samples.append(one)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def _report(soak: Soak, samples: list[Sample], store_mib: float) -> None:
    warm = samples[int(len(samples) * _WARM_PART) :]
    part = max(1, len(warm) // 10)
    for what in ("mib", "threads", "files"):
        first, last = (
            statistics.median(getattr(one, what) for one in some)
            for some in (warm[:part], warm[-part:])
        )
        print(f"{what:<8} {first:.1f} -> {last:.1f}: {100 * (last / first - 1):+.1f} %")
    ends = ", ".join(f"{what} {count}" for what, count in sorted(soak.ends.items()))
    print(f"{sum(soak.ends.values())} triggers ({ends}); store {store_mib:.1f} MiB")
    print(f"failures: {len(soak.failures)} {soak.failures[:10]}")


if __name__ == "__main__":
    main()
