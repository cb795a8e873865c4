"""What becomes of copies after they were delivered, and of records after they were announced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.bridge import Report
from fhir_bridge.doors.report import as_object, exit_code, render
from fhir_bridge.errors import ConsentRefused, DestinationUnreachable, PatientUnclear, SettingsError
from fhir_bridge.manifest import Gap, Outcome, count
from fhir_bridge.records import RecordRef
from fhir_bridge.references import copy_ref
from fhir_bridge.sandbox import Status
from fhir_bridge.transfer import State
from tests.journeys.test_consent_at_every_send import revoke
from tests.journeys.test_intents_and_results import EIGHT, amend, at_write, narrow, pairs
from tests.journeys.world import SECOND, World

CEA = RecordRef("Observation/amelia-cea")
BEFORE = RecordRef("Observation/amelia-cea-before")
CONSENT = RecordRef("Consent/amelia-second-opinion")
OFFICER = {"by": "R. Officer", "reason": "looked at it"}


def there(ref: RecordRef) -> RecordRef:
    return copy_ref("https://first.example/fhir", ref)


def gaps(report: Report) -> set[tuple[str, str]]:
    return {(gap.ref, gap.reason) for gap in report.gaps}


def notes(report: Report) -> dict[str, Gap]:
    return {gap.ref: gap for gap in report.notes}


def outcome(report: Report, ref: RecordRef) -> Outcome | None:
    return next(line.outcome for line in report.lines if line.ref == ref)


def released(world: World, transfer: str, *refs: str, release: bool = True) -> None:
    with world.bridge() as bridge:
        bridge.decide(transfer, refs, release=release, **OFFICER)


def accepted(world: World, transfer: str, ref: str) -> None:
    with world.bridge() as bridge:
        bridge.accept(transfer, ref, **OFFICER)


def shown(world: World, transfer: str) -> Report:
    with world.bridge() as bridge:
        return bridge.show(transfer)


def tasks(world: World) -> list[RecordRef]:
    return [ref for ref in world.arrived() if ref.startswith("Task/")]


# deleted at the destination


def test_a_copy_that_somebody_deleted_there_is_not_made_again_by_itself(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        world.second.remove(there(BEFORE))

        report = world.transfer()

        assert there(BEFORE) not in world.second.resources
        assert report.state is State.INCOMPLETE
        assert outcome(report, BEFORE) is Outcome.ABSENT
        assert (BEFORE, "deleted-at-destination") in gaps(report)


def test_a_deleted_copy_is_made_again_when_a_person_releases_it(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        transfer = world.transfer().transfer
        world.second.remove(there(BEFORE))
        world.transfer()

        released(world, transfer, BEFORE)
        report = world.resume(transfer)

        assert report.state is State.CLOSED
        assert outcome(report, BEFORE) is Outcome.IDENTICAL
        assert "record.released" in world.log()

        world.second.remove(there(BEFORE))
        again = world.transfer()

        assert there(BEFORE) not in world.second.resources
        assert (BEFORE, "deleted-at-destination") in gaps(again)


def test_a_release_of_a_deleted_copy_is_void_when_the_record_changed_since(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        transfer = world.transfer().transfer
        world.second.remove(there(BEFORE))
        world.transfer()
        released(world, transfer, BEFORE)
        world.first.load([{**world.first.resources[BEFORE], "status": "amended"}])

        report = world.resume(transfer)

        assert (BEFORE, "deleted-at-destination") in gaps(report)
        assert there(BEFORE) not in world.second.resources


def test_a_deletion_there_can_be_accepted_and_the_transfer_closes(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        transfer = world.transfer().transfer
        world.second.remove(there(BEFORE))
        first = world.transfer()

        for ref in {gap.ref for gap in first.gaps}:
            accepted(world, transfer, ref)
        report = world.resume(transfer)

        assert report.state is State.CLOSED
        assert exit_code(report) == 0
        assert as_object(report)["complete"] is False
        assert "accepted gap" in render(report, store=None)
        assert there(BEFORE) not in world.second.resources


@pytest.mark.parametrize("type_", ["Task", "ServiceRequest", "Provenance", "DocumentReference"])
def test_what_the_bridge_wrote_and_somebody_deleted_is_not_written_again(
    tmp_path: Path, type_: str
) -> None:
    with World(tmp_path, "amelia") as world:
        first = world.transfer()
        (ours, *_) = [ref for ref in first.authored if ref.startswith(f"{type_}/")]
        world.second.remove(ours)

        report = world.transfer()

        assert (ours, "deleted-at-destination") in gaps(report)
        assert report.state is State.INCOMPLETE
        assert ours not in world.second.resources

        released(world, first.transfer, ours)

        assert world.resume(first.transfer).state is State.CLOSED
        assert ours in world.second.resources

        world.second.remove(ours)

        assert (ours, "deleted-at-destination") in gaps(world.transfer())
        assert ours not in world.second.resources


def test_a_copy_whose_deletion_only_the_server_knows_of_is_not_made_again(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.second.load([{**world.first.resources[BEFORE], "id": there(BEFORE).split("/")[1]}])
        world.second.remove(there(BEFORE))

        report = world.transfer()

        assert (BEFORE, "deleted-at-destination") in gaps(report)


def test_a_chart_of_ours_that_was_deleted_there_is_not_created_again(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.second.remove(world.story.at_destination)
        world.transfer(at_destination="create")
        own = there(world.story.patient)
        world.second.remove(own)

        for asked in ("create", "match"):
            with pytest.raises(PatientUnclear, match="was deleted"):
                world.transfer(at_destination=asked)

        assert own not in world.second.resources


@pytest.mark.parametrize("change", [{"birthDate": "1980-01-01"}, {"active": False}])
@pytest.mark.parametrize("found", [True, False], ids=["by identifier", "by its id"])
def test_a_chart_created_by_an_earlier_transfer_is_taken_only_while_it_agrees(
    tmp_path: Path, change: dict[str, Any], *, found: bool
) -> None:
    with World(tmp_path, "amelia") as world:
        world.second.remove(world.story.at_destination)
        world.transfer(at_destination="create")
        own = there(world.story.patient)
        chart = {**world.second.resources[own], **change}
        if not found:
            chart["identifier"] = chart["identifier"][-1:]
        world.second.load([chart])
        held = world.holdings()

        for asked in ("create", "match"):
            with pytest.raises(PatientUnclear) as caught:
                world.transfer(at_destination=asked)
            assert "1980" not in str(caught.value)

        assert world.holdings() == held


def test_a_copy_found_the_same_after_a_crash_is_known_as_ours_later(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        stored = there(CEA)
        world.faults.at(
            lambda call: call.server == SECOND and stored in world.second.resources,
            Status(503),
            times=None,
        )
        with pytest.raises(DestinationUnreachable):
            world.transfer()
        world.resume(world.transfers()[0])
        amend(world)

        report = world.transfer()

        assert report.state is State.CLOSED
        assert world.second.resources[there(CEA)]["status"] == "amended"


# entered in error, withheld or gone after delivery


def in_error(world: World, ref: RecordRef) -> None:
    world.first.load([{**world.first.resources[ref], "status": "entered-in-error"}])


def test_a_record_entered_in_error_is_not_released(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        in_error(world, BEFORE)

        report = world.transfer()

        line = next(line for line in report.lines if line.ref == BEFORE)
        assert (line.decision, line.rule) == ("withheld", "entered-in-error")
        assert there(BEFORE) not in world.second.resources


def test_a_delivered_record_that_was_entered_in_error_is_sent_with_its_new_status(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        in_error(world, BEFORE)

        report = world.transfer()

        assert report.state is State.CLOSED
        assert world.second.resources[there(BEFORE)]["status"] == "entered-in-error"
        assert world.second.versions(there(BEFORE)) == 2


def test_the_new_status_is_sent_also_when_a_run_in_between_was_interrupted(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        amend(world)
        world.faults.at(at_write(1), Status(503), times=None)
        with pytest.raises(DestinationUnreachable):
            world.transfer()
        world.faults.clear()
        in_error(world, BEFORE)

        world.transfer()

        assert world.second.resources[there(BEFORE)]["status"] == "entered-in-error"


@pytest.mark.parametrize("status", ["amended", "corrected", "cancelled", "preliminary"])
def test_other_statuses_travel_as_they_are(tmp_path: Path, status: str) -> None:
    with World(tmp_path, "amelia") as world:
        world.first.load([{**world.first.resources[BEFORE], "status": status}])

        report = world.transfer()

        assert report.state is State.CLOSED
        assert world.second.resources[there(BEFORE)]["status"] == status


def test_a_delivered_record_that_is_withheld_now_is_listed_and_not_deleted(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        narrow(world)

        report = world.transfer()

        note = notes(report)[CEA]
        assert "still at destination since 2026-11-25" in note.sentence
        assert there(CEA) in world.second.resources
        assert "still at destination since" in render(report, store=None)
        assert notes(shown(world, report.transfer))[CEA] == note


def test_a_delivered_record_that_is_gone_at_the_source_is_listed_and_not_deleted(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        world.first.remove(BEFORE)

        for report in (world.transfer(), world.transfer()):
            assert report.state is State.CLOSED
            assert "still at destination since 2026-11-25" in notes(report)[BEFORE].sentence

        assert there(BEFORE) in world.second.resources


def test_after_a_revocation_everything_that_was_delivered_is_listed(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        first = world.transfer()
        revoke(world)
        with pytest.raises(ConsentRefused):
            world.transfer()

        report = shown(world, first.transfer)

        assert report.state is State.REFUSED
        assert CEA in notes(report)
        sent = {line.ref for line in first.lines if line.decision == "released"}
        assert {ref for ref in notes(report) if ref != CEA} <= sent
        assert len(notes(report)) == len(sent)


def test_the_day_of_the_first_delivery_stays_when_the_copy_is_written_over(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        with world.bridge() as bridge:
            first = bridge.store.pairing("https://second.example/fhir", there(CEA))
        world.time.days += 3
        amend(world)
        world.transfer()
        with world.bridge() as bridge:
            later = bridge.store.pairing("https://second.example/fhir", there(CEA))

        assert first is not None
        assert later is not None
        assert first.since == later.since
        assert later.mac != first.mac


# changed, new or gone after it was announced


def broken(world: World) -> str:
    world.faults.at(at_write(1), Status(503), times=None)
    with pytest.raises(DestinationUnreachable):
        world.transfer()
    world.faults.clear()
    return world.transfers()[0]


def test_what_was_announced_and_is_gone_at_the_source_is_named(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken(world)
        world.first.remove(BEFORE)

        report = world.resume(transfer)

        assert gaps(report) == {(BEFORE, "gone-at-source")}
        assert report.state is State.INCOMPLETE
        assert tasks(world)
        assert len(pairs(world)) == 2
        assert gaps(world.resume(transfer)) == {(BEFORE, "gone-at-source")}

        accepted(world, transfer, BEFORE)

        assert world.resume(transfer).state is State.CLOSED


def test_what_is_only_no_longer_referred_to_is_not_said_to_be_gone(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken(world)
        chemistry = RecordRef("Observation/amelia-glucose")
        record = dict(world.first.resources[chemistry])
        orphan = {**world.first.resources[RecordRef("Practitioner/dr-keller")], "id": "dr-orphan"}
        world.first.load([orphan])
        world.first.load([{**record, "performer": [{"reference": "Practitioner/dr-orphan"}]}])
        world.faults.at(at_write(1), Status(503), times=None)
        with world.bridge() as bridge, pytest.raises(DestinationUnreachable):
            bridge.resume(transfer)
        world.first.load([record])

        report = world.resume(transfer)

        assert report.state is State.CLOSED
        assert gaps(report) == set()


def test_what_is_new_or_changed_is_decided_again_under_the_next_manifest(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken(world)
        amend(world)
        new = {**world.first.resources[BEFORE], "id": "amelia-cea-after"}
        world.first.load([new])

        report = world.resume(transfer)

        assert report.state is State.CLOSED
        assert outcome(report, RecordRef("Observation/amelia-cea-after")) is Outcome.IDENTICAL
        assert world.rows()[0].manifest == 2


# accepting a gap of delivery


def test_gaps_of_delivery_stop_the_task_until_a_person_accepts_them(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.refuse(there(BEFORE))
        first = world.transfer()
        absent = {line.ref for line in first.lines if line.outcome is Outcome.ABSENT}
        missing = {gap.ref for gap in first.gaps}
        assert absent <= missing
        assert first.state is State.INCOMPLETE
        assert exit_code(first) == 4
        assert tasks(world) == []

        for ref in missing:
            accepted(world, first.transfer, ref)
            assert shown(world, first.transfer).state is State.INCOMPLETE
        with world.bridge() as bridge:
            report = bridge.resume(first.transfer)

        assert report.state is State.CLOSED
        (task,) = tasks(world)
        text = [note["text"] for note in world.second.resources[task]["note"]]
        assert [one for one in text if str(len(missing)) in one]
        assert world.log().count("gap.accepted") == len(missing)
        assert world.log()[-1] == "transfer.closed"
        assert all(gap.accepted for gap in report.gaps)


def test_accepting_one_of_two_gaps_is_not_enough(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.refuse(there(BEFORE))
        world.faults.refuse(there(RecordRef("Observation/amelia-inr")))
        first = world.transfer()
        accepted(world, first.transfer, BEFORE)

        with world.bridge() as bridge:
            report = bridge.resume(first.transfer)

        assert report.state is State.INCOMPLETE
        assert tasks(world) == []


def test_an_accepted_gap_of_one_reason_does_not_cover_another(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.refuse(there(BEFORE))
        first = world.transfer()
        accepted(world, first.transfer, BEFORE)
        world.faults.clear()
        world.second.load(
            [{"resourceType": "Observation", "id": there(BEFORE).split("/")[1], "status": "final"}]
        )

        report = world.resume(first.transfer)

        assert (BEFORE, "changed-at-destination") in gaps(report)
        assert report.state is State.INCOMPLETE


def test_what_the_bridge_wrote_and_the_destination_refuses_can_be_accepted(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.refuse("Provenance")
        first = world.transfer()
        assert tasks(world) == []
        for gap in first.gaps:
            accepted(world, first.transfer, gap.ref)

        with world.bridge() as bridge:
            report = bridge.resume(first.transfer)

        assert report.state is State.CLOSED
        assert tasks(world)


def test_a_gap_of_the_source_is_not_accepted_and_does_not_stop_the_task(tmp_path: Path) -> None:
    with World(tmp_path, "celia") as world:
        report = world.transfer()
        (source, *_) = [gap for gap in report.gaps if gap.at == "source"]

        assert tasks(world)
        with pytest.raises(SettingsError, match="not a gap of delivery"):
            accepted(world, report.transfer, source.ref)
        assert "gap.accepted" not in world.log()


@pytest.mark.parametrize(
    "change",
    [lambda _: None, narrow, lambda world: world.faults.refuse(there(BEFORE))],
    ids=["whole", "narrowed", "refused"],
)
def test_the_sums_agree_however_it_ends(tmp_path: Path, change: Callable[[World], None]) -> None:
    with World(tmp_path, "amelia") as world:
        change(world)

        report = world.transfer()

        counts = count(report.lines)
        counts.check(delivered=True)
        said = as_object(report)["counts"]
        assert said["delivered"] == counts.identical + counts.normalised + counts.changed
        assert said["verified"] == counts.identical + counts.normalised + counts.theirs


# an older wider consent


def test_an_older_wider_consent_beside_a_newer_narrower_one_is_named(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        newer = dict(world.first.resources[CONSENT])
        wide = {name: one for name, one in newer["provision"].items() if name != "provision"}
        older = {
            **newer,
            "id": "older",
            "identifier": [{"system": "urn:oid:2.999.4", "value": "older"}],
            "dateTime": "2024-01-01T10:00:00+01:00",
            "provision": {**wide, "period": {"start": "2024-01-01", "end": "2099-12-31"}},
        }
        world.first.load([older])

        report = world.transfer()

        assert report.state is State.CLOSED
        note = notes(report)["Consent/older"]
        assert note.reason == "older-and-wider"
        assert note.referrer == CONSENT
        assert "inactive" in note.sentence
        assert as_object(report)["notes"][0]["ref"] == "Consent/older"
        assert world.transfer(preview=True).notes == report.notes
