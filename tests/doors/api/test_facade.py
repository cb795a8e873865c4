"""Callers that speak FHIR trigger, follow and account for transfers in its terms."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir_bridge.doors.api.roles import Role
from fhir_bridge.ledger import Event
from fhir_bridge.records import Json
from tests.journeys.world import FIRST, SECOND
from tests.simulators.reception import Reception, code


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


def parameters(reception: Reception, *more: Json) -> Json:
    asked = reception.asked()
    patient = asked["patient"]
    shown = {"valueReference": patient} if "reference" in patient else {"valueIdentifier": patient}
    reasons = [{"name": "reason", "valueCode": one} for one in asked["referral"]["reasons"]]
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "source", "valueString": FIRST},
            {"name": "destination", "valueString": SECOND},
            {"name": "patient", **shown},
            *reasons,
            {"name": "question", "valueString": asked["referral"]["question"]},
            *({"name": "kind", "valueCode": one} for one in asked["kinds"]),
            *more,
        ],
    }


def invoke(reception: Reception, content: Any, who: dict[str, str]) -> httpx.Response:
    return reception.client.post(
        "/fhir/$second-opinion",
        json=content,
        headers={**who, "Idempotency-Key": "p-1", "Content-Type": "application/fhir+json"},
    )


def checked(content: Json) -> None:
    """Have the published R4B models read a resource of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fhir.resources.R4B import get_fhir_model_class
    get_fhir_model_class(content["resourceType"]).model_validate(content)


def test_parameters_trigger_the_transfer_that_json_would(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)

    answer = invoke(reception, parameters(reception), who)
    again = invoke(reception, parameters(reception), who)
    json_too = reception.post("/v1/transfers", reception.asked(), who, key="p-1")

    assert answer.status_code == 202, answer.text
    task = answer.json()
    assert answer.headers["location"] == f"/fhir/Task/{task['id']}"
    assert (task["resourceType"], task["status"]) == ("Task", "requested")
    checked(task)
    assert (again.status_code, again.json()) == (200, task)
    assert (json_too.status_code, json_too.json()["transfer"]) == (200, task["id"])


