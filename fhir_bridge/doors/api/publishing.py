"""The public keys that providers' servers check our SMART signatures with."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Response

from fhir_bridge.doors.api.operations import Gives, Operation, respond
from fhir_bridge.doors.api.problems import Problem
from fhir_bridge.doors.api.service import Serving, anyone
from fhir_bridge.settings import ServerSettings, read_server
from fhir_bridge.store import ServerRow
from fhir_bridge.tokens import public_jwks

READ = Operation(
    name="smart.jwks",
    summary="The public half of each SMART key, for providers' servers",
    gives={
        200: Gives(
            says="A JWK set",
            type_=dict[str, Any],
            example={"keys": [{"kty": "EC", "crv": "P-384", "kid": "…", "use": "sig"}]},
        )
    },
    problems=(Problem.SETTINGS, Problem.STORE_UNAVAILABLE),
)

router = APIRouter()


@router.get("/.well-known/jwks.json", dependencies=anyone(READ), **READ.route())
def read(serving: Serving) -> Response:
    """Answer with the set."""
    registered = map(_settings, serving.desk.store.registered_servers())
    return respond(public_jwks(serving.desk.settings, registered))


def _settings(row: ServerRow) -> ServerSettings:
    return read_server(row.alias, msgspec.json.decode(row.described), secret=row.secret)
