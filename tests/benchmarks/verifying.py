"""
Verifying an export, against hashing everything in it and checking each signature.

The floor reads the same files with the same processes: it splits bundles,
hashes leaves and nodes, and verifies one Ed25519 signature for each checkpoint;
with bodies it hashes each of them too. It looks at nothing: no list of files,
no form, no index, no time, no number.
"""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from fhir_bridge.exports import Trust, Verdict, verify_export
from fhir_bridge.exports.exporting import Order, export_log
from fhir_bridge.ledger.tiles import WIDTH, bodies_tile, entries_tile, widths
from tests.simulators.long_log import ENTRIES_PER_CHECKPOINT, LongLog
from tests.simulators.written_log import KEY, LOG

_PROCESSES = 2
_ROUNDS = 3
_CHUNK = WIDTH * WIDTH
_sha256 = hashlib.sha256


def report() -> None:
    """Measure one long log, with and without bodies, and print the ratios."""
    full = os.environ.get("FHIR_BRIDGE_FULL") == "1"
    size = 1_000_000 if full else 100_000
    print(
        f"\nVerify an export of {size:,} entries, {size // ENTRIES_PER_CHECKPOINT:,} checkpoints,"
        f" {_PROCESSES} processes (seconds, min / median)"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        export_log(LongLog(size), path, Order(log=LOG), sign=KEY.sign)
        for bodies in (False, True):
            _compare(path, size, bodies=bodies)
        small = Path(folder) / "small"
        export_log(LongLog(size // 10), small, Order(log=LOG), sign=KEY.sign)
        print(
            f"peak memory of audit verify: {_peak_mib(small):.0f} MiB at {size // 10:,} entries,"
            f" {_peak_mib(path):.0f} MiB at {size:,}"
        )


def _compare(path: Path, size: int, *, bodies: bool) -> None:
    floors, ours = [], []
    for _ in range(_ROUNDS):
        floors.append(_timed(lambda: _floor(path, size, bodies=bodies)))
        ours.append(_timed(lambda: _verify(path, bodies=bodies)))
    print(
        f"{'with bodies' if bodies else 'entries':<12}"
        f"  floor {_span(floors)}   verify {_span(ours)}"
        f"   ratio {min(ours) / min(floors):.2f} / {_median_ratio(ours, floors):.2f}",
        flush=True,
    )


def _verify(path: Path, *, bodies: bool) -> None:
    trust = Trust.of(str(KEY.verifier), None)
    report = verify_export(path, trust, bodies=bodies, processes=_PROCESSES)
    assert report.verdict is Verdict.LIMITED, report.findings


def _floor(path: Path, size: int, *, bodies: bool) -> None:
    names = sorted((path / "checkpoints").iterdir())
    with ProcessPoolExecutor(_PROCESSES, mp_context=multiprocessing.get_context("fork")) as pool:
        chunks = [
            pool.submit(_floor_of_chunk, path, first, min(_CHUNK, size - first), bodies)
            for first in range(0, size, _CHUNK)
        ]
        notes = [
            pool.submit(_floor_of_notes, names[at : at + 500]) for at in range(0, len(names), 500)
        ]
        assert sum(one.result() for one in chunks) == size
        assert sum(one.result() for one in notes) == len(names)


def _floor_of_chunk(path: Path, first: int, count: int, bodies: bool) -> int:  # noqa: FBT001
    hashes = []
    for n, width in widths(count):
        raw, at = (path / entries_tile(first // WIDTH + n, width)).read_bytes(), 0
        while at < len(raw):
            end = at + 2 + (raw[at] << 8 | raw[at + 1])
            hashes.append(_sha256(b"\0" + raw[at + 2 : end]).digest())
            at = end
        if bodies:
            raw, at = (path / bodies_tile(first // WIDTH + n, width)).read_bytes(), 0
            while at < len(raw):
                end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
                _sha256(raw[at + 4 : end]).digest()
                at = end
    level = hashes
    while len(level) > 1:
        level = [
            _sha256(b"\1" + level[at] + level[at + 1]).digest()
            for at in range(0, len(level) - 1, 2)
        ]
    return len(hashes)


def _floor_of_notes(names: Sequence[Path]) -> int:
    public = KEY.private.public_key()
    for name in names:
        text, _, lines = name.read_text(encoding="utf-8").rpartition("\n\n")
        public.verify(base64.b64decode(lines.split(" ")[2])[4:], f"{text}\n".encode())
    return len(names)


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _span(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} / {statistics.median(seconds):.2f}"


def _median_ratio(ours: list[float], floors: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, floors, strict=True))


def _peak_mib(path: Path) -> float:
    """Peak of the largest process of one command, all of its workers included."""
    words = ["-m", "fhir_bridge", "audit", "verify", str(path), "--bodies"]
    words += ["--root-key", str(KEY.verifier)]
    code = (
        "import resource,subprocess,sys;subprocess.run([sys.executable,*sys.argv[1:]],"
        "stdout=subprocess.DEVNULL);print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return int(result.stdout) / 1024


if __name__ == "__main__":
    report()
