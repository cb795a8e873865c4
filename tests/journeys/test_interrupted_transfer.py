"""
A transfer interrupted anywhere, and taken up again, ends as if nothing happened.

Method: carry one transfer without mishap and count its calls to the outside.
Then, for each call and for both kinds of failure, carry it again with that one
mishap, after which the bridge is dead; open it again and resume from what the
store holds; compare the two worlds. The table grows by itself when a step is
added. FHIR_BRIDGE_FULL=1 walks every row, otherwise a seeded sample.
"""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fhir_bridge.errors import BridgeError
from fhir_bridge.transfer import ENDED, State
from tests.journeys.world import Mishap, When, World

SEED = 20261125
SAMPLE = 24


@cache
def undisturbed() -> tuple[int, int, dict[str, str], tuple[str, ...]]:
    """HTTP calls, store writes, what arrived and what was signed, without mishap."""
    with TemporaryDirectory() as folder, World(Path(folder), "amelia") as world:
        report = world.transfer()
        assert report.state is State.CLOSED
        return (
            world.faults.calls,
            world.mortal.writes,
            dict(world.holdings()),
            tuple(world.log()),
        )


def sampled(number: int) -> list[Mishap]:
    """Return rows of the crash table: a seeded sample, or all of them."""
    http, store, _, _ = undisturbed()
    table = [Mishap("http", call, when) for call in range(1, http + 1) for when in When]
    table += [Mishap("store", call, when) for call in range(1, store + 1) for when in When]
    if os.environ.get("FHIR_BRIDGE_FULL") == "1":
        return table
    return random.Random(SEED).sample(table, number)  # noqa: S311 - a sample, not a secret


every_mishap = pytest.mark.parametrize(
    "mishap", sampled(SAMPLE), ids=lambda one: f"{one.where}-{one.call}-{one.when.name.lower()}"
)


@every_mishap
def test_an_interrupted_transfer_ends_as_an_undisturbed_one(tmp_path: Path, mishap: Mishap) -> None:
    _, _, holdings, log = undisturbed()
    with World(tmp_path, "amelia") as world:
        with pytest.raises(BridgeError):
            world.transfer(mishap)
        world.faults.clear()
        transfers = world.transfers()
        ended = any(State(row.state) in ENDED for row in world.rows())

        report = world.resume(transfers[0]) if transfers else world.transfer()

        assert report.state is State.CLOSED
        assert dict(world.holdings()) == holdings
        if not ended:  # asked for again after its end it is another attempt, logged as one
            assert sorted(world.log()) == sorted(log)
        assert all(world.second.versions(ref) == 1 for ref in world.arrived())
        world.verify()


@every_mishap
def test_no_record_leaves_before_its_disclosure_is_signed(tmp_path: Path, mishap: Mishap) -> None:
    with World(tmp_path, "amelia") as world:
        with pytest.raises(BridgeError):
            world.transfer(mishap)
        world.faults.clear()

        if world.arrived():
            assert "disclosure.intent" in world.log()
