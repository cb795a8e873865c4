"""Every kind of AuditEvent that we write is what FHIR and IHE's profiles demand, and HAPI's too."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.codes import mapping
from fhir_bridge.errors import ConsentRefused, CredentialRefused
from fhir_bridge.sandbox import Status
from fhir_bridge.wire import Side, Wire
from tests.journeys.test_consent_at_every_send import revoke
from tests.journeys.test_intents_and_results import EIGHT, at_write, broken_at
from tests.journeys.world import World
from tests.simulators.audit_events import NAMES, written
from tests.simulators.official_validator import OfficialValidator
from tests.simulators.servers import hapi_bases

pytestmark = pytest.mark.real


@pytest.mark.parametrize("name", NAMES)
def test_the_official_validator_finds_no_error_in_an_act(
    validator: OfficialValidator, name: str
) -> None:
    assert validator.errors(written(name)) == []


def test_our_own_words_are_a_code_system_without_error(validator: OfficialValidator) -> None:
    for entry in mapping("audit-acts.json")["entry"]:
        assert validator.errors(entry["resource"]) == []


@pytest.mark.parametrize("story", ["amelia", "bruno", "celia"])
def test_no_act_of_a_whole_transfer_has_an_error(
    tmp_path: Path, validator: OfficialValidator, story: str
) -> None:
    with World(tmp_path, story) as world:
        world.transfer()
        world.transfer(preview=True)
        bodies = world.bodies()

    assert len(bodies) >= 10
    for _, body in bodies:
        assert validator.errors(json.loads(body)) == []


def test_no_act_of_a_delivery_that_broke_and_was_refused_has_an_error(
    tmp_path: Path, validator: OfficialValidator
) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken_at(world, 3)
        revoke(world)
        with pytest.raises(ConsentRefused):
            world.resume(transfer)
        world.first.load([one for one in world.story.source if one["resourceType"] == "Consent"])
        world.faults.at(at_write(1), Status(403, code="forbidden"), times=None)
        with pytest.raises(CredentialRefused):
            world.transfer()
        bodies = world.bodies()

    for _, body in bodies:
        assert validator.errors(json.loads(body)) == []


def agent(content: dict[str, Any], code: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in content["agent"] if one["type"]["coding"][0]["code"] == code
    )
    return found


def without_agent(name: str, code: str) -> dict[str, Any]:
    content = copy.deepcopy(written(name))
    content["agent"].remove(agent(content, code))
    return content


def without_entity(name: str, code: str) -> dict[str, Any]:
    content = copy.deepcopy(written(name))
    content["entity"] = [one for one in content["entity"] if one["type"]["code"] != code]
    return content


def having(name: str, **members: Any) -> dict[str, Any]:
    return {**copy.deepcopy(written(name)), **members}


def another_observer() -> dict[str, Any]:
    content = copy.deepcopy(written("disclosed"))
    content["source"]["observer"]["identifier"]["value"] = "https://other.example.org"
    return content


def consent_with_a_job() -> dict[str, Any]:
    content = copy.deepcopy(written("consent verified"))
    content["entity"].append(copy.deepcopy(written("disclosed")["entity"][-2]))
    return content


def claiming(name: str, other: str) -> dict[str, Any]:
    return having(name, meta=written(other)["meta"])


FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "disclosure: no source": lambda: without_agent("disclosed", "110153"),
    "disclosure: no recipient": lambda: without_agent("disclosed", "110152"),
    "disclosure: no patient": lambda: without_entity("disclosed", "1"),
    "disclosure: another observer": another_observer,
    "disclosure: created": lambda: having("disclosed", action="C"),
    "disclosure: not disclosed": lambda: having(
        "disclosed", subtype=written("disclosed")["subtype"][1:]
    ),
    "query: it failed": lambda: having("patient found", outcome="8"),
    "query: no query": lambda: without_entity("patient found", "2"),
    "query: no server": lambda: without_agent("patient found", "110152"),
    "read: no data": lambda: without_entity("patient given", "2"),
    "read: as a search": lambda: having(
        "patient given", subtype=written("patient found")["subtype"]
    ),
    "consent: no consent": lambda: without_entity("consent verified", "Consent"),
    "consent: no recipient": lambda: without_agent("consent verified", "IRCP"),
    "consent: no organisation": lambda: without_agent("consent verified", "PROV"),
    "consent: an entity too many": consent_with_a_job,
    "a failure that claims": lambda: claiming("patient unclear", "patient found"),
    "no agent": lambda: having("closed", agent=[]),
    "a time that is none": lambda: having("closed", recorded="yesterday"),
    "an unknown outcome": lambda: having("closed", outcome="9"),
    "a query that is not base64": lambda: having(
        "patient found",
        entity=[
            {**one, "query": "not base64!"} if "query" in one else one
            for one in written("patient found")["entity"]
        ],
    ),
    "a profile that nobody has": lambda: having(
        "closed", meta={"profile": ["http://example.org/StructureDefinition/none"]}
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(validator: OfficialValidator, fault: str) -> None:
    assert validator.errors(FAULTS[fault]()) != []


@pytest.mark.parametrize("name", NAMES)
def test_hapi_takes_each_act_and_gives_back_what_it_was_given(name: str) -> None:
    content = {**written(name), "id": str(uuid.uuid4())}
    wire = Wire(hapi_bases()[1], side=Side.DESTINATION)
    try:
        body = json.dumps(content).encode()
        target = f"AuditEvent/{content['id']}"
        assert wire.request("PUT", target, body=body).status == 201
        assert wire.request("PUT", target, body=body).status == 200
        back = json.loads(wire.request("GET", target).body)
    finally:
        wire.close()

    assert back["meta"].pop("versionId") == "1"
    for member in ("lastUpdated", "source"):
        back["meta"].pop(member, None)
    assert {member: value for member, value in back.items() if value} == content
