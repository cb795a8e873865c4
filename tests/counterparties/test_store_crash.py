"""Processes that are killed and disks that are full: nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulators.appending import Appender
from tests.simulators.stores import Place

SEED = 20261122
KILLS = 1000 if os.environ.get("FHIR_BRIDGE_FULL") == "1" else 20
KILLS_OF_A_LOG = 50
"""Each kill is followed by a verification of the whole log: it must stay short."""

MOMENT_SECONDS = 0.005
"""About as long as a commit takes, so that each part of it is hit."""

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


def _killed(place: Place, dice: random.Random) -> dict[int, str]:
    """Let a process append, kill it while it does, return what it had acknowledged."""
    child = Appender(place.folder, place.url)
    acknowledged = [child.acknowledged() for _ in range(dice.randint(1, 12))]
    time.sleep(dice.uniform(0, MOMENT_SECONDS))  # noqa: TID251 - it goes on appending meanwhile
    return dict([*acknowledged, *child.kill()])


def _killed_often(place: Place, dice: random.Random, kills: int) -> int:
    """Kill one process after the other over one log; return how much was acknowledged."""
    acknowledged: dict[int, str] = {}
    for _ in range(kills):
        new = _killed(place, dice)
        with place.open_by_the_clock() as store:
            verified = store.verify()
            lost = [one for one, event in new.items() if store.statement(one) != {"by": event}]
        assert lost == [], f"seed {SEED}"
        assert verified.entries % 2 == 1, "an append is there whole or not at all"
        assert verified.erased == 0
        assert not acknowledged.keys() & new.keys(), "two were told the same place"
        acknowledged |= new
    with place.open_by_the_clock() as store:
        said = [store.statement(first)["by"] for first in range(1, store.verify().entries, 2)]
    assert len(set(said)) == len(said), "nothing is there twice"
    assert all(said[first // 2] == event for first, event in acknowledged.items())
    return len(acknowledged)


def test_a_process_killed_while_appending_loses_no_acknowledged_entry(
    place: Place, tmp_path: Path
) -> None:
    dice = random.Random(SEED)  # noqa: S311 - which moment, not which key
    place.open_by_the_clock().close()
    acknowledged = 0
    for number in range(0, KILLS, KILLS_OF_A_LOG):
        log = place.copied(tmp_path / f"log-{number}")
        acknowledged += _killed_often(log, dice, min(KILLS_OF_A_LOG, KILLS - number))
        log.remove()
        shutil.rmtree(log.folder)
    print(f"seed {SEED}: {KILLS} kills, {acknowledged} acknowledged")  # noqa: T201

    assert acknowledged >= KILLS


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
