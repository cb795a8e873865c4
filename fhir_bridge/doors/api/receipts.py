"""A transfer's receipt: the signed proof of what was disclosed, when there is one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from fhir_bridge.doors.api.operations import Gives, Operation
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller
from fhir_bridge.doors.api.service import Serving, admitted
from fhir_bridge.doors.api.transfers import FOLLOWERS, TransferPath, mine

READ = Operation(
    name="transfers.receipt",
    summary="The signed proof of the disclosure",
    roles=FOLLOWERS,
    gives={
        200: Gives(says="A C2SP tlog-proof", media="text/plain", example="c2sp.org/tlog-proof@v1")
    },
    problems=(Problem.NOT_FOUND, Problem.NO_RECEIPT),
)

router = APIRouter()


@router.get("/v1/transfers/{transfer}/receipt", **READ.route())
def read(
    serving: Serving, caller: Annotated[Caller, Depends(admitted(READ))], transfer: TransferPath
) -> Response:
    """Answer with the receipt."""
    mine(serving, caller, transfer)
    raise Answered(Problem.NO_RECEIPT)
