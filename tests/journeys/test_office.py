"""What people do with a transfer outside its journey is signed as its acts are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.audit import Opened, Said, opened
from fhir_bridge.clock import Clock
from fhir_bridge.errors import Refused, SettingsError, StoreUnavailable
from fhir_bridge.ledger import Entry, Event, NewEntry
from fhir_bridge.manifest import Decision
from fhir_bridge.store import Store
from tests.journeys.world import Mishap, When, World

PERSON = Said(by="Ada Invented", reason="the patient asked for it")
PATIENT = "https://first.example/fhir/Patient/amelia"


def last(world: World) -> tuple[Entry, Opened]:
    entry, body = world.bodies()[-1]
    return entry, opened(body)


def everything(world: World) -> bytes:
    folder = world.settings.store
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def store(world: World) -> Store:
    return Store.open(world.settings.store, clock=Clock(), log_origin="test.example")


def test_who_looked_at_a_transfer_is_signed_with_the_patient_it_is_about(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        with world.bridge() as bridge:
            bridge.office.viewed([report.transfer], command="show")
        entry, told = last(world)
        requested, _ = world.bodies()[0]

    assert entry.type is Event.ACCESS_VIEWED
    assert entry.actor == "cli:test"
    assert entry.transfer == f"urn:uuid:{report.transfer}"
    assert entry.subject == requested.subject
    assert told.details == {"command": "show"}
    assert told.patient is not None
    assert told.patient["identifier"]["value"] == "amelia"


def test_looking_twice_is_two_acts(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        before = len(world.log())
        for _ in range(2):
            with world.bridge() as bridge:
                bridge.office.viewed([report.transfer], command="show")

        assert world.log()[before:] == ["access.viewed"] * 2


def test_what_cannot_be_signed_is_not_shown(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        dead = Mishap("store", 1, When.BEFORE)
        with world.bridge(dead) as bridge, pytest.raises(StoreUnavailable):
            bridge.office.viewed([report.transfer], command="show")


def test_a_look_at_nobody_names_nobody(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        with world.bridge() as bridge:
            bridge.office.viewed([], command="audit disclosures")
        entry, told = last(world)

    assert (entry.transfer, entry.subject, told.patient) == (None, None, None)


def test_an_export_and_a_receipt_are_signed(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        with world.bridge() as bridge:
            log = bridge.store.log
            bridge.office.exported(log=log, first=0, end=10, bodies=True)
            bridge.office.issued(report.transfer, log=log, entry=6)
        (export, exported), (receipt, issued) = world.bodies()[-2:]

    assert export.type is Event.EXPORT_MADE
    assert export.transfer is None
    assert opened(exported).details == {"log": log, "first": "0", "end": "10", "bodies": "true"}
    assert receipt.type is Event.RECEIPT_ISSUED
    assert opened(issued).details == {"log": log, "entry": "6"}


def test_a_change_of_the_logs_key_is_told_in_the_entry_that_both_keys_sign(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        with world.bridge() as bridge:
            new = bridge.rotate_key()
        ((entry, body),) = world.bodies()
        world.verify()
    content = json.loads(body)

    assert (entry.type, entry.vkey) == (Event.KEY_ROTATED, str(new))
    assert content["type"]["code"] == "110113"
    assert [one["code"] for one in content["subtype"]] == ["110129", "key.rotated"]
    assert [one["who"]["identifier"]["value"] for one in content["agent"] if one["requestor"]] == [
        entry.actor
    ]


def test_a_decision_of_a_person_is_signed_with_name_reason_and_lines(tmp_path: Path) -> None:
    with World(tmp_path, "bruno") as world:
        report = world.transfer()
        held = [one.ref for one in report.lines if one.decision is Decision.HELD]
        with world.bridge() as bridge:
            bridge.decide(report.transfer, held[:1], release=True, by="Ada", reason="seen")
        entry, told = last(world)

    assert entry.type is Event.RECORD_RELEASED
    assert (told.person, told.details["reason"], told.refs) == ("Ada", "seen", tuple(held[:1]))


def test_a_decision_that_is_turned_and_turned_back_is_three_acts(tmp_path: Path) -> None:
    with World(tmp_path, "bruno") as world:
        report = world.transfer()
        held = [one.ref for one in report.lines if one.decision is Decision.HELD][:1]
        before = len(world.log())
        with world.bridge() as bridge:
            for release in (True, False, True):
                bridge.decide(report.transfer, held, release=release, by="Ada", reason="seen")

        assert world.log()[before:] == ["record.released", "record.withheld", "record.released"]


def test_erasing_leaves_entries_that_verify_and_nothing_that_names_the_patient(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        with store(world) as opened_store:
            sealed = [
                row
                for table in ("audit_body", "manifest_line")
                for row in rows(opened_store, table)
            ]
        with world.bridge() as bridge:
            bridge.office.erase(report.transfer, PERSON)
            bridge.verify_log()
            with pytest.raises(Refused, match="erased"):
                bridge.show(report.transfer)
        names = world.log()
        entry, told = last(world)
        left = everything(world)

    assert names[-1] == "erasure.done"
    assert len(names) == 11
    assert entry.body is not None
    assert (told.person, told.details["reason"], told.patient) == (
        PERSON.by,
        PERSON.reason,
        None,
    )
    assert b"Observation/amelia-lithium" not in left
    assert not any(cell in left for row in sealed for cell in row if isinstance(cell, bytes))


def rows(opened_store: Store, table: str) -> list[Any]:
    with opened_store._database.reading() as connection:
        return list(connection.exec_driver_sql(f"select * from {table}").all())  # noqa: S608


def test_every_erased_body_is_absent_and_counted(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        with world.bridge() as bridge:
            bridge.office.erase(report.transfer, PERSON)
            verified = bridge.verify_log()
        with store(world) as opened_store:
            left = list(opened_store.opened(opened_store.log, 0, 100))

    assert (verified.erased, verified.statements) == (9, 1)
    assert [json.loads(body)["subtype"][0]["code"] for _, _, body in left] == ["erasure.done"]


def test_a_transfer_that_has_not_ended_is_not_erased(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        with pytest.raises(StoreUnavailable):
            world.transfer(Mishap("store", 9, When.AFTER))
        (row,) = world.rows()
        with world.bridge() as bridge, pytest.raises(Refused, match="not ended"):
            bridge.office.erase(row.id, PERSON)

        assert "erasure.done" not in world.log()


def test_a_transfer_signed_before_there_were_audit_events_is_still_looked_at_and_read(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world, world.bridge() as bridge:
        row = bridge.store.create_transfer(
            key="ab" * 32, state="closed", source="first", destination="second", request=b"{}"
        )
        said = {"by": "Ada", "reason": "asked"}
        old = NewEntry(
            type=Event.TRANSFER_REQUESTED, actor="cli:ada", transfer=row.id, statement=said
        )
        idx = bridge.store.append(old, event_id=row.id).first

        bridge.office.viewed([row.id], command="show")

        assert bridge.store.statement(idx) == said
        entry, told = last(world)
        assert (entry.type, told.patient) == (Event.ACCESS_VIEWED, None)
        bridge.verify_log()


def test_an_unknown_transfer_is_neither_shown_nor_erased(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world, world.bridge() as bridge:
        with pytest.raises(SettingsError, match="no transfer"):
            bridge.office.erase("nowhere", PERSON)
        with pytest.raises(SettingsError, match="no transfer"):
            bridge.office.viewed(["nowhere"], command="show")


def test_a_patients_transfers_are_found_by_his_key_until_the_last_one_is_erased(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        first, second = world.transfer(), world.transfer(new=True)
        with world.bridge() as bridge:
            found = bridge.store.transfers_about(PATIENT)
            assert [row.id for row in found] == [first.transfer, second.transfer]
            assert bridge.store.transfers_about(f"{PATIENT}-2") == ()

            bridge.office.erase(first.transfer, PERSON)
            found = bridge.store.transfers_about(PATIENT)
            assert [row.id for row in found] == [first.transfer, second.transfer]

            bridge.office.erase(second.transfer, PERSON)
            assert bridge.store.transfers_about(PATIENT) == ()
            bridge.verify_log()


def test_a_patient_who_comes_again_after_all_was_erased_is_another_number(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        first = world.transfer()
        with world.bridge() as bridge:
            before = bridge.store.subject(PATIENT, first.transfer)
            bridge.office.erase(first.transfer, PERSON)
            assert bridge.store.subject(PATIENT, first.transfer) != before


def test_erasing_again_removes_what_was_added_since_and_says_so(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        with world.bridge() as bridge:
            bridge.office.erase(report.transfer, PERSON)
            bridge.office.viewed([report.transfer], command="show")
            bridge.office.erase(report.transfer, PERSON)
        bodies = world.bodies()

    assert [str(entry.type) for entry, _ in bodies] == ["erasure.done"] * 2
