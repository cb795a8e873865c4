"""The command line: what it prints and how it ends."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fhir_bridge import stories
from fhir_bridge.doors import cli
from fhir_bridge.doors.arguments import parser
from fhir_bridge.doors.cli import LOG_VARIABLE, main
from fhir_bridge.sandbox import Sandbox, Seen

STORY = stories.load("amelia")


class Desk:
    """Someone at a terminal, with two servers of the story."""

    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self.capsys = capsys
        self.first = Sandbox(name="first")
        self.second = Sandbox(name="second")
        self.said = ""
        self.warned = ""

    def run(self, *words: str) -> int:
        code = main([*words, "--store", str(self.store)])
        self.said, self.warned = self.capsys.readouterr()
        assert "Traceback" not in self.warned
        return code

    def transfer(self, *more: str, **changes: str) -> int:
        words = {
            "source": self.first.base,
            "destination": self.second.base,
            "patient": STORY.patient,
            "custodian": STORY.custodian.identifier,
            "recipient": STORY.recipient.identifier,
            **changes,
        }
        options = [word for name, value in words.items() for word in (f"--{name}", value)]
        return self.run("transfer", *options, *more)

    def json(self) -> Any:
        return json.loads(self.said)

    def writes(self) -> list[Seen]:
        """Return what was sent to the second provider that is not a question."""
        return [
            one
            for one in self.second.requests
            if one.method not in {"GET", "HEAD"} and not one.path.endswith("/_search")
        ]


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    made = Desk(tmp_path / "store", capsys)
    with made.first, made.second:
        assert made.run("seed", made.first.base, "--story", "amelia") == 0
        assert made.run("seed", made.second.base, "--story", "amelia", "--as", "destination") == 0
        yield made


def test_a_transfer_ends_with_code_0_and_the_documented_object(desk: Desk) -> None:
    assert desk.transfer("--json") == 0

    report = desk.json()
    assert set(report) == {
        "transfer",
        "state",
        "complete",
        "preview",
        "counts",
        "records",
        "gaps",
        "images",
        "notes",
        "authored",
        "audit",
    }
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for part in (report, report["counts"], report["records"][0], report["images"][0]):
        assert [name for name in part if f"`{name}`" not in readme] == []
    assert report["state"] == "closed"
    assert report["counts"]["released"] == STORY.expected["counts"]["released"]
    assert "Disclosure" in desk.warned


def test_the_same_command_again_is_the_same_transfer(desk: Desk) -> None:
    desk.transfer("--json")
    first = desk.json()["transfer"]
    versions = {ref: desk.second.versions(ref) for ref in desk.second.resources}

    assert desk.transfer("--json") == 0

    assert desk.json()["transfer"] == first
    assert {ref: desk.second.versions(ref) for ref in desk.second.resources} == versions


def test_a_transfer_can_be_shown_resumed_and_its_log_verified(desk: Desk) -> None:
    desk.transfer("--json")
    transfer = desk.json()["transfer"]

    assert desk.run("show", transfer) == 0
    assert "Complete except images" in desk.said
    assert desk.run("resume", transfer, "--json") == 0
    assert desk.run("audit", "verify-db") == 0
    assert desk.said.startswith("verified: ")


def test_a_preview_sends_nothing(desk: Desk) -> None:
    before = len(desk.second.requests), dict(desk.first.resources)

    assert desk.transfer("--preview") == 0

    assert "Nothing was sent" in desk.said
    assert (len(desk.second.requests), dict(desk.first.resources)) == before


def test_a_refusal_ends_with_code_3_and_names_what_to_do(desk: Desk) -> None:
    assert desk.transfer(recipient="urn:oid:2.999.1.9|another-clinic") == 3

    assert "No record was read" in desk.warned
    assert "--basis treatment" in desk.warned


def test_an_unknown_patient_ends_with_code_3(desk: Desk) -> None:
    assert desk.transfer(patient="Patient/nobody") == 3
    assert len(desk.warned.strip().splitlines()) == 1


def test_a_server_that_does_not_answer_ends_with_code_6(desk: Desk) -> None:
    desk.first.stop()

    assert desk.transfer() == 6
    assert len(desk.warned.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("check", "nowhere"),
        ("check", "ftp://x.example"),
        ("check", "https://user:secret@x.example/fhir"),
        ("check", "http://x.example/fhir"),
        ("accept", "unknown", "--gap", "Observation/1", "--by", "R. Officer", "--reason", "known"),
        ("show", "00000000-0000-4000-8000-000000000000"),
        ("resume", "00000000-0000-4000-8000-000000000000"),
        ("seed", "http://127.0.0.1:9", "--story", "nobody"),
    ],
)
def test_wrong_words_end_with_code_2_and_one_sentence(desk: Desk, words: tuple[str, ...]) -> None:
    assert desk.run(*words) == 2
    assert len(desk.warned.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words", [("--kinds", "lab,dreams"), ("--kinds", ","), ("--reason", "dreams")]
)
def test_a_wrong_word_of_an_order_ends_with_code_2_before_anything_is_sent(
    desk: Desk, words: tuple[str, ...]
) -> None:
    before = desk.writes()

    assert desk.transfer(*words) == 2

    assert desk.writes() == before
    assert len(desk.warned.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--question", "--override", "--reason-for-basis"])
@pytest.mark.parametrize("char", ["\x00", "\x1b", "\x7f", "\x85", "\r", "\udc80"])
def test_words_with_a_control_character_end_with_code_2_before_anything_is_asked(
    desk: Desk, option: str, char: str
) -> None:
    before = len(desk.first.requests), len(desk.second.requests)

    assert desk.transfer(option, f"Is it {char}needed?") == 2

    assert option in desk.warned
    assert "needed" not in desk.warned
    assert (len(desk.first.requests), len(desk.second.requests)) == before


def test_a_question_may_have_lines_and_letters_of_any_language(desk: Desk) -> None:
    assert desk.transfer("--question", "Ist sie nötig?\n\t必要ですか") == 0


@pytest.mark.parametrize("option", ["--by", "--reason"])
def test_nobody_signs_with_a_control_character(desk: Desk, option: str) -> None:
    words = {"--by": "R. Officer", "--reason": "looked at it", option: "R.\x1b[2J"}
    options = [word for pair in words.items() for word in pair]

    assert desk.run("release", "some-transfer", "Observation/1", *options) == 2
    assert option in desk.warned


def test_a_consent_file_that_is_not_json_is_the_operators_to_mend(
    desk: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "consent.json"
    file.write_text("{", encoding="utf-8")

    assert desk.transfer("--consent", str(file)) == 2
    assert "consent.json" in desk.warned


def test_a_refused_transfer_is_shown_as_refused(desk: Desk) -> None:
    assert desk.transfer(recipient="urn:oid:2.999.1.9|another-clinic") == 3
    with sqlite3.connect(desk.store / "store.db") as rows:
        (transfer,) = rows.execute("SELECT id FROM transfer").fetchone()
    rows.close()

    assert desk.run("show", transfer) == 3


def test_an_altered_log_ends_with_code_8(desk: Desk) -> None:
    desk.transfer()
    with sqlite3.connect(desk.store / "store.db") as rows:
        rows.execute("UPDATE audit_entry SET leaf = zeroblob(length(leaf)) WHERE idx = 3")
    rows.close()

    assert desk.run("audit", "verify-db") == 8
    assert desk.warned.startswith("Tampered: ")


@pytest.mark.parametrize("option", ["--by", "--reason"])
def test_nobody_signs_with_an_empty_name_or_reason(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"--by": "R. Officer", "--reason": "looked at it", option: " "}
    options = [word for pair in words.items() for word in pair]

    with pytest.raises(SystemExit) as ended:
        main(["release", "some-transfer", "Observation/1", *options])

    assert ended.value.code == 2
    assert "signed" in capsys.readouterr().err


def test_an_unknown_error_ends_with_code_70_and_names_no_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: object) -> int:
        raise RuntimeError("the value of a record")

    monkeypatch.setitem(cli._ACTS, "stories", breaks)

    assert main(["stories"]) == 70

    warned = capsys.readouterr().err
    assert "RuntimeError at test_cli.py" in warned
    assert "value of a record" not in warned
    assert len(warned.strip().splitlines()) == 1


def test_check_says_what_a_server_can_be_used_for(desk: Desk) -> None:
    assert desk.run("check", desk.first.base) == 0
    assert "can be both ends of a transfer" in desk.said


def test_the_stories_are_listed(desk: Desk) -> None:
    assert desk.run("stories") == 0
    assert [line.split()[0] for line in desk.said.splitlines()] == list(stories.names())


def test_a_sandbox_on_a_taken_port_says_so(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sandbox", "--port", str(urlsplit(desk.first.base).port)]) == 2
    assert "is it taken by another program?" in capsys.readouterr().err


def test_a_held_line_is_released_by_a_person_and_signed(desk: Desk) -> None:
    unknown = {
        "resourceType": "Observation",
        "id": "unsorted",
        "meta": STORY.source[0]["meta"],
        "status": "final",
        "code": {"text": "unsorted"},
        "subject": {"reference": STORY.patient},
    }
    desk.first.load([unknown])
    assert desk.transfer("--json") == 4
    transfer = desk.json()["transfer"]
    assert desk.json()["state"] == "held"
    words = ("Observation/unsorted", "--by", "R. Officer", "--reason", "looked at it")

    assert desk.run("release", transfer, *words) == 0
    assert desk.run("resume", transfer, "--json") == 0

    lines = {line["ref"]: line for line in desk.json()["records"]}
    assert lines["Observation/unsorted"]["rule"] == "released-by-person"
    assert lines["Observation/unsorted"]["outcome"] == "identical"


def test_what_a_consent_denies_no_person_may_release(desk: Desk) -> None:
    desk.transfer("--json")
    transfer = desk.json()["transfer"]
    words = ("Observation/amelia-lithium", "--by", "R. Officer", "--reason", "asked to")

    assert desk.run("release", transfer, *words) == 3
    assert "new consent" in desk.warned


def test_the_demo_ends_complete_except_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--store", str(tmp_path / "store")]) == 0
    assert "Complete except images" in capsys.readouterr().out


def test_the_commands_that_the_demo_prints_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["demo", "--store", str(tmp_path / "store")])
    printed = re.findall(r"fhir-bridge ((?:show|audit) .+)$", capsys.readouterr().out, re.MULTILINE)

    assert len(printed) == 2
    for command in printed:
        assert main(shlex.split(command)) == 0, command


def test_a_consent_is_drafted_for_signature(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["consent", "draft", "--patient", "Patient/a", "--custodian", "urn:oid:1.2|a"]
    words += ["--recipient", "urn:oid:1.2|b", "--until", "2099-12-31", "--except", "HIV"]

    assert main([*words, "--policy", "https://a.example/policy"]) == 0

    drafted = json.loads(capsys.readouterr().out)
    assert drafted["status"] == "draft"
    assert [one["code"] for one in drafted["provision"]["purpose"]] == ["TREAT"]


def test_a_drafted_consent_names_every_purpose_and_exception_that_was_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["consent", "draft", "--patient", "Patient/a", "--custodian", "urn:oid:1.2|a"]
    words += ["--recipient", "urn:oid:1.2|b", "--until", "2099-12-31"]
    words += ["--purpose", "TREAT", "--purpose", "COC", "--except", "HIV", "--except", "PSY"]

    assert main([*words, "--policy", "https://a.example/policy"]) == 0

    provision = json.loads(capsys.readouterr().out)["provision"]
    assert [one["code"] for one in provision["purpose"]] == ["TREAT", "COC"]
    denied = [one["securityLabel"][0]["code"] for one in provision["provision"]]
    assert denied == ["HIV", "PSY"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--until", "2099-13-45"),
        ("--until", "soon"),
        ("--kinds", ""),
        ("--purpose", "treat"),
        ("--purpose", "SHOPPING"),
        ("--except", "hiv"),
        ("--except", "EVERYTHING"),
    ],
)
def test_a_consent_that_cannot_be_drafted_ends_with_code_2(
    capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    words = {
        "--patient": "Patient/a",
        "--custodian": "urn:oid:1.2|a",
        "--recipient": "urn:oid:1.2|b",
        "--until": "2099-12-31",
        "--policy": "https://a.example/policy",
        option: value,
    }

    assert main(["consent", "draft", *(word for pair in words.items() for word in pair)]) == 2

    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_log_line_names_the_command_and_its_code_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOG_VARIABLE, "1")

    main(["stories"])

    line = json.loads(capsys.readouterr().err)
    assert set(line) == {"event", "exit_code", "level", "step", "timestamp"}
    assert (line["event"], line["step"], line["exit_code"]) == ("command.ended", "stories", 0)


def test_every_command_has_help() -> None:
    assert "COMMAND" in parser().format_help()


def test_a_preview_never_sends_anything_not_when_resumed_either(desk: Desk) -> None:
    assert desk.transfer("--preview", "--json") == 0
    transfer = desk.json()["transfer"]
    before = len(desk.second.requests)

    assert desk.run("resume", transfer) == 2
    assert "preview" in desk.warned
    assert desk.run("show", transfer) == 0
    assert "Nothing was sent" in desk.said
    assert len(desk.second.requests) == before
