"""
Where peers have their logs cosigned: the route of C2SP's witnesses, with its own answers.

Anyone may ask. Who asks is known by the signature under his checkpoint, and
only the logs of ``witness.peers`` are cosigned. The route stands outside our
OpenAPI document because its form is not ours to choose.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from fhir_bridge.witness import NotCosigned
from fhir_bridge.witness.exchange import SUBMISSION_BYTES_MAX
from fhir_bridge.witnessing import BeingWitness

PATH = "/witness/add-checkpoint"

_SIZE = "text/x.tlog.size"


def offer(app: FastAPI, being: BeingWitness | None) -> None:
    """
    Add the route, when the settings make this bridge a witness.

    Args:
        app: The application.
        being: This bridge as a witness; None when it is none.

    Source:
        https://c2sp.org/tlog-witness, "add-checkpoint".
    """
    if being is None:
        return

    async def add_checkpoint(request: Request) -> Response:
        body = await _read(request)
        if body is None:
            return Response(status_code=413)
        try:
            line = await run_in_threadpool(being.add_checkpoint, body)
        except NotCosigned as error:
            return _refused(error)
        return Response(line, media_type="text/plain")

    app.add_api_route(
        PATH,
        add_checkpoint,
        methods=["POST"],
        include_in_schema=False,
        operation_id="witness.add-checkpoint",
    )


async def _read(request: Request) -> bytes | None:
    """Read a body to its end; None when it is longer than any submission."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > SUBMISSION_BYTES_MAX:
            return None
    return body


def _refused(error: NotCosigned) -> Response:
    if error.size is None:
        return Response(status_code=error.status)
    return Response(f"{error.size}\n", status_code=error.status, media_type=_SIZE)
