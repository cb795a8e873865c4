"""What a records officer decides about held lines and gaps; each decision is signed."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from fhir_bridge.doors.api import examples, shown
from fhir_bridge.doors.api.asked import AcceptanceAsked, DecisionAsked
from fhir_bridge.doors.api.bodies import SMALL, read, typed
from fhir_bridge.doors.api.operations import Gives, Operation, Takes, respond
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Service, Serving, admitted
from fhir_bridge.doors.api.transfers import TransferPath, mine
from fhir_bridge.doors.api.triggering import shown_to
from fhir_bridge.errors import Refused, SettingsError
from fhir_bridge.transfer import ENDED, State

_OFFICER = frozenset({Role.RECORDS_OFFICER})
_PROBLEMS = (
    Problem.NOT_FOUND,
    Problem.NOT_NOW,
    Problem.LINE_UNDECIDABLE,
    Problem.LINE_DENIED,
)

T = TypeVar("T")


def _operation(name: str, summary: str, type_: type, example: dict[str, object]) -> Operation:
    return Operation(
        name=name,
        summary=summary,
        roles=_OFFICER,
        takes=Takes(type_=type_, example=example),
        gives={
            200: Gives(
                says="Signed; retry gathers the lines again, compares them and acts",
                type_=shown.TransferShown,
                example=examples.REQUESTED | {"state": "held"},
            )
        },
        problems=_PROBLEMS,
    )


RELEASE = _operation("transfers.release", "Let held lines go", DecisionAsked, examples.DECISION)
WITHHOLD = _operation("transfers.withhold", "Let held lines stay", DecisionAsked, examples.DECISION)
ACCEPT = _operation(
    "transfers.accept",
    "Accept a gap of delivery, so that the doctor is told",
    AcceptanceAsked,
    examples.ACCEPTANCE,
)

router = APIRouter()


async def body(request: Request) -> bytes:
    """Return the body of a decision."""
    return await read(request, SMALL)


Body = Annotated[bytes, Depends(body)]


@router.post("/v1/transfers/{transfer}/release", **RELEASE.route())
def release(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(RELEASE))],
    transfer: TransferPath,
    raw: Body,
) -> Response:
    """Sign that lines may go."""
    return _decided(serving, caller, request, transfer, raw, release=True)


@router.post("/v1/transfers/{transfer}/withhold", **WITHHOLD.route())
def withhold(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(WITHHOLD))],
    transfer: TransferPath,
    raw: Body,
) -> Response:
    """Sign that lines stay."""
    return _decided(serving, caller, request, transfer, raw, release=False)


@router.post("/v1/transfers/{transfer}/accept", **ACCEPT.route())
def accept(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(ACCEPT))],
    transfer: TransferPath,
    raw: Body,
) -> Response:
    """Sign that a gap is accepted."""
    _at_rest(serving, caller, transfer)
    asked = typed(raw, AcceptanceAsked)
    desk = serving.acting(caller, request)
    try:
        desk.accept(transfer, asked.gap, by=asked.by, reason=asked.reason)
    except SettingsError as error:
        raise Answered(Problem.LINE_UNDECIDABLE, expression="gap") from error
    return respond(shown_to(serving, caller, mine(serving, caller, transfer)))


def _decided(
    serving: Service, caller: Caller, request: Request, transfer: str, raw: bytes, *, release: bool
) -> Response:
    _at_rest(serving, caller, transfer)
    asked = typed(raw, DecisionAsked)
    desk = serving.acting(caller, request)
    try:
        desk.decide(transfer, asked.refs, release=release, by=asked.by, reason=asked.reason)
    except SettingsError as error:
        raise Answered(Problem.LINE_UNDECIDABLE, expression="refs") from error
    except Refused as error:
        raise Answered(Problem.LINE_DENIED, expression="refs") from error
    return respond(shown_to(serving, caller, mine(serving, caller, transfer)))


def _at_rest(serving: Service, caller: Caller, transfer: str) -> None:
    """While a worker carries it, what a person decides about may change under them."""
    row = mine(serving, caller, transfer)
    if State(row.state) not in ENDED:
        raise Answered(Problem.NOT_NOW)
