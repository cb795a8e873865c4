"""What the bridge is about to do is in the log, durably, before it does it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.ledger import Entry
from fhir_bridge.sandbox import Call, Profile, Watch
from fhir_bridge.store import Store
from tests.journeys.world import SECOND, Mishap, When, World

IDENTIFIERS = ("80756015090002647590", "FC-10417", "Brandt", "1971-04-09")


def signed(world: World) -> list[Entry]:
    """Return the log as another process reads it now, verified."""
    path = world.settings.store
    with Store.open(path, clock=Clock(), log_origin="test.example") as store:
        store.verify()
        return list(store.entries())


def names(entries: list[Entry]) -> list[str]:
    return [str(entry.type) for entry in entries]


def tells_who(call: Call) -> bool:
    sent = call.body.decode("utf-8", "replace")
    return call.server == SECOND and any(name in unquote(sent) for name in IDENTIFIERS)


def writes(call: Call) -> bool:
    return call.server == SECOND and call.brings_records


def test_the_question_for_the_patient_is_signed_before_an_identifier_leaves(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        seen: list[tuple[str, list[str]]] = []

        def look(call: Call) -> None:
            seen.append((f"{call.method} {call.path}", names(signed(world))))

        world.faults.at(tells_who, Watch(look), times=None)

        world.transfer()

        first, log = seen[0]
        assert first == "POST Patient/_search"
        assert log[-1] == "patient.asked"
        assert "consent.verified" in log


def test_no_identifier_of_the_patient_is_ever_in_a_url(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()

        asked = [unquote(f"{seen.path}?{seen.query}") for seen in world.second.requests]
        assert not [url for url in asked for name in IDENTIFIERS if name in url]


@pytest.mark.parametrize(
    "profile",
    [Profile(), Profile(entry_limit=25), Profile(transactions=False)],
    ids=["one transaction", "25 entries", "no transactions"],
)
def test_the_disclosure_is_signed_before_the_first_write(tmp_path: Path, profile: Profile) -> None:
    with World(tmp_path, "amelia", second=profile) as world:
        seen: list[list[Entry]] = []
        world.faults.at(writes, Watch(lambda _: seen.append(signed(world))))

        report = world.transfer()

        intent = seen[0][-1]
        assert intent.type == "disclosure.intent"
        assert intent.content is not None
        released = [line for line in report.lines if line.decision == "released"]
        assert intent.content.count == len(released)
        assert [one.id for one in intent.consent] == ["Consent/amelia-second-opinion"]


def test_nothing_is_written_when_the_intent_cannot_be_signed(tmp_path: Path) -> None:
    with World(tmp_path / "whole", "amelia") as world:
        world.transfer()
        last = world.mortal.writes

    for call in range(1, last + 1):
        folder = tmp_path / str(call)
        folder.mkdir()
        with World(folder, "amelia") as world:
            with pytest.raises(StoreUnavailable):
                world.transfer(Mishap("store", call, When.BEFORE))

            log = world.log()
            if "patient.asked" not in log:
                assert world.second.requests == []
            if "disclosure.intent" not in log:
                assert world.arrived() == set()
