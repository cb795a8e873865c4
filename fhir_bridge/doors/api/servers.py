"""Servers that an administrator registers, beside those of the settings file."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec import Meta

from fhir_bridge.doors.api import examples
from fhir_bridge.doors.api.asked import ALIAS, Identifier
from fhir_bridge.doors.api.bodies import SMALL, typed
from fhir_bridge.doors.api.bodies import read as read_body
from fhir_bridge.doors.api.operations import Gives, Operation, Takes, respond
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.doors.api.service import Service, Serving, admitted
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.settings import CredentialSettings, read_server
from fhir_bridge.store import ServerRow
from fhir_bridge.tokens import open_credential
from fhir_bridge.wire import Side, Wire

_ADMINISTRATOR = frozenset({Role.ADMINISTRATOR})
_Line = Annotated[str, Meta(max_length=255)]


CredentialKind = Literal["none", "basic", "bearer", "client-credentials", "smart", "mtls"]


class OrganisationSaid(
    msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """An organisation that is custodian or recipient at a server."""

    identifier: Identifier
    name: _Line = ""
    address: _Line = ""


class CredentialSaid(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """How the bridge signs in there. The secret is written and never read."""

    kind: CredentialKind
    user: _Line = ""
    client_id: _Line = ""
    token_url: Annotated[str, Meta(max_length=500)] = ""
    scopes: Annotated[list[_Line], Meta(max_length=50)] = []
    method: Literal["", "basic", "post"] = ""
    kid: _Line = ""
    secret: Annotated[str, Meta(min_length=1, max_length=8192)] | None = None
    """A password, a token, or a private key as PEM."""


class ServerSaid(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is said of a server; members as in the settings file."""

    base: Annotated[str, Meta(pattern=r"^https?://[^\s?#@]{1,500}$")]
    identity: Annotated[str, Meta(max_length=500, pattern=r"^\S*$")] | None = None
    organisations: Annotated[list[OrganisationSaid], Meta(max_length=100)] = []
    timezone: Annotated[str, Meta(max_length=64)] | None = None
    insecure: bool = False
    allow_treatment: bool = False
    rate_per_second: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    credential: CredentialSaid | None = None


class ServerShown(msgspec.Struct, kw_only=True):
    """A server, without its secret."""

    alias: str
    in_settings: bool
    """True: of the settings file, and changed there only."""
    said: ServerSaid
    has_secret: bool


class ServerList(msgspec.Struct, kw_only=True):
    """All servers, by alias."""

    servers: list[ServerShown]


LIST = Operation(
    name="servers.list",
    summary="All servers, of the settings file and registered",
    roles=_ADMINISTRATOR,
    gives={200: Gives(says="All", type_=ServerList, example={"servers": [examples.SERVER]})},
)
READ = Operation(
    name="servers.read",
    summary="One server, without its secret",
    roles=_ADMINISTRATOR,
    gives={200: Gives(says="As it is", type_=ServerShown, example=examples.SERVER)},
    problems=(Problem.NOT_FOUND,),
)
WRITE = Operation(
    name="servers.write",
    summary="Register a server, or say anew all that is said of it; signed into the log",
    roles=_ADMINISTRATOR,
    takes=Takes(type_=ServerSaid, example=examples.SERVER_SAID),
    gives={200: Gives(says="Registered", type_=ServerShown, example=examples.SERVER)},
    problems=(Problem.NOT_FOUND, Problem.SERVER_IN_SETTINGS),
)
DELETE = Operation(
    name="servers.delete",
    summary="Forget a registered server and its secret; signed into the log",
    roles=_ADMINISTRATOR,
    gives={204: Gives(says="Forgotten")},
    problems=(Problem.NOT_FOUND, Problem.SERVER_IN_SETTINGS),
)

AliasPath = Annotated[str, Path(alias="alias", pattern=ALIAS)]

router = APIRouter()


@router.get("/v1/servers", **LIST.route())
def list_(serving: Serving, _caller: Annotated[Caller, Depends(admitted(LIST))]) -> Response:
    """Answer with all servers."""
    found = [_of_settings(serving, alias) for alias in serving.desk.settings.servers]
    names = {one.alias for one in found}
    found += [
        _of_store(row) for row in serving.desk.store.registered_servers() if row.alias not in names
    ]
    return respond(ServerList(servers=sorted(found, key=lambda one: one.alias)))


