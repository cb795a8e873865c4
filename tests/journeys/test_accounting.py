"""
The accounting of disclosures is right, line by line, against what the destinations hold.

Method: one patient and three servers to send to; one transfer goes whole, in one
a record is refused, in one the consent is revoked between two requests. Then
every line is compared with the copies that each server has.
"""

from __future__ import annotations

import html
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.accounting import Disclosure, Ending
from fhir_bridge.audit import Said
from fhir_bridge.bridge import Report
from fhir_bridge.doors.cli import main
from fhir_bridge.doors.disclosing import as_object, page
from fhir_bridge.errors import (
    ConsentRefused,
    DestinationUnreachable,
    PatientUnclear,
    PatientUnknown,
    SettingsError,
    Tampered,
)
from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import Call, Profile, Sandbox, Status, Watch
from fhir_bridge.transfer import State
from tests.journeys.test_consent_at_every_send import CEA, CONSENT, revoke
from tests.journeys.world import FIRST, SECOND, World

THIRD, FOURTH = "third", "fourth"
HEART = ("urn:oid:2.999.1.3", "heart-centre", "Heart Centre")
ADDRESS = "5 Second Street, Town"
OURS = {"Consent", "Task"}


def copies(sandbox: Sandbox, before: set[RecordRef]) -> set[RecordRef]:
    """The copies of records at a server, without what the bridge itself wrote."""
    return {ref for ref in set(sandbox.resources) - before if _is_copy(sandbox, ref)}


def _is_copy(sandbox: Sandbox, ref: RecordRef) -> bool:
    type_, content = ref.partition("/")[0], sandbox.resources[ref]
    systems = {row.get("system") for row in content.get("identifier", ()) if isinstance(row, dict)}
    if type_ in {"DocumentReference", "ServiceRequest"}:
        return f"https://first.example/fhir/{type_}" in systems
    if type_ == "Provenance":
        return {"type": "Device", "display": "fhir-bridge"} not in [
            one["who"] for one in content["agent"]
        ]
    return type_ not in OURS


def brings(call: Call, server: str) -> bool:
    return call.server == server and call.brings_records


def told(world: World, patient: str = "Patient/amelia", **names: str) -> list[Disclosure]:
    with world.bridge() as bridge:
        return list(bridge.accounts.of(patient, **names))


@dataclass
class Town:
    """Three servers to send to: one takes all, one refuses a record, one is slow enough."""

    world: World
    third: Sandbox
    fourth: Sandbox
    before: dict[str, set[RecordRef]]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with World(tmp_path, "amelia") as world, ExitStack() as stack:
        names: dict[str, Any] = {"faults": world.faults, "clock": world.time.clock()}
        third = stack.enter_context(Sandbox(name=THIRD, **names))
        fourth = stack.enter_context(Sandbox(name=FOURTH, profile=Profile(entry_limit=20), **names))
        for one in (third, fourth):
            one.load(world.story.destination)
        second = world.story.recipient
        full = f'identifier = "{second.identifier}", name = "{second.name}"'
        world.written[SECOND] = f'organisations = [{{ {full}, address = "{ADDRESS}" }}]\n'
        heart = f'identifier = "{HEART[0]}|{HEART[1]}", name = "{HEART[2]}"'
        world.written["servers.third"] = _server(third, heart)
        world.written["servers.fourth"] = _server(fourth, full)
        before = {one.name: set(one.resources) for one in (world.second, third, fourth)}
        yield Town(world, third, fourth, before)


def _server(sandbox: Sandbox, organisation: str) -> str:
    identity = f"https://{sandbox.name}.example/fhir"
    return (
        f'base = "{sandbox.base}"\nidentity = "{identity}"\norganisations = [{{ {organisation} }}]'
    )


def permit_the_heart_centre(world: World) -> None:
    consent: dict[str, Any] = json.loads(json.dumps(dict(world.first.resources[CONSENT])))
    recipient = {"system": HEART[0], "value": HEART[1]}
    consent["provision"]["actor"][0]["reference"] = {"identifier": recipient}
    world.first.load([{**consent, "id": "for-the-heart-centre"}])


