"""A whole export: what each file may have, who checks it, and what was counted."""

from __future__ import annotations

import hashlib
import sys
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fhir_bridge.exports import Report, Trust, Verdict, verify_export, verifying
from fhir_bridge.exports.checkpoints import Signed
from fhir_bridge.exports.chunks import CHUNK, Chunk
from fhir_bridge.exports.layout import Manifest, checkpoint_file, whole_log
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import Checkpoint, Event, Note, Policy, decode_entry, encode_entry
from tests.simulators.held_files import HeldFiles
from tests.simulators.written_log import (
    KEY,
    LOG,
    ONE_KEY,
    ROOT,
    TWO_KEYS,
    WITNESS,
    WITNESSED,
    WrittenLog,
    transfer_of,
)

BY_KEY = Trust.of(str(KEY.verifier), None)


def held(path: Path) -> HeldFiles:
    """Take an export into memory."""
    files = {
        str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()
    }
    return HeldFiles(files)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    policy = ONE_KEY.signed(ROOT)
    log = WrittenLog.of(300, every=100)
    return log.export(tmp_path / "export", policy=policy)


def verified(
    files: HeldFiles, monkeypatch: pytest.MonkeyPatch, trust: Trust = BY_KEY, *, bodies: bool = True
) -> Report:
    monkeypatch.setattr(verifying, "open_archive", lambda _: files)
    return verify_export(Path("nowhere"), trust, bodies=bodies)


ALLOWED = {
    "manifest": 67_108_864,
    "checkpoint": 1_048_576,
    "policy": 1_048_576,
    "HOWTO.txt": 1_048_576,
    "verify.sh": 1_048_576,
    "tile/0/000": 8192,
    "tile/0/001.p/44": 8192,
    "tile/1/000.p/1": 8192,
    "tile/entries/000": 256 * 65_537,
    "tile/entries/001.p/44": 256 * 65_537,
    "bodies/000": 67_108_864,
    "bodies/001.p/44": 67_108_864,
    "checkpoints/100": 262_144,
    "checkpoints/200": 262_144,
    "checkpoints/300": 262_144,
}


