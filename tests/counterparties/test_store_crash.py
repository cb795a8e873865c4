"""Processes that are killed and disks that are full: nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulators.stores import Place

SEED = 20261122
KILLS = 1000 if os.environ.get("FHIR_BRIDGE_FULL") == "1" else 20

# Appends for ever and says so after each: the line is the acknowledgement.
APPENDING = """
import sys, uuid
from pathlib import Path
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store import Store

with Store.open(Path(sys.argv[1]), log_origin="bridge.example", database=sys.argv[2]) as store:
    while True:
        event, transfer = str(uuid.uuid4()), str(uuid.uuid4())
        new = NewEntry(
            type=Event.DISCLOSURE_INTENT,
            actor="cli:ada",
            transfer=transfer,
            statement={"by": event},
        )
        first = store.append(new, new, event_id=event).first
        print(first, event, flush=True)
"""

# The same where the file may not grow beyond a size, as on a full disk.
FULL = """
import resource, sys
from fhir_bridge.errors import StoreUnavailable

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    exec(sys.argv[4])
except StoreUnavailable:
    sys.exit(6)
"""


def _acknowledged(lines: list[bytes]) -> dict[int, str]:
    pairs = [line.split() for line in lines if line.endswith(b"\n")]
    return {int(first): event.decode() for first, event in pairs}


def _kill_after(place: Place, acknowledgements: int) -> dict[int, str]:
    """Let a process append, kill it while it does, return what it had acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-c", APPENDING, str(place.folder), place.url], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child.stdout:
        lines = [child.stdout.readline() for _ in range(acknowledgements)]
        child.kill()
        lines += child.stdout.readlines()
    assert child.wait(10) == -9
    return _acknowledged(lines)


def test_a_process_killed_while_appending_loses_no_acknowledged_entry(place: Place) -> None:
    dice = random.Random(SEED)  # noqa: S311 - which moment, not which key
    acknowledged: dict[int, str] = {}
    for _ in range(KILLS):
        acknowledged |= _kill_after(place, dice.randint(1, 12))
        with place.open_by_the_clock() as store:
            verified = store.verify()
            lost = [
                first
                for first, event in acknowledged.items()
                if store.statement(first) != {"by": event}
            ]
        assert lost == [], f"seed {SEED}"
        assert verified.entries % 2 == 1, "an append is there whole or not at all"
        assert verified.erased == 0

    assert len(acknowledged) >= KILLS


@pytest.mark.parametrize("kilobytes", [200, 260, 330, 420])
def test_a_full_disk_stops_the_bridge_and_loses_no_acknowledged_entry(
    tmp_path: Path, kilobytes: int
) -> None:
    place = Place(tmp_path / "store")
    place.open_by_the_clock().close()
    limit = str(kilobytes * 1024)
    arguments = [str(place.folder), place.url, limit, APPENDING]
    child = subprocess.run(
        [sys.executable, "-c", FULL, *arguments], capture_output=True, check=False, timeout=60
    )
    acknowledged = _acknowledged(child.stdout.splitlines(keepends=True))

    assert child.returncode == 6, child.stderr.decode()
    assert acknowledged
    with place.open_by_the_clock() as store:
        verified = store.verify()
        assert all(store.statement(first) == {"by": event} for first, event in acknowledged.items())
        assert verified.entries >= 1 + 2 * len(acknowledged)
