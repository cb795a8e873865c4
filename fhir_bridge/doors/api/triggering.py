"""Triggering a transfer: once for each Idempotency-Key, whatever happens on the way."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from fhir_bridge import lossless
from fhir_bridge.doors.api import examples, shown
from fhir_bridge.doors.api.asked import TransferAsked, check_servers, order_of
from fhir_bridge.doors.api.bodies import LARGE, convert, decode, read
from fhir_bridge.doors.api.operations import Gives, Header, Operation, Takes, respond
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Service, Serving, admitted
from fhir_bridge.store import Claimed, TransferRow
from fhir_bridge.transfer import Order

IDEMPOTENCY = Header(
    name="Idempotency-Key",
    says="Names this referral among yours: the same key and body is the same transfer",
    pattern=r"^[!-~]{1,255}$",
    example="order-8812",
    required=True,
)
PROBLEMS = (
    Problem.HEADER_INVALID,
    Problem.IDEMPOTENCY_KEY_MISSING,
    Problem.IDEMPOTENCY_KEY_REUSED,
    Problem.IDEMPOTENCY_KEY_IN_FLIGHT,
    Problem.SERVER_UNKNOWN,
    Problem.REASON_UNKNOWN,
    Problem.SETTINGS,
)
"""What a trigger may be answered besides what every route may."""

CREATE = Operation(
    name="transfers.create",
    summary="Trigger the transfer of one patient's record",
    roles=frozenset({Role.INTEGRATOR}),
    takes=Takes(type_=TransferAsked, example=examples.ASKED),
    headers=(IDEMPOTENCY,),
    gives={
        200: Gives(
            says="Asked before with this key: the transfer as it stands",
            type_=shown.TransferShown,
            example=examples.CLOSED,
            headers={"Location": "Where the transfer is followed"},
        ),
        202: Gives(
            says="Accepted, durably; it is carried from now on",
            type_=shown.TransferShown,
            example=examples.REQUESTED,
            headers={"Location": "Where the transfer is followed"},
        ),
    },
    problems=PROBLEMS,
)

_KEY = re.compile(IDEMPOTENCY.pattern.removesuffix("$") + r"\Z")

router = APIRouter()


def idempotency_key(request: Request) -> str:
    """
    Return what the caller calls this request.

    Raises:
        Answered: Nothing, or nothing that can be a name.
    """
    keys = request.headers.getlist("idempotency-key")
    if len(keys) != 1 or not _KEY.match(keys[0]):
        raise Answered(Problem.IDEMPOTENCY_KEY_MISSING)
    return keys[0]


async def body(request: Request) -> bytes:
    """Return the body of a trigger."""
    return await read(request, LARGE)


@router.post("/v1/transfers", **CREATE.route())
def create(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(CREATE))],
    raw: Annotated[bytes, Depends(body)],
) -> Response:
    """Take a trigger on: from the answer on, nothing is lost."""
    key = idempotency_key(request)
    asked = convert(decode(raw), TransferAsked)
    order = order_of(asked, caller)
    row, new = trigger(serving, caller, request, key, order, again=asked.new)
    return respond(
        shown_to(serving, caller, row),
        202 if new else 200,
        headers={"Location": f"/v1/transfers/{row.id}"},
    )


def trigger(
    serving: Service, caller: Caller, request: Request, key: str, order: Order, *, again: bool
) -> tuple[TransferRow, bool]:
    """
    Make a transfer of an order, or find the one that it made before.

    Args:
        serving: What was opened.
        caller: Who asks.
        request: For its trace.
        key: The Idempotency-Key.
        order: What is asked.
        again: A new transfer although the same referral was made before.

    Returns:
        The transfer, and whether it is new.

    Raises:
        Answered: The key stands for something else, or its first request still runs.
    """
    store = serving.desk.store
    check_servers(order, serving.desk.settings, store)
    claim = store.claim_trigger(caller.actor, key, _written(order, again=again))
    if claim.found is Claimed.OTHER:
        raise Answered(Problem.IDEMPOTENCY_KEY_REUSED)
    if claim.found is Claimed.IN_FLIGHT:
        raise Answered(Problem.IDEMPOTENCY_KEY_IN_FLIGHT, headers={"Retry-After": "1"})
    if claim.found is Claimed.SAME:
        return store.read_transfer(claim.transfer), False
    desk = serving.acting(caller, request)
    try:
        row = desk.request(order, tenant=caller.tenant, new=again, transfer=claim.transfer)
    except Exception:
        store.release_trigger(claim.transfer)
        raise
    serving.knock()
    return row, True


def shown_to(serving: Service, caller: Caller, row: TransferRow) -> shown.TransferShown:
    """Show a transfer as it stands in the store."""
    store, carried = serving.desk.store, row.joined or row.id
    return shown.transfer(row, store.manifest(carried), store.gaps(carried), caller)


def _written(order: Order, *, again: bool) -> bytes:
    """Write an order in one form: members in another order are the same request."""
    return lossless.canonical([order, again])
