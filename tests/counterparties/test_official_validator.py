"""HL7's own validator finds nothing wrong with what we write, and every fault that we plant."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from fhir_bridge.codes import mapping
from tests.simulators.authored import everything
from tests.simulators.official_validator import OfficialValidator

pytestmark = pytest.mark.real

NAMES = (
    "Consent",
    "Consent draft",
    "DocumentReference",
    "Patient",
    "Provenance",
    "ServiceRequest",
    "Task",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_official_validator_finds_no_error_in_what_the_bridge_writes(
    validator: OfficialValidator, name: str
) -> None:
    assert validator.errors(everything()[name]) == []
    assert validator.errors(everything(test_data=True)[name]) == []


def test_the_reasons_are_a_code_system_and_a_map_without_error(
    validator: OfficialValidator,
) -> None:
    for entry in mapping("reasons.json")["entry"]:
        assert validator.errors(entry["resource"]) == []


def without(name: str, *members: str) -> dict[str, Any]:
    content = copy.deepcopy(everything()[name])
    for member in members:
        del content[member]
    return content


def having(name: str, **members: Any) -> dict[str, Any]:
    return {**copy.deepcopy(everything()[name]), **members}


def attached(**members: Any) -> dict[str, Any]:
    content = copy.deepcopy(everything()["DocumentReference"])
    content["content"][0]["attachment"].update(members)
    return content


FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "a status that FHIR does not have": lambda: having("ServiceRequest", status="ordered"),
    "a required element is missing": lambda: without("ServiceRequest", "intent"),
    "an element that FHIR does not have": lambda: having("Task", bogus=1),
    "an element of the wrong shape": lambda: having("ServiceRequest", category="x"),
    "a day that does not exist": lambda: having("Task", authoredOn="2026-13-01"),
    "a reference to the wrong type": lambda: having(
        "ServiceRequest", subject={"reference": "Endpoint/1", "type": "Endpoint"}
    ),
    "orderDetail without code (prr-1)": lambda: without("ServiceRequest", "code"),
    "a consent without policy (ppc-1)": lambda: without("Consent", "policyRule"),
    "MHD: no masterIdentifier": lambda: without("DocumentReference", "masterIdentifier"),
    "MHD: a forbidden docStatus": lambda: having("DocumentReference", docStatus="final"),
    "MHD: data beside url": lambda: attached(data="QQ=="),
    "US Core: no category": lambda: without("DocumentReference", "category"),
    "a hash that is no base64": lambda: attached(hash="not base64!"),
    "a provenance without agent": lambda: without("Provenance", "agent"),
    "a profile that nobody has": lambda: having(
        "Patient", meta={"profile": ["http://example.org/StructureDefinition/none"]}
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(validator: OfficialValidator, fault: str) -> None:
    assert validator.errors(FAULTS[fault]())


def test_everything_that_the_bridge_writes_is_validated() -> None:
    assert sorted(everything()) == list(NAMES)
