"""A request is written down at once and carried later; a person may cancel it at any moment."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import (
    Cancelled,
    PatientUnknown,
    RecipientUnknown,
    Refused,
    SettingsError,
    StoreUnavailable,
    Unreachable,
)
from fhir_bridge.sandbox import Call, DropAfter, DropBefore, Profile, Watch
from fhir_bridge.store import Store, TransferRow
from fhir_bridge.transfer import State
from tests.journeys.test_consent_at_every_send import (
    documents_we_wrote,
    nth_write,
    revoke,
    writes_of,
)
from tests.journeys.world import SECOND, Mishap, When, World


def requested(world: World, **changes: object) -> TransferRow:
    with world.bridge() as bridge:
        return bridge.request(world.order(**changes), tenant="urn:x|1")


def cancelled(world: World, transfer: str) -> None:
    with world.bridge() as bridge:
        bridge.cancel(transfer, by="Ada", reason="asked by the patient")


def row_of(world: World, transfer: str) -> TransferRow:
    return next(row for row in world.rows() if row.id == transfer)


def test_a_request_talks_to_no_server_and_is_carried_later(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        row = requested(world)
        asked = world.faults.calls
        with world.bridge() as bridge:
            report = bridge.carry(row.id)

        assert asked == 0
        assert row.state == State.REQUESTED
        assert (report.transfer, report.state) == (row.id, State.CLOSED)
        assert row_of(world, row.id).settled


def test_an_unknown_alias_reason_or_recipient_is_refused_at_once_and_an_unknown_patient_later(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        for wrong in ({"source": "nowhere"}, {"reasons": ("because",)}, {"preview": True}):
            with pytest.raises(SettingsError):
                requested(world, **wrong)
        with pytest.raises(RecipientUnknown):
            requested(world, recipient="urn:oid:2.999|someone-else")
        assert world.rows() == []
        row = requested(world, patient="Patient/nobody")
        with world.bridge() as bridge, pytest.raises(PatientUnknown):
            bridge.carry(row.id)


def test_what_has_ended_is_not_carried_again(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        row = requested(world)
        with world.bridge() as bridge:
            bridge.carry(row.id)
            calls = world.faults.calls
            report = bridge.carry(row.id)

        assert world.faults.calls == calls
        assert report.state is State.CLOSED
        assert world.log().count("transfer.closed") == 1


def test_the_same_referral_asked_twice_is_one_transfer_and_no_second_copy(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        first, second = requested(world), requested(world)
        with world.bridge() as bridge:
            bridge.carry(first.id)
            report = bridge.carry(second.id)

        assert row_of(world, second.id).joined == first.id
        assert (report.transfer, report.state) == (second.id, State.CLOSED)
        assert len(report.lines) > 0
        assert world.log().count("disclosure.intent") == 1
        assert all(world.second.versions(ref) == 1 for ref in world.arrived())


def test_asked_anew_it_is_a_transfer_of_its_own(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        first = requested(world)
        with world.bridge() as bridge:
            bridge.carry(first.id)
            second = bridge.request(world.order(), new=True)
            bridge.carry(second.id)

        assert row_of(world, second.id).joined is None
        assert world.log().count("disclosure.intent") == 2


def test_cancelled_before_it_began_nothing_is_asked_of_anyone(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        row = requested(world)
        cancelled(world, row.id)
        with world.bridge() as bridge, pytest.raises(Cancelled):
            bridge.carry(row.id)

        assert world.faults.calls == 0
        assert row_of(world, row.id).state == State.CANCELLED
        assert world.log()[-2:] == ["transfer.cancelled", "transfer.closed"]
        with world.bridge() as bridge:
            assert bridge.carry(row.id).state is State.CANCELLED
            bridge.cancel(row.id, by="Ada", reason="again")
        assert world.log().count("transfer.cancelled") == 1


@pytest.mark.parametrize("write", [2, 4, 6])
def test_cancelled_between_two_requests_the_second_is_not_sent_and_the_log_names_the_first(
    tmp_path: Path, write: int
) -> None:
    with World(tmp_path, "amelia", second=Profile(entry_limit=25)) as world:
        row = requested(world)
        sent: list[int] = []

        def cancel_now(_: object) -> None:
            sent.append(len(writes_of(world)))
            cancelled(world, row.id)

        world.faults.at(nth_write(write), Watch(cancel_now))
        with world.bridge() as bridge, pytest.raises(Cancelled):
            bridge.carry(row.id)

        assert len(writes_of(world)) == sent[0] + 1
        with Store.open(world.settings.store, clock=Clock(), log_origin="test.example") as store:
            entries = list(store.entries(row.id))
        assert [str(one.type) for one in entries][-3:] == [
            "transfer.cancelled",
            "disclosure.result",
            "transfer.closed",
        ]
        result = entries[-2]
        assert result.content is not None
        assert 0 < result.content.count <= 60
        assert row_of(world, row.id).state == State.CANCELLED
        assert not [ref for ref in world.arrived() if ref.startswith("Task")]
        world.verify()


@pytest.mark.parametrize("call", range(1, 30, 4))
def test_cancelled_at_any_call_nothing_is_written_afterwards(tmp_path: Path, call: int) -> None:
    with World(tmp_path, "amelia") as world:
        row = requested(world)
        written: list[int] = []
        world.faults.at(writes, Watch(lambda one: written.append(one.number)), times=None)
        world.faults.at(call, Watch(lambda _: cancelled(world, row.id)))
        with world.bridge() as bridge:
            try:
                ended = bridge.carry(row.id).state
            except Cancelled:
                ended = State.CANCELLED

        assert [number for number in written if number > call] == []
        assert ended is State.CANCELLED
        assert row_of(world, row.id).state == ended
        assert world.log().count("disclosure.intent") == world.log().count("disclosure.result")
        world.verify()


def writes(call: Call) -> bool:
    return call.server == SECOND and call.brings_records and b'"PUT"' in call.body


def test_a_cancelled_transfer_is_begun_anew_only_by_a_person(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        row = requested(world)
        cancelled(world, row.id)
        with world.bridge() as bridge:
            with pytest.raises(Cancelled):
                bridge.carry(row.id)
            report = bridge.resume(row.id)

        assert report.state is State.CLOSED
        assert row_of(world, row.id).attempt == 2
        assert row_of(world, row.id).cancelled is None


@pytest.mark.parametrize("when", When)
def test_a_store_that_dies_while_a_request_is_settled_leaves_one_transfer(
    tmp_path: Path, when: When
) -> None:
    for call in range(1, 6):
        with World(tmp_path / f"{call}", "amelia") as world:
            first, second = requested(world), requested(world)
            with world.bridge() as bridge:
                bridge.carry(first.id)
            with world.bridge(Mishap("store", call, when)) as bridge, suppress(StoreUnavailable):
                bridge.carry(second.id)
            with world.bridge() as bridge:
                report = bridge.carry(second.id)

            assert report.state is State.CLOSED
            assert row_of(world, second.id).joined == first.id
            assert all(world.second.versions(ref) == 1 for ref in world.arrived())


@pytest.mark.parametrize("write", [2, 4, 6])
@pytest.mark.parametrize("stop", ["cancelled", "revoked"])
def test_stopped_after_a_crash_the_log_names_what_had_gone_before_it(
    tmp_path: Path, write: int, stop: str
) -> None:
    with World(tmp_path, "amelia", second=Profile(entry_limit=25)) as world:
        row = requested(world)
        world.faults.at(nth_write(write), DropAfter())
        world.faults.at(lambda _: len(writes_of(world)) >= write, DropBefore(), times=None)
        with world.bridge() as bridge, pytest.raises(Unreachable):
            bridge.carry(row.id)
        world.faults.clear()
        gone, arrived = copies_of_records(world), world.arrived()

        if stop == "cancelled":
            cancelled(world, row.id)
        else:
            revoke(world)
        with world.bridge() as bridge, pytest.raises(Refused):
            bridge.carry(row.id)

        assert world.arrived() == arrived
        with Store.open(world.settings.store, clock=Clock(), log_origin="test.example") as store:
            entries = list(store.entries(row.id))
        results = [one for one in entries if one.type == "disclosure.result"]
        assert len(results) == 1
        assert results[0].content is not None
        assert results[0].content.count == gone
        assert results[0].outcome == "4"
        world.verify()


def copies_of_records(world: World) -> int:
    ours = {ref for ref in world.arrived() if not ref.startswith(("Consent/", "Provenance/"))}
    return len(ours - documents_we_wrote(world))
