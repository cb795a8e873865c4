"""
Each story ends exactly as its `expected.json` says, line by line.

The expectation is written by reasoning from the rules, not taken from a run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.bridge import Report
from fhir_bridge.clock import Clock
from fhir_bridge.doors.report import exit_code
from fhir_bridge.manifest import count
from fhir_bridge.records import RecordRef
from fhir_bridge.references import copy_id
from fhir_bridge.store import Store
from tests.journeys.world import World

STORIES = ("amelia", "bruno", "celia")


class Told:
    """A story that was carried once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.report: Report = world.transfer()
        self.expected: dict[str, Any] = world.story.expected

    def at_destination(self) -> Iterator[tuple[str, str]]:
        for ref in self.world.arrived():
            yield ref, lossless.encode(self.world.second.resources[ref]).decode()

    def copy_of(self, ref: str) -> Any:
        there = {line.ref: line.destination for line in self.report.lines}[ref]  # type: ignore[index]
        assert there is not None
        return self.world.second.resources[there]


@pytest.fixture(scope="module", params=STORIES)
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    with World(tmp_path_factory.mktemp(request.param), request.param) as world:
        yield Told(world)


def test_it_ends_in_the_expected_state_and_exit_code(told: Told) -> None:
    assert told.report.state == told.expected["state"]
    assert exit_code(told.report) == told.expected["exit_code"]


def test_every_line_is_decided_as_expected_by_the_expected_rule(told: Told) -> None:
    lines = {
        line.ref: (line.kind, str(line.decision), line.rule, line.provision)
        for line in told.report.lines
    }
    expected = {
        ref: (
            line["kind"],
            line["decision"],
            line["rule"],
            line.get("provision"),
        )
        for ref, line in told.expected["lines"].items()
    }

    assert lines == expected


def test_the_sums_are_the_expected_ones_and_agree_with_each_other(told: Told) -> None:
    counts = count(told.report.lines)

    counts.check(delivered=True)
    assert {name: asdict(counts)[name] for name in told.expected["counts"]} == told.expected[
        "counts"
    ]


def test_every_gap_is_named_with_its_reason_and_who_refers_to_it(told: Told) -> None:
    found = {(gap.ref, gap.reason, gap.at, gap.referrer) for gap in told.report.gaps}

    assert found == {
        (gap["ref"], gap["reason"], gap["at"], gap["referrer"]) for gap in told.expected["gaps"]
    }


def test_every_severed_place_is_listed(told: Told) -> None:
    found = {line.ref: sorted(line.severed) for line in told.report.lines if line.severed}

    assert found == {ref: sorted(paths) for ref, paths in told.expected["severed"].items()}


def test_nothing_withheld_is_at_the_destination_in_any_form(told: Told) -> None:
    leaks = [
        (word, ref)
        for ref, text in told.at_destination()
        for word in told.expected["never_at_destination"]
        if word in text
    ]

    assert leaks == []


def test_attachments_of_a_withheld_record_are_never_fetched(told: Told) -> None:
    asked = [seen.path for seen in told.world.first.requests]

    for never in told.expected.get("never_fetched", []):
        assert not [path for path in asked if never in path], never


def test_values_arrive_with_their_decimals_as_text(told: Told) -> None:
    for ref, text in told.expected["texts"].items():
        assert f'"value":{text},' in lossless.encode(told.copy_of(ref)).decode()


def test_documents_arrive_byte_for_byte(told: Told) -> None:
    for ref, document in told.expected["documents"].items():
        data = base64.b64decode(told.copy_of(ref)["data"])
        assert len(data) == document["size"]
        assert hashlib.sha256(data).hexdigest() == document["sha256"]


def test_each_study_has_a_line_that_its_images_were_not_transferred(told: Told) -> None:
    assert {one.ref for one in told.report.images} == set(told.expected["images"])


def test_what_the_second_provider_had_before_is_untouched(told: Told) -> None:
    after = told.world.holdings()

    assert {ref: after[ref] for ref in told.world.before} == told.world.before


def test_the_same_command_again_adds_no_resource_and_no_version(told: Told) -> None:
    world = told.world
    versions = {ref: world.second.versions(ref) for ref in world.second.resources}

    world.transfer()

    assert {ref: world.second.versions(ref) for ref in world.second.resources} == versions


def test_a_preview_shows_the_same_decisions_and_sends_nothing(tmp_path: Path, told: Told) -> None:
    with World(tmp_path, told.world.story.name) as world:
        report = world.transfer(preview=True)

        assert world.second.requests == []
        decided = {line.ref: line.rule for line in report.lines}
        carried = {line.ref: line.rule for line in told.report.lines if not line.attachment}
        assert decided == carried


def test_the_doctor_is_told_what_released_records_miss_and_nothing_of_the_others(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "celia") as world:
        report = world.transfer()

        released = {line.ref for line in report.lines if line.decision == "released"}
        missing = [gap for gap in report.gaps if gap.referrer in released]
        assert len(missing) == len(report.gaps) - 1
        (task,) = [ref for ref in world.arrived() if ref.startswith("Task/")]
        notes = [note["text"] for note in world.second.resources[task]["note"]]
        assert [note for note in notes if "could not be obtained" in note] == [
            f"{len(missing)} items that they refer to could not be obtained at the first provider."
        ]


def test_a_result_at_another_server_is_a_named_gap(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        ref = RecordRef("DiagnosticReport/amelia-chemistry")
        chemistry = dict(world.first.resources[ref])
        elsewhere = {"reference": "https://lab.example/fhir/Observation/17"}
        world.first.load([{**chemistry, "result": [*chemistry["result"], elsewhere]}])

        report = world.transfer()

        place = f"{ref}#result[{len(chemistry['result'])}]"
        assert [(gap.ref, gap.reason) for gap in report.gaps] == [(place, "foreign-link")]
        assert report.state == "incomplete"


def test_the_result_in_the_log_counts_what_arrived_and_not_what_was_meant(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        line = RecordRef("Observation/amelia-cea")
        world.faults.refuse(f"Observation/{copy_id('https://first.example/fhir', line)}")

        report = world.transfer()

        with Store.open(world.settings.store, clock=Clock(), log_origin="test.example") as store:
            content = {str(entry.type): entry.content for entry in store.entries()}
        intent, result = content["disclosure.intent"], content["disclosure.result"]
        assert intent is not None
        assert result is not None
        absent = sum(1 for one in report.lines if one.outcome == "absent")
        assert absent > 0
        assert result.count == intent.count - absent


def test_a_record_that_no_machine_can_decide_about_is_held_and_does_not_travel(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        ref = RecordRef("Observation/amelia-cea")
        label = {"system": "https://first.example/labels", "code": "of-the-house"}
        record = dict(world.first.resources[ref])
        security = [*record["meta"]["security"], label]
        world.first.load([{**record, "meta": {"security": security}}])

        report = world.transfer()

        line = next(line for line in report.lines if line.ref == ref)
        assert line.decision == "held"
        assert report.state == "held"
        there = f"Observation/{copy_id('https://first.example/fhir', ref)}"
        assert there not in world.second.resources
