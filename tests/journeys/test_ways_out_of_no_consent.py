"""Where the source holds no consent: one brought on paper, or treatment as the basis."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.audit import opened
from fhir_bridge.bridge import Report
from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError, ConsentRefused, SettingsError
from fhir_bridge.ledger import Event
from fhir_bridge.manifest import sealed_digest
from fhir_bridge.records import RecordRef, digest
from fhir_bridge.store import Store
from fhir_bridge.transfer import Basis, State
from tests.journeys.world import FIRST, World

CONSENT = RecordRef("Consent/amelia-second-opinion")
LITHIUM = RecordRef("Observation/amelia-lithium")
CEA = RecordRef("Observation/amelia-cea")
PAPER = b"%PDF-1.4 signed by hand"
ACTCODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
REASON = "Surgery is tomorrow."


def brought(world: World, *, paper: bytes = PAPER, **changes: Any) -> dict[str, Any]:
    """Return the patient's consent as the operator has it: with its signed paper inside."""
    consent = dict(world.first.resources[CONSENT])
    del consent["sourceReference"]
    hash_ = base64.b64encode(hashlib.sha1(PAPER, usedforsecurity=False).digest()).decode()
    attachment = {
        "contentType": "application/pdf",
        "data": base64.b64encode(paper).decode(),
        "hash": hash_,
    }
    return {
        **consent,
        "id": "signed-on-paper",
        "identifier": [],
        "sourceAttachment": attachment,
        **changes,
    } | {"identifier": [{"system": "urn:oid:2.999.4", "value": "paper-1"}]}


def whole(provision: dict[str, Any], **changes: str) -> dict[str, Any]:
    """Return a provision without its exceptions."""
    return {name: value for name, value in provision.items() if name != "provision"} | changes


def without_consent(world: World) -> None:
    world.first.remove(CONSENT)


def refused(world: World, kind: type[BridgeError], **changes: Any) -> str:
    with pytest.raises(kind) as caught:
        world.transfer(**changes)
    assert world.arrived() == set()
    assert not read_records(world)
    return str(caught.value)


def read_records(world: World) -> Sequence[str]:
    names = ("Observation", "DiagnosticReport", "ImagingStudy", "Patient/amelia/$everything")
    return [seen.path for seen in world.first.requests if seen.path.startswith(names)]


def decided(report: Report, ref: RecordRef) -> tuple[str, str]:
    return next((str(one.decision), one.rule) for one in report.lines if one.ref == ref)


def test_a_consent_signed_on_paper_and_brought_by_the_operator_permits(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        consent = brought(world)
        without_consent(world)

        report = world.transfer(consent=json.dumps(consent))

        assert report.state is State.CLOSED
        assert decided(report, LITHIUM) == ("withheld", "provision-deny")
        released = {one.consent for one in report.lines if one.rule == "consent-permit"}
        assert released == {"Consent/signed-on-paper"}


def test_the_hash_of_a_brought_consent_is_in_the_log(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        consent = brought(world)
        without_consent(world)

        transfer = world.transfer(consent=json.dumps(consent)).transfer

        with Store.open(world.settings.store, clock=Clock(), log_origin="test.example") as store:
            key = store.transfer_key(transfer)
        (intent,) = [one for one in world.entries() if one.type == "disclosure.intent"]
        (seen,) = intent.consent
        assert seen.id == "Consent/brought-by-the-operator"
        assert seen.commitment == sealed_digest(key, digest(consent))


def test_the_recipient_gets_a_consent_copy_of_ours_for_one_that_was_brought(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        consent = brought(world)
        without_consent(world)

        world.transfer(consent=json.dumps(consent))

        (copy,) = [ref for ref in world.arrived() if ref.startswith("Consent/")]
        text = json.dumps(world.second.resources[copy], default=str)
        assert "limits this record" in text
        assert "PSY" not in text
        assert "sourceAttachment" not in world.second.resources[copy]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"paper": b"%PDF-1.4 another paper"}, "is not the one its hash promises"),
        ({"sourceAttachment": {"contentType": "application/pdf"}}, "cannot be had"),
        ({"status": "inactive"}, "was ended"),
        ({"patient": {"reference": "Patient/somebody-else"}}, "patient"),
    ],
    ids=["another paper", "no paper", "ended", "another patient"],
)
@pytest.mark.parametrize("waived", [False, True])
def test_a_brought_consent_whose_signed_paper_or_standing_is_wrong_permits_nothing(
    tmp_path: Path, change: dict[str, Any], why: str, *, waived: bool
) -> None:
    written = {"consent": "waive_paper = true"} if waived else {}
    with World(tmp_path, "amelia", written=written) as world:
        consent = brought(world, **change)
        without_consent(world)

        assert why in refused(world, ConsentRefused, consent=json.dumps(consent))


