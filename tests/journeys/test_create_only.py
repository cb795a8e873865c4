"""
A destination that can be told to create and never to write over is not looked at first.

HAPI 8.8.0 is such a one. Whatever is there before, comes in between or is lost
on the way, the end is the same as at one that is looked at.
"""

from __future__ import annotations

import os
import random
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fhir_bridge.errors import BridgeError
from fhir_bridge.manifest import Outcome
from fhir_bridge.records import RecordRef
from fhir_bridge.references import copy_id
from fhir_bridge.sandbox import Call, DropAfter, Profile, Watch
from fhir_bridge.transfer import State
from tests.journeys.world import SECOND, Mishap, When, World

SEED, SAMPLE = 20261125, 12
LAB = RecordRef("Observation/amelia-cea")
COPY = RecordRef(f"Observation/{copy_id('https://first.example/fhir', LAB)}")


def profile(if_match: str = "creates", software_version: str = "8.8.0") -> Profile:
    return Profile(
        software="HAPI FHIR Server",
        software_version=software_version,
        if_match=if_match,
        stale_status=409,
    )


@cache
def undisturbed() -> tuple[int, dict[RecordRef, str]]:
    """HTTP calls and what arrived, at a destination that is looked at."""
    with TemporaryDirectory() as folder, World(Path(folder), "amelia") as world:
        world.transfer()
        holdings = dict(world.holdings())
    with TemporaryDirectory() as folder, World(Path(folder), "amelia", second=profile()) as world:
        world.transfer()
        assert dict(world.holdings()) == holdings
        return world.faults.calls, holdings


def carries(call: Call) -> bool:
    return call.server == SECOND and call.method == "POST" and not call.path.endswith("_search")


def test_what_was_never_there_is_not_looked_for(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=profile(), keeps_bodies=True) as world:
        world.transfer()

        id_ = COPY.partition("/")[2].encode()
        naming = [one for one in world.second.requests if id_ in (one.body or b"")]
        assert b'"ifMatch":"W/\\"0\\""' in (naming[0].body or b"")
        assert all(world.second.versions(ref) == 1 for ref in world.arrived())


@pytest.mark.parametrize("version", ["8.7.0", "7.6.1", "9.0.0"])
def test_a_version_that_was_not_tried_is_looked_at(tmp_path: Path, version: str) -> None:
    second = profile("ignored", version)
    with World(tmp_path, "amelia", second=second, keeps_bodies=True) as world:
        world.transfer()

        assert not [one for one in world.second.requests if b"ifMatch" in (one.body or b"")]


def test_what_is_there_under_the_id_of_a_copy_is_not_written_over(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=profile()) as world:
        native = {
            "resourceType": "Observation",
            "id": COPY.partition("/")[2],
            "status": "final",
            "code": {"text": "theirs"},
            "subject": {"reference": world.story.at_destination},
        }
        world.second.load([native])

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert world.second.versions(COPY) == 1
        assert world.second.resources[COPY]["code"]["text"] == "theirs"
        changed = [line.ref for line in report.lines if line.outcome is Outcome.CHANGED]
        assert changed == [LAB]
        assert {gap.reason for gap in report.gaps} == {"changed-at-destination"}
        missing = set(undisturbed()[1]) - set(world.second.resources)
        assert {ref.partition("/")[0] for ref in missing} == {"Task", "ServiceRequest"}

        again = world.transfer()

        assert again.state is State.INCOMPLETE
        assert world.second.versions(COPY) == 1


def test_a_copy_edited_there_since_is_not_written_over(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=profile()) as world:
        world.transfer()
        world.second.load([{**world.second.resources[COPY], "status": "amended"}])

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert world.second.resources[COPY]["status"] == "amended"


def test_what_another_bridge_brought_is_found_and_makes_no_new_version(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=profile()) as world:
        world.transfer()
        before = {ref: world.second.versions(ref) for ref in world.second.resources}
        shutil.rmtree(world.folder / "store")

        report = world.transfer()

        assert report.state is State.CLOSED
        assert {line.outcome for line in report.lines if line.outcome} <= {
            Outcome.IDENTICAL,
            Outcome.THEIRS,
        }
        assert {ref: world.second.versions(ref) for ref in before} == before


def test_a_copy_deleted_there_is_not_made_again(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=profile()) as world:
        world.transfer()
        world.second.remove(COPY)
        shutil.rmtree(world.folder / "store")

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert COPY not in world.second.resources
        assert (LAB, "deleted-at-destination") in {(gap.ref, gap.reason) for gap in report.gaps}

        with world.bridge() as bridge:
            bridge.decide(report.transfer, [LAB], release=True, by="Dr B", reason="an error")
        world.resume(report.transfer)

        assert COPY in world.second.resources


def test_what_comes_in_between_is_not_written_over(tmp_path: Path) -> None:
    """A look would have been too early to see it."""
    with World(tmp_path, "amelia", second=profile()) as world:

        def other(_: Call) -> None:
            theirs = {"resourceType": "Observation", "id": COPY.partition("/")[2]}
            world.second.load([{**theirs, "status": "final", "code": {"text": "theirs"}}])

        world.faults.at(carries, Watch(other))

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert world.second.resources[COPY]["code"]["text"] == "theirs"


def test_a_lost_answer_ends_the_same(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=profile()) as world:
        world.faults.at(carries, DropAfter())

        report = world.transfer()

        assert report.state is State.CLOSED
        assert dict(world.holdings()) == undisturbed()[1]
        assert all(world.second.versions(ref) == 1 for ref in world.arrived())


def test_a_server_that_writes_over_all_the_same_is_named(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=profile("ignored")) as world:
        native = {"resourceType": "Observation", "id": COPY.partition("/")[2], "status": "final"}
        world.second.load([native])

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert [gap.ref for gap in report.gaps if gap.reason == "written-over"] == [COPY]
        assert not [ref for ref in world.arrived() if ref.startswith("Task/")]


def sampled() -> list[Mishap]:
    table = [Mishap("http", call, when) for call in range(1, undisturbed()[0] + 1) for when in When]
    if os.environ.get("FHIR_BRIDGE_FULL") == "1":
        return table
    return random.Random(SEED).sample(table, SAMPLE)  # noqa: S311 - a sample, not a secret


@pytest.mark.parametrize("mishap", sampled(), ids=lambda one: f"{one.call}-{one.when.name.lower()}")
def test_an_interrupted_transfer_ends_the_same(tmp_path: Path, mishap: Mishap) -> None:
    with World(tmp_path, "amelia", second=profile()) as world:
        with pytest.raises(BridgeError):
            world.transfer(mishap)
        world.faults.clear()
        transfers = world.transfers()

        report = world.resume(transfers[0]) if transfers else world.transfer()

        assert report.state is State.CLOSED
        assert dict(world.holdings()) == undisturbed()[1]
        assert all(world.second.versions(ref) == 1 for ref in world.arrived())
