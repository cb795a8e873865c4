"""Thousands of spoiled exports: each is found, by the reason that is right for it."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from fhir_bridge.exports import Verdict, verify_export
from tests.simulators.forgeries import BY_WITNESS, Forger

COUNT = 10_000 if os.environ.get("FHIR_BRIDGE_FULL") == "1" else 1_000
SEED = 20_260_301
PARTS = 4
"""So that processes may share the work."""


@pytest.mark.parametrize("part", range(PARTS))
def test_every_spoiled_export_is_found_by_the_right_reason(part: int, tmp_path: Path) -> None:
    forger = Forger(tmp_path, Random(SEED))  # noqa: S311 - a sample, not a secret
    missed, ways = [], Counter[str]()
    began = time.monotonic()
    for seed in range(SEED + part, SEED + COUNT, PARTS):
        way, forgery = forger.forge(seed)
        report = verify_export(forgery.path, forgery.trust, since=forgery.since, bodies=True)
        found = {str(one.reason) for one in report.findings}
        ways[way] += 1
        if report.verdict is Verdict.VERIFIED or not found & forgery.reasons:
            missed.append(f"seed {seed}: {way} gave {sorted(found)}")
    print(  # noqa: T201 - the seeds, for whoever must find one again
        f"seeds {SEED + part} to {SEED + COUNT} by {PARTS}, {sum(ways.values())} exports in"
        f" {time.monotonic() - began:.0f} s: {dict(ways)}"
    )

    assert missed == []


def test_the_export_that_they_start_from_is_right(tmp_path: Path) -> None:
    forger = Forger(tmp_path, Random(SEED))  # noqa: S311 - a sample, not a secret
    folder = forger.unpacked(forger.base)
    (tmp_path / "same.zip").write_bytes(forger.packed)

    for path in (folder, tmp_path / "same.zip"):
        assert verify_export(path, BY_WITNESS, bodies=True).verdict is Verdict.VERIFIED
