"""The disk is full, or the clock jumps: a clear answer, and afterwards nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, event

from fhir_bridge.doors.api.roles import Role
from fhir_bridge.transfer import State
from tests.simulators.reception import Reception, code


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


@contextmanager
def a_disk(reception: Reception, limit: str, lifted: str) -> Iterator[None]:
    """SQLite is held to a limit, as by its disk, and says so."""
    pragma = limit

    def restrict(connection: Connection) -> None:
        connection.exec_driver_sql(f"pragma {pragma}")

    engine = reception.bridge.store._database._reading_engine
    event.listen(engine, "begin", restrict)
    yield
    pragma = lifted


def test_when_the_disk_is_full_what_cannot_be_kept_is_not_accepted_and_reading_goes_on(
    reception: Reception,
) -> None:
    who = reception.as_(Role.INTEGRATOR)

    def trigger(number: int) -> httpx.Response:
        question = {"question": f"question {number}" + " more" * 380}
        return reception.post(
            "/v1/transfers", reception.asked(referral=question), who, key=f"order-{number}"
        )

    with a_disk(reception, "max_page_count = 1", "max_page_count = 1000000"):
        accepted = []
        while (answer := trigger(len(accepted))).status_code == 202 and len(accepted) < 40:
            accepted.append(answer.json()["transfer"])
        listed = reception.get("/v1/transfers", who)
        alive = reception.client.get("/healthz")
    again = trigger(len(accepted))
    reception.runner.run()

    assert (answer.status_code, code(answer)) == (503, "store-unavailable")
    assert answer.headers["retry-after"]
    assert alive.status_code == 200
    assert {one["transfer"] for one in listed.json()["transfers"]} == set(accepted)
    assert again.status_code == 202
    assert reception.bridge.store.count_states() == {State.CLOSED: len(accepted) + 1}
    reception.bridge.verify_log()


def test_when_nothing_can_be_written_each_request_that_must_be_signed_or_kept_is_refused(
    reception: Reception,
) -> None:
    who = reception.as_(Role.INTEGRATOR)
    officer, admin = reception.as_(Role.RECORDS_OFFICER), reception.as_(Role.ADMINISTRATOR)
    before = reception.trigger(who)
    kept = [entry.idx for entry in reception.bridge.store.entries()]
    secret = {"kind": "basic", "user": "ada", "secret": "canary"}
    server = {"base": "http://127.0.0.1:1/fhir", "credential": secret}
    with a_disk(reception, "query_only = on", "query_only = off"):
        refused = [
            reception.post("/v1/transfers", reception.asked(), who, key="order-2"),
            reception.post(f"/v1/transfers/{before}/cancel", None, who),
            reception.client.put("/v1/servers/ward", headers=admin, json=server),
            # who reads AuditEvents is signed into the log: without the log, nobody does
            reception.get("/fhir/AuditEvent", officer),
        ]
        read = reception.get(f"/v1/transfers/{before}", who)

    assert [(one.status_code, code(one)) for one in refused] == [(503, "store-unavailable")] * 4
    assert all(one.headers["retry-after"] for one in refused)
    assert "canary" not in "".join(one.text for one in refused)
    assert (read.status_code, read.json()["state"]) == (200, State.REQUESTED)
    assert [entry.idx for entry in reception.bridge.store.entries()] == kept
    assert reception.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("step", [timedelta(hours=-3), timedelta(hours=3)], ids=["back", "ahead"])
def test_a_clock_that_jumps_between_requests_changes_nothing_that_was_agreed(
    reception: Reception, step: timedelta
) -> None:
    who = reception.as_(Role.INTEGRATOR)
    first = reception.trigger(who)
    page = reception.get("/v1/transfers?limit=1", who)
    reception.world.time.later = step
    again = reception.post("/v1/transfers", reception.asked(), who, key="order-1")
    other = reception.post(
        "/v1/transfers", reception.asked(referral={"question": "more"}), who, key="order-2"
    )
    listed = reception.get("/v1/transfers", who)
    reception.runner.run()
    reception.world.time.later = timedelta(0)
    shown = reception.get(f"/v1/transfers/{first}", who)

    assert (page.status_code, again.status_code, other.status_code) == (200, 200, 202)
    assert again.json()["transfer"] == first
    assert {one["transfer"] for one in listed.json()["transfers"]} == {
        first,
        other.json()["transfer"],
    }
    assert shown.json()["state"] == State.CLOSED
    times = [entry.t for entry in reception.bridge.store.entries()]
    assert times == sorted(times)
    reception.bridge.verify_log()
