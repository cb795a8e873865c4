"""
Every `disclosure.intent` in the log gets a `disclosure.result`, whatever happens next.

Method: the crash table of `test_interrupted_transfer`, but between the crash and
the resume the world changes: the consent is revoked, a record is amended, one
is withheld by a new consent. Then the log is read from its first entry to its
last, and what it says had gone is compared with what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.errors import (
    BridgeError,
    ConsentRefused,
    CredentialRefused,
    DestinationRefused,
    DestinationUnreachable,
    NotFhir,
    Refused,
)
from fhir_bridge.ledger import Entry
from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import Call, DropAfter, Failure, Profile, Status, Watch, lies
from fhir_bridge.transfer import ENDED, State
from tests.journeys.test_consent_at_every_send import CEA, CONSENT, documents_we_wrote, revoke
from tests.journeys.test_interrupted_transfer import Mishap, sampled
from tests.journeys.world import SECOND, World

EIGHT = Profile(entry_limit=8)


def pairs(world: World) -> list[tuple[Entry, Entry]]:
    """Return each intent with the result that answers it; fail when one has none."""
    found: list[tuple[Entry, Entry]] = []
    waiting: Entry | None = None
    for entry in world.entries():
        if entry.type == "disclosure.intent":
            assert waiting is None, "an intent before the result of the former"
            waiting = entry
        elif entry.type == "disclosure.result" and waiting is not None:
            assert entry.attempt == waiting.attempt
            assert (
                str(entry.step).partition("result")[2] == str(waiting.step).partition("intent")[2]
            )
            found.append((waiting, entry))
            waiting = None
    assert waiting is None, "an intent without a result"
    return found


def copies_there(world: World) -> int:
    """How many copies of records and attachments are at the second provider."""
    ours = {"Consent", "Provenance", "Task", "ServiceRequest"}
    refs = {ref for ref in world.arrived() if ref.partition("/")[0] not in ours}
    requests = {
        ref
        for ref in world.arrived()
        if ref.startswith("ServiceRequest/") and "reasonCode" not in world.second.resources[ref]
    }
    return len((refs | requests) - documents_we_wrote(world))


def amend(world: World) -> None:
    world.first.load([{**world.first.resources[CEA], "status": "amended"}])


def narrow(world: World) -> None:
    consent: dict[str, Any] = dict(world.first.resources[CONSENT])
    denied = {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": CEA}}]}
    provision = {**consent["provision"], "provision": [*consent["provision"]["provision"], denied]}
    world.first.load([{**consent, "provision": provision}])


@pytest.mark.parametrize("change", [revoke, amend, narrow])
@pytest.mark.parametrize("mishap", sampled(8), ids=str)
def test_every_intent_gets_a_result_whatever_happens_next(
    tmp_path: Path, mishap: Mishap, change: Callable[[World], None]
) -> None:
    with World(tmp_path, "amelia") as world:
        with pytest.raises(BridgeError):
            world.transfer(mishap)
        world.faults.clear()
        change(world)

        try:
            transfers = world.transfers()
            world.resume(transfers[0]) if transfers else world.transfer()
        except Refused:
            assert change is revoke

        assert State(world.rows()[0].state) in ENDED
        pairs(world)
        world.verify()


def at_write(number: int) -> Callable[[Call], bool]:
    seen = [0]

    def due(call: Call) -> bool:
        writes = call.server == SECOND and call.brings_records
        seen[0] += writes
        return writes and seen[0] >= number

    return due


def broken_at(world: World, number: int) -> str:
    """Break the delivery at a request that carries records; return the transfer."""
    world.faults.at(at_write(number), Status(503), times=None)
    with pytest.raises(DestinationUnreachable):
        world.transfer()
    world.faults.clear()
    return world.transfers()[0]


@pytest.mark.parametrize("number", [1, 3, 6])
def test_when_consent_is_revoked_after_a_broken_delivery_the_result_names_what_had_gone(
    tmp_path: Path, number: int
) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken_at(world, number)
        revoke(world)

        with pytest.raises(ConsentRefused):
            world.resume(transfer)

        ((intent, result),) = pairs(world)
        assert result.content is not None
        assert result.content.count == copies_there(world)
        assert (result.content.count > 0) == (number > 1)
        assert result.outcome == "4"
        assert result.consent == intent.consent
        assert world.rows()[0].state == State.REFUSED


def test_a_copy_whose_answer_was_lost_is_found_and_named(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        after = at_write(3)
        world.faults.at(at_write(3), DropAfter())
        world.faults.at(lambda call: call.server == SECOND and after(call), Status(503), times=None)
        with pytest.raises(DestinationUnreachable):
            world.transfer()
        world.faults.clear()
        revoke(world)

        with pytest.raises(ConsentRefused):
            world.resume(world.transfers()[0])

        ((_, result),) = pairs(world)
        assert result.content is not None
        assert result.content.count == copies_there(world) > 0


def test_what_cannot_be_looked_for_is_said_to_have_gone_whole(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken_at(world, 3)
        revoke(world)
        world.faults.at(lambda call: call.server == SECOND, Status(503), times=None)

        with world.bridge() as bridge, pytest.raises(ConsentRefused):
            bridge.resume(transfer)

        ((intent, result),) = pairs(world)
        assert result.content == intent.content
        assert result.outcome == "8"


def test_a_record_changed_after_a_broken_delivery_is_announced_anew(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken_at(world, 3)
        there = copies_there(world)
        amend(world)

        report = world.resume(transfer)

        assert report.state is State.CLOSED
        (_, broken), (intent, result) = pairs(world)
        assert broken.content is not None
        assert broken.content.count == there
        assert (broken.step, intent.step) == ("disclosure.result.1", "disclosure.intent.2")
        assert result.content == intent.content
        assert result.outcome == "0"


def test_a_delivery_that_goes_on_unchanged_goes_on_under_its_own_intent(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken_at(world, 3)

        report = world.resume(transfer)

        assert report.state is State.CLOSED
        ((intent, result),) = pairs(world)
        assert result.content == intent.content


def test_what_goes_after_a_result_is_announced_anew(tmp_path: Path) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        touched: list[int] = []

        def touch(_: Call) -> None:
            touched.append(1)
            stamp = "2025-03-10T10:00:01+01:00"
            world.first.load([{**world.first.resources[CONSENT], "dateTime": stamp}])

        world.faults.at(at_write(3), Watch(touch))

        report = world.transfer()

        assert report.state is State.CLOSED
        assert touched
        (_, first), (second, last) = pairs(world)
        assert first.outcome == "4"
        assert second.step == "disclosure.intent.1"
        assert last.content == second.content


def test_a_record_withheld_after_a_broken_delivery_was_announced_and_is_named(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken_at(world, 4)
        narrow(world)

        world.resume(transfer)

        assert len(pairs(world)) == 2


def test_when_every_record_is_withheld_afterwards_the_intent_has_its_result(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia", second=EIGHT) as world:
        transfer = broken_at(world, 3)
        consent = dict(world.first.resources[CONSENT])
        rule = [{"uri": "https://nobody.example/knows-this"}]
        world.first.load([{**consent, "id": "another", "policy": rule}])

        report = world.resume(transfer)

        assert report.state is State.HELD
        assert len(pairs(world)) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(403, code="forbidden"), CredentialRefused),
        (Status(405, code="not-supported"), DestinationRefused),
        (lies.login_page(), NotFhir),
    ],
    ids=["403", "405", "login page"],
)
def test_a_write_that_is_refused_leaves_the_transfer_incomplete_and_it_can_be_taken_up(
    tmp_path: Path, fault: Failure, kind: type[BridgeError]
) -> None:
    singly = Profile(transactions=False, batch=False)
    with World(tmp_path, "amelia", second=singly) as world:
        world.faults.at(at_write(1), fault, times=None)

        with pytest.raises(kind):
            world.transfer()

        (row,) = world.rows()
        assert row.state == State.INCOMPLETE
        ((_, result),) = pairs(world)
        assert result.content is not None
        assert result.content.count == 0
        assert world.log()[-1] == "transfer.closed"

        assert world.resume(row.id).state is State.CLOSED
        assert len(pairs(world)) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_source_that_refuses_leaves_the_transfer_incomplete_and_it_can_be_taken_up(
    tmp_path: Path, status: int
) -> None:
    with World(tmp_path, "amelia") as world:
        refused = Status(status, code="forbidden")
        world.faults.at(lambda call: "everything" in call.path, refused, times=None)
        with pytest.raises(CredentialRefused):
            world.transfer()
        (row,) = world.rows()
        assert row.state == State.INCOMPLETE

        assert world.resume(row.id).state is State.CLOSED


def test_a_log_that_was_tampered_with_is_not_signed_on(tmp_path: Path) -> None:
    import sqlite3

    with World(tmp_path, "amelia") as world:

        def tamper(_: Call) -> None:
            with sqlite3.connect(world.settings.store / "store.db") as rows:
                rows.execute("UPDATE audit_head SET size = size - 1")
            rows.close()

        world.faults.at(lambda call: call.path == RecordRef("Patient/_search"), Watch(tamper))

        with pytest.raises(BridgeError) as caught:
            world.transfer()

        assert caught.value.exit_code == 8
        assert world.arrived() == set()
