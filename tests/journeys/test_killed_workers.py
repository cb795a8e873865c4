"""
A worker killed at any boundary loses nothing, and another one goes on where it was.

Method: a real worker process carries one transfer between two sandboxes of
another process, and is killed by SIGKILL at one boundary: before or after an
HTTP request, before or after a commit, in the store or in the engine. A second
worker is started. The end must be that of an undisturbed transfer. The table
has a row for each boundary that an undisturbed turn passes and grows by itself;
FHIR_BRIDGE_FULL=1 walks each row five times, otherwise a seeded sample once.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import Profile
from fhir_bridge.transfer import Order, State
from tests.journeys.world import World
from tests.simulators.crew import Nest, until
from tests.simulators.servers import postgres_url
from tests.simulators.stages import Stage
from tests.simulators.stores import OVER_BOTH

SEED = 20261125
SAMPLE = 6
TIMES = 5
FULL = os.environ.get("FHIR_BRIDGE_FULL") == "1"
STORY = "amelia"

DATED = ("Task/", "ServiceRequest/", "Provenance/", "Consent/", "Bundle/")
"""What we author says when: it is written once, and later in a disturbed transfer."""


@pytest.fixture(scope="module")
def nest() -> Iterator[Nest]:
    with Nest() as nest:
        yield nest


@pytest.fixture(scope="module", params=OVER_BOTH)
def stage(
    request: pytest.FixtureRequest, nest: Nest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A store with nothing in it, in each database."""
    if request.param == "postgresql":
        postgres_url()
    stage = Stage.set(nest, tmp_path_factory.mktemp("stage"), request.param)
    yield stage
    stage.remove()


class Undisturbed:
    """What one transfer passes, leaves and signs when nothing happens to it."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        told = folder / "boundaries"
        with outside(folder) as world, stage.crew(folder / "crew", servers(world)) as crew:
            worker = crew.hire(boundaries=told)
            transfer = crew.request(asked(world))
            assert crew.wait_for(transfer) == [State.CLOSED]
            until(lambda: "turn.ended" in worker.said(), "the turn's end")
            self.boundaries = told.read_text(encoding="utf-8").split()
            self.holdings = undated(world)
            self.log = Counter(str(entry.type) for entry in crew.entries(transfer))


@pytest.fixture(scope="module")
def undisturbed(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(stage, tmp_path_factory.mktemp("undisturbed"))


def outside(folder: Path) -> World:
    """Both providers; the second takes so little at once that there are several writes."""
    return World(folder / "world", STORY, second=Profile(entry_limit=20), todays=True)


def asked(world: World) -> Order:
    """A small record has every kind of boundary, and the table an end."""
    return world.order(kinds=("pathology",))


def servers(world: World) -> str:
    """The settings that name the world's servers."""
    assert world.settings
    return (world.folder / "fhir-bridge.toml").read_text(encoding="utf-8")


def undated(world: World) -> Mapping[RecordRef, str]:
    return {
        ref: "dated" if ref.startswith(DATED) else digest
        for ref, digest in world.holdings().items()
    }


def rows() -> list[tuple[float, int]]:
    """Where a turn is killed, as a part of it; below 0: everywhere, one after the other."""
    if FULL:
        return [(-1.0, time) for time in range(TIMES)]
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    return [(chosen.random(), 0) for _ in range(SAMPLE)]


@pytest.mark.parametrize(("part", "time"), rows(), ids=lambda one: f"{one:.3f}")
def test_a_worker_killed_at_any_boundary_loses_nothing_and_doubles_nothing(
    stage: Stage, undisturbed: Undisturbed, tmp_path: Path, part: float, time: int
) -> None:
    total = len(undisturbed.boundaries)
    places = distinct(undisturbed.boundaries) if part < 0 else [1 + int(part * total)]
    for place in places:
        name = undisturbed.boundaries[place - 1]
        print(f"seed {SEED}: killed at {place} of {total}, {name}, time {time}")  # noqa: T201
        killed_at(place, stage, undisturbed, tmp_path / f"{place}")


def distinct(boundaries: list[str]) -> list[int]:
    """Places where something lies between: right after one boundary is right before the next."""
    afterwards = {"answer", "committed", "engine-committed"}
    return [
        place
        for place, name in enumerate(boundaries, 1)
        if place == len(boundaries)
        or not (name in afterwards and boundaries[place] not in afterwards)
    ]


def killed_at(place: int, stage: Stage, expected: Undisturbed, folder: Path) -> None:
    with outside(folder) as world, stage.crew(folder / "crew", servers(world)) as crew:
        first = crew.hire(die_at=place)
        transfer = crew.request(asked(world))
        until(lambda: not first.alive, "the kill")
        crew.hire()

        assert crew.wait_for(transfer) == [State.CLOSED], crew.said()
        assert undated(world) == expected.holdings
        assert all(world.second.versions(ref) == 1 for ref in world.arrived())
        assert Counter(str(entry.type) for entry in crew.entries(transfer)) == expected.log
        assert crew.unanswered() == 0
        crew.bridge.verify_log()
        assert "round.failed" not in crew.said()
