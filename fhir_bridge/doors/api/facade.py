"""The bridge as FHIR sees it: what it can do, a transfer as a Task, a trigger as an operation."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from fhir_bridge.clock import Clock
from fhir_bridge.doors.api import examples
from fhir_bridge.doors.api.operations import FHIR_JSON, Gives, Operation, respond
from fhir_bridge.doors.api.problems import Problem
from fhir_bridge.doors.api.roles import Caller
from fhir_bridge.doors.api.service import Serving, admitted, anyone
from fhir_bridge.doors.api.transfers import FOLLOWERS, TransferPath, mine
from fhir_bridge.records import Json
from fhir_bridge.store import TransferRow
from fhir_bridge.transfer import State

IDENTIFIER_SYSTEM = "urn:ietf:rfc:3986"
_TASK_CODES = "http://hl7.org/fhir/CodeSystem/task-code"
_STATUS = {
    State.REQUESTED: "requested",
    State.CLOSED: "completed",
    State.HELD: "on-hold",
    State.INCOMPLETE: "failed",
    State.REFUSED: "rejected",
    State.CANCELLED: "cancelled",
    State.PARKED: "on-hold",
}

METADATA = Operation(
    name="fhir.metadata",
    summary="CapabilityStatement",
    gives={
        200: Gives(
            says="What the facade can do",
            type_=dict[str, Any],
            media=FHIR_JSON,
            example={"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"},
        )
    },
)
TASK = Operation(
    name="fhir.task",
    summary="A transfer as a FHIR Task",
    roles=FOLLOWERS,
    gives={
        200: Gives(
            says="As it stands",
            type_=dict[str, Any],
            media=FHIR_JSON,
            example={
                "resourceType": "Task",
                "id": examples.TRANSFER,
                "status": "in-progress",
                "intent": "order",
            },
        )
    },
    problems=(Problem.NOT_FOUND,),
)

router = APIRouter()


@router.get("/fhir/metadata", dependencies=anyone(METADATA), **METADATA.route())
def metadata(serving: Serving) -> Response:
    """Say what the facade can do."""
    return respond(statement(serving.clock), media=FHIR_JSON)


@router.get("/fhir/Task/{transfer}", **TASK.route())
def task(
    serving: Serving, caller: Annotated[Caller, Depends(admitted(TASK))], transfer: TransferPath
) -> Response:
    """Show a transfer as a Task."""
    return respond(as_task(mine(serving, caller, transfer)), media=FHIR_JSON)


def as_task(row: TransferRow) -> Json:
    """
    Return a transfer as a Task.

    Source:
        https://hl7.org/fhir/R4/task.html
    """
    return {
        "resourceType": "Task",
        "id": row.id,
        "identifier": [{"system": IDENTIFIER_SYSTEM, "value": f"urn:uuid:{row.id}"}],
        "status": _STATUS.get(State(row.state), "in-progress"),
        "businessStatus": {"text": row.state},
        "intent": "order",
        "code": {"coding": [{"system": _TASK_CODES, "code": "fulfill"}]},
        "description": f"Second medical opinion: records from {row.source} to {row.destination}",
        "authoredOn": row.created,
        "lastModified": row.updated,
        "requester": {"type": "Organization", "identifier": organisation(row.tenant)},
    }


def organisation(identifier: str) -> Json:
    """Return an organisation's Identifier."""
    system, _, value = identifier.partition("|")
    return {"system": system, "value": value}


def statement(clock: Clock) -> Json:
    """
    Return the CapabilityStatement.

    Source:
        https://hl7.org/fhir/R4/capabilitystatement.html
    """
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": f"{clock.now():%Y-%m-%d}",
        "kind": "instance",
        "software": {"name": "fhir-bridge", "version": version("fhir-bridge")},
        "implementation": {"description": "Moves a patient's record for a second opinion"},
        "fhirVersion": "4.0.1",
        "format": [FHIR_JSON],
        "rest": [
            {
                "mode": "server",
                "security": {"description": "Authorization: Bearer, an API key or OAuth 2.0 JWT"},
                "resource": [
                    {
                        "type": "AuditEvent",
                        "interaction": [{"code": "search-type"}],
                        "searchParam": [
                            {"name": "patient", "type": "token"},
                            {"name": "date", "type": "date"},
                            {"name": "agent", "type": "token"},
                        ],
                    },
                    {"type": "Task", "interaction": [{"code": "read"}]},
                ],
                "operation": [
                    {
                        "name": "second-opinion",
                        "definition": "urn:fhir-bridge:operation:second-opinion",
                    }
                ],
            }
        ],
    }
