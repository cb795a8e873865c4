"""A transfer's receipt: the proof, from the signed log, of what was disclosed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from fhir_bridge.doors.api.operations import Gives, Operation
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Serving, admitted
from fhir_bridge.doors.api.transfers import FOLLOWERS, TransferPath, mine
from fhir_bridge.ledger import Event

OPENED = (Role.RECORDS_OFFICER, Role.AUDITOR_BODIES)
"""Who gets the AuditEvent too, which names the patient; others get the entry that commits to it."""

_MEDIA = "text/plain; charset=utf-8"

READ = Operation(
    name="transfers.receipt",
    summary="The proof of the last disclosure (a C2SP tlog-proof); signed into the log",
    roles=FOLLOWERS,
    gives={200: Gives(says="The proof", media="text/plain", example="c2sp.org/tlog-proof@v1\n…\n")},
    problems=(Problem.NOT_FOUND, Problem.NO_RECEIPT, Problem.TAMPERED),
)

router = APIRouter()


@router.get("/v1/transfers/{transfer}/receipt", **READ.route())
def read(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(READ))],
    transfer: TransferPath,
) -> Response:
    """Answer with the receipt."""
    row = mine(serving, caller, transfer)
    entries = serving.desk.store.entries(row.joined or row.id)
    results = [one for one in entries if one.type is Event.DISCLOSURE_RESULT]
    if not results:
        raise Answered(Problem.NO_RECEIPT)
    desk = serving.acting(caller, request)
    if caller.is_any(*OPENED):
        receipt = desk.receipt(row.id, Event.DISCLOSURE_RESULT)
    else:
        receipt = desk.prove(results[-1].idx, log=results[-1].log)
    return Response(str(receipt), media_type=_MEDIA)
