"""What is said about a finding: its verdict, its words, and nothing that a terminal obeys."""

from __future__ import annotations

import pickle

import pytest

from fhir_bridge.exports import Facts, Finding, Reason, Report, Verdict
from fhir_bridge.exports.reasons import Found, sentence, verdict_of
from fhir_bridge.ledger import Checkpoint

LIMITS = {
    Reason.NO_OUTSIDE_COPY,
    Reason.NO_QUORUM,
    Reason.TAIL_UNWITNESSED,
    Reason.POLICY_OUTDATED,
    Reason.BODIES_ERASED,
    Reason.BODIES_LEFT_OUT,
    Reason.BODY_NOT_SHOWN,
    Reason.PIN_NOT_COMPARED,
}


def test_the_verdict_is_the_exit_code() -> None:
    assert [(one.name, int(one)) for one in Verdict] == [
        ("VERIFIED", 0),
        ("TAMPERED", 1),
        ("UNUSABLE", 2),
        ("LIMITED", 3),
    ]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_one_verdict_and_one_sentence(reason: Reason) -> None:
    names = ("what", "log", "idx", "size", "listed", "signed", "file", "detail", "found")
    more = ("expected", "transfer", "pinned", "count")
    said = sentence(reason, {name: name for name in (*names, *more)})

    assert said.endswith(".")
    assert "{" not in said
    assert (verdict_of(reason) is Verdict.LIMITED) is (reason in LIMITS)


def test_what_was_changed_is_tampered_with_and_what_cannot_be_read_is_unusable() -> None:
    assert verdict_of(Reason.ROOT_MISMATCH) is Verdict.TAMPERED
    assert verdict_of(Reason.ROLLED_BACK) is Verdict.TAMPERED
    assert verdict_of(Reason.FILE_MISSING) is Verdict.UNUSABLE
    assert verdict_of(Reason.LOG_UNKNOWN) is Verdict.UNUSABLE


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7, "7"),
        ("a\x1b[31mb\n", "a?[31mb?"),
        ("é" * 160, "é" * 160),
        ("é" * 161, "é" * 160 + "..."),
        ("é" * 100_000, "é" * 160 + "..."),
    ],
)
def test_what_comes_from_the_input_is_shown_harmless_and_short(value: object, shown: str) -> None:
    said = sentence(Reason.FILE_ADDED, {"file": value})

    assert said == f"File {shown} does not belong to the export: it was added."


def test_a_number_is_shown_whole_however_long_it_is() -> None:
    assert str(10**200) in sentence(Reason.ROLLED_BACK, {"size": 10**200, "pinned": 1})


def test_what_was_found_goes_whole_to_another_process() -> None:
    found = pickle.loads(pickle.dumps(Found(Reason.ENTRY_MOVED, idx=3, found=4)))  # noqa: S301 - ours

    assert (found.reason, found.details) == (Reason.ENTRY_MOVED, {"idx": 3, "found": 4})
    assert str(found) == "entry-moved"


def test_a_report_says_its_first_finding_first() -> None:
    facts = Facts(log="log.example", entries=7, root=bytes(32))
    limit = Finding.limit(Reason.NO_OUTSIDE_COPY)
    wrong = Finding.of(Found(Reason.ROOT_MISMATCH, size=7))

    assert Report(findings=(), facts=facts).verdict is Verdict.VERIFIED
    assert Report(findings=(limit,), facts=facts).verdict is Verdict.LIMITED
    assert Report(findings=(wrong, limit), facts=facts).verdict is Verdict.TAMPERED


def test_a_checkpoint_to_keep_is_there_when_log_and_root_are_known() -> None:
    kept = str(Checkpoint(origin="log.example", size=7, root=bytes(32)))

    assert Facts(log="log.example", entries=7, root=bytes(32)).checkpoint == kept
    assert Facts(entries=7, root=bytes(32)).checkpoint is None
    assert Facts(log="log.example", entries=7).checkpoint is None


def test_facts_begin_with_nothing() -> None:
    assert Report(findings=(), facts=Facts()).as_object() == {
        "verdict": "verified",
        "exit": 0,
        "findings": [],
        "log": None,
        "entries": 0,
        "root": None,
        "checkpoint": None,
        "checkpoints": 0,
        "transfers": 0,
        "intents_without_result": {"count": 0, "transfers": []},
        "witnessed": 0,
        "pinned": 0,
        "bodies": {"checked": False, "opened": 0, "erased": 0, "erased_entries": []},
    }


def test_a_report_as_json_says_everything_that_was_counted() -> None:
    facts = Facts(
        log="log.example",
        entries=7,
        root=bytes(32),
        checkpoints=2,
        transfers=3,
        unanswered=["u"],
        unanswered_count=4,
        witnessed=5,
        pinned=6,
        bodies_opened=8,
        bodies_erased=9,
        bodies_erased_first=[1],
        bodies_checked=True,
    )
    found = Finding.of(Found(Reason.ROLLED_BACK, size=7, pinned=9))

    assert Report(findings=(found,), facts=facts).as_object() == {
        "verdict": "tampered",
        "exit": 1,
        "findings": [{"reason": "rolled-back", "sentence": found.sentence}],
        "log": "log.example",
        "entries": 7,
        "root": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "checkpoint": facts.checkpoint,
        "checkpoints": 2,
        "transfers": 3,
        "intents_without_result": {"count": 4, "transfers": ["u"]},
        "witnessed": 5,
        "pinned": 6,
        "bodies": {"checked": True, "opened": 8, "erased": 9, "erased_entries": [1]},
    }
