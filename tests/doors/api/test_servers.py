"""An administrator registers servers; what is secret is written and never read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_bridge.doors.api.roles import Role
from fhir_bridge.ledger import Event
from fhir_bridge.tokens import new_key
from tests.journeys.world import FIRST
from tests.simulators.reception import Reception, code
from tests.simulators.stores import Place

SECRET = "canary-secret-4711"
SAID = {
    "base": "https://ward.example/fhir",
    "organisations": [{"identifier": "urn:oid:1.2|ward", "name": "The Ward"}],
    "timezone": "Europe/Zurich",
    "rate_per_second": 2.5,
    "concurrency": 4,
    "credential": {"kind": "bearer", "secret": SECRET},
}


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


def put(reception: Reception, said: Any, alias: str = "ward") -> httpx.Response:
    return reception.client.put(
        f"/v1/servers/{alias}", json=said, headers=reception.as_(Role.ADMINISTRATOR)
    )


def test_a_secret_is_written_and_never_read(reception: Reception) -> None:
    who = reception.as_(Role.ADMINISTRATOR)

    answers = [
        put(reception, SAID),
        reception.get("/v1/servers/ward", who),
        reception.get("/v1/servers", who),
    ]

    assert [one.status_code for one in answers] == [200, 200, 200]
    assert answers[0].json()["has_secret"]
    assert answers[0].json()["said"] == {**SAID, "credential": {"kind": "bearer"}}
    assert SECRET not in "".join(one.text for one in answers)
    assert SECRET not in reception.log.getvalue()
    assert SECRET.encode() not in Place(reception.world.folder / "store").everything()
    row = reception.bridge.store.registered_server("ward")
    assert row is not None
    assert row.secret == SECRET


def test_each_change_is_signed(reception: Reception) -> None:
    put(reception, SAID)
    reception.client.delete("/v1/servers/ward", headers=reception.as_(Role.ADMINISTRATOR))

    changes = [
        entry for entry in reception.bridge.store.entries() if entry.type is Event.CONFIG_CHANGED
    ]
    assert [entry.step for entry in changes] == ["server.written", "server.deleted"]
    assert all(entry.actor.startswith("key:") for entry in changes)
    assert reception.bridge.verify_log().entries


def test_servers_of_the_settings_are_shown_and_changed_there_only(reception: Reception) -> None:
    who = reception.as_(Role.ADMINISTRATOR)

    shown = {one["alias"]: one for one in reception.get("/v1/servers", who).json()["servers"]}
    written = put(reception, SAID, FIRST)
    deleted = reception.client.delete(f"/v1/servers/{FIRST}", headers=who)

    assert shown[FIRST]["in_settings"]
    for answer in (written, deleted):
        assert (answer.status_code, code(answer)) == (409, "server-in-settings")


def test_what_is_deleted_is_gone_with_its_secret(reception: Reception) -> None:
    who = reception.as_(Role.ADMINISTRATOR)
    put(reception, SAID)

    first = reception.client.delete("/v1/servers/ward", headers=who)
    second = reception.client.delete("/v1/servers/ward", headers=who)

    assert first.status_code == 204
    assert (second.status_code, code(second)) == (404, "not-found")
    assert reception.get("/v1/servers/ward", who).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"base": "ftp://ward.example"},
        {"base": "https://user:canary@ward.example/fhir"},
        {"base": "https://ward.example/fhir?canary=1"},
        {"base": "http://ward.example/fhir"},
        {"base": "http://ward.example/fhir", "insecure": True},
        {"base": "https://"},
        {"base": "https://169.254.169.254/latest"},
        {"base": "https://ward.example:99999/fhir"},
        {"timezone": "Canary/Town"},
        {"organisations": [{"identifier": "canary"}]},
        {"organisations": [{"name": "canary"}]},
        {"credential": {"kind": "bearer"}},
        {"credential": {"kind": "mtls"}},
        {"credential": {"kind": "canary", "secret": "x"}},
        {"credential": {"kind": "bearer", "secret": "x", "secret_file": "/etc/passwd"}},
        {"credential": {"kind": "bearer", "secret": "x", "secret_env": "PATH"}},
        {"credential": {"kind": "smart", "key_file": "/etc/passwd", "client_id": "x"}},
        {"credential": {"kind": "basic", "secret": "x"}},
        {"credential": {"kind": "bearer", "secret": "two\nlines"}},
        {"ca_file": "/etc/passwd"},
        {"rate_per_second": 0},
        {"rate_per_second": "2"},
        {"concurrency": 1.5},
        {"canary": 1},
    ],
    ids=json.dumps,
)
def test_a_server_that_cannot_be_used_safely_is_refused(
    reception: Reception, changes: dict[str, Any]
) -> None:
    answer = put(reception, {**SAID, **changes})

    assert (answer.status_code, code(answer)) == (422, "body-invalid")
    assert "canary" not in answer.text.lower()
    assert reception.bridge.store.registered_server("ward") is None


@pytest.mark.parametrize("alias", ["-x", "a b", "x" * 64, "https:%2f%2fx", "%C3%A4", "a%0a"])
def test_an_alias_is_a_plain_word(reception: Reception, alias: str) -> None:
    answer = put(reception, SAID, alias)

    assert (answer.status_code, code(answer)) == (404, "not-found")


def test_a_transfer_goes_between_servers_registered_by_the_api(reception: Reception) -> None:
    world = reception.world
    for alias, sandbox, party in (
        ("clinic", world.first, world.story.custodian),
        ("centre", world.second, world.story.recipient),
    ):
        organisation = {"identifier": party.identifier, "name": party.name}
        answer = put(reception, {"base": sandbox.base, "organisations": [organisation]}, alias)
        assert answer.status_code == 200, answer.text

    transfer = reception.carried(source="clinic", destination="centre")

    shown = reception.get(f"/v1/transfers/{transfer}", reception.as_(Role.INTEGRATOR)).json()
    assert (shown["state"], shown["source"]) == ("closed", "clinic")


def test_the_public_keys_of_registered_servers_are_published(
    reception: Reception, tmp_path: Path
) -> None:
    new_key(tmp_path / "smart.pem", "ES384")
    credential = {
        "kind": "smart",
        "client_id": "bridge",
        "scopes": ["system/*.rs"],
        "secret": (tmp_path / "smart.pem").read_text(),
    }

    written = put(reception, {**SAID, "credential": credential})
    published = reception.client.get("/.well-known/jwks.json")

    assert written.status_code == 200, written.text
    assert "PRIVATE" not in written.text
    keys = published.json()["keys"]
    assert [one["crv"] for one in keys] == ["P-384"]
    assert "d" not in keys[0]
