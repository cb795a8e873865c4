"""The consent is asked at every send, and the intent is signed before the first byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import ConsentRefused
from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import Call, DropAfter, Profile, Watch
from fhir_bridge.store import Store
from fhir_bridge.transfer import State
from tests.journeys.world import SECOND, World

CONSENT = RecordRef("Consent/amelia-second-opinion")
CEA = RecordRef("Observation/amelia-cea")
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


def nth_write(number: int) -> Callable[[Call], bool]:
    seen = [0]

    def due(call: Call) -> bool:
        seen[0] += call.server == SECOND and call.brings_records
        return call.server == SECOND and call.brings_records and seen[0] == number

    return due


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
@pytest.mark.parametrize("write", [2, 4, 6])
def test_a_consent_revoked_between_two_requests_stops_the_second_and_the_log_names_the_first(
    tmp_path: Path, write: int, *, lost: bool
) -> None:
    with World(tmp_path, "amelia", second=Profile(entry_limit=25)) as world:
        revoked_at: list[int] = []

        def revoke_now(_: Call) -> None:
            revoked_at.append(len(writes_of(world)))
            revoke(world)

        world.faults.at(nth_write(write), Watch(revoke_now))
        if lost:
            world.faults.at(nth_write(write), DropAfter())

        with pytest.raises(ConsentRefused):
            world.transfer()

        # the request on its way was permitted when it was sent; none followed it
        assert len(writes_of(world)) == revoked_at[0] + 1
        copies = {
            ref for ref in world.arrived() if ref.partition("/")[0] not in {"Consent", "Provenance"}
        }
        with Store.open(world.settings.store, clock=Clock(), log_origin="test.example") as store:
            entries = list(store.entries())
        result = next(entry for entry in entries if entry.type == "disclosure.result")
        assert result.outcome == "4"
        assert result.content is not None
        assert len(copies) > 0
        assert result.content.count == len(
            [ref for ref in copies if ref not in documents_we_wrote(world)]
        )
        assert [str(entry.type) for entry in entries][-3:] == [
            "consent.revoked",
            "disclosure.result",
            "consent.denied",
        ]


def writes_of(world: World) -> list[str]:
    return [seen.path for seen in world.second.requests if seen.method == "POST" and not seen.path]


def documents_we_wrote(world: World) -> set[str]:
    """DocumentReferences of our own, for reports that no document showed."""
    source = "https://first.example/fhir/DocumentReference"
    return {
        ref
        for ref in world.arrived()
        if ref.startswith("DocumentReference/")
        and not any(
            row.get("system") == source for row in world.second.resources[ref].get("identifier", ())
        )
    }


def test_a_consent_narrowed_meanwhile_is_decided_again_and_the_rest_goes(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:

        def narrow(_: Call) -> None:
            consent: dict[str, Any] = dict(world.first.resources[CONSENT])
            denied = {
                "type": "deny",
                "data": [{"meaning": "instance", "reference": {"reference": CEA}}],
            }
            provision = consent["provision"]
            provision = {**provision, "provision": [*provision["provision"], denied]}
            world.first.load([{**consent, "provision": provision}])

        world.faults.at(at_second(2), Watch(narrow))

        report = world.transfer()

        decided = {line.ref: line.decision for line in report.lines}
        assert decided[CEA] == "withheld"
        assert not [
            ref
            for ref in world.arrived()
            if any(
                row.get("value") == "amelia-cea"
                for row in world.second.resources[ref].get("identifier", ())
                if isinstance(row, dict)
            )
        ]
        assert world.log().count("consent.verified") == 2
        assert report.state in {State.CLOSED, State.HELD}


def test_consents_that_never_stop_changing_stop_the_transfer(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        number = [0]

        def touch(_: Call) -> None:
            number[0] += 1
            stamp = f"2025-03-10T10:{number[0] // 60:02}:{number[0] % 60:02}+01:00"
            world.first.load([{**world.first.resources[CONSENT], "dateTime": stamp}])

        world.faults.at(
            lambda call: call.server == "first" and "everything" in call.path,
            Watch(touch),
            times=None,
        )

        with pytest.raises(ConsentRefused, match="changed 5 times"):
            world.transfer()

        assert world.arrived() == set()
        assert world.rows()[0].state == State.REFUSED
        assert world.log()[-1] == "consent.denied"
