"""``$second-opinion``: a trigger for callers that speak FHIR."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta

from fhir_bridge.doors.api import examples
from fhir_bridge.doors.api.asked import TransferAsked, order_of
from fhir_bridge.doors.api.bodies import convert, decode
from fhir_bridge.doors.api.facade import as_task
from fhir_bridge.doors.api.operations import FHIR_JSON, JSON, Gives, Operation, Takes, respond
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Serving, admitted
from fhir_bridge.doors.api.triggering import IDEMPOTENCY, PROBLEMS, body, idempotency_key, trigger

_Text = Annotated[str, Meta(max_length=2000)]


class IdentifierSaid(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A FHIR Identifier."""

    system: _Text
    value: _Text


class ReferenceSaid(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A FHIR Reference."""

    reference: _Text


class ParameterSaid(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel", omit_defaults=True
):
    """One parameter; which value it has depends on its name."""

    name: Literal[
        "source",
        "destination",
        "patient",
        "reason",
        "question",
        "kind",
        "purpose",
        "recipient",
        "consent",
        "new",
    ]
    value_string: _Text | None = None
    value_code: _Text | None = None
    value_boolean: bool | None = None
    value_identifier: IdentifierSaid | None = None
    value_reference: ReferenceSaid | None = None
    resource: dict[str, Any] | None = None


class ParametersSaid(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """The operation's input."""

    resource_type: Literal["Parameters"]
    parameter: Annotated[list[ParameterSaid], Meta(min_length=1, max_length=64)]


_EXAMPLE = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "source", "valueString": "first-clinic"},
        {"name": "destination", "valueString": "second-opinion-centre"},
        {
            "name": "patient",
            "valueIdentifier": {"system": "urn:oid:2.16.756.5.31", "value": "80756015090002647590"},
        },
        {"name": "reason", "valueCode": "cancer"},
        {"name": "question", "valueString": "Is surgery needed before chemotherapy?"},
    ],
}
_TASK = {
    "resourceType": "Task",
    "id": examples.TRANSFER,
    "status": "requested",
    "intent": "order",
}


def _gives(says: str) -> Gives:
    return Gives(
        says=says,
        type_=dict[str, Any],
        media=FHIR_JSON,
        example=_TASK,
        headers={"Location": "Where the Task is"},
    )


INVOKE = Operation(
    name="fhir.second-opinion",
    summary="Trigger a transfer with FHIR Parameters",
    roles=frozenset({Role.INTEGRATOR}),
    takes=Takes(type_=ParametersSaid, example=_EXAMPLE, media=(FHIR_JSON, JSON)),
    headers=(IDEMPOTENCY,),
    gives={
        200: _gives("Asked before with this key: the Task as it stands"),
        202: _gives("Accepted, durably"),
    },
    problems=PROBLEMS,
)

router = APIRouter()


@router.post("/fhir/$second-opinion", **INVOKE.route())
def invoke(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(INVOKE))],
    raw: Annotated[bytes, Depends(body)],
) -> Response:
    """Take a trigger on."""
    key = idempotency_key(request)
    asked = _asked(convert(decode(raw), ParametersSaid))
    row, new = trigger(serving, caller, request, key, order_of(asked, caller), again=asked.new)
    return respond(
        as_task(row),
        202 if new else 200,
        media=FHIR_JSON,
        headers={"Location": f"/fhir/Task/{row.id}"},
    )


def _asked(said: ParametersSaid) -> TransferAsked:
    """Turn parameters into the request that they make."""
    asked: dict[str, Any] = {"referral": {}}
    for number, one in enumerate(said.parameter):
        try:
            _add(asked, one)
        except (KeyError, TypeError) as error:
            raise Answered(Problem.BODY_INVALID, expression=f"parameter[{number}]") from error
    try:
        return msgspec.convert(asked, TransferAsked)
    except msgspec.ValidationError as error:
        raise Answered(Problem.BODY_INVALID, expression="parameter") from error


def _add(asked: dict[str, Any], one: ParameterSaid) -> None:
    """
    Add one parameter.

    Raises:
        KeyError: It stands twice, or its value is of another kind.
    """
    member, value = _member(one)
    place = asked["referral"] if member in {"reasons", "question"} else asked
    if member in {"reasons", "kinds"}:
        place.setdefault(member, []).append(value)
    elif member in place:
        raise KeyError(member)
    else:
        place[member] = value


def _member(one: ParameterSaid) -> tuple[str, Any]:
    """Return which member of a request a parameter is, and its value there."""
    values = {
        "valueString": one.value_string,
        "valueCode": one.value_code,
        "valueBoolean": one.value_boolean,
        "valueIdentifier": one.value_identifier,
        "valueReference": one.value_reference,
        "resource": one.resource,
    }
    given = [(kind, value) for kind, value in values.items() if value is not None]
    if len(given) != 1:
        raise KeyError(one.name)
    kind, value = given[0]
    if isinstance(value, IdentifierSaid) and one.name == "recipient":
        return "recipient", f"{value.system}|{value.value}"
    if isinstance(value, IdentifierSaid | ReferenceSaid) and one.name == "patient":
        return "patient", msgspec.to_builtins(value)
    return _MEMBERS[one.name, kind], value


_MEMBERS = {
    ("source", "valueString"): "source",
    ("destination", "valueString"): "destination",
    ("reason", "valueCode"): "reasons",
    ("question", "valueString"): "question",
    ("kind", "valueCode"): "kinds",
    ("purpose", "valueCode"): "purpose",
    ("consent", "resource"): "consent",
    ("new", "valueBoolean"): "new",
}
