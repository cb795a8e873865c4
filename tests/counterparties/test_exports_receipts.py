"""Receipts: one entry, proved and opened; and all entries of one transfer."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from fhir_bridge.errors import AlteredLog, SettingsError
from fhir_bridge.exports import Trust, Verdict, verify_export, verify_receipt
from fhir_bridge.exports.exporting import Prover
from fhir_bridge.ledger import (
    Policy,
    Receipt,
    Signer,
    decode_entry,
    encode_entry,
    timestamp,
)
from tests.simulators.written_log import (
    BEGAN,
    KEY,
    LOG,
    ONE_KEY,
    ROOT,
    STRANGER,
    WITNESS,
    WITNESSED,
    WrittenLog,
    body_of,
    ordinary,
    signed_again,
    transfer_of,
)

BY_KEY = Trust.of(str(KEY.verifier), None)
BY_ROOT = Trust.of(str(ROOT.verifier), None)
HONEST = WrittenLog.of(60)


def receipt_of(
    log: WrittenLog, idx: int, *, body: bool = True, policy: str | None = None
) -> Receipt:
    return Prover.of(log, LOG, idx).receipt(idx, body=body, policy=policy)


def found(receipt: Receipt | str | bytes, folder: Path, trust: Trust = BY_KEY) -> list[str]:
    path = folder / "one.tlog-proof"
    path.write_bytes(receipt if isinstance(receipt, bytes) else str(receipt).encode())
    return [str(finding.reason) for finding in verify_receipt(path, trust).findings]


@pytest.mark.parametrize("idx", [0, 1, 31, 32, 58, 59])
def test_a_receipt_of_each_entry_is_verified(idx: int, tmp_path: Path) -> None:
    assert found(receipt_of(HONEST, idx), tmp_path) == ["no-outside-copy"]


def test_a_receipt_of_a_log_with_one_entry_is_verified(tmp_path: Path) -> None:
    assert found(receipt_of(WrittenLog.of(1), 0), tmp_path) == ["no-outside-copy"]


def test_a_receipt_shows_its_entry_and_what_that_commits_to(tmp_path: Path) -> None:
    path = tmp_path / "one.tlog-proof"
    path.write_text(str(receipt_of(HONEST, 7)))
    report = verify_receipt(path, BY_KEY)

    assert report.shown is not None
    assert report.shown.entry == decode_entry(ordinary(7))
    assert report.shown.body == body_of(7)[1]
    assert report.verdict is Verdict.LIMITED
    shown = report.as_object()
    assert shown["entry"]["idx"] == 7
    assert shown["entry"]["type"] == "disclosure.result"
    assert shown["body"] == body_of(7)[1].decode()
    assert shown["checkpoint"] == str(HONEST.checkpoint(60))
    assert shown["witnessed"] == {}
    assert (shown["verdict"], shown["exit"]) == ("limited", 3)


def test_a_receipt_that_does_not_open_its_entry_says_so(tmp_path: Path) -> None:
    erased = WrittenLog.of(60)
    del erased.bodies[7]

    assert found(receipt_of(HONEST, 7, body=False), tmp_path) == [
        "no-outside-copy",
        "body-not-shown",
    ]
    assert found(receipt_of(erased, 7), tmp_path) == ["no-outside-copy", "body-not-shown"]


def test_a_receipt_carries_the_policy_that_its_root_signed(tmp_path: Path) -> None:
    receipt = receipt_of(HONEST, 7, policy=ONE_KEY.signed(ROOT))

    assert found(receipt, tmp_path, BY_ROOT) == ["no-outside-copy"]
    assert found(receipt, tmp_path, Trust.of(None, str(ONE_KEY))) == ["no-outside-copy"]
    assert found(replace(receipt, policy=None), tmp_path, BY_ROOT) == ["policy-missing"]
    forged = replace(receipt, policy=Policy.of_key(STRANGER.verifier).signed(STRANGER))
    assert found(forged, tmp_path, BY_ROOT) == ["policy-unsigned"]


def test_a_receipt_is_proved_by_the_last_checkpoint_that_a_witness_signed(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.cosign(14, WITNESS)
    log.cosign(42, WITNESS)
    by = Trust.of(None, str(WITNESSED))

    assert found(receipt_of(log, 41), tmp_path, by) == []
    assert found(receipt_of(log, 42), tmp_path, by) == ["no-quorum"]
    assert decode_size(receipt_of(log, 41)) == 42
    assert decode_size(receipt_of(log, 42)) == 60
    assert verify_receipt(tmp_path / "one.tlog-proof", by).as_object()["witnessed"] == {}
    (tmp_path / "two").write_text(str(receipt_of(log, 3)))
    report = verify_receipt(tmp_path / "two", by)
    assert report.verdict is Verdict.VERIFIED
    assert report.as_object()["witnessed"] == {"w1": 1772323302}


def decode_size(receipt: Receipt) -> int:
    return int(receipt.note.split("\n")[1])


def test_there_is_no_receipt_of_what_is_not_there() -> None:
    for idx in (-1, 60):
        with pytest.raises(SettingsError, match="no entry"):
            Prover.of(HONEST, LOG, idx)
    with pytest.raises(SettingsError, match="no checkpoint"):
        Prover.of(WrittenLog([], {}), LOG, 0)


def test_there_is_no_receipt_from_a_log_that_was_altered() -> None:
    log = WrittenLog.of(60)
    log.entries[4] = ordinary(4, t=timestamp(BEGAN))
    for idx in (4, 40):
        with pytest.raises(AlteredLog, match="verify-db"):
            receipt_of(log, idx)


def signed_entry(idx: int, /, **changes: object) -> Receipt:
    """A receipt from a log that was signed with an entry that is not as it must be."""
    log = WrittenLog.of(60)
    entry = msgspec.structs.replace(decode_entry(log.entries[idx]), **changes)
    log.entries[idx] = encode_entry(entry)
    log.sign()
    return receipt_of(log, idx)


def with_entry(leaf: bytes, idx: int = 7) -> Receipt:
    log = WrittenLog.of(60)
    log.entries[idx] = leaf
    log.sign()
    return receipt_of(log, idx)


GOOD = receipt_of(HONEST, 7)


@pytest.mark.parametrize(
    ("receipt", "reason"),
    [
        (replace(GOOD, index=8), "proof-wrong"),
        (replace(GOOD, index=60), "proof-wrong"),
        (replace(GOOD, entry=ordinary(8)), "proof-wrong"),
        (replace(GOOD, proof=GOOD.proof[:-1]), "proof-wrong"),
        (replace(GOOD, proof=GOOD.proof[::-1]), "proof-wrong"),
        (replace(GOOD, note=WrittenLog.of(59).note(59, KEY)), "proof-wrong"),
        (replace(GOOD, note=HONEST.note(60, STRANGER)), "checkpoint-unsigned"),
        (replace(GOOD, note=GOOD.note.replace("\n60\n", "\n61\n")), "checkpoint-forged"),
        (replace(GOOD, note=GOOD.note.replace("\n60\n", "\n060\n")), "checkpoint-malformed"),
        (replace(GOOD, note=GOOD.note.replace(LOG, "other.example", 1)), "policy-missing"),
        (replace(GOOD, body=b"{}"), "body-altered"),
        (replace(GOOD, salt=bytes(32)), "body-altered"),
        (replace(receipt_of(HONEST, 0), salt=bytes(32), body=b"{}"), "body-added"),
        (signed_entry(7, idx=8), "entry-moved"),
        (signed_entry(7, log="other.example"), "entry-of-other-log"),
        (with_entry(ordinary(7) + b" "), "entry-altered"),
        ("", "not-a-receipt"),
        ("c2sp.org/tlog-proof@v1\n", "not-a-receipt"),
        (b"\xff\xfe", "not-a-receipt"),
    ],
)
def test_a_receipt_that_proves_nothing_says_why(
    receipt: Receipt | str | bytes, reason: str, tmp_path: Path
) -> None:
    assert found(receipt, tmp_path) == [reason]


def test_a_receipt_that_proves_nothing_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text(str(replace(GOOD, index=8)))
    report = verify_receipt(tmp_path / "bad", BY_KEY)

    assert report.shown is None
    assert "entry" not in report.as_object()
    assert report.verdict is Verdict.TAMPERED


def test_a_receipt_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", (32 << 20) + 1)
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        ("n" * 300, "unreadable"),
        ("nothing", "file-missing"),
        ("large", "too-large"),
        ("pipe", "not-a-file"),
    ):
        report = verify_receipt(tmp_path / name, BY_KEY)
        assert [str(one.reason) for one in report.findings] == [reason]
        assert report.verdict is Verdict.UNUSABLE
    (tmp_path / "good").write_text(str(GOOD))
    (tmp_path / "link").symlink_to("good")
    assert verify_receipt(tmp_path / "link", BY_KEY).shown is not None


# The entries of one transfer


def transfer_export(log: WrittenLog, folder: Path, number: int = 2, **order: bool) -> Path:
    folder.mkdir(exist_ok=True)
    return log.export(folder / "transfer", transfer=transfer_of(number), **order)


def of_transfer(path: Path, trust: Trust = BY_KEY, *, since: str | None = None) -> list[str]:
    report = verify_export(path, trust, since=since, bodies=True)
    return [str(finding.reason) for finding in report.findings]


def test_the_entries_of_one_transfer_can_be_handed_out_by_themselves(tmp_path: Path) -> None:
    path = transfer_export(HONEST, tmp_path)
    report = verify_export(path, BY_KEY, bodies=True)

    assert [str(one.reason) for one in report.findings] == ["no-outside-copy"]
    assert sorted(one.name for one in (path / "receipts").iterdir()) == [
        f"{idx}.tlog-proof" for idx in range(21, 31)
    ]
    assert not (path / "tile").exists()
    facts = report.facts
    assert (facts.log, facts.entries, facts.root) == (LOG, 60, HONEST.root(60))
    assert (facts.transfers, facts.bodies_opened, facts.bodies_erased) == (1, 10, 0)
    assert facts.bodies_checked
    assert facts.checkpoints == 1


def test_an_entry_that_only_names_a_transfer_is_none_of_its_entries(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    named = f"urn:uuid:{transfer_of(2)}"
    log.entries[3] = encode_entry(
        msgspec.structs.replace(decode_entry(log.entries[3]), custodian=named)
    )
    log.sign()

    assert of_transfer(transfer_export(log, tmp_path)) == ["no-outside-copy"]


def test_a_transfer_without_its_bodies_says_so(tmp_path: Path) -> None:
    path = transfer_export(HONEST, tmp_path, bodies=False)

    assert of_transfer(path) == ["no-outside-copy", "bodies-left-out"]
    assert verify_export(path, BY_KEY, bodies=True).facts.bodies_erased == 0


def test_an_erased_body_of_a_transfer_is_named(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    del log.bodies[24]
    report = verify_export(transfer_export(log, tmp_path), BY_KEY, bodies=True)

    assert [str(one.reason) for one in report.findings] == ["no-outside-copy", "bodies-erased"]
    assert (report.facts.bodies_opened, report.facts.bodies_erased) == (9, 1)
    assert report.facts.bodies_erased_first == [24]


def test_there_is_no_export_of_a_transfer_that_the_log_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no entry of transfer"):
        transfer_export(HONEST, tmp_path, number=77)
    assert list(tmp_path.iterdir()) == []


def test_an_entry_left_out_of_a_transfer_is_missed(tmp_path: Path) -> None:
    for idx, reason in ((21, "number-missing"), (25, "number-missing")):
        path = transfer_export(HONEST, tmp_path / str(idx))
        (path / "receipts" / f"{idx}.tlog-proof").unlink()
        assert of_transfer(path) == ["file-missing"]
        assert of_transfer(signed_again(path)) == [reason]


def test_receipts_of_another_transfer_or_entry_are_refused(tmp_path: Path) -> None:
    path = transfer_export(HONEST, tmp_path)
    receipts = path / "receipts"
    good = (receipts / "30.tlog-proof").read_text()

    for name, receipt, reason in (
        ("30", str(receipt_of(HONEST, 31)), "entry-moved"),
        ("31", str(receipt_of(HONEST, 31)), "entry-of-other-transfer"),
        ("30", good.replace("index 30", "index 29"), "proof-wrong"),
        ("30", "nonsense", "not-a-receipt"),
    ):
        (receipts / f"{name}.tlog-proof").write_text(receipt)
        assert of_transfer(signed_again(path)) == [reason]
        (receipts / "31.tlog-proof").unlink(missing_ok=True)
        (receipts / "30.tlog-proof").write_text(good)
    (receipts / "30.tlog-proof").write_bytes(b"\xff")
    assert of_transfer(signed_again(path)) == ["not-a-receipt"]


def test_a_transfer_that_closed_with_more_entries_is_found(tmp_path: Path) -> None:
    for number in (9, 11):
        log = WrittenLog.of(60)
        closed = msgspec.structs.replace(decode_entry(log.entries[30]), entries=number)
        log.entries[30] = encode_entry(closed)
        log.sign()
        assert of_transfer(transfer_export(log, tmp_path / str(number))) == ["count-wrong"]


def test_a_transfers_intent_without_a_result_is_reported(tmp_path: Path) -> None:
    log = WrittenLog.of(27)
    facts = verify_export(transfer_export(log, tmp_path), BY_KEY).facts

    assert facts.unanswered == [transfer_of(2)]
    whole = verify_export(transfer_export(HONEST, tmp_path / "whole"), BY_KEY).facts
    assert whole.unanswered_count == 0


def test_a_transfer_is_compared_with_a_checkpoint_of_its_own_size_only(tmp_path: Path) -> None:
    path = transfer_export(HONEST, tmp_path)
    other = WrittenLog.of(60)
    other.entries[3] = ordinary(3, t=timestamp(BEGAN + timedelta(seconds=2.5)))
    other.sign()

    assert of_transfer(path, since=HONEST.note(60, KEY)) == []
    assert verify_export(path, BY_KEY, since=HONEST.note(60, KEY)).facts.pinned == 60
    assert of_transfer(path, since=other.note(60, KEY)) == ["history-rewritten"]
    assert of_transfer(path, since=HONEST.note(59, KEY)) == ["pin-not-compared", "no-outside-copy"]
    assert of_transfer(path, since=WrittenLog.of(61).note(61, KEY)) == ["rolled-back"]


def test_a_transfer_is_witnessed_when_its_checkpoint_is(tmp_path: Path) -> None:
    log, by = WrittenLog.of(60), Trust.of(None, str(WITNESSED))

    assert of_transfer(transfer_export(log, tmp_path / "before"), by) == ["no-quorum"]
    log.cosign(60, WITNESS)
    assert of_transfer(transfer_export(log, tmp_path / "after"), by) == []


def test_a_transfer_of_a_former_log_is_not_taken_for_this_one(tmp_path: Path) -> None:
    path = transfer_export(HONEST, tmp_path)
    elsewhere = WrittenLog(
        [
            encode_entry(msgspec.structs.replace(decode_entry(leaf), log="x.example"))
            for leaf in HONEST.entries
        ],
        HONEST.bodies,
        log="x.example",
    )
    elsewhere.sign(signers=(Signer("x.example", KEY.private),))
    receipt = Prover.of(elsewhere, "x.example", 30).receipt(30, body=True)
    (path / "receipts" / "30.tlog-proof").write_text(str(receipt))

    assert of_transfer(signed_again(path), Trust(policy=ONE_KEY)) == ["log-unknown"]
