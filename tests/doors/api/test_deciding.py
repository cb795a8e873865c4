"""A records officer decides about what is held; each decision is signed, and a retry acts on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge.doors.api.roles import Role
from fhir_bridge.ledger import Event
from tests.simulators.reception import Reception, code


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path, "amelia") as reception:
        yield reception


DECISION = {"by": "M. Keller", "reason": "checked by hand"}


def held(reception: Reception) -> tuple[str, str]:
    """A transfer of which one line is held, and that line."""
    notes = {
        "resourceType": "Observation",
        "id": "odd",
        "status": "final",
        "meta": {
            "security": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
                    "code": "HTEST",
                }
            ]
        },
        "code": {"text": "something nobody coded"},
        "subject": {"reference": reception.world.story.patient},
    }
    reception.world.first.load([notes])
    return reception.carried(), "Observation/odd"


def test_a_held_line_is_released_by_a_person_and_then_goes(reception: Reception) -> None:
    transfer, ref = held(reception)
    officer = reception.as_(Role.RECORDS_OFFICER)
    before = reception.get(f"/v1/transfers/{transfer}", officer).json()

    answer = reception.post(
        f"/v1/transfers/{transfer}/release", {**DECISION, "refs": [ref]}, officer
    )
    retried = reception.post(f"/v1/transfers/{transfer}/retry", None, officer)
    reception.runner.run()

    assert before["state"] == "held"
    assert answer.status_code == 200, answer.text
    assert retried.status_code == 202
    lines = reception.get(f"/v1/transfers/{transfer}/manifest?limit=1000", officer).json()["lines"]
    assert [one["decision"] for one in lines if one["ref"] == ref] == ["released"]
    signed = [
        one for one in reception.bridge.store.entries(transfer) if one.type is Event.RECORD_RELEASED
    ]
    assert len(signed) == 1
    assert signed[0].actor.startswith("key:")
    assert reception.bridge.verify_log().entries


def test_what_a_consent_denies_no_person_releases(reception: Reception) -> None:
    transfer = reception.carried()
    officer = reception.as_(Role.RECORDS_OFFICER)
    asked = {**DECISION, "refs": ["Observation/amelia-lithium"]}

    answer = reception.post(f"/v1/transfers/{transfer}/release", asked, officer)

    assert (answer.status_code, code(answer)) == (422, "line-denied")
    assert "lithium" not in answer.text


def test_only_a_line_that_waits_can_be_decided_about(reception: Reception) -> None:
    transfer, _ = held(reception)
    officer = reception.as_(Role.RECORDS_OFFICER)
    for refs in (["Observation/canary"], ["canary"], ["Observation/odd", "Observation/canary"]):
        answer = reception.post(
            f"/v1/transfers/{transfer}/release", {**DECISION, "refs": refs}, officer
        )
        assert (answer.status_code, code(answer)) == (422, "line-undecidable")
        assert "canary" not in answer.text
    gap = {**DECISION, "gap": "Binary/canary"}
    answer = reception.post(f"/v1/transfers/{transfer}/accept", gap, officer)
    assert (answer.status_code, code(answer)) == (422, "line-undecidable")
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"refs": ["a/b"], "by": "M. Keller"},
        {"refs": ["a/b"], "by": "", "reason": "x"},
        {"refs": ["a/b"], "by": " ", "reason": "x"},
        {"refs": ["a/b"], "by": "a\nb", "reason": "x"},
        {"refs": [], "by": "a", "reason": "x"},
        {"refs": "a/b", "by": "a", "reason": "x"},
    ],
)
def test_a_decision_names_who_and_why(reception: Reception, body: dict[str, object]) -> None:
    transfer, _ = held(reception)

    answer = reception.post(
        f"/v1/transfers/{transfer}/withhold", body, reception.as_(Role.RECORDS_OFFICER)
    )

    assert (answer.status_code, code(answer)) == (422, "body-invalid")


def test_while_a_worker_carries_it_nothing_is_decided(reception: Reception) -> None:
    transfer = reception.trigger()
    officer = reception.as_(Role.RECORDS_OFFICER)

    answer = reception.post(
        f"/v1/transfers/{transfer}/withhold", {**DECISION, "refs": ["a/b"]}, officer
    )

    assert (answer.status_code, code(answer)) == (409, "not-now")
