"""The consent is asked at every send, and the intent is signed before the first byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import ConsentRefused
from fhir_bridge.sandbox import Call, Watch
from fhir_bridge.store import Store
from tests.journeys.world import SECOND, World

CONSENT = "Consent/amelia-second-opinion"
RECORDS = ("Observation", "DiagnosticReport", "ImagingStudy", "DocumentReference", "Media")


def revoke(world: World) -> None:
    world.first.load([{**world.first.resources[CONSENT], "status": "inactive"}])


def refuse_under_another_id(world: World) -> None:
    consent: dict[str, Any] = dict(world.first.resources[CONSENT])
    provision = {name: value for name, value in consent["provision"].items() if name != "provision"}
    refusal = {**consent, "id": "a-new-refusal", "provision": {**provision, "type": "deny"}}
    world.first.load([refusal])


def at_second(number: int) -> Callable[[Call], bool]:
    seen = [0]

    def due(call: Call) -> bool:
        if call.server != SECOND:
            return False
        seen[0] += 1
        return seen[0] == number

    return due


@pytest.mark.parametrize("change", [revoke, refuse_under_another_id])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_nothing_leaves_after_a_consent_was_revoked_or_a_refusal_was_filed(
    tmp_path: Path, change: Callable[[World], None], call: int
) -> None:
    with World(tmp_path, "amelia") as world:
        writes_before = []

        def change_now(_: Call) -> None:
            writes_before.extend(world.arrived())
            change(world)

        world.faults.at(at_second(call), Watch(change_now))

        with pytest.raises(ConsentRefused):
            world.transfer()

        late = {ref for ref in world.arrived() if ref.startswith(RECORDS)} - set(writes_before)
        assert late == set()
        assert not [ref for ref in world.arrived() if ref.startswith(("Task", "ServiceRequest"))]
        assert {"consent.revoked", "consent.denied"} & set(world.log())
        world.verify()


def test_without_a_consent_no_record_is_read(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        revoke(world)

        with pytest.raises(ConsentRefused, match="No record was read"):
            world.transfer()

        read = [seen.path for seen in world.first.requests]
        assert not [path for path in read if path.startswith(("Observation", "DiagnosticReport"))]
        assert world.second.requests == []
        assert "consent.denied" in world.log()


def test_the_intent_is_in_the_log_before_the_first_write_and_the_question_before_it_is_asked(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        seen: dict[str, list[str]] = {}

        def logged() -> list[str]:
            path = world.settings.store
            with Store.open(path, clock=Clock(), log_origin="test.example") as store:
                store.verify()
                return [str(entry.type) for entry in store.entries()]

        def look(call: Call) -> None:
            kind = "write" if call.brings_records and not call.path else "question"
            seen.setdefault(kind, logged())

        world.faults.at(lambda call: call.server == SECOND, Watch(look), times=None)

        world.transfer()

        assert "patient.asked" in seen["question"]
        assert "disclosure.intent" not in seen["question"]
        assert "disclosure.intent" in seen["write"]
        assert "disclosure.result" not in seen["write"]