def revoke_at_the_second_request(world: World, server: str) -> None:
    writes: list[Call] = []

    def look(call: Call) -> None:
        writes.append(call)
        if len(writes) == 2:
            revoke(world)

    world.faults.at(lambda call: brings(call, server), Watch(look), times=None)


def three_transfers(town: Town) -> tuple[Report, Report]:
    """One goes whole, one is refused a record, one is revoked between two requests."""
    world = town.world
    permit_the_heart_centre(world)
    whole = world.transfer()
    world.faults.at(
        lambda call: brings(call, THIRD) and CEA.rpartition("/")[2].encode() in call.body,
        Status(422),
        times=None,
    )
    partly = world.transfer(destination=THIRD)
    world.faults.clear()
    revoke_at_the_second_request(world, FOURTH)
    with pytest.raises(ConsentRefused):
        world.transfer(destination=FOURTH)
    return whole, partly


def test_three_transfers_are_told_line_by_line_as_their_destinations_hold_them(
    town: Town,
) -> None:
    world = town.world
    whole, partly = three_transfers(town)

    first, second, third = told(world)

    at_second = copies(world.second, town.before[SECOND])
    assert (first.transfer, second.transfer) == (whole.transfer, partly.transfer)
    assert first.lines == first.new == len(at_second)
    assert first.ending is Ending.COMPLETE
    assert first.images == 2
    assert (first.recipient.name, first.recipient.address) == (world.story.recipient.name, ADDRESS)
    assert first.custodian == world.story.custodian.identifier
    assert (first.purpose, first.basis) == (world.story.purpose, "consent")
    assert first.consents == (("Consent/amelia-second-opinion", "1"),)
    released = [line for line in whole.lines if line.decision == "released"]
    assert first.size_bytes == sum(line.size_bytes for line in released)
    assert first.kinds == Counter(
        "documents" if line.attachment else str(line.kind or "supporting") for line in released
    )

    at_third = copies(town.third, town.before[THIRD])
    assert partly.state is State.INCOMPLETE
    assert second.ending is Ending.INCOMPLETE
    assert 0 < second.lines == second.new == len(at_third) < first.lines
    assert (second.recipient.name, second.recipient.address) == ("Heart Centre", "")
    assert second.consents == (("Consent/for-the-heart-centre", "1"),)
    types = Counter(ref.partition("/")[0] for ref in at_third)
    assert sum(second.kinds.values()) == sum(types.values())
    assert second.kinds["documents"] == types["Binary"]

    at_fourth = copies(town.fourth, town.before[FOURTH])
    assert third.ending is Ending.STOPPED
    assert 0 < third.lines == third.new == len(at_fourth) < first.lines
    assert third.recipient == first.recipient


def test_each_line_names_its_entries_and_a_checkpoint_over_them(town: Town) -> None:
    three_transfers(town)
    found = told(town.world)

    entries = {entry.idx: entry for entry in town.world.entries()}
    assert len(found) == 3
    for one in found:
        assert entries[one.entry].type == "disclosure.intent"
        assert one.result is not None
        assert entries[one.result].type == "disclosure.result"
        assert entries[one.entry].t == one.at
        assert one.checkpoint.size > one.result


def test_what_went_after_a_new_consent_is_a_line_of_its_own_that_says_what_is_new(
    town: Town,
) -> None:
    world = town.world
    consent = dict(world.first.resources[CONSENT])
    revoke_at_the_second_request(world, FOURTH)
    with pytest.raises(ConsentRefused):
        world.transfer(destination=FOURTH)
    world.faults.clear()
    gone = copies(town.fourth, town.before[FOURTH])
    world.first.load([{**consent, "dateTime": "2026-11-24T10:00:00+01:00"}])

    world.resume(world.transfers()[0])

    stopped, whole = told(world)
    there = copies(town.fourth, town.before[FOURTH])
    assert (stopped.ending, whole.ending) == (Ending.STOPPED, Ending.COMPLETE)
    assert stopped.lines == len(gone)
    assert whole.lines == len(there)
    assert whole.new == len(there) - len(gone) > 0