@router.get("/v1/servers/{alias}", **READ.route())
def read(
    serving: Serving, _caller: Annotated[Caller, Depends(admitted(READ))], alias: AliasPath
) -> Response:
    """Answer with one server."""
    if alias in serving.desk.settings.servers:
        return respond(_of_settings(serving, alias))
    return respond(_of_store(_row(serving, alias)))


async def body(request: Request) -> bytes:
    """Return what is said of a server."""
    return await read_body(request, SMALL)


@router.put("/v1/servers/{alias}", **WRITE.route())
def write(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(WRITE))],
    alias: AliasPath,
    raw: Annotated[bytes, Depends(body)],
) -> Response:
    """Register a server."""
    if alias in serving.desk.settings.servers:
        raise Answered(Problem.SERVER_IN_SETTINGS)
    said = typed(raw, ServerSaid)
    secret = said.credential.secret if said.credential else None
    if said.credential is not None:
        said.credential.secret = None
    described = msgspec.json.encode(said)
    _check(serving, alias, described, secret)
    _sign(serving, caller, request, {"act": "server.written", "server": alias})
    serving.desk.store.register_server(alias, described.decode(), secret)
    return respond(_of_store(_row(serving, alias)))


@router.delete("/v1/servers/{alias}", **DELETE.route())
def delete(
    request: Request,
    serving: Serving,
    caller: Annotated[Caller, Depends(admitted(DELETE))],
    alias: AliasPath,
) -> Response:
    """Forget a server."""
    if alias in serving.desk.settings.servers:
        raise Answered(Problem.SERVER_IN_SETTINGS)
    _row(serving, alias)
    _sign(serving, caller, request, {"act": "server.deleted", "server": alias})
    serving.desk.store.unregister_server(alias)
    return Response(status_code=204)


def _check(serving: Service, alias: str, described: bytes, secret: str | None) -> None:
    """Refuse what could not be opened when a transfer needs it; asks no server."""
    try:
        server = read_server(alias, msgspec.json.decode(described), secret=secret)
        if server.credential.kind == "mtls":
            raise Answered(Problem.BODY_INVALID, expression="credential.kind")
        Wire(
            server.base,
            side=Side.SOURCE,
            credential=open_credential(server, side=Side.SOURCE, clock=serving.clock),
            insecure=server.insecure,
        ).close()
    except SettingsError as error:
        raise Answered(Problem.BODY_INVALID) from error


def _row(serving: Service, alias: str) -> ServerRow:
    row = serving.desk.store.registered_server(alias)
    if row is None:
        raise Answered(Problem.NOT_FOUND)
    return row


def _of_store(row: ServerRow) -> ServerShown:
    return ServerShown(
        alias=row.alias,
        in_settings=False,
        said=msgspec.json.decode(row.described, type=ServerSaid),
        has_secret=row.secret is not None,
    )


def _of_settings(serving: Service, alias: str) -> ServerShown:
    server = serving.desk.settings.servers[alias]
    credential = server.credential
    said = ServerSaid(
        base=server.base,
        identity=server.identity,
        organisations=[
            OrganisationSaid(identifier=one.identifier, name=one.name, address=one.address)
            for one in server.organisations
        ],
        timezone=None if server.timezone is None else server.timezone.key,
        insecure=server.insecure,
        allow_treatment=server.allow_treatment,
        rate_per_second=server.rate_per_second,
        concurrency=server.concurrency,
        credential=_shown(credential),
    )
    return ServerShown(
        alias=alias, in_settings=True, said=said, has_secret=credential.kind != "none"
    )


def _shown(credential: CredentialSettings) -> CredentialSaid | None:
    if credential.kind == "none":
        return None
    return CredentialSaid(kind=msgspec.convert(credential.kind, CredentialKind))


def _sign(serving: Service, caller: Caller, request: Request, statement: dict[str, Any]) -> None:
    entry = NewEntry(
        type=Event.CONFIG_CHANGED,
        actor=caller.actor,
        step=str(statement["act"]),
        statement=statement,
        trace=request.state.trace,
    )
    serving.desk.store.append(entry, event_id=str(uuid.uuid4()))
