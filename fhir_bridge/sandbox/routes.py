"""Which method and path leads to which interaction."""

from __future__ import annotations

from collections.abc import Callable

from fhir_bridge.sandbox import transactions
from fhir_bridge.sandbox.faults import Call
from fhir_bridge.sandbox.outcomes import Problem, Reply
from fhir_bridge.sandbox.parameters import TYPES
from fhir_bridge.sandbox.service import Service

_Interaction = Callable[[Service, Call, list[str]], Reply]


def answer(service: Service, call: Call) -> Reply:
    """
    Do what a request asks.

    Raises:
        Problem: It cannot be done; nothing was changed.
    """
    limit = service.profile.byte_limit
    if limit is not None and len(call.body) > limit:
        raise Problem(413, "too-long", "the body is larger than this server accepts")
    segments = [part for part in call.path.split("/") if part]
    interaction = _ROUTES.get((call.method, _shape(segments)))
    if interaction is None:
        raise Problem(405, "not-supported", f"{call.method} is not possible here")
    if segments and segments[0] != "metadata" and segments[0] not in TYPES:
        raise Problem(404, "not-supported", "HAPI-0302: Unknown resource type")
    return interaction(service, call, segments)


def _bundle(service: Service, call: Call, _segments: list[str]) -> Reply:
    return transactions.answer(service, call, lambda one: answer(service, one))


def _shape(segments: list[str]) -> str:
    """Return what a path looks like, with names left out."""
    if segments == ["metadata"]:
        return "metadata"
    names = ("T", "id", "", "v")
    shape = [
        part if part.startswith(("_", "$")) else names[min(number, 3)]
        for number, part in enumerate(segments)
    ]
    return "/".join(shape)


_ROUTES: dict[tuple[str, str], _Interaction] = {
    ("GET", "metadata"): Service.metadata,
    ("GET", ""): Service.later_page,
    ("POST", ""): _bundle,
    ("GET", "T"): Service.search,
    ("POST", "T/_search"): Service.search,
    ("GET", "T/id"): Service.read,
    ("GET", "T/id/_history"): Service.history,
    ("GET", "T/id/_history/v"): Service.vread,
    ("GET", "T/id/$everything"): Service.everything,
    ("POST", "T"): Service.write,
    ("PUT", "T"): Service.write,
    ("PUT", "T/id"): Service.write,
    ("DELETE", "T/id"): Service.write,
}