def test_the_same_again_discloses_nothing_and_is_no_line(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        (once,) = told(world)
        world.transfer()
        again = told(world)

    assert [(one.entry, one.result, one.lines) for one in again] == [
        (once.entry, once.result, once.lines)
    ]


def test_asking_for_the_patient_is_a_disclosure_where_nothing_follows(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.second.remove("Patient/soc-88213")
        with pytest.raises(PatientUnclear):
            world.transfer()
        (one,) = told(world)

    assert one.identifiers_only
    assert one.lines == 0
    assert one.recipient.identifier == world.story.recipient.identifier


def test_a_transfer_that_was_interrupted_is_told_as_not_known(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.faults.at(lambda call: brings(call, SECOND), Status(503), times=None)
        with pytest.raises(DestinationUnreachable):
            world.transfer()
        (one,) = told(world)

    assert one.ending is Ending.UNKNOWN
    assert one.result is None
    assert one.lines > 0


def test_a_preview_and_a_refusal_are_no_disclosures(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer(preview=True)
        world.first.remove(CONSENT)
        with pytest.raises(ConsentRefused):
            world.transfer()

        assert told(world) == []


def test_another_patient_has_no_lines(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()

        assert told(world, "Patient/someone-else") == []
        assert told(world, "Patient/amelia", source=SECOND) == []
        assert len(told(world, "amelia", source=FIRST)) == 1


def test_a_patient_is_found_by_an_identifier_that_the_source_is_asked_for(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        (patient,) = [one for one in world.story.source if one["resourceType"] == "Patient"]
        row = patient["identifier"][0]

        assert len(told(world, f"{row['system']}|{row['value']}", source=FIRST)) == 1
        with pytest.raises(SettingsError, match="name --source too"):
            told(world, f"{row['system']}|{row['value']}")
        with pytest.raises(PatientUnknown):
            told(world, f"{row['system']}|nobody", source=FIRST)


def test_only_what_left_since_a_day_is_listed(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()

        assert len(told(world, day="2026-11-25")) == 1
        assert told(world, day="2026-11-26") == []
        with pytest.raises(SettingsError, match="YYYY-MM-DD"):
            told(world, day="yesterday")


def test_of_an_erased_transfer_the_log_itself_still_tells(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        first = world.transfer()
        world.transfer(new=True)
        with world.bridge() as bridge:
            bridge.office.erase(first.transfer, Said(by="Ada", reason="asked"))
        erased, other = told(world)

    assert erased.erased
    assert not other.erased
    assert (erased.kinds, erased.new) == ({}, None)
    assert erased.lines == other.lines
    assert erased.recipient.identifier == world.story.recipient.identifier


def altered(world: World, *statements: str) -> None:
    with sqlite3.connect(world.settings.store / "store.db") as connection:
        connection.create_function("less", 1, lambda leaf: leaf.replace(b'"n":60', b'"n":10'))
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update audit_entry set leaf = less(leaf) where idx = 7", "not what was signed"),
        ("update audit_body set salt = zeroblob(32) where idx = 7", "not what was signed"),
        ("update audit_body set body = zeroblob(90) where idx = 7", "does not open"),
        ("delete from audit_entry where idx = 5", "missing"),
        ("delete from audit_entry where idx >= 8", "not what was signed"),
    ],
)
def test_what_was_altered_in_the_database_is_not_accounted_for(
    tmp_path: Path, statement: str, said: str
) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        altered(world, statement)

        with pytest.raises(Tampered, match=said):
            told(world)


def test_a_transfer_of_before_there_were_audit_events_is_told_from_the_log_alone(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        altered(world, "delete from audit_body")
        (one,) = told(world)

    assert one.transfer == report.transfer
    assert (one.lines, one.kinds, one.erased) == (60, {}, True)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "td":
            self.cells.append(data)


def test_the_page_holds_each_line_and_no_script_and_loads_nothing(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        found = told(world)
    reader = Reader()
    text = page("Patient/amelia", found, ["a receipt"])
    reader.feed(text)

    assert "default-src 'none'" in text
    assert set(reader.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "p"),
        *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre"),
    }
    assert not {"src", "href", "style", "onclick", "onload"} & set(reader.attributes)
    joined = " ".join(reader.cells)
    assert "60 records and documents" in joined
    assert found[0].log in joined


def test_everything_on_the_page_is_escaped(tmp_path: Path) -> None:
    hostile = "</td><script>alert(1)</script>\"'&"
    with World(tmp_path, "amelia") as world:
        party = world.story.recipient
        name = hostile.replace('"', '\\"')
        world.written[SECOND] = (
            f'organisations = [{{ identifier = "{party.identifier}", name = "{name}",'
            f' address = "{name}" }}]\n'
        )
        world.transfer()
        text = page(hostile, told(world), [hostile])
    reader = Reader()
    reader.feed(text)

    assert "script" not in reader.tags
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 5


def test_the_json_object_has_the_members_of_readme(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        (one,) = as_object("Patient/amelia", told(world), ["a receipt"])["disclosures"]
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.split("JSON object has `patient` and `disclosures`, each with")[1].split(".\n")[
        0
    ]

    assert all(f"`{member}`" in shown for member in one)
    assert json.loads(json.dumps(one)) == one
    assert one["what"] == {
        "records": 60,
        "bytes": one["what"]["bytes"],
        "kinds": one["what"]["kinds"],
        "new": 60,
        "identifiers_only": False,
    }


def command(world: World, *words: str) -> int:
    settings = world.folder / "fhir-bridge.toml"
    store = world.folder / "store"
    return main(
        ["audit", "disclosures", *words, "--settings", str(settings), "--store", str(store)]
    )


def test_the_command_shows_signs_who_looked_and_writes_a_page_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with World(tmp_path, "amelia") as world:
        report = world.transfer()
        before = len(world.log())
        assert command(world, "Patient/amelia") == 0
        with world.opened() as store:
            key = str(store.verifier)
        said = capsys.readouterr().out
        assert command(world, "Patient/amelia", "--json") == 0
        as_json = json.loads(capsys.readouterr().out)
        file = tmp_path / "page.html"
        assert command(world, "Patient/amelia", "--html", str(file)) == 0
        assert command(world, "Patient/amelia", "--html", str(file)) == 2
        assert command(world, "Patient/nobody") == 0
        looked = world.entries()[before:]

    assert "60 records and documents" in said
    assert "complete; the images of 2 studies stayed behind" in said
    assert "treatment (TREAT)" in said
    assert as_json["disclosures"][0]["transfer"] == report.transfer
    assert file.stat().st_mode & 0o077 == 0
    assert Counter(str(one.type) for one in looked) == {"access.viewed": 5, "receipt.issued": 2}
    assert [one.transfer for one in looked] == [f"urn:uuid:{report.transfer}"] * 6 + [None]

    receipt = tmp_path / "receipt"
    receipt.write_text(as_json["disclosures"][0]["receipt"], encoding="utf-8")
    assert receipt.read_text(encoding="utf-8")[:200] in html.unescape(
        file.read_text(encoding="utf-8")
    )
    capsys.readouterr()
    assert main(["audit", "verify-receipt", str(receipt), "--root-key", key, "--json"]) == 3
    opened = json.loads(capsys.readouterr().out)
    assert opened["verdict"] == "limited"


def test_what_left_in_a_former_year_is_told_and_proven_by_that_years_log(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        first = world.transfer()
        world.time.days = 60
        second = world.transfer(new=True)
        found = told(world)
        with world.bridge() as bridge:
            bridge.office.viewed([first.transfer], command="show")
        (seen,) = [one for one in world.entries() if one.type == "access.viewed"]

    assert [(one.transfer, one.log[-4:]) for one in found] == [
        (first.transfer, "2026"),
        (second.transfer, "2027"),
    ]
    assert [one.checkpoint.origin for one in found] == [one.log for one in found]
    assert [one.erased for one in found] == [False, False]
    assert seen.subject is not None


def test_a_former_year_that_was_altered_is_not_accounted_for(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        world.time.days = 60
        world.transfer(new=True)
        altered(world, "update audit_entry set leaf = less(leaf) where idx = 7 and year = 2026")

        with pytest.raises(Tampered, match="not what was signed"):
            told(world)
