"""
A transfer's changes of state as they happen, by server-sent events.

The number of an event is its id, so a client that was cut off goes on after
the last one it saw. A stream ends with the transfer; asked again after the
end, the answer 204 tells the client to stop asking.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fhir_bridge.doors.api import examples
from fhir_bridge.doors.api.operations import Gives, Header, Operation
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller
from fhir_bridge.doors.api.service import Service, Serving, admitted
from fhir_bridge.doors.api.transfers import FOLLOWERS, TransferPath, mine
from fhir_bridge.store import EventRow, TransferRow
from fhir_bridge.transfer import ENDED, State

POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
STREAM_SECONDS_MAX = 3600.0
"""Then the client asks again, with a token that must still be in force."""

_MEDIA = "text/event-stream"

LAST = Header(
    name="Last-Event-ID",
    says="The last event that was seen",
    pattern=r"^[0-9]{1,15}$",
    example="41",
)
READ = Operation(
    name="transfers.events",
    summary="A transfer's changes of state as they happen (server-sent events)",
    roles=FOLLOWERS,
    headers=(LAST,),
    gives={
        200: Gives(says="Events until the transfer ends", media=_MEDIA, example=examples.EVENTS),
        204: Gives(says="The transfer has ended and all was seen: do not ask again"),
    },
    problems=(Problem.NOT_FOUND, Problem.HEADER_INVALID, Problem.BUSY),
)

router = APIRouter()


@router.get("/v1/transfers/{transfer}/events", **READ.route())
def read(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(READ))],
    transfer: TransferPath,
) -> Response:
    """Begin a stream."""
    row = mine(serving, caller, transfer)
    after = _last(request)
    if _is_over(serving, row, after):
        return Response(status_code=204)
    serving.streams.take(caller.id)
    return _Stream(serving, caller, _pieces(serving, request, row.id, after))


class _Stream(StreamingResponse):
    """Holds a place for as long as it is sent, also when its client left before the first piece."""

    def __init__(self, serving: Service, caller: Caller, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(pieces, media_type=_MEDIA)
        self._serving = serving
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._serving.metrics.stream_opened()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._serving.streams.leave(self._caller.id)
            self._serving.metrics.stream_closed()


def _last(request: Request) -> int:
    text = request.headers.get("last-event-id", "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):  # noqa: PLR2004
        raise Answered(Problem.HEADER_INVALID)
    return int(text)


def _is_over(serving: Service, row: TransferRow, after: int) -> bool:
    return State(row.state) in ENDED and not serving.desk.store.events(
        after, transfer=row.id, limit=1
    )


async def _pieces(
    serving: Service, request: Request, transfer: str, after: int
) -> AsyncIterator[bytes]:
    store, clock = serving.desk.store, serving.clock
    begun = beaten = clock.monotonic()
    yield b"retry: 2000\n\n"
    while not serving.stopping.is_set() and clock.monotonic() - begun < STREAM_SECONDS_MAX:
        rows = await run_in_threadpool(store.events, after, transfer=transfer)
        for row in rows:
            after = row.number
            yield _event(row)
        if rows and State(rows[-1].state) in ENDED:
            return
        if clock.monotonic() - beaten >= HEARTBEAT_SECONDS:
            beaten = clock.monotonic()
            yield b": still here\n\n"
        if await request.is_disconnected():
            return
        await anyio.sleep(POLL_SECONDS)


def _event(row: EventRow) -> bytes:
    data = {"transfer": row.transfer, "state": row.state, "attempt": row.attempt, "at": row.at}
    return b"id: %d\nevent: state\ndata: %s\n\n" % (row.number, msgspec.json.encode(data))