def test_every_file_of_an_export_is_read_and_none_without_a_bound(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    report = verified(files, monkeypatch)

    assert [str(one.reason) for one in report.findings] == ["no-outside-copy"]
    assert files.allowed == ALLOWED


def test_without_bodies_their_files_are_not_read(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    report = verified(files, monkeypatch, bodies=False)

    assert files.allowed == {
        name: most for name, most in ALLOWED.items() if not name.startswith("bodies/")
    }
    facts = report.facts
    assert (facts.bodies_checked, facts.bodies_opened, facts.bodies_erased) == (False, 0, 0)


def test_where_an_export_is_altered_every_file_is_compared_with_the_list(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    files.files["tile/0/001.p/44"] += b"\0"
    files.files["checkpoints/300"] = files.files["checkpoints/200"]

    report = verified(files, monkeypatch, bodies=False)
    assert [one.sentence for one in report.findings] == [
        "File checkpoints/300 is not the one that the bridge exported: it was changed."
    ]
    assert "bodies/000" not in files.allowed
    assert files.allowed["checkpoints/300"] == 67_108_864


def test_a_body_that_is_not_looked_at_may_be_anything(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    files.files["bodies/000"] = b""
    files.files["tile/entries/000"] = files.files["tile/entries/000"][:-1]

    report = verified(files, monkeypatch, bodies=False)
    assert "tile/entries/000" in report.findings[0].sentence
    report = verified(files, monkeypatch)
    assert "bodies/000" in report.findings[0].sentence


@pytest.mark.parametrize("name", ["policy", "HOWTO.txt", "verify.sh"])
def test_a_file_that_nobody_computes_with_is_compared_with_the_list(
    name: str, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    files.files[name] += b"\n"

    (finding,) = verified(files, monkeypatch).findings
    assert finding.sentence == (
        f"File {name} is not the one that the bridge exported: it was changed."
    )


def test_the_policy_in_an_export_is_not_read_by_who_brings_one(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    files.files["policy"] = b"\xff"

    (finding,) = verified(files, monkeypatch, Trust(policy=ONE_KEY)).findings
    assert "File policy is not the one" in finding.sentence
    (finding,) = verified(files, monkeypatch, Trust.of(str(ROOT.verifier), None)).findings
    assert finding.sentence == "The policy cannot be read: it is not text."


def test_a_file_that_nobody_reads_must_be_there_too(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    del files.files["bodies/000"]

    (finding,) = verified(files, monkeypatch, bodies=False).findings
    assert finding.sentence == "File bodies/000 is missing: the export is not complete."


def test_a_list_of_files_signed_by_a_key_whose_time_is_over_is_unsigned(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.sign_epochs(21)
    path = log.export(tmp_path / "export", signer=KEY)

    (finding,) = verify_export(path, Trust(policy=TWO_KEYS)).findings
    assert str(finding.reason) == "manifest-unsigned"


def test_bodies_are_looked_at_only_when_it_is_asked_for(tmp_path: Path) -> None:
    path = WrittenLog.of(20).export(tmp_path / "export")

    assert verify_export(path, BY_KEY).facts.bodies_checked is False
    assert verify_export(path, BY_KEY, bodies=True).facts.bodies_checked is True


def test_the_newest_checkpoint_is_compared_even_where_it_was_not_published(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = held(export)
    del files.files["checkpoints/300"]
    files.files["checkpoint"] = KEY.sign(
        str(Checkpoint(origin=LOG, size=300, root=b"x" * 32))
    ).encode()
    listed = Manifest.parse(Note.parse(files.files.pop("manifest").decode()).text)
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.files.items()}
    files.files["manifest"] = KEY.sign(str(replace(listed, files=digests))).encode()

    (finding,) = verified(files, monkeypatch).findings
    assert str(finding.reason) == "root-mismatch"
    assert finding.sentence.startswith("The first 300 entries do not lead to what was signed")


# Two chunks, of which only the tasks are looked at

SIZE = CHUNK + 300
WHOLE = Manifest(
    log=LOG,
    size=SIZE,
    bodies=True,
    files={
        name: f"{at:064x}"
        for at, name in enumerate(
            [*whole_log(SIZE, bodies=True), *map(checkpoint_file, (7, CHUNK, CHUNK + 1, SIZE))]
        )
    },
)
ROOT_OF_CHUNK = b"r" * 32


def whole(
    files: HeldFiles, manifest: Manifest = WHOLE, pin: Checkpoint | None = None
) -> verifying._Whole:
    newest = Signed(size=manifest.size, root=ROOT_OF_CHUNK, witnessed={}, is_met=True)
    return verifying._Whole(files, manifest, ONE_KEY, newest, pin)


def test_each_chunk_gets_the_checkpoints_and_the_files_of_bodies_that_are_its_own() -> None:
    pin = Checkpoint(origin=LOG, size=CHUNK + 5, root=bytes(32))
    one, two = whole(HeldFiles({}), pin=pin)._chunk_jobs(bodies=True)

    assert (one.log, one.first, one.count, one.bodies) == (LOG, 0, CHUNK, True)
    assert (two.log, two.first, two.count, two.bodies) == (LOG, CHUNK, 300, True)
    assert (one.sizes, two.sizes) == ((7, CHUNK), (CHUNK + 1, CHUNK + 5, SIZE))
    assert list(one.digests) == [f"bodies/{n:03}" for n in range(256)]
    assert list(two.digests) == ["bodies/256", "bodies/257.p/44"]
    assert two.digests["bodies/256"] == WHOLE.files["bodies/256"]


def test_without_bodies_a_chunk_gets_none_of_their_files() -> None:
    one, two = whole(HeldFiles({}))._chunk_jobs(bodies=False)

    assert (one.bodies, one.digests, two.digests) == (False, {}, {})
    assert (one.sizes, two.sizes) == ((7, CHUNK), (CHUNK + 1, SIZE))


def test_checkpoints_are_checked_some_at_once_and_none_is_left_out() -> None:
    sizes = list(range(1, 1202))
    many = replace(WHOLE, files={checkpoint_file(size): f"{size:064x}" for size in sizes})
    jobs = list(whole(HeldFiles({}), many)._note_jobs())

    assert [size for job in jobs for size in job.sizes] == sizes
    assert {job.log for job in jobs} == {LOG}
    assert {job.policy for job in jobs} == {str(ONE_KEY)}
    assert all(
        job.digests == {checkpoint_file(size): f"{size:064x}" for size in job.sizes} for job in jobs
    )


def test_the_hashes_above_the_chunks_are_compared_before_anything_is_concluded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chunk = Chunk(
        first=0,
        count=CHUNK,
        t_first="2026",
        t_last="2026",
        peaks={CHUNK: (ROOT_OF_CHUNK,)},
        times={CHUNK: "2026"},
        ends=[(0, Event.LOG_OPENED)],
    )
    monkeypatch.setattr(verifying, "check_chunk", lambda *_: chunk)
    listed = Manifest(log=LOG, size=CHUNK, bodies=False, files={})

    def check(files: HeldFiles) -> list[str]:
        checked = whole(files, listed).check(Path("nowhere"), bodies=False, processes=1)
        return [str(finding.reason) for finding in checked]

    assert check(HeldFiles({"tile/2/000.p/1": ROOT_OF_CHUNK})) == ["no-outside-copy"]
    with pytest.raises(Found) as caught:
        check(HeldFiles({"tile/2/000.p/1": b"x" * 32}))
    assert caught.value.reason == Reason.HASHES_ALTERED


def test_what_was_counted_is_told(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.cosign(42, WITNESS)
    del log.bodies[7]
    report = verify_export(
        log.export(tmp_path / "export"),
        Trust(policy=WITNESSED),
        since=log.note(58, KEY),
        bodies=True,
    )

    facts = report.facts
    assert [str(one.reason) for one in report.findings] == ["tail-unwitnessed", "bodies-erased"]
    assert (facts.log, facts.entries, facts.root) == (LOG, 60, log.root(60))
    assert (facts.checkpoints, facts.witnessed, facts.pinned) == (9, 42, 58)
    assert (facts.bodies_checked, facts.bodies_opened, facts.bodies_erased) == (True, 58, 1)
    assert facts.bodies_erased_first == [7]
    assert report.verdict is Verdict.LIMITED


def test_a_witness_that_signed_more_than_once_vouches_for_the_longest_log(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    for size in (42, 14, 28):
        log.cosign(size, WITNESS)
    report = verify_export(log.export(tmp_path / "export"), Trust(policy=WITNESSED))

    assert report.facts.witnessed == 42


def test_of_a_transfers_erased_bodies_the_first_twenty_are_named(tmp_path: Path) -> None:
    log = WrittenLog.of(26)
    for idx in range(1, 26):
        entry = msgspec.structs.replace(
            decode_entry(log.entries[idx]),
            transfer=f"urn:uuid:{transfer_of(0)}",
            seq=idx - 1,
            entries=None,
        )
        log.entries[idx] = encode_entry(entry)
    log.bodies.clear()
    log.sign()
    path = log.export(tmp_path / "export", transfer=transfer_of(0))

    facts = verify_export(path, BY_KEY, bodies=True).facts
    assert (facts.bodies_opened, facts.bodies_erased) == (0, 25)
    assert facts.bodies_erased_first == list(range(1, 21))


def test_a_transfer_without_a_result_is_one(tmp_path: Path) -> None:
    path = WrittenLog.of(27).export(tmp_path / "export", transfer=transfer_of(2))

    facts = verify_export(path, BY_KEY).facts
    assert (facts.unanswered, facts.unanswered_count) == ([transfer_of(2)], 1)


def test_without_a_quorum_nothing_counts_as_witnessed(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.cosign(42, WITNESS)
    policy = Policy(epochs=ONE_KEY.epochs, witnesses=WITNESSED.witnesses)

    facts = verify_export(log.export(tmp_path / "export"), Trust(policy=policy)).facts
    assert (facts.witnessed, facts.pinned) == (0, 0)


@pytest.mark.parametrize(
    ("platform", "threads", "way"),
    [("linux", 1, "fork"), ("linux", 2, "spawn"), ("darwin", 1, "spawn"), ("darwin", 2, "spawn")],
)
def test_a_process_is_forked_only_on_linux_and_only_where_no_other_thread_runs(
    platform: str, threads: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(threading, "active_count", lambda: threads)

    assert verifying._context().get_start_method() == way
