"""What is gathered and what is not: another patient's, what came in part, what came from there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.bridge import Report
from fhir_bridge.errors import ConsentRefused, UnfilteredAnswer
from fhir_bridge.journey import attaching
from fhir_bridge.manifest import Outcome
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.references import copy_ref
from fhir_bridge.sandbox import Call, ChangedBundle, Profile
from fhir_bridge.transfer import State
from tests.journeys.test_after_delivery import accepted, gaps, notes, released, there
from tests.journeys.test_intents_and_results import amend, pairs
from tests.journeys.world import FIRST, World

CEA = RecordRef("Observation/amelia-cea")
BEFORE = RecordRef("Observation/amelia-cea-before")
PATIENT = RecordRef("Patient/amelia")
REPORT = RecordRef("DiagnosticReport/amelia-mammogram")
DOCUMENT = RecordRef("DocumentReference/amelia-mammogram")
SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


def decided(report: Report, ref: RecordRef) -> tuple[str, str]:
    return next((str(one.decision), one.rule) for one in report.lines if one.ref == ref)


def of_somebody_else(world: World) -> Json:
    record = {**world.first.resources[CEA], "id": "of-somebody-else"}
    return {**record, "subject": {"reference": "Patient/somebody-else"}}


def slipping_in(extra: Json) -> ChangedBundle:
    """Return the fault of a server that puts one more match into an answer."""

    def change(content: Json, _: Call) -> None:
        content["entry"].append({"resource": extra, "search": {"mode": "match"}})
        if "total" in content:
            content["total"] += 1

    return ChangedBundle(change)


def at(path: str) -> Callable[[Call], bool]:
    return lambda call: (call.server, call.path) == (FIRST, path)


def test_a_search_for_our_patient_that_returns_another_stops_the_whole_transfer(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia", first=Profile(everything=False)) as world:
        fault = slipping_in(of_somebody_else(world))
        world.faults.at(at("Observation"), fault, times=None)

        with pytest.raises(UnfilteredAnswer, match="does not filter"):
            world.transfer()

        assert world.second.requests == []
        assert world.rows()[0].state == State.INCOMPLETE
        assert "disclosure.intent" not in world.log()
        assert world.log()[-1] == "transfer.closed"


def test_a_server_that_ignores_the_patient_parameter_does_not_pass_for_complete(
    tmp_path: Path,
) -> None:
    ignores = Profile(everything=False, ignored_parameters=frozenset({"patient", "subject"}))
    with World(tmp_path, "amelia", first=ignores) as world:
        with pytest.raises(ConsentRefused):
            world.transfer()

        assert world.second.requests == []


def test_another_patients_record_in_everything_does_not_stand_in_for_one_of_ours(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        foreign = of_somebody_else(world)

        def swap(content: Json, _: Call) -> None:
            # nothing refers to this one, so that only the count can tell that it is missing
            rows = [one for one in content["entry"] if one["resource"]["id"] != "amelia-cea-before"]
            if len(rows) < len(content["entry"]):
                content["entry"] = [*rows, {"resource": foreign}]

        world.faults.at(at("Patient/amelia/$everything"), ChangedBundle(swap), times=None)

        report = world.transfer()

        assert decided(report, BEFORE) == ("released", "consent-permit")
        assert "Observation/of-somebody-else" not in {line.ref for line in report.lines}
        assert report.state is State.CLOSED


def test_what_everything_brings_beyond_the_kinds_asked_is_dropped_unread(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        other = {
            "resourceType": "AllergyIntolerance",
            "id": "pollen",
            "patient": {"reference": PATIENT},
            "meta": world.first.resources[CEA]["meta"],
        }

        def bring(content: Json, _: Call) -> None:
            content["entry"].append({"resource": other})

        world.faults.at(at("Patient/amelia/$everything"), ChangedBundle(bring))

        report = world.transfer()

        asked = [seen.query for seen in world.first.requests if "everything" in seen.path]
        assert all("_type=" in query and "Allergy" not in query for query in asked)
        assert "AllergyIntolerance/pollen" not in {line.ref for line in report.lines}


def subsetted(resource: Json) -> Json:
    return {**resource, "meta": {**resource["meta"], "tag": [SUBSETTED]}}


def test_a_resource_given_only_in_part_is_read_again(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:

        def shorten(content: Json, _: Call) -> None:
            for one in content["entry"]:
                if one["resource"]["id"] == "amelia-cea":
                    one["resource"] = subsetted(one["resource"])

        world.faults.at(at("Patient/amelia/$everything"), ChangedBundle(shorten))

        report = world.transfer()

        assert report.state is State.CLOSED
        assert "tag" not in world.second.resources[there(CEA)]["meta"]


@pytest.mark.parametrize("ref", [BEFORE, RecordRef("Practitioner/dr-keller")])
def test_a_resource_given_only_in_part_each_time_is_a_gap(tmp_path: Path, ref: RecordRef) -> None:
    with World(tmp_path, "amelia") as world:
        world.first.load([subsetted(world.first.resources[ref])])

        report = world.transfer()

        assert (ref, "subsetted") in gaps(report)
        assert report.state is State.INCOMPLETE
        assert there(ref) not in world.second.resources


@pytest.mark.parametrize("type_", ["replaces", "seealso"])
@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("Patient/older-chart", "Patient/older-chart"),
        ("https://elsewhere.example/fhir/Patient/9?token=x", "Patient/amelia#link[0]"),
    ],
    ids=["here", "elsewhere"],
)
def test_each_linked_chart_is_named_and_not_reading_it_means_incomplete(
    tmp_path: Path, type_: str, reference: str, named: str
) -> None:
    with World(tmp_path, "amelia") as world:
        patient = dict(world.first.resources[PATIENT])
        link = [{"other": {"reference": reference}, "type": type_}]
        world.first.load([{**patient, "link": link}])

        report = world.transfer()

        assert gaps(report) == {(named, "linked-chart")}
        assert report.state is State.INCOMPLETE
        (task,) = [ref for ref in world.arrived() if ref.startswith("Task/")]
        assert "could not be obtained" in str(world.second.resources[task]["note"])


def test_a_record_that_came_from_the_destination_is_theirs_and_not_sent_back(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        record = {**world.first.resources[BEFORE], "id": "from-there"}
        origin = {"system": "https://second.example/fhir/Observation", "value": "native-1"}
        world.first.load([{**record, "identifier": [origin]}])
        native = {**record, "id": "native-1", "subject": {"reference": world.story.at_destination}}
        world.second.load([{name: one for name, one in native.items() if name != "specimen"}])
        held = world.holdings()[RecordRef("Observation/native-1")]

        report = world.transfer()

        line = next(line for line in report.lines if line.ref == "Observation/from-there")
        assert line.outcome is Outcome.THEIRS
        assert line.destination == "Observation/native-1"
        assert there(line.ref) not in world.second.resources
        assert world.holdings()[RecordRef("Observation/native-1")] == held


def test_our_clock_more_than_five_minutes_from_the_sources_refuses(tmp_path: Path) -> None:
    for seconds, refused in ((301, True), (-301, True), (299, False)):
        folder = tmp_path / str(seconds)
        skewed = Profile(clock_skew_seconds=seconds)
        with World(folder, "amelia", first=skewed) as world:
            if not refused:
                assert world.transfer().state is State.CLOSED
                continue
            with pytest.raises(ConsentRefused, match="clock"):
                world.transfer()
            assert world.second.requests == []


@pytest.mark.parametrize(("story", "whole"), [("celia", True), ("amelia", False)])
def test_the_consent_travels_as_it_is_only_when_it_excepts_and_limits_nothing(
    tmp_path: Path, story: str, *, whole: bool
) -> None:
    with World(tmp_path, story) as world:
        world.transfer()

        name = RecordRef(f"Consent/{story}-second-opinion")
        original = world.first.resources[name]
        copy = copy_ref("https://first.example/fhir", name)
        assert (copy in world.second.resources) == whole
        (arrived,) = [
            world.second.resources[ref] for ref in world.arrived() if ref.startswith("Consent/")
        ]
        if whole:
            assert arrived["provision"]["period"] == original["provision"]["period"]
        else:
            assert "provision" not in arrived["provision"]
            assert "limits this record" in str(arrived)


# persons


def test_a_release_is_void_when_the_record_changed_since(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        unsorted = {**world.first.resources[CEA], "id": "unsorted", "code": {"text": "unsorted"}}
        del unsorted["category"]
        unsorted.pop("specimen", None)
        world.first.load([unsorted])
        ref = RecordRef("Observation/unsorted")
        first = world.transfer()
        assert first.state is State.HELD
        released(world, first.transfer, ref)
        world.first.load([{**unsorted, "status": "amended"}])

        report = world.resume(first.transfer)

        assert decided(report, ref) == ("unclassified", "unclassified")
        assert there(ref) not in world.second.resources

        released(world, first.transfer, ref)

        assert world.resume(first.transfer).state is State.CLOSED
        assert there(ref) in world.second.resources
        assert len({intent.step for intent, _ in pairs(world)}) > 1


def test_a_line_that_a_person_withheld_stays_and_the_withholding_is_signed(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        preview = world.transfer(preview=True)
        first = world.transfer()
        released(world, first.transfer, BEFORE, release=False)
        amend(world)

        report = world.resume(first.transfer)

        assert preview.transfer != first.transfer
        assert decided(report, BEFORE) == ("withheld", "withheld-by-person")
        assert "still at destination since" in notes(report)[BEFORE].sentence
        assert "record.withheld" in world.log()


def test_an_accepted_gap_does_not_undo_a_release_of_the_same_line(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        label = {"system": "https://first.example/labels", "code": "of-the-house"}
        record = dict(world.first.resources[BEFORE])
        world.first.load([{**record, "meta": {"security": [*record["meta"]["security"], label]}}])
        first = world.transfer()
        released(world, first.transfer, BEFORE)
        world.faults.refuse(there(BEFORE))
        with world.bridge() as bridge:
            refused = bridge.resume(first.transfer)
        for gap in refused.gaps:
            accepted(world, first.transfer, gap.ref)

        report = world.resume(first.transfer)

        assert decided(report, BEFORE) == ("released", "released-by-person")
        assert report.state is State.CLOSED


def test_asked_anew_it_is_another_transfer_with_a_referral_of_its_own(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        first, again = world.transfer(), world.transfer()
        before = world.arrived()

        new = world.transfer(new=True)

        assert again.transfer == first.transfer != new.transfer
        added = {ref.partition("/")[0] for ref in world.arrived() - before}
        assert {"Task", "ServiceRequest"} <= added
        assert added <= {"Task", "ServiceRequest", "Consent", "DocumentReference", "Provenance"}


# Provenance


def test_a_provenance_of_released_and_withheld_records_is_held(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        own = dict(world.first.resources[RecordRef("Provenance/amelia-biopsy")])
        mixed = {
            **own,
            "id": "mixed",
            "target": [{"reference": CEA}, {"reference": "Observation/amelia-lithium"}],
        }
        world.first.load([mixed])

        report = world.transfer()

        assert decided(report, RecordRef("Provenance/mixed")) == ("held", "provenance-mixed")
        assert there(RecordRef("Provenance/mixed")) not in world.second.resources


def test_our_provenance_is_written_after_everything_was_read_back(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", keeps_bodies=True) as world:
        report = world.transfer()

        (ours,) = [ref for ref in report.authored if ref.startswith("Provenance/")]
        writes = [seen.body for seen in world.second.requests if seen.method in {"POST", "PUT"}]
        with_ours = [n for n, body in enumerate(writes) if f'"id":"{ours[11:]}"'.encode() in body]
        with_cea = [n for n, body in enumerate(writes) if there(CEA)[12:].encode() in body]
        tasks = [n for n, body in enumerate(writes) if b'"resourceType":"Task"' in body]
        assert min(with_cea) < min(with_ours) < min(tasks)
        targets = world.second.resources[ours]["target"]
        assert not [one for one in targets if "_history" in one["reference"]]


# attachments


def hashed(world: World, hash_: str) -> None:
    document = dict(world.first.resources[DOCUMENT])
    (content,) = document["content"]
    content = {**content, "attachment": {**content["attachment"], "hash": hash_}}
    world.first.load([{**document, "content": [content]}])


def data(world: World) -> bytes:
    return base64.b64decode(
        world.first.resources[RecordRef("Binary/amelia-mammogram-report")]["data"]
    )


def sha1(raw: bytes) -> bytes:
    return hashlib.sha1(raw, usedforsecurity=False).digest()


@pytest.mark.parametrize(
    ("form", "note"),
    [
        (lambda raw: base64.b64encode(sha1(raw)).decode(), None),
        (lambda raw: sha1(raw).hex(), None),
        (lambda raw: base64.b64encode(hashlib.sha256(raw).digest()).decode(), "hash-equal-sha256"),
        (lambda raw: hashlib.sha256(raw).hexdigest(), "hash-equal-sha256"),
        (lambda raw: base64.b64encode(hashlib.md5(raw).digest()).decode(), "hash-not-understood"),  # noqa: S324 - what servers send
        (lambda _: "not a hash", "hash-not-understood"),
    ],
    ids=["sha1", "sha1 hex", "sha256", "sha256 hex", "md5", "no hash"],
)
def test_a_document_travels_whose_hash_is_right_or_not_understood_and_that_is_noted(
    tmp_path: Path, form: Callable[[bytes], str], note: str | None
) -> None:
    with World(tmp_path, "amelia") as world:
        hashed(world, form(data(world)))

        report = world.transfer()

        assert decided(report, DOCUMENT)[0] == "released"
        assert report.state is State.CLOSED
        found = {ref: one.reason for ref, one in notes(report).items()}
        assert found == ({} if note is None else {DOCUMENT: note})
        copy = world.second.resources[there(DOCUMENT)]["content"][0]["attachment"]
        assert copy["hash"] == form(data(world))


def test_a_well_formed_hash_that_differs_holds_the_record(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        hashed(world, base64.b64encode(sha1(b"another document")).decode())

        report = world.transfer()

        assert decided(report, DOCUMENT) == ("held", "hash-mismatch")


def test_more_attachments_than_a_transfer_may_hold_are_a_gap_and_the_rest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with World(tmp_path, "amelia") as world:
        monkeypatch.setattr(attaching, "TRANSFER_BYTES_MAX", len(data(world)))

        report = world.transfer()

        over = {ref for ref, reason in gaps(report) if reason == "over-the-cap"}
        assert over
        assert report.state is State.INCOMPLETE
        assert sum(line.attachment for line in report.lines) >= 1


def test_caps_of_attachments_are_as_settled() -> None:
    caps: tuple[Any, ...] = (attaching.ATTACHMENT_BYTES_MAX, attaching.TRANSFER_BYTES_MAX)

    assert caps == (32 * 2**20, 256 * 2**20)
