"""Who sends and who receives is settled by the operator; a bare address is for trying out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.errors import ConsentRefused, RecipientUnknown, Refused
from fhir_bridge.records import RecordRef
from fhir_bridge.transfer import Order, Party, State
from tests.journeys.world import FIRST, SECOND, World, organisation

CLINIC = Party(system="urn:oid:2.999.1.1", value="first-clinic", name="First Clinic")
CENTRE = Party(system="urn:oid:2.999.1.2", value="second-opinion-centre", name="Centre")
ANOTHER = Party(system="urn:oid:2.999.1.9", value="another", name="Another")
PATIENT = RecordRef("Patient/amelia")
SANDBOX = "https://hapi.fhir.org/baseR4"


def listed(*parties: Party) -> str:
    return f"organisations = [{', '.join(map(organisation, parties))}]\n"


def without_htest(world: World, ref: RecordRef) -> None:
    """Take the label away that says that a resource is invented."""
    content = dict(world.first.resources[ref])
    meta = content["meta"]
    kept = [one for one in meta["security"] if one["code"] != "HTEST"]
    world.first.load([{**content, "meta": {**meta, "security": kept}}])


def refused(world: World, kind: type[Refused], **changes: Any) -> str:
    with pytest.raises(kind) as caught:
        world.transfer(**changes)
    assert world.second.requests == []
    return str(caught.value)


@pytest.mark.parametrize("word", ["custodian", "recipient", "requester"])
def test_a_caller_chooses_only_among_the_organisations_of_the_alias(
    tmp_path: Path, word: str
) -> None:
    with World(tmp_path, "amelia") as world:
        said = refused(world, RecipientUnknown, **{word: ANOTHER.identifier})

        assert "fhir-bridge.toml" in said
        assert not [seen for seen in world.first.requests if seen.path.startswith("Consent")]


def test_a_consent_for_one_clinic_is_never_used_to_send_to_anothers_server(tmp_path: Path) -> None:
    written = {SECOND: listed(ANOTHER)}
    with World(tmp_path, "amelia", written=written) as world:
        refused(world, RecipientUnknown, recipient=CENTRE.identifier)
        refused(world, ConsentRefused)


def test_of_several_organisations_behind_a_server_the_caller_names_one(tmp_path: Path) -> None:
    written = {SECOND: listed(ANOTHER, CENTRE)}
    with World(tmp_path, "amelia", written=written) as world:
        assert "--recipient" in refused(world, RecipientUnknown)

        assert world.transfer(recipient=CENTRE.identifier).state is State.CLOSED


def test_of_several_custodians_the_one_that_manages_the_patient_is_taken(tmp_path: Path) -> None:
    written = {FIRST: listed(ANOTHER, CLINIC)}
    with World(tmp_path, "amelia", written=written) as world:
        assert world.transfer().state is State.CLOSED
        assert {one.custodian for one in world.entries() if one.transfer} == {CLINIC.identifier}


def test_a_patient_whom_an_organisation_outside_the_alias_manages_has_no_custodian_there(
    tmp_path: Path,
) -> None:
    written = {FIRST: listed(ANOTHER, CENTRE)}
    with World(tmp_path, "amelia", written=written) as world:
        refused(world, RecipientUnknown)


def bare(world: World, **changes: Any) -> dict[str, Any]:
    return {"source": world.first.base, "destination": world.second.base, **changes}


def test_a_bare_url_takes_the_managing_organisation_as_custodian_and_needs_a_recipient(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        assert "--recipient" in refused(world, RecipientUnknown, **bare(world))

        report = world.transfer(**bare(world, recipient=CENTRE.identifier))

        assert report.state is State.CLOSED
        assert {one.custodian for one in world.entries() if one.transfer} == {CLINIC.identifier}


def test_a_bare_url_without_a_managing_organisation_needs_a_custodian(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        patient = dict(world.first.resources[PATIENT])
        del patient["managingOrganization"]
        world.first.load([patient])

        said = refused(world, RecipientUnknown, **bare(world, recipient=CENTRE.identifier))

        assert "--custodian" in said


def test_the_managing_organisation_may_be_named_by_its_identifier(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        patient = dict(world.first.resources[PATIENT])
        named = {"identifier": {"system": CLINIC.system, "value": CLINIC.value}}
        world.first.load([{**patient, "managingOrganization": named}])

        report = world.transfer(**bare(world, recipient=CENTRE.identifier))

        assert report.state is State.CLOSED


def test_a_managing_organisation_that_is_not_there_is_no_custodian(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        patient = dict(world.first.resources[PATIENT])
        named = {"reference": "Organization/closed-long-ago"}
        world.first.load([{**patient, "managingOrganization": named}])

        refused(world, RecipientUnknown, **bare(world, recipient=CENTRE.identifier))


def test_a_bare_url_on_this_machine_may_hold_any_patient(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        without_htest(world, PATIENT)

        report = world.transfer(**bare(world, recipient=CENTRE.identifier))

        assert report.state is State.CLOSED


def test_a_bare_url_elsewhere_takes_only_a_patient_labelled_htest(tmp_path: Path) -> None:
    elsewhere = {"destination": "https://second.example/fhir", "recipient": CENTRE.identifier}
    with World(tmp_path, "amelia") as world:
        # a preview talks to the first provider only
        assert world.transfer(preview=True, **elsewhere).preview

        without_htest(world, PATIENT)

        said = refused(world, Refused, preview=True, **elsewhere)
        assert "HTEST" in said


@pytest.mark.parametrize("address", [SANDBOX, "https://HAPI.fhir.org:443/baseR4/"])
@pytest.mark.parametrize("registered", [True, False], ids=["alias", "bare URL"])
def test_a_public_sandbox_takes_only_a_patient_labelled_htest(
    tmp_path: Path, address: str, *, registered: bool
) -> None:
    written = {"servers.public": f'base = "{address}"\n{listed(CENTRE)}'} if registered else {}
    order = {"destination": "public" if registered else address, "recipient": CENTRE.identifier}
    with World(tmp_path, "amelia", written=written) as world:
        assert world.transfer(preview=True, **order).preview

        without_htest(world, PATIENT)

        assert "public sandbox" in refused(world, Refused, preview=True, **order)


def test_a_public_sandbox_takes_only_records_labelled_htest(tmp_path: Path) -> None:
    order = {"destination": SANDBOX, "recipient": CENTRE.identifier}
    unlabelled = RecordRef("Observation/amelia-cea")
    with World(tmp_path, "amelia") as world:
        without_htest(world, unlabelled)

        report = world.transfer(preview=True, **order)

        rules = {line.ref: (str(line.decision), line.rule) for line in report.lines}
        assert rules[unlabelled] == ("withheld", "not-test-data")
        assert [ref for ref, rule in rules.items() if rule[1] == "not-test-data"] == [unlabelled]


def test_the_requester_is_the_custodian_unless_the_alias_has_another(tmp_path: Path) -> None:
    written = {FIRST: listed(CLINIC, ANOTHER)}
    with World(tmp_path, "amelia", written=written) as world:
        world.transfer(custodian=CLINIC.identifier, requester=ANOTHER.identifier)

        (request,) = [
            world.second.resources[ref]
            for ref in world.arrived()
            if ref.startswith("ServiceRequest/")
            and world.second.resources[ref]["intent"] == "order"
            and "reasonCode" in world.second.resources[ref]
        ]
        assert request["requester"]["identifier"]["value"] == ANOTHER.value


@pytest.mark.parametrize(
    ("purpose", "intent"), [("TREAT", "order"), ("COC", "order"), ("PATRQT", "directive")]
)
def test_what_the_patient_himself_asks_for_is_a_directive(
    tmp_path: Path, purpose: str, intent: str
) -> None:
    with World(tmp_path, "amelia") as world:
        consent = dict(world.first.resources[RecordRef("Consent/amelia-second-opinion")])
        provision = {**consent["provision"]}
        system = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
        provision["purpose"] = [{"system": system, "code": purpose}]
        world.first.load([{**consent, "provision": provision}])

        report = world.transfer(purpose=purpose)

        assert report.state is State.CLOSED
        (task,) = [ref for ref in world.arrived() if ref.startswith("Task/")]
        asked = world.second.resources[task]["focus"]["reference"]
        assert world.second.resources[asked]["intent"] == intent


def test_treat_is_the_purpose_when_none_is_named() -> None:
    order = Order(source=FIRST, destination=SECOND, patient=PATIENT)

    assert order.purpose == "TREAT"
