"""An integrator triggers a transfer and follows it to its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.audit import Said
from fhir_bridge.doors.api.roles import Role
from fhir_bridge.ledger import Event
from fhir_bridge.store import Store, TransferRow
from tests.simulators.reception import OTHER, Reception, code


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


def test_a_trigger_is_accepted_and_carried_to_its_end(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)

    answer = reception.post("/v1/transfers", reception.asked(), who, key="order-8812")

    assert answer.status_code == 202
    transfer = answer.json()["transfer"]
    assert answer.headers["location"] == f"/v1/transfers/{transfer}"
    assert answer.json()["state"] == "requested"
    reception.runner.run()
    shown = reception.get(f"/v1/transfers/{transfer}", who).json()
    assert shown["state"] == "closed"
    assert shown["counts"]["released"] == shown["counts"]["identical"] == 60
    assert not shown["complete"]
    assert {gap["at"] for gap in shown["gaps"]} == {"images"}


def test_the_same_key_and_body_is_the_same_transfer(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    first = reception.post("/v1/transfers", reception.asked(), who, key="order-1")
    other_order = json.dumps(dict(reversed(reception.asked().items())))

    again = reception.client.post(
        "/v1/transfers",
        content=other_order,
        headers={**who, "Idempotency-Key": "order-1", "Content-Type": "application/json"},
    )

    assert again.status_code == 200
    assert again.json() == first.json()
    assert reception.runner.waiting == [first.json()["transfer"]]
    assert reception.runner.knocks == 1


def test_the_same_key_with_another_body_is_refused(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    reception.trigger(who)

    answer = reception.post("/v1/transfers", reception.asked(purpose="COC"), who, key="order-1")

    assert (answer.status_code, code(answer)) == (422, "idempotency-key-reused")


def test_keys_of_two_callers_never_meet(reception: Reception) -> None:
    assert reception.trigger() != reception.trigger()


def test_while_the_first_still_runs_the_second_is_told_so(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = reception.as_(Role.INTEGRATOR)
    seen: list[tuple[int, str, str]] = []
    make = Store.request_transfer

    def slowly(store: Store, **asked: Any) -> TransferRow:
        answer = reception.post("/v1/transfers", reception.asked(), who, key="order-1")
        seen.append((answer.status_code, code(answer), answer.headers["retry-after"]))
        return make(store, **asked)

    monkeypatch.setattr(Store, "request_transfer", slowly)
    reception.trigger(who)

    assert seen == [(409, "idempotency-key-in-flight", "1")]


def test_a_trigger_that_failed_may_be_sent_again_corrected(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    wrong = reception.asked(recipient="urn:oid:2.999|nobody")

    refused = reception.post("/v1/transfers", wrong, who, key="order-1")
    again = reception.post("/v1/transfers", reception.asked(), who, key="order-1")

    assert (refused.status_code, code(refused)) == (422, "recipient-unknown")
    assert again.status_code == 202


@pytest.mark.parametrize("key", [None, "", "two words", "ä", "x" * 256])
def test_a_trigger_needs_an_idempotency_key(reception: Reception, key: str | None) -> None:
    who = reception.as_(Role.INTEGRATOR)
    headers = {**who, "Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    answer = reception.client.post(
        "/v1/transfers",
        content=json.dumps(reception.asked()),
        headers=[(name.encode(), value.encode()) for name, value in headers.items()],
    )

    assert (answer.status_code, code(answer)) == (400, "idempotency-key-missing")
    assert reception.runner.waiting == []


@pytest.mark.parametrize(
    ("changes", "expected", "place"),
    [
        ({"source": "unknown"}, "server-unknown", "source"),
        ({"destination": "unknown"}, "server-unknown", "destination"),
        ({"source": "https://evil.example/fhir"}, "body-invalid", "source"),
        ({"referral": {"reasons": ["canary"]}}, "reason-unknown", "referral.reasons"),
        ({"patient": {"system": "urn:x"}}, "body-invalid", "patient"),
        ({"patient": {}}, "body-invalid", "patient"),
        ({"patient": {"value": 1, "system": "urn:x"}}, "body-invalid", "patient.value"),
        ({"kinds": []}, "body-invalid", "kinds"),
        ({"purpose": "CANARY"}, "body-invalid", "purpose"),
        ({"basis": "treatment"}, "body-invalid", "basis_reason"),
        ({"consent": {"resourceType": "Canary"}}, "body-invalid", "consent"),
        ({"canary": 1}, "body-invalid", ""),
        ({"custodian": OTHER}, "body-invalid", ""),
    ],
)
def test_a_trigger_that_is_not_as_described_is_refused_where_it_is_not(
    reception: Reception, changes: dict[str, object], expected: str, place: str
) -> None:
    who = reception.as_(Role.INTEGRATOR)

    answer = reception.post("/v1/transfers", reception.asked(**changes), who, key="order-1")

    assert (answer.status_code, code(answer)) == (422, expected)
    assert answer.json()["issue"][0].get("expression", [""]) == [place]
    assert "canary" not in answer.text.lower()


def test_a_caller_sends_the_records_of_its_own_organisation_only(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR, tenant=OTHER)

    answer = reception.post("/v1/transfers", reception.asked(), who, key="order-1")

    assert (answer.status_code, code(answer)) == (422, "recipient-unknown")


def test_transfers_are_listed_page_by_page(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    made = [
        reception.post("/v1/transfers", reception.asked(), who, key=f"order-{at}").json()[
            "transfer"
        ]
        for at in range(5)
    ]
    seen: list[str] = []
    path = "/v1/transfers?limit=2"
    for _ in range(3):
        page = reception.get(path, who).json()
        seen += [one["transfer"] for one in page["transfers"]]
        path = f"/v1/transfers?limit=2&cursor={page['next']}"

    assert page["next"] is None
    assert sorted(seen) == sorted(made)
    assert len(seen) == len(set(seen))


def test_a_cursor_serves_its_own_search_and_organisation_only(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    for at in range(3):
        reception.post("/v1/transfers", reception.asked(), who, key=f"order-{at}")
    cursor = reception.get("/v1/transfers?limit=1", who).json()["next"]

    assert reception.get(f"/v1/transfers?limit=2&cursor={cursor}", who).status_code == 200
    for path, caller in (
        (f"/v1/transfers?state=closed&cursor={cursor}", who),
        (f"/v1/transfers?cursor={cursor[:-2]}", who),
        ("/v1/transfers?cursor=%C3%A4", who),
        ("/v1/transfers?cursor=", who),
        (f"/v1/transfers?cursor={cursor}", reception.as_(Role.INTEGRATOR, tenant=OTHER)),
    ):
        answer = reception.get(path, caller)
        assert (answer.status_code, code(answer)) == (400, "cursor-invalid"), path


def test_transfers_are_found_by_state_server_and_time(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.carried(who=who)

    def found(query: str) -> list[str]:
        page = reception.get(f"/v1/transfers?{query}", who).json()
        return [one["transfer"] for one in page["transfers"]]

    assert found("state=closed&source=first&destination=second&since=2026-11-25") == [transfer]
    assert found("state=held") == found("source=other") == found("until=2026-11-25") == []


@pytest.mark.parametrize(
    "query",
    ["state=canary", "limit=0", "limit=x", "limit=201", "canary=1", "state=held&state=held",
     "since=yesterday", "source=https://x", "state=%00"],
)  # fmt: skip
def test_a_query_that_is_not_as_described_is_refused(reception: Reception, query: str) -> None:
    answer = reception.get(f"/v1/transfers?{query}", reception.as_(Role.INTEGRATOR))

    assert (answer.status_code, code(answer)) == (400, "query-invalid")
    assert "canary" not in answer.text


def test_an_integrator_sees_what_went_and_that_consent_limits_it(reception: Reception) -> None:
    transfer = reception.carried()

    page = reception.get(f"/v1/transfers/{transfer}/manifest", reception.as_(Role.INTEGRATOR))

    assert page.json()["limited_by_consent"]
    assert {line["decision"] for line in page.json()["lines"]} == {"released"}
    assert "lithium" not in page.text
    assert not {"rule", "reason", "consent", "provision"} & set(page.json()["lines"][0])
    shown = reception.get(f"/v1/transfers/{transfer}", reception.as_(Role.INTEGRATOR)).json()
    assert shown["limited_by_consent"]
    assert not {"withheld", "found"} & set(shown["counts"])


@pytest.mark.parametrize("role", [Role.RECORDS_OFFICER, Role.AUDITOR])
def test_the_custodians_officer_and_auditor_see_what_was_withheld_and_that_is_signed(
    reception: Reception, role: Role
) -> None:
    transfer = reception.carried()
    who = reception.as_(role)

    page = reception.get(f"/v1/transfers/{transfer}/manifest", who).json()

    withheld = [line for line in page["lines"] if line["decision"] == "withheld"]
    assert [line["ref"] for line in withheld] == ["Observation/amelia-lithium"]
    assert withheld[0]["rule"] == "provision-deny"
    assert reception.get(f"/v1/transfers/{transfer}", who).json()["counts"]["withheld"] == 1
    viewed = [one for one in reception.bridge.store.entries() if one.type is Event.ACCESS_VIEWED]
    assert [(one.transfer, one.custodian) for one in viewed] == [
        (f"urn:uuid:{transfer}", reception.tenant)
    ]
    assert reception.bridge.verify_log().entries


def test_a_manifest_is_read_page_by_page(reception: Reception) -> None:
    transfer = reception.carried()
    who = reception.as_(Role.INTEGRATOR)
    refs: list[str] = []
    path: str | None = f"/v1/transfers/{transfer}/manifest?limit=25"
    while path is not None:
        page = reception.get(path, who).json()
        refs += [line["ref"] for line in page["lines"]]
        cursor = page["next"]
        path = cursor and f"/v1/transfers/{transfer}/manifest?limit=25&cursor={cursor}"

    assert len(refs) == 60
    assert refs == sorted(set(refs))


def test_a_preview_says_what_would_go_and_sends_nothing(reception: Reception) -> None:
    answer = reception.post("/v1/previews", reception.asked(), reception.as_(Role.INTEGRATOR))

    assert answer.status_code == 200, answer.text
    assert answer.json()["counts"]["released"] == 57  # documents are not fetched
    assert answer.json()["limited_by_consent"]
    page = reception.get(answer.headers["location"], reception.as_(Role.INTEGRATOR)).json()
    assert len(page["lines"]) == 57
    assert not reception.world.arrived()
    assert reception.runner.waiting == []


def test_a_preview_of_an_unknown_patient_says_so_without_repeating_it(
    reception: Reception,
) -> None:
    asked = reception.asked(patient={"reference": "Patient/canary"})

    answer = reception.post("/v1/previews", asked, reception.as_(Role.INTEGRATOR))

    assert (answer.status_code, code(answer)) == (422, "patient-unknown")
    assert "canary" not in answer.text


def test_a_transfer_is_cancelled_before_anything_leaves(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.trigger(who)

    answer = reception.post(f"/v1/transfers/{transfer}/cancel", None, who)
    reception.runner.run()

    assert answer.status_code == 202
    assert answer.json()["cancelled"] is not None
    assert reception.get(f"/v1/transfers/{transfer}", who).json()["state"] == "cancelled"
    assert not reception.world.arrived()
    again = reception.post(f"/v1/transfers/{transfer}/cancel", None, who)
    assert (again.status_code, code(again)) == (409, "not-now")


def test_what_was_cancelled_can_be_taken_up_again(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.trigger(who)
    early = reception.post(f"/v1/transfers/{transfer}/retry", None, who)
    reception.post(f"/v1/transfers/{transfer}/cancel", None, who)
    reception.runner.run()

    answer = reception.post(f"/v1/transfers/{transfer}/retry", None, who)
    reception.runner.run()

    assert (early.status_code, code(early)) == (409, "not-now")
    assert answer.status_code == 202
    shown = reception.get(f"/v1/transfers/{transfer}", who).json()
    assert (shown["state"], shown["attempt"]) == ("closed", 2)
    late = reception.post(f"/v1/transfers/{transfer}/retry", None, who)
    assert (late.status_code, code(late)) == (409, "not-now")


def test_who_asked_and_under_which_trace_stands_in_the_log(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = reception.client.post(
        "/v1/transfers",
        json=reception.asked(),
        headers={
            **who,
            "Idempotency-Key": "order-1",
            "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        },
    )
    reception.runner.run()

    entries = list(reception.bridge.store.entries(answer.json()["transfer"]))
    id_ = reception.bridge.store.api_keys()[0].id
    assert {entry.actor for entry in entries} == {f"key:{id_}"}
    assert {entry.trace for entry in entries} == {trace}
    assert answer.headers["x-request-id"] == trace
    assert answer.headers["traceparent"].startswith(f"00-{trace}-")


def test_what_was_erased_cannot_be_taken_up_again(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.trigger(who)
    reception.post(f"/v1/transfers/{transfer}/cancel", None, who)
    reception.runner.run()
    reception.bridge.office.erase(transfer, Said(by="M. Keller", reason="asked to"))

    answer = reception.post(f"/v1/transfers/{transfer}/retry", None, who)

    assert (answer.status_code, code(answer)) == (409, "erased")
    shown = reception.get(f"/v1/transfers/{transfer}", who)
    assert (shown.status_code, shown.json()["counts"]["released"]) == (200, 0)


def test_a_preview_is_never_sent_not_even_retried(reception: Reception) -> None:
    for consent in [one for one in reception.world.first.resources if one.startswith("Consent/")]:
        content = {**reception.world.first.resources[consent], "status": "inactive"}
        reception.world.first.load([content])
    who = reception.as_(Role.INTEGRATOR)
    refused = reception.post("/v1/previews", reception.asked(), who)
    transfer = reception.get("/v1/transfers", who).json()["transfers"][0]["transfer"]

    answer = reception.post(f"/v1/transfers/{transfer}/retry", None, who)
    reception.runner.run()

    assert (refused.status_code, code(refused)) == (422, "consent-refused")
    assert (answer.status_code, code(answer)) == (409, "not-now")
    assert not reception.world.arrived()


def test_a_consent_that_is_brought_keeps_its_numbers(reception: Reception) -> None:
    number = '"valueDecimal":5.10'
    consent = {"resourceType": "Consent", "extension": [{"url": "urn:x", "valueDecimal": "N"}]}
    body = json.dumps(reception.asked(consent=consent)).replace('"valueDecimal": "N"', number)

    answer = reception.client.post(
        "/v1/transfers",
        content=body,
        headers={
            **reception.as_(Role.INTEGRATOR),
            "Idempotency-Key": "order-1",
            "Content-Type": "application/json",
        },
    )

    assert answer.status_code == 202, answer.text
    asked = json.loads(reception.bridge.store.request(answer.json()["transfer"]))
    assert number in asked["consent"]
