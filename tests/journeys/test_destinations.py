"""Destinations differ and fail; what is there in the end does not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fhir_bridge.errors import (
    BridgeError,
    CredentialRefused,
    DestinationRefused,
    DestinationUnreachable,
    ForeignLink,
    NotFhir,
    PatientUnclear,
    Unreachable,
)
from fhir_bridge.manifest import Outcome
from fhir_bridge.records import RecordRef
from fhir_bridge.references import copy_id
from fhir_bridge.sandbox import Call, DropAfter, Failure, Faults, Profile, Status, Watch, lies
from fhir_bridge.transfer import State
from tests.journeys.world import SECOND, World

LAB = RecordRef("Observation/amelia-cea")


@cache
def undisturbed() -> dict[RecordRef, str]:
    with TemporaryDirectory() as folder, World(Path(folder), "amelia") as world:
        world.transfer()
        return dict(world.holdings())


def ends_the_same(world: World) -> None:
    report = world.transfer()

    assert report.state is State.CLOSED
    assert dict(world.holdings()) == undisturbed()
    assert all(world.second.versions(ref) == 1 for ref in world.arrived())


@pytest.mark.parametrize(
    "profile",
    [
        Profile(entry_limit=25),
        Profile(transactions=False),
        Profile(transactions=False, batch=False),
        Profile(everything=False, batch=False),
        Profile(byte_limit=40_000),
        Profile(offset_paging=False, page_size_max=10),
    ],
    ids=["25 entries", "no transactions", "one by one", "no $everything", "40 kB", "small pages"],
)
def test_whatever_a_destination_can_do_the_end_is_the_same(
    tmp_path: Path, profile: Profile
) -> None:
    with World(tmp_path, "amelia", second=profile) as world:
        ends_the_same(world)


def writes(call: Call) -> bool:
    return call.server == SECOND and call.brings_records


def throttled(faults: Faults) -> None:
    faults.at(writes, Status(429, retry_after="2"))


def unavailable(faults: Faults) -> None:
    faults.at(writes, Status(503, retry_after="1"), times=2)


def answer_lost(faults: Faults) -> None:
    faults.at(writes, DropAfter())


@pytest.mark.parametrize("fault", [throttled, unavailable, answer_lost])
def test_a_destination_that_waits_or_loses_an_answer_ends_the_same(
    tmp_path: Path, fault: object
) -> None:
    with World(tmp_path, "amelia") as world:
        assert callable(fault)
        fault(world.faults)
        try:
            ends_the_same(world)
        except Unreachable:
            ends_the_same(world)


def copy_of(ref: RecordRef) -> RecordRef:
    type_ = ref.partition("/")[0]
    return RecordRef(f"{type_}/{copy_id('https://first.example/fhir', ref)}")


def test_a_copy_edited_at_the_destination_is_not_written_over(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        there = copy_of(LAB)
        edited = {**world.second.resources[there], "status": "amended"}
        world.second.load([edited])

        report = world.transfer()

        assert world.second.resources[there]["status"] == "amended"
        assert report.state is State.INCOMPLETE
        line = next(line for line in report.lines if line.ref == LAB)
        assert line.outcome is Outcome.CHANGED
        assert line.paths == ("status",)


def test_a_native_record_at_a_copys_place_is_not_written_over(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        there = copy_of(LAB)
        native = {
            "resourceType": "Observation",
            "id": there.partition("/")[2],
            "status": "final",
            "code": {"text": "theirs"},
        }
        world.second.load([native])

        report = world.transfer()

        assert world.second.resources[there]["code"] == {"text": "theirs"}
        assert report.state is State.INCOMPLETE
        assert [gap.ref for gap in report.gaps if gap.reason == "changed-at-destination"] == [LAB]
        assert not [ref for ref in world.arrived() if ref.startswith("Task/")]


def test_a_changed_source_record_is_written_over_our_own_untouched_copy(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        world.first.load([{**world.first.resources[LAB], "status": "amended"}])

        report = world.transfer()

        assert report.state is State.CLOSED
        assert world.second.resources[copy_of(LAB)]["status"] == "amended"
        assert world.second.versions(copy_of(LAB)) == 2


def test_one_record_of_many_that_is_refused_is_named_and_the_rest_arrives(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.refuse(copy_of(LAB))

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        absent = {line.ref for line in report.lines if line.outcome is Outcome.ABSENT}
        assert LAB in absent
        assert not [ref for ref in world.arrived() if ref.startswith("Task/")]
        assert len(world.arrived()) > 40


def test_ten_equal_transfers_at_once_make_one_set(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", really_waits=True) as world:
        with ThreadPoolExecutor(10) as threads:
            reports = list(threads.map(lambda _: world.transfer(), range(10)))

        assert len({report.transfer for report in reports}) == 1
        assert dict(world.holdings()) == undisturbed()
        assert all(world.second.versions(ref) == 1 for ref in world.arrived())


def test_several_candidates_stop_the_transfer_before_anything_is_written(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        twin = dict(world.second.resources[world.story.at_destination])
        world.second.load([{**twin, "id": "twin"}])
        before = world.holdings()

        with pytest.raises(PatientUnclear, match="several patients"):
            world.transfer()

        assert world.holdings() == before


def test_a_patient_is_created_once_when_the_operator_allows_it(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.second.remove(world.story.at_destination)

        first = world.transfer(at_destination="create")
        world.transfer(at_destination="create")

        assert first.state is State.CLOSED
        patients = [ref for ref in world.second.resources if ref.startswith("Patient/")]
        assert patients == [copy_of(world.story.patient)]


def test_no_patient_is_created_beside_a_candidate(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world, pytest.raises(PatientUnclear, match="may be this"):
        world.transfer(at_destination="create")


def test_the_doctor_is_not_told_of_a_copy_edited_before_all_is_verified(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        there = copy_of(LAB)

        def edit(_: Call) -> None:
            world.second.load([{**world.second.resources[there], "status": "amended"}])

        def reads_back(call: Call) -> bool:
            return call.server == SECOND and there in world.second.resources

        world.faults.at(reads_back, Watch(edit))

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert {line.ref for line in report.lines if line.outcome is Outcome.CHANGED} == {LAB}
        assert not [ref for ref in world.arrived() if ref.startswith("Task/")]
        assert world.second.resources[there]["status"] == "amended"


def test_a_native_record_that_carries_our_copys_identifier_is_left_alone(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        native = {
            "resourceType": "Observation",
            "id": "native",
            "identifier": [
                {"system": "https://first.example/fhir/Observation", "value": "amelia-cea"}
            ],
            "status": "final",
            "code": {"text": "theirs"},
            "subject": {"reference": world.story.at_destination},
        }
        world.second.load([native])

        world.transfer()

        assert world.second.versions("Observation/native") == 1
        assert world.second.resources[RecordRef("Observation/native")]["code"]["text"] == "theirs"


def test_a_server_that_makes_its_own_ids_is_told_and_nothing_is_left_there(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=Profile(update_create=False)) as world:
        with pytest.raises(DestinationRefused, match="updateCreate"):
            world.transfer()

        assert world.arrived() == set()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (lies.login_page(), NotFhir),
        (lies.redirect("https://elsewhere.example/fhir"), ForeignLink),
        (Status(403, code="forbidden"), CredentialRefused),
        (Status(500, code="exception"), DestinationUnreachable),
    ],
    ids=["login page", "redirect", "403", "500"],
)
def test_a_destination_that_answers_a_write_wrongly_ends_in_one_sentence_and_can_be_taken_up(
    tmp_path: Path, fault: Failure, kind: type[BridgeError]
) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(writes, fault, times=None)

        with pytest.raises(kind) as caught:
            world.transfer()

        values = ("Brandt", "5.10", "1971-04-09")
        assert not [value for value in values if value in str(caught.value)]
        assert world.arrived() == set()
        assert "delivery.confirmed" not in world.log()
        world.faults.clear()
        ends_the_same(world)


@pytest.mark.parametrize("type_", ["Task", "Provenance", "Consent", "Binary"])
def test_the_doctor_is_not_told_when_the_destination_refuses_what_belongs_to_it(
    tmp_path: Path, type_: str
) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.refuse(type_)

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert [gap for gap in report.gaps if gap.ref.startswith(f"{type_}/")]
        assert not [ref for ref in world.arrived() if ref.startswith("Task/")]
