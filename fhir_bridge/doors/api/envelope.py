"""
Around every request: its trace, its line in the log, its figures, its last resort.

What was sent is logged as an operation's name, a status and a time. A trace
comes from the caller (W3C ``traceparent``, else an id in ``X-Request-Id``) or
is made here; it goes back in both headers and stands in the log's entries.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import msgspec
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_bridge import spans
from fhir_bridge.clock import Clock
from fhir_bridge.doors.api.metrics import Metrics
from fhir_bridge.doors.api.operations import FHIR_JSON
from fhir_bridge.doors.api.problems import Problem, outcome
from fhir_bridge.logs import Log

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
_ID = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\Z", re.IGNORECASE
)
_NONE = "none"


class Envelope:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, clock: Clock) -> None:
        """Keep what is inside, and where it is counted."""
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, trace, parent = _names(Headers(scope=scope))
        scope.setdefault("state", {})["trace"] = trace
        with spans.begun(spans.Kind.REQUEST, trace, parent=parent) as span:
            answer = _Answer(send, request_id, trace, span.id)
            operation = await self._answered(scope, receive, answer)
            span.say(http__request__method=scope["method"])
            span.named(operation)
            span.answered(answer.status)

    async def _answered(self, scope: Scope, receive: Receive, answer: _Answer) -> str:
        """Have one request answered; return the operation's name."""
        trace = scope["state"]["trace"]
        begun = self._clock.monotonic()
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = answer.status or 499
        except Exception as error:  # noqa: BLE001 - the last resort
            _log_failure(error, trace)
            await answer.unexpected()
        operation = getattr(scope.get("route"), "operation_id", None) or _NONE
        seconds = self._clock.monotonic() - begun
        self._metrics.answered(operation, answer.status, seconds)
        if answer.unexpected_sent:
            self._metrics.problem(Problem.UNEXPECTED.code)
        structlog.get_logger().info(
            Log.REQUEST_ANSWERED,
            operation=operation,
            status=answer.status,
            seconds=round(seconds, 4),
            trace=trace,
        )
        return operation


class _Answer:
    """Watches what is sent, and adds what every answer has."""

    def __init__(self, send: Send, request_id: str, trace: str, span: str) -> None:
        self._send = send
        self._headers = {
            "X-Request-Id": request_id,
            "traceparent": f"00-{trace}-{span or secrets.token_hex(8)}-01",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        self.status = 0
        self.unexpected_sent = False

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message).update(self._headers)
        await self._send(message)

    async def unexpected(self) -> None:
        """Answer for what nobody foresaw; an answer already begun just ends."""
        if self.status:
            return
        self.unexpected_sent = True
        body = msgspec.json.encode(outcome(Problem.UNEXPECTED))
        headers = [
            (b"content-type", FHIR_JSON.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _names(headers: Headers) -> tuple[str, str, str]:
    """Return what the request is called, its trace, and the caller's span."""
    said = headers.get("x-request-id", "")
    request_id = said if _ID.match(said) else ""
    parent = _TRACEPARENT.match(headers.get("traceparent", ""))
    if parent and set(parent[1]) != {"0"} and set(parent[2]) != {"0"}:
        return request_id or parent[1], parent[1], parent[2]
    trace = request_id.replace("-", "").lower() or secrets.token_hex(16)
    return request_id or trace, trace, ""


def _log_failure(error: Exception, trace: str) -> None:
    """Name an unknown error by its kind and place; its text may hold what was sent."""
    structlog.get_logger().error(
        Log.REQUEST_FAILED, error=type(error).__name__.lower(), place=_place(error), trace=trace
    )


def _place(error: Exception) -> str:
    traceback: Any = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "unknown"
    file = Path(traceback.tb_frame.f_code.co_filename).name.lower().strip("<>")
    return f"{file}:{traceback.tb_lineno}"
