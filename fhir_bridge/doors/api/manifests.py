"""A transfer's manifest, page by page: every record found, as far as the caller may know."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta

from fhir_bridge.doors.api import cursors, examples, shown
from fhir_bridge.doors.api.operations import Gives, Operation, query, respond
from fhir_bridge.doors.api.problems import Problem
from fhir_bridge.doors.api.roles import Caller
from fhir_bridge.doors.api.service import Serving, admitted
from fhir_bridge.doors.api.transfers import FOLLOWERS, TransferPath, mine


class ManifestQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which lines are wanted."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="How many at most")] = 200
    cursor: Annotated[str, Meta(max_length=600, description="Of the page before")] | None = None


READ = Operation(
    name="transfers.manifest",
    summary="What went, and for whoever may know it, what did not and why",
    roles=FOLLOWERS,
    query=ManifestQuery,
    gives={200: Gives(says="A page", type_=shown.ManifestPage, example=examples.MANIFEST)},
    problems=(Problem.NOT_FOUND, Problem.CURSOR_INVALID),
)

router = APIRouter()


@router.get("/v1/transfers/{transfer}/manifest", **READ.route())
def read(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(READ))],
    transfer: TransferPath,
) -> Response:
    """Answer with a page of lines, by reference."""
    row = mine(serving, caller, transfer)
    asked = query(request, ManifestQuery)
    store = serving.desk.store
    search = ("manifest", row.id, row.manifest, caller.tenant)
    after = cursors.read(store, asked.cursor, search, str)
    lines = store.manifest(row.joined or row.id)
    seen = [one for one in shown.visible(lines, caller) if after is None or one.ref > after]
    page = seen[: asked.limit]
    more = len(seen) > asked.limit
    if caller.is_any(*shown.EVERYTHING):
        serving.acting(caller, request).office.viewed([row.id], command="api.manifest")
    return respond(
        shown.ManifestPage(
            transfer=row.id,
            number=row.manifest,
            limited_by_consent=shown.limited(lines),
            lines=[shown.line(one, caller) for one in page],
            next=cursors.write(store, page[-1].ref, search) if more else None,
        )
    )