def test_a_task_follows_its_transfer(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.carried(who=who)

    answer = reception.get(f"/fhir/Task/{transfer}", who)

    assert answer.headers["content-type"] == "application/fhir+json"
    assert answer.json()["status"] == "completed"
    assert answer.json()["requester"]["identifier"]["value"] in reception.tenant
    checked(answer.json())


@pytest.mark.parametrize(
    "more",
    [
        [{"name": "canary", "valueString": "x"}],
        [{"name": "source", "valueString": "again"}],
        [{"name": "reason", "valueString": "cancer"}],
        [{"name": "reason"}],
        [{"name": "reason", "valueCode": "cancer", "valueString": "cancer"}],
        [{"name": "new", "valueString": "true"}],
        [{"name": "recipient", "valueString": "x"}],
        [{"name": "recipient", "valueIdentifier": {"value": "canary"}}],
        [{"name": "consent", "resource": {"resourceType": "Canary"}}],
        [{"name": "purpose", "valueCode": "CANARY"}],
        [{"name": "reason", "valueCode": "cancer", "extension": []}],
    ],
    ids=str,
)
def test_parameters_that_are_not_as_described_are_refused(
    reception: Reception, more: list[Json]
) -> None:
    answer = invoke(reception, parameters(reception, *more), reception.as_(Role.INTEGRATOR))

    assert (answer.status_code, code(answer)) == (422, "body-invalid")
    assert "canary" not in answer.text.lower()
    assert reception.runner.waiting == []


def test_the_capability_statement_is_true(reception: Reception) -> None:
    answer = reception.client.get("/fhir/metadata")

    checked(answer.json())
    rest = answer.json()["rest"][0]
    assert {one["type"] for one in rest["resource"]} == {"AuditEvent", "Task"}
    names = {one["name"] for one in rest["resource"][0]["searchParam"]}
    parameters_ = reception.client.get("/openapi.json").json()["paths"]["/fhir/AuditEvent"]["get"]
    assert names == {one["name"] for one in parameters_["parameters"]} - {"_count", "_cursor"}


def found(reception: Reception, query: str) -> list[Json]:
    """All AuditEvents of a search, page by page."""
    who = reception.as_(Role.RECORDS_OFFICER)
    events: list[Json] = []
    path: str | None = f"AuditEvent?{query}"
    while path is not None:
        answer = reception.get(f"/fhir/{path}", who)
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        events += [one["resource"] for one in bundle.get("entry", [])]
        path = next((one["url"] for one in bundle.get("link", [])), None)
        assert path is None or "amelia" not in path
    return events


def test_a_patient_is_told_who_received_what(reception: Reception) -> None:
    reception.carried()
    patient = reception.world.story.patient.removeprefix("Patient/")

    events = found(reception, f"patient=Patient/{patient}&_count=3")

    assert events
    assert events == found(reception, f"patient={patient}")
    kinds = {coding["code"] for event in events for coding in event.get("subtype", [])}
    assert str(Event.DISCLOSURE_RESULT) in kinds
    for event in events[:3]:
        checked(event)


def test_audit_events_are_found_by_day_and_by_who_did_it(reception: Reception) -> None:
    reception.carried()
    actor = next(
        entry.actor for entry in reception.bridge.store.entries() if entry.custodian is not None
    )

    every = found(reception, "")
    assert every == found(reception, "date=2026-11-25")
    assert every == found(reception, "date=ge2026-11-25&date=lt2026-11-26")
    assert every == found(reception, f"agent={actor}")
    assert found(reception, "date=gt2026-11-25") == []
    assert found(reception, "agent=key:nobody") == []
    assert found(reception, "patient=nobody") == []
    assert found(reception, "patient=urn:x|nobody") == []


def test_each_search_of_audit_events_is_signed(reception: Reception) -> None:
    reception.carried()
    found(reception, "patient=nobody")

    viewed = [one for one in reception.bridge.store.entries() if one.type is Event.ACCESS_VIEWED]
    assert len(viewed) == 1
    assert reception.bridge.verify_log().entries


def posted(reception: Reception, form: str, path: str = "", **headers: str) -> Any:
    return reception.client.post(
        f"/fhir/AuditEvent/_search{path}",
        content=form,
        headers={
            **reception.as_(Role.RECORDS_OFFICER),
            "Content-Type": "application/x-www-form-urlencoded",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )


def test_a_search_by_form_finds_what_a_search_by_url_finds(reception: Reception) -> None:
    reception.carried()
    patient = reception.world.story.patient.removeprefix("Patient/")

    for form, path in (
        (f"patient=Patient%2F{patient}&_count=200", ""),
        (f"patient={patient}", "?_count=200"),
        ("date=ge2026-11-25&date=lt2026-11-26&_count=200", f"?patient={patient}"),
    ):
        answer = posted(reception, form, path)
        assert answer.status_code == 200, answer.text
        shown = [one["resource"] for one in answer.json()["entry"]]
        assert shown == found(reception, f"patient={patient}")
    viewed = [one for one in reception.bridge.store.entries() if one.type is Event.ACCESS_VIEWED]
    assert len(viewed) == 6


def test_a_form_that_says_nothing_finds_everything(reception: Reception) -> None:
    reception.carried()

    answer = posted(reception, "")

    assert [one["resource"] for one in answer.json()["entry"]] == found(reception, "")


@pytest.mark.parametrize(
    ("form", "path", "media", "expected"),
    [
        ("date=yesterday", "", "", "query-invalid"),
        ("canary=1", "", "", "query-invalid"),
        ("patient=canary&patient=b", "", "", "query-invalid"),
        ("patient=canary", "?patient=b", "", "query-invalid"),
        ("patient=canary", "?canary=b", "", "query-invalid"),
        ("patient=%ff%fecanary", "", "", "body-not-utf8"),
        ("_cursor=canary", "", "", "cursor-invalid"),
        ("_count=" + "9" * 70_000, "", "", "body-too-long"),
        ('{"patient":"canary"}', "", "application/json", "media-type"),
        ("patient=canary", "", "application/x-www-form-urlencoded; charset=latin1", "media-type"),
        ("patient=" + "&a=b" * 15_000, "", "", "query-invalid"),
    ],
)
def test_a_form_that_is_not_as_described_is_refused(
    reception: Reception, form: str, path: str, media: str, expected: str
) -> None:
    answer = posted(reception, form, path, **({"Content_Type": media} if media else {}))

    assert 400 <= answer.status_code < 500
    assert code(answer) == expected
    assert "canary" not in answer.text
    assert "canary" not in reception.log.getvalue()
    assert not [one for one in reception.bridge.store.entries() if one.type is Event.ACCESS_VIEWED]


def test_a_form_is_not_read_from_somebody_who_may_not_ask(reception: Reception) -> None:
    answer = reception.client.post(
        "/fhir/AuditEvent/_search", content=b"x" * 100_000, headers=reception.as_(Role.INTEGRATOR)
    )

    assert (answer.status_code, code(answer)) == (403, "forbidden")


@pytest.mark.parametrize("query", ["date=yesterday", "date=ne2026-01-01", "canary=1", "_count=0"])
def test_a_search_that_is_not_as_described_is_refused(reception: Reception, query: str) -> None:
    answer = reception.get(f"/fhir/AuditEvent?{query}", reception.as_(Role.RECORDS_OFFICER))

    assert (answer.status_code, code(answer)) == (400, "query-invalid")


def test_a_cursor_of_audit_events_stands_alone(reception: Reception) -> None:
    reception.carried()
    who = reception.as_(Role.RECORDS_OFFICER)
    url = reception.get("/fhir/AuditEvent?_count=1", who).json()["link"][0]["url"]

    for path in (f"{url}&patient=x", url[:-3], "AuditEvent?_cursor=x"):
        answer = reception.get(f"/fhir/{path}", who)
        assert (answer.status_code, code(answer)) == (400, "cursor-invalid")
