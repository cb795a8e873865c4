"""Previews: what a transfer would carry, found out now; nothing is sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from fhir_bridge.doors.api import examples, shown
from fhir_bridge.doors.api.asked import TransferAsked, check_servers, order_of
from fhir_bridge.doors.api.bodies import convert, decode
from fhir_bridge.doors.api.operations import Gives, Operation, Takes, respond
from fhir_bridge.doors.api.problems import OF_ERRORS, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Serving, admitted
from fhir_bridge.doors.api.triggering import body

CREATE = Operation(
    name="previews.create",
    summary="What a transfer would carry; reads the source, sends nothing",
    roles=frozenset({Role.INTEGRATOR}),
    takes=Takes(type_=TransferAsked, example=examples.ASKED),
    gives={
        200: Gives(
            says="Found; its manifest can be read like that of a transfer",
            type_=shown.TransferShown,
            example=examples.CLOSED | {"state": "gathered"},
            headers={"Location": "Where the preview's manifest is"},
        )
    },
    problems=(
        Problem.SERVER_UNKNOWN,
        Problem.REASON_UNKNOWN,
        Problem.BUSY,
        *(set(OF_ERRORS.values()) - {Problem.UNEXPECTED, Problem.REJECTED}),
    ),
)

router = APIRouter()


@router.post("/v1/previews", **CREATE.route())
def create(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(CREATE))],
    raw: Annotated[bytes, Depends(body)],
) -> Response:
    """Find out what would go."""
    asked = convert(decode(raw), TransferAsked)
    order = order_of(asked, caller)
    check_servers(order, serving.desk.settings, serving.desk.store)
    with serving.previews.taken(caller.id):
        report = serving.acting(caller, request).transfer(order, preview=True)
    row = serving.desk.store.read_transfer(report.transfer)
    gaps = (*report.gaps, *report.images)
    return respond(
        shown.transfer(row, report.lines, gaps, caller),
        headers={"Location": f"/v1/transfers/{row.id}/manifest"},
    )
