"""The application: all routes, one way to answer what is wrong, and the OpenAPI document."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from fhir_bridge.doors.api import (
    asked,
    audit_events,
    cosigning,
    deciding,
    events,
    facade,
    health,
    manifests,
    previews,
    publishing,
    receipts,
    second_opinion,
    servers,
    shown,
    transfers,
    triggering,
)
from fhir_bridge.doors.api.envelope import Envelope
from fhir_bridge.doors.api.operations import FHIR_JSON, respond, schemas
from fhir_bridge.doors.api.peers import Peers
from fhir_bridge.doors.api.problems import Answered, Problem, of_error, outcome
from fhir_bridge.doors.api.service import Service
from fhir_bridge.errors import BridgeError

_ROOMS = (
    triggering,
    previews,
    transfers,
    manifests,
    receipts,
    events,
    deciding,
    servers,
    facade,
    second_opinion,
    audit_events,
    publishing,
    health,
)
_STRUCTS = (
    asked.TransferAsked,
    asked.DecisionAsked,
    asked.AcceptanceAsked,
    audit_events.AuditEventQuery,
    second_opinion.ParametersSaid,
    shown.TransferShown,
    shown.TransferPage,
    shown.ManifestPage,
    servers.ServerList,
    health.HealthShown,
)
_STATUS = {
    404: Problem.NOT_FOUND,
    405: Problem.METHOD_NOT_ALLOWED,
}

OPENAPI_PATH = "/openapi.json"


def application(serving: Service) -> FastAPI:
    """
    Build the application.

    Args:
        serving: What was opened for it.
    """
    app = FastAPI(
        title="fhir-bridge",
        version=version("fhir-bridge"),
        summary="Move a patient's whole record to the provider giving a second opinion",
        openapi_url=OPENAPI_PATH,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = serving
    for room in _ROOMS:
        app.include_router(room.router)
    cosigning.offer(app, serving.desk.witnessing.being())
    app.add_middleware(Peers, allowed=serving.peers)
    app.add_middleware(Envelope, metrics=serving.metrics, clock=serving.clock)
    _answer_faults(app, serving)
    _describe(app)
    return app


def _answer_faults(app: FastAPI, serving: Service) -> None:
    def answer(fault: Answered) -> Response:
        serving.metrics.problem(fault.problem.code)
        return respond(
            outcome(fault.problem, fault.expression),
            fault.problem.value.status,
            media=FHIR_JSON,
            headers=fault.headers,
        )

    async def answered(_: Request, error: Exception) -> Response:
        assert isinstance(error, Answered)
        return answer(error)

    async def of_bridge(_: Request, error: Exception) -> Response:
        assert isinstance(error, BridgeError)
        return answer(of_error(error))

    async def of_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem = _STATUS.get(error.status_code, Problem.HEADER_INVALID)
        return answer(Answered(problem, headers=error.headers or {}))

    async def of_path(_: Request, _error: Exception) -> Response:
        return answer(Answered(Problem.NOT_FOUND))

    app.add_exception_handler(Answered, answered)
    app.add_exception_handler(BridgeError, of_bridge)
    app.add_exception_handler(HTTPException, of_http)
    # Only paths are left to the framework to check: bodies and queries are read by us.
    app.add_exception_handler(RequestValidationError, of_path)


def _describe(app: FastAPI) -> None:
    """Put the structs' schemas and the way in into the document."""
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            components = document.setdefault("components", {})
            components["schemas"] = schemas(_STRUCTS) | {"OperationOutcome": _OUTCOME}
            components["securitySchemes"] = {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (fhir-bridge keys add) or an OAuth 2.0 JWT",
                }
            }
            _forget_framework(document)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _forget_framework(document: dict[str, Any]) -> None:
    """Take out what the framework says of faults: ours are answered otherwise."""
    for path in document["paths"].values():
        for operation in path.values():
            fault = operation["responses"].get("422", {}).get("content", {})
            if "HTTPValidationError" in str(fault):
                del operation["responses"]["422"]


_OUTCOME: dict[str, Any] = {
    "type": "object",
    "required": ["resourceType", "issue"],
    "properties": {
        "resourceType": {"const": "OperationOutcome"},
        "issue": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["severity", "code", "details"],
                "properties": {
                    "severity": {"const": "error"},
                    "code": {"type": "string"},
                    "details": {
                        "type": "object",
                        "required": ["coding", "text"],
                        "properties": {
                            "coding": {"type": "array", "items": {"type": "object"}},
                            "text": {"type": "string"},
                        },
                    },
                    "expression": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}
