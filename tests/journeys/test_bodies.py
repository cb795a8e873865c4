"""Each act of a transfer is in the log with its AuditEvent: whole, and without a value."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import ConsentRefused, PatientUnclear
from fhir_bridge.ledger import Entry, Event
from fhir_bridge.sandbox import Profile, Watch
from fhir_bridge.store import Store
from fhir_bridge.transfer import Basis
from tests.journeys.test_canary import CANARY, sing
from tests.journeys.world import FIRST, SECOND, World


def acts(world: World) -> dict[str, dict[str, Any]]:
    """The last AuditEvent of each type."""
    return {str(entry.type): json.loads(body) for entry, body in world.bodies()}


def details(content: dict[str, Any]) -> dict[str, str]:
    return {
        one["type"]: one["valueString"]
        for entity in content["entity"]
        if entity["type"]["code"] == "4"
        for one in entity.get("detail", [])
    }


def consents(content: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    return [
        (
            one["what"]["identifier"]["value"],
            {each["type"]: each["valueString"] for each in one.get("detail", [])},
        )
        for one in content.get("entity", [])
        if one["type"]["code"] == "Consent"
    ]


def entries(world: World) -> list[Entry]:
    with Store.open(world.settings.store, clock=Clock(), log_origin="test.example") as store:
        return [entry for entry in store.entries() if entry.transfer is not None]


@pytest.mark.parametrize("story", ["amelia", "bruno", "celia"])
def test_every_act_of_a_transfer_commits_to_the_exact_bytes_of_its_audit_event(
    tmp_path: Path, story: str
) -> None:
    with World(tmp_path, story) as world:
        world.transfer()
        signed = entries(world)
        bodies = {entry.idx: body for entry, body in world.bodies()}
        with Store.open(world.settings.store, clock=Clock(), log_origin="test.example") as store:
            salts = {idx: salt for idx, salt, _ in store.opened(store.log, 0, 1_000)}
            store.verify()

        assert [entry.seq for entry in signed] == list(range(len(signed)))
        assert [str(entry.type) for entry in signed] == [
            "transfer.requested",
            "consent.verified",
            "records.fetched",
            "patient.asked",
            "patient.matched",
            "disclosure.intent",
            "disclosure.result",
            "delivery.confirmed",
            "transfer.closed",
        ]
        for entry in signed:
            assert entry.body is not None
            assert entry.body.type == "AuditEvent"
            digest = hashlib.sha256(salts[entry.idx] + bodies[entry.idx]).digest()
            assert base64.b64encode(digest).decode() == entry.body.digest
            content = json.loads(bodies[entry.idx])
            assert content["resourceType"] == "AuditEvent"
            assert content["outcome"] == entry.outcome


def test_the_disclosures_name_root_and_counts_as_the_log_does(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        by_type = {str(entry.type): entry for entry in entries(world)}
        told = acts(world)

    released = [line for line in report.lines if line.decision == "released"]
    for name in ("disclosure.intent", "disclosure.result"):
        content, said = by_type[name].content, details(told[name])
        assert content is not None
        assert said["manifest-root"] == content.root
        assert (int(said["lines"]), int(said["bytes"])) == (content.count, content.size_bytes)
        assert content.count == len(released)
        kinds = {kind: int(n) for kind, n in said.items() if kind.startswith("of-kind-")}
        assert sum(kinds.values()) == len(released)
        assert kinds["of-kind-laboratory"] == sum(1 for one in released if one.kind == "laboratory")
        assert kinds["of-kind-documents"] == sum(1 for one in released if one.attachment)
    assert details(told["disclosure.result"])["new"] == "60"


def test_the_consent_is_named_with_version_and_the_provision_that_permits(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        told = acts(world)

    expected = ("amelia-second-opinion", {"version": "1", "provision": "provision"})
    assert consents(told["consent.verified"]) == [expected]
    assert consents(told["disclosure.intent"]) == [expected]


def test_a_denied_transfer_names_the_consents_that_were_weighed(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        for ref, content in list(world.first.resources.items()):
            if content["resourceType"] == "Consent":
                world.first.load([{**content, "status": "inactive"}])
                denied = ref
        with pytest.raises(ConsentRefused):
            world.transfer()
        told = acts(world)["consent.denied"]

    ((id_, said),) = consents(told)
    assert f"Consent/{id_}" == denied
    assert said["reason"]
    assert told["outcome"] == "8"
    assert told["meta"]["profile"][0].endswith("AuthZconsent")


def test_where_there_is_no_consent_at_all_no_profile_is_claimed(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.first.remove("Consent/amelia-second-opinion")
        with pytest.raises(ConsentRefused):
            world.transfer()
        told = acts(world)["consent.denied"]

    assert consents(told) == []
    assert "profile" not in told["meta"]


def test_a_consent_that_changes_is_told_and_what_had_gone_is_counted(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=Profile(entry_limit=25)) as world:
        name = "Consent/amelia-second-opinion"
        sent: list[int] = []

        def revoke(_: object) -> None:
            sent.append(1)
            if len(sent) == 2:
                world.first.load([{**world.first.resources[name], "status": "inactive"}])

        world.faults.at(
            lambda call: call.server == SECOND and call.brings_records, Watch(revoke), times=None
        )
        with pytest.raises(ConsentRefused):
            world.transfer()
        told, signed = acts(world), entries(world)
        copies = [ref for ref in world.arrived() if world.second.resources[ref].get("identifier")]

    assert consents(told["consent.revoked"])[0][0] == "amelia-second-opinion"
    assert told["consent.revoked"]["outcome"] == "8"
    result = next(entry for entry in signed if entry.type is Event.DISCLOSURE_RESULT)
    assert result.content is not None
    assert 0 < result.content.count <= len(copies) + 5
    assert result.content.count == int(details(told["disclosure.result"])["new"])
    assert "profile" not in told["disclosure.result"]["meta"]


def test_a_patient_who_is_unclear_is_a_failed_search_without_a_profile(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.second.remove("Patient/soc-88213")
        with pytest.raises(PatientUnclear):
            world.transfer()
        told = acts(world)

    assert told["patient.matched"]["outcome"] == "8"
    assert "profile" not in told["patient.matched"]["meta"]
    assert told["patient.asked"]["meta"]["profile"][0].endswith("PrivacyDisclosure.Source")


def test_a_patient_given_and_confirmed_by_a_person_is_a_read_that_names_the_person(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        there = world.second.resources["Patient/soc-88213"]
        world.second.load([{**there, "birthDate": "1971-09-04"}])
        world.transfer(at_destination="soc-88213", override="Dr Invented")
        told = acts(world)["patient.matched"]

    assert told["meta"]["profile"][0].endswith("PatientRead")
    assert [one["name"] for one in told["agent"] if "name" in one] == ["Dr Invented"]
    assert details(told)["at-destination"] == "Patient/soc-88213"


def test_treatment_as_basis_is_told_with_its_reason_and_names_no_authorizer(
    tmp_path: Path,
) -> None:
    allowed = {FIRST: "allow_treatment = true\n"}
    with World(tmp_path, "amelia", written=allowed) as world:
        world.first.remove("Consent/amelia-second-opinion")
        world.transfer(basis=Basis.TREATMENT, basis_reason="unconscious")
        told = acts(world)

    assert details(told["transfer.requested"])["reason"] == "unconscious"
    codes = [one["type"]["coding"][0]["code"] for one in told["disclosure.intent"]["agent"]]
    assert "429577009" not in codes


def test_both_servers_are_sent_the_request_id_that_the_log_and_the_bodies_bear(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        (trace,) = {entry.trace for entry in entries(world)}
        told = acts(world)["disclosure.intent"]
        writes = [one for one in world.second.requests if one.method in {"POST", "PUT"}]
        searches = [one for one in world.first.requests if one.path.endswith("$everything")]

    assert trace is not None
    named = [one for one in told["entity"] if one["type"]["code"] == "XrequestId"]
    assert named[0]["what"]["identifier"]["value"] == trace
    assert writes
    assert searches
    assert {one.headers.get("x-request-id") for one in [*writes, *searches]} == {trace}
    parents = [one.headers["traceparent"].split("-") for one in [*writes, *searches]]
    assert {(version, id_, flags) for version, id_, _, flags in parents} == {("00", trace, "01")}
    assert len({span for _, _, span, _ in parents}) == len(parents)


def test_each_request_of_a_transfer_that_a_worker_carries_bears_its_trace(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        with world.bridge() as bridge:
            row = bridge.request(world.order())
            bridge.carry(row.id)
        (trace,) = {entry.trace for entry in entries(world)}
        asked = [*world.first.requests, *world.second.requests]

    # What a server can do is asked once for all transfers.
    asked = [one for one in asked if one.path != "metadata"]
    assert {one.headers.get("traceparent", "-none").split("-")[1] for one in asked} == {trace}


def test_no_body_holds_a_value_a_name_or_an_identifier_of_the_record(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        kept = [one for one in world.story.source if one["resourceType"] == "Consent"]
        world.first.load([*(sing(one) for one in world.story.source), *kept])
        world.second.load(sing(one) for one in world.story.destination)
        world.before = world.holdings()
        world.transfer(question=f"Is it needed? {CANARY}")
        bodies = world.bodies()

    assert len(bodies) >= 9
    for _, body in bodies:
        told = body.decode()
        for never in (CANARY, "Brandt", "80756015090002647590", "FC-10417", "1971-04-09"):
            assert never not in told
            assert base64.b64encode(never.encode()).decode()[:-2] not in told


def test_a_preview_is_told_as_one(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer(preview=True)
        told = acts(world)

    assert details(told["transfer.requested"])["preview"] == "true"
    assert "disclosure.intent" not in told