def test_a_brought_consent_never_outweighs_a_deny_at_the_source(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        consent = brought(world)
        provision = whole(consent["provision"], type="deny")
        refusal = {**world.first.resources[CONSENT], "provision": provision}
        world.first.load([refusal])

        refused(world, ConsentRefused, consent=json.dumps(consent))


def test_a_brought_consent_adds_to_those_found_and_their_denials_stay(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        consent = brought(world)
        consent["provision"] = whole(consent["provision"])

        report = world.transfer(consent=json.dumps(consent))

        assert report.state is State.CLOSED
        assert decided(report, LITHIUM) == ("withheld", "provision-deny")


def test_a_brought_consent_that_says_nothing_here_is_not_named_as_what_the_act_rests_on(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer(consent=json.dumps(brought(world, status="inactive")))

        (intent,) = [one for one in world.entries() if one.type == "disclosure.intent"]
        assert [one.id for one in intent.consent] == [CONSENT]


@pytest.mark.parametrize("text", ['{"resourceType": "Patient"}', "[]", '"Consent"'])
def test_a_file_that_is_no_consent_is_the_operators_to_mend(tmp_path: Path, text: str) -> None:
    with World(tmp_path, "amelia") as world:
        refused(world, SettingsError, consent=text)


def treatment(**changes: Any) -> dict[str, Any]:
    return {"basis": Basis.TREATMENT, "basis_reason": REASON, **changes}


ALLOWED = {FIRST: "allow_treatment = true\n"}


def test_treatment_replaces_a_missing_permit_where_the_alias_allows_it(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        without_consent(world)

        report = world.transfer(**treatment())

        assert report.state is State.CLOSED
        assert decided(report, CEA) == ("released", "treatment-basis")
        assert not [ref for ref in world.arrived() if ref.startswith("Consent/")]
        entries = [one for one in world.entries() if one.transfer]
        assert {one.basis for one in entries} == {"treatment"}
        assert [one.consent for one in entries if one.type == "disclosure.intent"] == [()]


def test_treatment_is_no_basis_where_the_alias_does_not_allow_it(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        assert "allow_treatment" in refused(world, SettingsError, **treatment())


def test_treatment_as_the_basis_needs_a_reason(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        refused(world, SettingsError, **treatment(basis_reason=" "))


def test_the_reason_for_treatment_is_signed(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        without_consent(world)

        world.transfer(**treatment())

        said = world.said("transfer.requested")
        assert [(one["basis"], one["reason"]) for one in said] == [("treatment", REASON)]


def test_every_deny_binds_under_treatment(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        report = world.transfer(**treatment())

        assert report.state is State.CLOSED
        assert decided(report, LITHIUM) == ("withheld", "provision-deny")


def test_a_deny_of_everything_binds_under_treatment_and_no_record_is_read(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        consent = dict(world.first.resources[CONSENT])
        world.first.load([{**consent, "provision": whole(consent["provision"], type="deny")}])

        said = refused(world, ConsentRefused, **treatment())

        assert "No record was read" in said
        assert "--basis treatment" not in said


def test_every_refuse_binds_under_treatment(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        consent = dict(world.first.resources[CONSENT])
        rule = [{"uri": "https://nobody.example/knows-this"}]
        world.first.load([{**consent, "policy": rule}])

        report = world.transfer(**treatment())

        assert report.state is State.HELD
        assert decided(report, CEA)[0] == "held"
        assert world.arrived() == set()


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ("42CFRPart2", "part-2-notice-not-built"),
        ("SUD", "part-2-notice-not-built"),
        ("PSYTHPN", "psychotherapy-notes"),
        ("HIPAAPsyNotes", "psychotherapy-notes"),
    ],
)
def test_part_2_and_psychotherapy_records_are_withheld_under_treatment(
    tmp_path: Path, label: str, rule: str
) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        without_consent(world)
        record = dict(world.first.resources[CEA])
        labels = [*record["meta"]["security"], {"system": ACTCODE, "code": label}]
        world.first.load([{**record, "meta": {"security": labels}}])

        report = world.transfer(**treatment())

        assert decided(report, CEA) == ("withheld", rule)
        copies = str([world.second.resources[ref] for ref in world.arrived()])
        assert "'amelia-cea'" not in copies
        assert f"'{CEA}'" not in copies


def test_what_is_asked_last_counts_when_a_transfer_is_taken_up(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", written=ALLOWED) as world:
        without_consent(world)
        with pytest.raises(ConsentRefused):
            world.transfer()
        first = world.transfer(**treatment())

        again = world.resume(first.transfer)

        assert again.state is State.CLOSED
        assert len(world.rows()) == 1


def test_a_waived_paper_is_written_into_the_log(tmp_path: Path) -> None:
    written = {"consent": "waive_paper = true"}
    with World(tmp_path, "amelia", written=written) as world:
        consent = dict(world.first.resources[CONSENT])
        del consent["sourceReference"]
        world.first.load([consent])

        report = world.transfer()

        assert report.state is State.CLOSED
        told = [
            opened(body) for entry, body in world.bodies() if entry.type == Event.DISCLOSURE_INTENT
        ]
        assert [(one.ref, one.reason) for one in told[0].consents] == [(CONSENT, "paper-waived")]


def test_without_the_waiver_a_consent_without_its_paper_lets_nothing_go(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        consent = dict(world.first.resources[CONSENT])
        del consent["sourceReference"]
        world.first.load([consent])

        assert "signed paper" in refused(world, ConsentRefused)


@pytest.mark.parametrize("gone", ["Binary/amelia-consent-paper", "unreadable"])
def test_a_paper_that_cannot_be_read_is_not_said_to_be_another(tmp_path: Path, gone: str) -> None:
    with World(tmp_path, "amelia") as world:
        if gone == "unreadable":
            consent = dict(world.first.resources[CONSENT])
            del consent["sourceReference"]
            world.first.load([{**consent, "sourceAttachment": {"data": "%%% no base64"}}])
        else:
            world.first.remove(gone)

        said = refused(world, ConsentRefused)

        assert "cannot be had" in said
        assert "hash" not in said
