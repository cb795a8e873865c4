"""
The AuditEvents of an organisation's disclosures, as FHIR search results.

They name patients, so each search is itself signed into the log, and a page's
end is given away sealed together with the search: no patient stands in a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta

from fhir_bridge.doors.api import bodies, cursors
from fhir_bridge.doors.api.operations import (
    FHIR_JSON,
    FORM,
    Gives,
    Operation,
    Takes,
    parameters,
    query,
    respond,
)
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Service, Serving, admitted
from fhir_bridge.ledger import decode_entry
from fhir_bridge.records import Json
from fhir_bridge.store import Store

_WINDOW = 500
_SCANNED_MAX = 20_000
"""Entries looked at for one page: a page may be short, and its link goes on."""

_DATE = re.compile(
    r"(eq|ge|gt|le|lt)?([0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z)?)\Z"
)


class AuditEventQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which AuditEvents are wanted."""

    patient: (
        Annotated[str, Meta(max_length=400, description="Patient/ID, ID or SYSTEM|VALUE")] | None
    ) = None
    date: Annotated[
        list[Annotated[str, Meta(max_length=40)]],
        Meta(max_length=4, description="A day or moment (UTC) with eq, ge, gt, le or lt before it"),
    ] = []
    agent: (
        Annotated[str, Meta(max_length=400, description="Who did it: VALUE or SYSTEM|VALUE")] | None
    ) = None
    count: Annotated[int, Meta(ge=1, le=200, description="How many at most")] = msgspec.field(
        default=50, name="_count"
    )
    cursor: (
        Annotated[str, Meta(max_length=2000, description="Of the page before; alone")] | None
    ) = msgspec.field(default=None, name="_cursor")


class _Search(msgspec.Struct, kw_only=True):
    patient: str | None
    dates: list[tuple[str, str]]
    agent: str | None
    count: int
    place: tuple[str, int] | None = None
    """Log and index of the last entry that was looked at."""


_ROLES = frozenset({Role.RECORDS_OFFICER, Role.AUDITOR_BODIES})
_GIVES = {
    200: Gives(
        says="A searchset Bundle",
        type_=dict[str, Any],
        media=FHIR_JSON,
        example={"resourceType": "Bundle", "type": "searchset", "entry": []},
    )
}

SEARCH = Operation(
    name="fhir.audit-events",
    summary="AuditEvents of your organisation's disclosures, oldest first; the search is signed",
    roles=_ROLES,
    query=AuditEventQuery,
    gives=_GIVES,
    problems=(Problem.CURSOR_INVALID,),
)
POSTED = Operation(
    name="fhir.audit-events-posted",
    summary="The same by a form, so that no patient stands in a URL",
    roles=_ROLES,
    query=AuditEventQuery,
    takes=Takes(
        type_=AuditEventQuery, example={"patient": "Patient/1"}, media=(FORM,), required=False
    ),
    gives=_GIVES,
    problems=(Problem.CURSOR_INVALID,),
)

router = APIRouter()


@router.get("/fhir/AuditEvent", **SEARCH.route())
def search(
    request: Request, serving: Serving, caller: Annotated[Caller, Depends(admitted(SEARCH))]
) -> Response:
    """Answer with a page."""
    return _answer(request, serving, caller, query(request, AuditEventQuery))


async def _posted(request: Request) -> AuditEventQuery:
    """Read what stands in the form, together with what stands in the URL, as FHIR has it."""
    pairs = await bodies.form(request, bodies.SMALL)
    return parameters([*request.query_params.multi_items(), *pairs], AuditEventQuery)


@router.post("/fhir/AuditEvent/_search", **POSTED.route())
def search_posted(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(POSTED))],
    asked: Annotated[AuditEventQuery, Depends(_posted)],
) -> Response:
    """Answer with a page."""
    return _answer(request, serving, caller, asked)


