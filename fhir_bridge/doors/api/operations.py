"""
How a route is described: once, for the router, the OpenAPI document and who may.

What a route takes and gives are msgspec structs; their JSON Schema stands in
the document, and the same structs read and write. The document's ``x-roles``
is what the door checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response

from fhir_bridge.doors.api.problems import Answered, Problem, outcome
from fhir_bridge.doors.api.roles import Role

JSON = "application/json"
FHIR_JSON = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"

ANYWHERE = (Problem.QUERY_INVALID, Problem.NOT_READY, Problem.UNEXPECTED)
"""What every route may answer."""
TO_CALLERS = (
    Problem.UNAUTHENTICATED,
    Problem.EXPIRED,
    Problem.FORBIDDEN,
    Problem.TOO_MANY_REQUESTS,
    Problem.STORE_UNAVAILABLE,
)
"""What every route may answer that asks who calls."""
TO_BODIES = (
    Problem.MEDIA_TYPE,
    Problem.BODY_TOO_LONG,
    Problem.BODY_TOO_SLOW,
    Problem.BODY_MISSING,
    Problem.BODY_TOO_DEEP,
    Problem.BODY_NOT_UTF8,
    Problem.BODY_NOT_JSON,
    Problem.BODY_HALF_SURROGATE,
    Problem.BODY_MEMBER_TWICE,
    Problem.BODY_NUMBER,
    Problem.BODY_INVALID,
)
"""What every route may answer that takes JSON."""
TO_FORMS = (
    Problem.MEDIA_TYPE,
    Problem.BODY_TOO_LONG,
    Problem.BODY_TOO_SLOW,
    Problem.BODY_NOT_UTF8,
)
"""What every route may answer that takes a form."""

_REF = "#/components/schemas/{name}"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gives:
    """One good answer of a route."""

    says: str
    example: Any = None
    type_: Any = None
    """A struct; None when the answer has no body, or none of ours."""
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name and meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """The body of a route."""

    type_: Any
    example: Any
    media: tuple[str, ...] = (JSON,)
    required: bool = True

    def problems(self) -> tuple[Problem, ...]:
        """Return what may be wrong with it."""
        return TO_FORMS if FORM in self.media else TO_BODIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that a route reads."""

    name: str
    says: str
    pattern: str
    example: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route."""

    name: str
    """Stable and unique: the operation's id, and what logs and metrics call it."""
    summary: str
    gives: Mapping[int, Gives]
    roles: frozenset[Role] = frozenset()
    """Empty: anyone may."""
    takes: Takes | None = None
    query: type[msgspec.Struct] | None = None
    headers: tuple[Header, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Besides those that every such route has."""

    def all_problems(self) -> list[Problem]:
        """Return everything that the route may answer besides what is good."""
        kinds = [*ANYWHERE, *self.problems]
        kinds += TO_CALLERS if self.roles else ()
        kinds += self.takes.problems() if self.takes else ()
        return sorted(set(kinds), key=lambda one: (one.value.status, one.code))

    def route(self) -> dict[str, Any]:
        """Return what FastAPI's decorators take."""
        return {
            "operation_id": self.name,
            "summary": self.summary,
            "response_model": None,
            "response_class": Response,
            "status_code": min(self.gives),
            "responses": self._responses(),
            "openapi_extra": self._extra(),
        }

    def _responses(self) -> dict[int | str, dict[str, Any]]:
        found: dict[int | str, dict[str, Any]] = {
            status: _good(given) for status, given in self.gives.items()
        }
        problems: dict[int, list[Problem]] = {}
        for problem in self.all_problems():
            problems.setdefault(problem.value.status, []).append(problem)
        return found | {status: _bad(some) for status, some in problems.items()}

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"x-roles": sorted(self.roles)}
        if self.roles:
            extra["security"] = [{"bearer": []}]
        if self.takes is not None:
            shown = {"schema": _schema(self.takes.type_), "example": self.takes.example}
            content = dict.fromkeys(self.takes.media, shown)
            extra["requestBody"] = {"required": self.takes.required, "content": content}
        parameters = [_header(one) for one in self.headers]
        if self.query is not None:
            parameters += _query_parameters(self.query)
        return extra | ({"parameters": parameters} if parameters else {})


def query(request: Request, into: type[T]) -> T:
    """
    Read the query.

    Raises:
        Answered: A parameter is unknown, stands twice, or is not as described.
    """
    return parameters(request.query_params.multi_items(), into)


def parameters(pairs: Iterable[tuple[str, str]], into: type[T]) -> T:
    """
    Read parameters.

    Args:
        pairs: Names and values, as they were sent.
        into: A struct; a member that is a list is a parameter that may stand more than once.

    Raises:
        Answered: A parameter is unknown, stands twice, or is not as described.
    """
    found: dict[str, Any] = {}
    lists = _lists(into)  # type: ignore[arg-type] # structs can be hashed
    for name, value in pairs:
        if name in lists:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Answered(Problem.QUERY_INVALID)
        else:
            found[name] = value
    try:
        return msgspec.convert(found, into, strict=False)
    except msgspec.ValidationError as error:
        raise Answered(Problem.QUERY_INVALID) from error


@cache
def _lists(struct: Any) -> frozenset[str]:
    properties = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
    return frozenset(name for name, one in properties.items() if one.get("type") == "array")


def respond(
    content: Any, status: int = 200, *, media: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """Write an answer's body."""
    return Response(
        msgspec.json.encode(content), status_code=status, media_type=media, headers=headers
    )


def schemas(types: Iterable[Any]) -> dict[str, Any]:
    """Return the JSON Schemas of structs by name."""
    return msgspec.json.schema_components(types, ref_template=_REF)[1]


def _schema(type_: Any) -> dict[str, Any]:
    return msgspec.json.schema_components([type_], ref_template=_REF)[0][0]


def _good(given: Gives) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": given.says}
    if given.headers:
        shown["headers"] = {
            name: {"description": says, "schema": {"type": "string"}}
            for name, says in given.headers.items()
        }
    if given.example is not None:
        schema = {"type": "string"} if given.type_ is None else _schema(given.type_)
        shown["content"] = {given.media: {"schema": schema, "example": given.example}}
    return shown


def _bad(problems: list[Problem]) -> dict[str, Any]:
    examples = {
        problem.code: {"summary": problem.value.sentence, "value": outcome(problem)}
        for problem in problems
    }
    schema = {"$ref": "#/components/schemas/OperationOutcome"}
    return {
        "description": "; ".join(problem.code for problem in problems),
        "content": {FHIR_JSON: {"schema": schema, "examples": examples}},
    }


def _header(header: Header) -> dict[str, Any]:
    return {
        "name": header.name,
        "in": "header",
        "required": header.required,
        "description": header.says,
        "schema": {"type": "string", "pattern": header.pattern},
        "example": header.example,
    }


def _query_parameters(struct: type[msgspec.Struct]) -> list[dict[str, Any]]:
    schema = msgspec.json.schema(struct)
    definitions = schema["$defs"]
    found = []
    for name, one in definitions[struct.__name__]["properties"].items():
        shown = {k: v for k, v in one.get("anyOf", [one])[0].items() if k != "default"}
        if "$ref" in shown:
            shown = dict(definitions[shown["$ref"].rpartition("/")[2]])
        found.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": shown.pop("description", ""),
                "schema": shown,
            }
        )
    return found
