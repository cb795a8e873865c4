"""What the sandbox says of itself: its CapabilityStatement."""

from __future__ import annotations

from fhir_bridge.records import Json
from fhir_bridge.sandbox.parameters import TYPES, kind, searchable
from fhir_bridge.sandbox.profile import Profile

_INTERACTIONS = ("read", "vread", "update", "delete", "history-instance", "create", "search-type")


def statement(profile: Profile, base: str, now: str) -> Json:
    """
    Return the CapabilityStatement.

    Args:
        profile: What the sandbox can do, and what of that it keeps to itself.
        base: Its address.
        now: The time, for the statement's date.

    Source:
        https://hl7.org/fhir/R4/capabilitystatement.html
    """
    shown = _shown(profile)
    rest: Json = {"mode": "server", "resource": [_resource(type_, shown) for type_ in TYPES]}
    interactions = [{"code": code} for code in ("transaction", "batch") if shown[code]]
    if interactions:
        rest["interaction"] = interactions
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now,
        "kind": "instance",
        "software": {"name": profile.software, "version": profile.software_version},
        "implementation": {"description": "in memory, for trying out", "url": base},
        "fhirVersion": profile.fhir_version,
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    }


def _shown(profile: Profile) -> dict[str, bool]:
    able = {
        "transaction": profile.transactions,
        "batch": profile.batch,
        "update_create": profile.update_create,
        "conditional_create": profile.conditional_create,
        "conditional_update": profile.conditional_update,
        "everything": profile.everything,
    }
    return {name: can and name not in profile.undeclared for name, can in able.items()}


def _resource(type_: str, shown: dict[str, bool]) -> Json:
    names = ("_id", "_lastUpdated", *searchable(type_))
    described: Json = {
        "type": type_,
        "interaction": [{"code": code} for code in _INTERACTIONS],
        "versioning": "versioned",
        "searchRevInclude": ["Provenance:target"],
        "searchParam": [{"name": name, "type": _kind(name)} for name in names],
    }
    for name, member in (
        ("update_create", "updateCreate"),
        ("conditional_create", "conditionalCreate"),
        ("conditional_update", "conditionalUpdate"),
    ):
        if shown[name]:
            described[member] = True
    if type_ == "Patient" and shown["everything"]:
        definition = "http://hl7.org/fhir/OperationDefinition/Patient-everything"
        described["operation"] = [{"name": "everything", "definition": definition}]
    return described


def _kind(name: str) -> str:
    return {"_id": "token", "_lastUpdated": "date"}.get(name) or kind(name)
