"""Every route, every role, every organisation: asked from the OpenAPI document, each once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from fhir_bridge.doors.api.operations import FORM
from fhir_bridge.doors.api.peers import Peers
from fhir_bridge.doors.api.roles import OF_AN_ORGANISATION, Role
from tests.simulators.reception import OTHER, Reception, code

_METHODS = ("get", "post", "put", "delete")
_OF_A_TRANSFER = "{transfer}"


@dataclass(frozen=True)
class Route:
    """One operation of the document."""

    method: str
    path: str
    roles: frozenset[str]
    described: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass
class House:
    """One reception for the whole matrix, with a transfer that has ended."""

    reception: Reception
    transfer: str
    routes: list[Route]
    headers: dict[tuple[str, str], dict[str, str]]
    asked: int = 0

    def ask(self, route: Route, who: Mapping[str, str]) -> httpx.Response:
        self.asked += 1
        path = route.path.replace(_OF_A_TRANSFER, self.transfer).replace("{alias}", "ward")
        headers = {**who, "Idempotency-Key": f"order-{self.asked}"}
        if "requestBody" not in route.described:
            return self.reception.client.request(route.method, path, headers=headers)
        content = route.described["requestBody"]["content"]
        media, shown = next(iter(content.items()))
        write = urlencode if media == FORM else json.dumps
        return self.reception.client.request(
            route.method,
            path,
            content=write(shown["example"]),
            headers={**headers, "Content-Type": media},
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Reception(tmp_path_factory.mktemp("house")) as reception:
        document = reception.client.get("/openapi.json").json()
        routes = [
            Route(method, path, frozenset(one["x-roles"]), one)
            for path, methods in document["paths"].items()
            for method, one in methods.items()
        ]
        headers = {
            (str(role), tenant): reception.as_(role, tenant=tenant)
            for role in Role
            for tenant in (reception.tenant, OTHER)
        }
        yield House(reception, reception.carried(), routes, headers)


def test_the_document_names_every_route_that_is_served(house: House) -> None:
    served = {
        (method.lower(), route.path)  # type: ignore[attr-defined]
        for route in _leaves(house.reception.app.routes)
        for method in route.methods  # type: ignore[attr-defined]
    }
    named = {(route.method, route.path) for route in house.routes}

    assert served - named <= {("get", "/openapi.json"), ("head", "/openapi.json")}
    assert named <= served
    assert {route.method for route in house.routes} <= set(_METHODS)


def _leaves(routes: Any) -> Iterator[object]:
    for route in routes:
        inner = getattr(route, "routes", None) or getattr(
            getattr(route, "original_router", None), "routes", None
        )
        if inner:
            yield from _leaves(inner)
        else:
            yield route


def test_only_the_description_and_health_are_open_to_anyone(house: House) -> None:
    open_ones = {route.path for route in house.routes if not route.roles}

    assert open_ones == {"/healthz", "/readyz", "/fhir/metadata", "/.well-known/jwks.json"}


def test_every_route_is_shut_to_who_shows_nothing(house: House) -> None:
    for route in house.routes:
        answer = house.ask(route, {})
        if route.roles:
            assert (answer.status_code, code(answer)) == (401, "unauthenticated"), str(route)
        else:
            assert answer.status_code == 200, str(route)


def test_each_role_gets_in_where_the_document_says_so_and_nowhere_else(house: House) -> None:
    checked = 0
    for route in house.routes:
        for role in Role:
            answer = house.ask(route, house.headers[str(role), house.reception.tenant])
            may = not route.roles or str(role) in route.roles
            where = f"{route} as {role}: {answer.status_code} {answer.text[:200]}"
            assert answer.status_code < 500, where
            if may:
                assert answer.status_code not in {401, 403}, where
            else:
                assert (answer.status_code, code(answer)) == (403, "forbidden"), where
            checked += 1

    assert checked == len(house.routes) * len(Role)


def test_another_organisations_transfer_is_not_there_for_any_role(house: House) -> None:
    checked = 0
    for route in house.routes:
        if _OF_A_TRANSFER not in route.path:
            continue
        for role in Role:
            if str(role) in route.roles:
                answer = house.ask(route, house.headers[str(role), OTHER])
                where = f"{route} as {role}: {answer.text[:200]}"
                assert (answer.status_code, code(answer)) == (404, "not-found"), where
                checked += 1

    assert checked >= 20


def test_another_organisations_lists_are_empty(house: House) -> None:
    officer = house.headers[Role.RECORDS_OFFICER, OTHER]

    assert house.reception.get("/v1/transfers", officer).json()["transfers"] == []
    assert "entry" not in house.reception.get("/fhir/AuditEvent", officer).json()


def test_least_privilege_is_what_the_design_says(house: House) -> None:
    may = {
        role: {route.described["operationId"] for route in house.routes if role in route.roles}
        for role in Role
    }
    follow = {
        "transfers.list",
        "transfers.read",
        "transfers.manifest",
        "transfers.events",
        "transfers.receipt",
        "fhir.task",
    }
    read = {"fhir.audit-events", "fhir.audit-events-posted"}

    assert may[Role.INTEGRATOR] == follow | {
        "transfers.create",
        "transfers.cancel",
        "transfers.retry",
        "previews.create",
        "fhir.second-opinion",
    }
    assert (
        may[Role.RECORDS_OFFICER]
        == follow
        | {
            "transfers.cancel",
            "transfers.retry",
            "transfers.release",
            "transfers.withhold",
            "transfers.accept",
        }
        | read
    )
    assert may[Role.AUDITOR] == follow
    assert may[Role.AUDITOR_BODIES] == follow | read
    assert may[Role.ADMINISTRATOR] == {
        "servers.list",
        "servers.read",
        "servers.write",
        "servers.delete",
    }
    assert may[Role.MONITOR] == {"metrics.read"}
    assert {Role.ADMINISTRATOR, Role.MONITOR}.isdisjoint(OF_AN_ORGANISATION)


def test_a_key_that_expired_or_was_revoked_opens_nothing(house: House) -> None:
    reception = house.reception
    store = reception.bridge.store
    revoked = reception.as_(Role.INTEGRATOR)
    store.revoke_api_key(store.api_keys()[-1].id)
    expired = {"Authorization": f"Bearer {reception.key(Role.INTEGRATOR, days=1)}"}
    reception.service.callers._clock = _tomorrow()

    for who in (revoked, expired):
        answer = reception.get("/v1/transfers", who)
        assert (answer.status_code, code(answer)) == (401, "expired")
    reception.service.callers._clock = reception.world.time.clock()


def _tomorrow() -> Any:
    from datetime import timedelta

    from fhir_bridge.clock import Clock
    from tests.journeys.world import NOW

    return Clock(now=lambda: NOW + timedelta(days=1))


def test_a_key_with_another_secret_opens_nothing(house: House) -> None:
    key = house.reception.key(Role.INTEGRATOR)
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), key.upper(), key + "x", key[4:]):
        answer = house.reception.get("/v1/transfers", {"Authorization": f"Bearer {wrong}"})
        assert (answer.status_code, code(answer)) == (401, "unauthenticated")


def test_who_asks_too_much_waits_and_nobody_else_does(tmp_path: Path) -> None:
    with Reception(tmp_path, per_minute=3) as reception:
        busy, calm = reception.as_(Role.INTEGRATOR), reception.as_(Role.AUDITOR)
        answers = [reception.get("/v1/transfers", busy) for _ in range(4)]

        assert [one.status_code for one in answers] == [200, 200, 200, 429]
        assert code(answers[-1]) == "too-many-requests"
        assert answers[-1].headers["retry-after"] == "20"
        assert reception.get("/v1/transfers", calm).status_code == 200
        reception.world.time.seconds += 20
        assert reception.get("/v1/transfers", busy).status_code == 200


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:10.1.2.3", True),
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("fe80::1%eth0", False),
        ("192.0.2.1", False),
    ],
)
def test_behind_a_proxy_only_the_proxy_and_this_machine_connect(peer: str, *, may: bool) -> None:
    peers = Peers(_nothing, allowed=[ip_network("10.1.0.0/16")])

    assert peers._may((peer, 1)) is may
    assert not peers._may(None)


async def _nothing(*_: Any) -> None:
    """An application that does nothing."""
