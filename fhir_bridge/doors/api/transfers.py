"""Following transfers: which there are, where each stands, stopping one, taking one up again."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec import Meta

from fhir_bridge.doors.api import cursors, examples, shown
from fhir_bridge.doors.api.asked import Alias
from fhir_bridge.doors.api.operations import Gives, Operation, query, respond
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Service, Serving, admitted
from fhir_bridge.doors.api.triggering import shown_to
from fhir_bridge.errors import Refused
from fhir_bridge.store import TransferRow
from fhir_bridge.store.listing import Wanted
from fhir_bridge.transfer import ENDED, Order, State

UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
FOLLOWERS = frozenset({Role.INTEGRATOR, Role.RECORDS_OFFICER, Role.AUDITOR, Role.AUDITOR_BODIES})

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z)?$"
_Time = Annotated[str, Meta(pattern=_TIME)]

TransferPath = Annotated[str, Path(alias="transfer", pattern=UUID, description="Transfer's id")]


class TransfersQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which transfers are wanted."""

    state: Annotated[State, Meta(description="Only those in this state")] | None = None
    source: Annotated[Alias, Meta(description="Only those from this server")] | None = None
    destination: Annotated[Alias, Meta(description="Only those to this server")] | None = None
    since: Annotated[_Time, Meta(description="Created then or later, UTC")] | None = None
    until: Annotated[_Time, Meta(description="Created before then, UTC")] | None = None
    limit: Annotated[int, Meta(ge=1, le=200, description="How many at most")] = 50
    cursor: Annotated[str, Meta(max_length=600, description="Of the page before")] | None = None


LIST = Operation(
    name="transfers.list",
    summary="Your organisation's transfers, newest first",
    roles=FOLLOWERS,
    query=TransfersQuery,
    gives={200: Gives(says="A page", type_=shown.TransferPage, example=examples.PAGE)},
    problems=(Problem.CURSOR_INVALID,),
)
READ = Operation(
    name="transfers.read",
    summary="Where a transfer stands",
    roles=FOLLOWERS,
    gives={200: Gives(says="As it stands", type_=shown.TransferShown, example=examples.CLOSED)},
    problems=(Problem.NOT_FOUND,),
)
CANCEL = Operation(
    name="transfers.cancel",
    summary="Stop a transfer before it sends anything more",
    roles=frozenset({Role.INTEGRATOR, Role.RECORDS_OFFICER}),
    gives={202: Gives(says="Will stop", type_=shown.TransferShown, example=examples.REQUESTED)},
    problems=(Problem.NOT_FOUND, Problem.NOT_NOW, Problem.SETTINGS, Problem.REFUSED),
)
RETRY = Operation(
    name="transfers.retry",
    summary="Take a transfer up again that ended without being closed",
    roles=frozenset({Role.INTEGRATOR, Role.RECORDS_OFFICER}),
    gives={202: Gives(says="Goes on", type_=shown.TransferShown, example=examples.REQUESTED)},
    problems=(
        Problem.NOT_FOUND,
        Problem.NOT_NOW,
        Problem.ERASED,
        Problem.SETTINGS,
        Problem.REFUSED,
    ),
)

_CAN_BE_RETRIED = ENDED - {State.CLOSED} | {State.PARKED}

router = APIRouter()


def mine(serving: Service, caller: Caller, transfer: str) -> TransferRow:
    """
    Return a transfer of the caller's organisation.

    Raises:
        Answered: There is none; another's is as good as none.
    """
    row = serving.desk.store.find_transfer(transfer)
    if row is None or not caller.sees(row.tenant):
        raise Answered(Problem.NOT_FOUND)
    return row


@router.get("/v1/transfers", **LIST.route())
def list_(
    request: Request, serving: Serving, caller: Annotated[Caller, Depends(admitted(LIST))]
) -> Response:
    """Answer with a page."""
    asked = query(request, TransfersQuery)
    wanted = Wanted(
        tenant=caller.tenant,
        state=asked.state,
        source=asked.source,
        destination=asked.destination,
        since=asked.since,
        until=asked.until,
    )
    store = serving.desk.store
    after = cursors.read(store, asked.cursor, wanted, tuple[str, str])
    rows = store.list_transfers(wanted, limit=asked.limit + 1, after=after)
    more = len(rows) > asked.limit
    rows = rows[: asked.limit]
    next_ = cursors.write(store, (rows[-1].created, rows[-1].id), wanted) if more else None
    return respond(shown.TransferPage(transfers=list(map(shown.brief, rows)), next=next_))


@router.get("/v1/transfers/{transfer}", **READ.route())
def read(
    serving: Serving, caller: Annotated[Caller, Depends(admitted(READ))], transfer: TransferPath
) -> Response:
    """Answer with where a transfer stands."""
    return respond(shown_to(serving, caller, mine(serving, caller, transfer)))


@router.post("/v1/transfers/{transfer}/cancel", **CANCEL.route())
def cancel(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(CANCEL))],
    transfer: TransferPath,
) -> Response:
    """Have a transfer stopped."""
    row = mine(serving, caller, transfer)
    if State(row.state) in ENDED:
        raise Answered(Problem.NOT_NOW)
    serving.acting(caller, request).cancel(row.id, by=caller.actor, reason="by the API")
    serving.knock()
    return respond(shown_to(serving, caller, mine(serving, caller, transfer)), 202)


@router.post("/v1/transfers/{transfer}/retry", **RETRY.route())
def retry(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(RETRY))],
    transfer: TransferPath,
) -> Response:
    """Have a transfer taken up again."""
    row = mine(serving, caller, transfer)
    waits = row.wait_until is not None
    if (State(row.state) not in _CAN_BE_RETRIED and not waits) or _is_preview(serving, row):
        raise Answered(Problem.NOT_NOW)
    serving.acting(caller, request).reopen(row.id)
    serving.knock()
    return respond(shown_to(serving, caller, mine(serving, caller, transfer)), 202)


def _is_preview(serving: Service, row: TransferRow) -> bool:
    """Tell whether a transfer never sends anything, not when it is retried either."""
    try:
        asked = serving.desk.store.request(row.joined or row.id)
    except Refused as error:
        raise Answered(Problem.ERASED) from error
    return msgspec.json.decode(asked, type=Order).preview
