"""Whatever a server sends, a transfer ends in one plain sentence or in a named state."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.errors import (
    BridgeError,
    ConsentRefused,
    CredentialRefused,
    Incomplete,
    NotFhir,
    PatientUnclear,
    PatientUnknown,
)
from fhir_bridge.manifest import Decision
from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import Call, Failure, Profile, Status, lies
from fhir_bridge.transfer import State
from tests.journeys.world import FIRST, SECOND, World

NAMES = ("Brandt", "Amelia Rosa", "80756015090002647590", "1971-04-09")


def refused(world: World, kind: type[BridgeError] = BridgeError, **changes: Any) -> BridgeError:
    """The transfer stops with this error, which tells no value; nothing arrived."""
    with pytest.raises(kind) as caught:
        world.transfer(**changes)
    sentence = str(caught.value)
    assert sentence
    assert not [name for name in NAMES if name in sentence]
    assert "Traceback" not in sentence
    assert world.arrived() == set()
    return caught.value


def at_first(path: str) -> Callable[[Call], bool]:
    return lambda call: call.server == FIRST and call.path.startswith(path)


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (lies.login_page(), NotFhir),
        (lies.xml_only(), NotFhir),
        (lies.not_json(), BridgeError),
        (lies.deep_nesting(100), BridgeError),
        (lies.deep_nesting(100_000), BridgeError),
        (lies.gzip_bomb(200 * 2**20), BridgeError),
        (lies.redirect("https://elsewhere.example/fhir"), BridgeError),
    ],
    ids=["login page", "xml", "not json", "deep", "very deep", "bomb", "redirect"],
)
def test_an_answer_that_is_not_what_it_should_be_ends_in_one_sentence(
    tmp_path: Path, lie: Failure, kind: type[BridgeError]
) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(lambda call: call.server == FIRST, lie, times=None)

        refused(world, kind)


@pytest.mark.parametrize("lie", [lies.not_json(), lies.deep_nesting(100)], ids=["half", "deep"])
@pytest.mark.parametrize(
    ("server", "path", "whose"),
    [
        (FIRST, "Patient/amelia", "the first provider's server"),
        (FIRST, "Consent", "the first provider's server"),
        (FIRST, "Patient/amelia/$everything", "the first provider's server"),
        (SECOND, "Patient/_search", "the second provider's server"),
    ],
)
def test_a_fault_in_an_answer_names_the_server_whose_answer_it_is(
    tmp_path: Path, lie: Failure, server: str, path: str, whose: str
) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(lambda call: (call.server, call.path) == (server, path), lie, times=None)

        assert whose in str(refused(world))


def test_another_version_of_fhir_is_named(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", first=Profile(fhir_version="5.0.0")) as world:
        assert "5.0.0" in str(refused(world, NotFhir))


def test_a_missing_credential_is_the_operators_to_mend(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", first=Profile(authorization="Bearer other")) as world:
        refused(world, CredentialRefused)


def test_an_unknown_patient_is_said_to_be_unknown(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        refused(world, PatientUnknown, patient="Patient/nobody")
        refused(world, PatientUnknown, patient="urn:oid:9.9|none")


def test_a_merged_chart_names_the_one_it_was_merged_into(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        patient = dict(world.first.resources[RecordRef("Patient/amelia")])
        link = [{"other": {"reference": "Patient/now"}, "type": "replaced-by"}]
        world.first.load([{**patient, "link": link}])

        assert "Patient/now" in str(refused(world, PatientUnclear))


def test_a_patient_without_records_is_said_to_have_none(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        for ref in list(world.first.resources):
            if (
                ref.startswith(("Observation/", "DiagnosticReport/", "ImagingStudy/", "Media/"))
                or ref == "DocumentReference/amelia-mammogram"
            ):
                world.first.remove(ref)
        paper = "DocumentReference/amelia-consent-paper"
        world.first.load([{**world.first.resources[RecordRef(paper)], "subject": {}}])

        refused(world, Incomplete)


@pytest.mark.parametrize("lie", [lies.self_next(), lies.endless_next(), lies.lying_total(7)])
def test_a_search_that_lies_is_a_named_gap_or_a_sentence(tmp_path: Path, lie: Failure) -> None:
    with World(tmp_path, "amelia", first=Profile(everything=False)) as world:
        world.faults.at(at_first("Observation"), lie, times=None)

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        assert [gap for gap in report.gaps if gap.ref.startswith("Observation?")]


def test_an_attachment_over_the_cap_is_a_gap_and_the_rest_goes(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        binary = dict(world.first.resources[RecordRef("Binary/amelia-pathology-report")])
        data = base64.b64encode(bytes(40 * 2**20)).decode()
        world.first.load([{**binary, "data": data}])

        report = world.transfer()

        assert report.state is State.INCOMPLETE
        reasons = {gap.ref: gap.reason for gap in report.gaps}
        assert reasons["Binary/amelia-pathology-report"] == "over-the-cap"


def test_a_document_that_is_not_what_its_hash_promises_holds_its_record(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        binary = dict(world.first.resources[RecordRef("Binary/amelia-mammogram-report")])
        data = base64.b64encode(b"%PDF-1.4 another").decode()
        world.first.load([{**binary, "data": data}])

        report = world.transfer()

        held = {line.ref: line.rule for line in report.lines if line.decision is Decision.HELD}
        assert "hash-mismatch" in held.values()
        assert report.state is State.HELD


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("path", ["Patient/amelia", "Consent", "Patient/amelia/$everything"])
def test_a_server_that_forbids_is_the_operators_to_mend(
    tmp_path: Path, status: int, path: str
) -> None:
    with World(tmp_path, "amelia") as world:
        fault = Status(status, code="forbidden")
        world.faults.at(lambda c: c.server == FIRST and c.path == path, fault, times=None)

        refused(world, CredentialRefused)


@pytest.mark.parametrize("path", ["Consent", "Patient/amelia/$everything", "Binary"])
@pytest.mark.parametrize(
    "lie",
    [
        lies.login_page(),
        lies.not_json(),
        lies.deep_nesting(100_000),
        lies.gzip_bomb(200 * 2**20),
        lies.redirect("https://elsewhere.example/fhir"),
    ],
    ids=["login page", "not json", "very deep", "bomb", "redirect"],
)
def test_a_server_that_turns_bad_half_way_ends_in_one_sentence(
    tmp_path: Path, path: str, lie: Failure
) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(at_first(path), lie, times=None)

        with pytest.raises(BridgeError) as caught:
            world.transfer()

        assert not [name for name in NAMES if name in str(caught.value)]
        assert world.arrived() == set()


def test_a_consent_search_that_counts_more_than_it_shows_refuses(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(at_first("Consent"), lies.lying_total(1), times=None)

        refused(world, ConsentRefused)


@pytest.mark.parametrize("change", [{"identifier": []}, {"active": False}, {"birthDate": None}])
def test_a_patient_who_cannot_be_told_by_his_chart_stops_before_a_write(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    with World(tmp_path, "amelia") as world:
        patient = {**world.first.resources[RecordRef("Patient/amelia")], **change}
        patient = {name: value for name, value in patient.items() if value is not None}
        world.first.load([patient])

        refused(world, PatientUnclear)
        refused(world, PatientUnclear, at_destination="somebody-else")


@pytest.mark.parametrize("reference", ["Patient/../Patient/1", "Patient/", "Group/1", "a b", ""])
def test_a_patient_reference_that_is_none_is_said_to_be_none(
    tmp_path: Path, reference: str
) -> None:
    with World(tmp_path, "amelia") as world:
        refused(world, patient=reference)

        assert world.second.requests == []


def test_an_identifier_with_a_comma_asks_for_that_identifier_only(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        refused(world, PatientUnknown, patient="urn:oid:2.999.31|80756015090002647590,other")


def test_a_search_for_the_patient_that_counts_more_than_it_shows_is_unclear(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(lambda c: c.path == "Patient/_search", lies.lying_total(1), times=None)

        refused(world, PatientUnclear)
        refused(world, PatientUnclear, at_destination="create")
        refused(world, PatientUnclear, patient="urn:oid:2.999.31|80756015090002647590")
        assert "disclosure.intent" not in world.log()
