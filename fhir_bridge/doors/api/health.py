"""Whether the bridge lives, whether it can take work on, and its figures."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response

from fhir_bridge.doors.api.metrics import MEDIA
from fhir_bridge.doors.api.operations import Gives, Operation, respond
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Serving, admitted, anyone


class HealthShown(msgspec.Struct, kw_only=True):
    """That it is well."""

    status: str


LIVES = Operation(
    name="health.lives",
    summary="The process answers",
    gives={200: Gives(says="It does", type_=HealthShown, example={"status": "ok"})},
)
READY = Operation(
    name="health.ready",
    summary="The store can be read and what runs beside the API runs",
    gives={200: Gives(says="Ready", type_=HealthShown, example={"status": "ok"})},
    problems=(Problem.STORE_UNAVAILABLE,),
)
METRICS = Operation(
    name="metrics.read",
    summary="Figures for Prometheus",
    roles=frozenset({Role.MONITOR}),
    gives={
        200: Gives(
            says="Text for Prometheus", media="text/plain", example="fhir_bridge_api_keys 1.0\n"
        )
    },
)

router = APIRouter()


@router.get("/healthz", dependencies=anyone(LIVES), **LIVES.route())
def lives() -> Response:
    """Answer."""
    return respond(HealthShown(status="ok"))


@router.get("/readyz", dependencies=anyone(READY), **READY.route())
def ready(serving: Serving) -> Response:
    """Answer when work can be taken on."""
    serving.desk.store.checkpoint()
    if serving.stopping.is_set() or not serving.ready():
        raise Answered(Problem.NOT_READY, headers={"Retry-After": "5"})
    return respond(HealthShown(status="ok"))


@router.get("/metrics", **METRICS.route())
def metrics(serving: Serving, _caller: Annotated[Caller, Depends(admitted(METRICS))]) -> Response:
    """Answer with all figures."""
    return Response(serving.metrics.text(), media_type=MEDIA)