def _answer(request: Request, serving: Service, caller: Caller, asked: AuditEventQuery) -> Response:
    store = serving.desk.store
    wanted = _wanted(store, caller, asked)
    serving.acting(caller, request).office.viewed([], command="api.audit-events")
    found, place = _page(store, wanted, caller.tenant)
    bundle: Json = {"resourceType": "Bundle", "type": "searchset"}
    if place is not None:
        wanted.place = place
        cursor = cursors.write(store, wanted, _purpose(caller))
        bundle["link"] = [{"relation": "next", "url": f"AuditEvent?_cursor={cursor}"}]
    if found:
        bundle["entry"] = [
            {"resource": msgspec.Raw(one), "search": {"mode": "match"}} for one in found
        ]
    return respond(bundle, media=FHIR_JSON)


def _purpose(caller: Caller) -> tuple[str, str]:
    return ("AuditEvent", caller.tenant)


def _wanted(store: Store, caller: Caller, asked: AuditEventQuery) -> _Search:
    if asked.cursor is None:
        return _Search(
            patient=asked.patient,
            dates=[_date(one) for one in asked.date],
            agent=asked.agent,
            count=asked.count,
        )
    if asked.patient is not None or asked.date or asked.agent is not None:
        raise Answered(Problem.CURSOR_INVALID)
    found = cursors.read(store, asked.cursor, _purpose(caller), _Search)
    assert found is not None
    return found


def _date(text: str) -> tuple[str, str]:
    found = _DATE.match(text)
    if found is None:
        raise Answered(Problem.QUERY_INVALID)
    return found[1] or "eq", found[2].removesuffix("Z")


def _page(store: Store, wanted: _Search, tenant: str) -> tuple[list[bytes], tuple[str, int] | None]:
    """Return what matches, and where to go on; None at the end."""
    found: list[bytes] = []
    place = None
    for scanned, (log, idx, body) in enumerate(_entries(store, wanted, tenant)):
        if len(found) >= wanted.count or scanned >= _SCANNED_MAX:
            return found, place
        place = (log, idx)
        if body is not None and _matches(body, wanted):
            found.append(body)
    return found, None


def _entries(store: Store, wanted: _Search, tenant: str) -> Iterator[tuple[str, int, bytes | None]]:
    """Give each entry's place, with its AuditEvent when it is one of the organisation's."""
    logs = store.logs()
    first = 0
    if wanted.place is not None:
        logs, first = logs[logs.index(wanted.place[0]) :], wanted.place[1] + 1
    for log in logs:
        while leaves := list(store.leaves(log, first, first + _WINDOW)):
            bodies = {idx: body for idx, _, body in store.opened(log, first, first + len(leaves))}
            for idx, leaf in enumerate(leaves, first):
                entry = decode_entry(leaf)
                ours = entry.custodian == tenant and entry.body is not None
                ours = ours and entry.body is not None and entry.body.type == "AuditEvent"
                ours = ours and all(_in(entry.t.removesuffix("Z"), one) for one in wanted.dates)
                yield log, idx, bodies.get(idx) if ours else None
            first += len(leaves)
        first = 0


def _in(moment: str, date: tuple[str, str]) -> bool:
    """Compare as FHIR does: a day is the whole of it."""
    word, said = date
    seen = moment[: len(said)]
    return {
        "eq": seen == said,
        "ge": seen >= said,
        "gt": seen > said,
        "le": seen <= said,
        "lt": seen < said,
    }[word]


def _matches(body: bytes, wanted: _Search) -> bool:
    content = msgspec.json.decode(body)
    if wanted.patient is not None and not any(
        _is(entity.get("what", {}), wanted.patient, "Patient")
        for entity in content.get("entity", [])
    ):
        return False
    return wanted.agent is None or any(
        _is(agent.get("who", {}), wanted.agent, None) for agent in content.get("agent", [])
    )


def _is(reference: Json, asked: str, type_: str | None) -> bool:
    """Tell whether a logical reference is what was asked for."""
    if type_ is not None and reference.get("type") != type_:
        return False
    identifier = reference.get("identifier", {})
    system, bar, value = asked.rpartition("|")
    if bar:
        return bool(identifier.get("system") == system and identifier.get("value") == value)
    prefix = f"{type_}/" if type_ else ""
    return bool(identifier.get("value") == asked.removeprefix(prefix))
