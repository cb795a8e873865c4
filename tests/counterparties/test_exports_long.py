"""Exports of more than one chunk: checked side by side, and joined without a seam."""

from __future__ import annotations

import pickle
import shutil
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.exports import Report, Trust, Verdict, verify_export
from fhir_bridge.exports.archive import open_archive
from fhir_bridge.exports.chunks import CHUNK
from fhir_bridge.exports.exporting import Order, export_log
from fhir_bridge.exports.joining import Joined
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.exports.verifying import _archive, _elsewhere
from fhir_bridge.ledger import leaf_hash, tree_hash
from tests.simulators.long_log import LongLog
from tests.simulators.written_log import KEY, LOG, STRANGER, signed_again, transfer_of

SIZE = CHUNK + 300
BY_KEY = Trust.of(str(KEY.verifier), None)


@cache
def ordinary_leaves() -> list[bytes]:
    log = LongLog(SIZE)
    return [log.leaf(idx) for idx in range(SIZE)]


class Kept(LongLog):
    """A long log whose entries were made before."""

    def leaf(self, idx: int) -> bytes:
        return ordinary_leaves()[idx]


class Spoiled(Kept):
    """A long log of which one entry was written otherwise, with the log's key."""

    def __init__(self, old: bytes, new: bytes, *, at: int, size: int = SIZE) -> None:
        super().__init__(size)
        self.old, self.new, self.at = old, new, at

    def leaf(self, idx: int) -> bytes:
        leaf = super().leaf(idx)
        if idx == self.at:
            assert self.old in leaf
            leaf = leaf.replace(self.old, self.new)
        return leaf


class Erased(Kept):
    """A long log whose every body was erased."""

    def opened(self, log: str, first: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        assert (log, first, end) == (LOG, 0, SIZE)
        yield from ()


def export(log: LongLog, path: Path, *, bodies: bool = False) -> Path:
    export_log(log, path, Order(log=LOG, bodies=bodies), sign=KEY.sign)
    return path


def verify(path: Path, **how: Any) -> tuple[list[str], Report]:
    report = verify_export(path, BY_KEY, **{"processes": 2, **how})
    return [str(one.reason) for one in report.findings], report


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Kept(SIZE), tmp_path_factory.mktemp("long") / "export")


@pytest.fixture
def copied(honest: Path, tmp_path: Path) -> Path:
    return shutil.copytree(honest, tmp_path / "export")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_long_log_is_verified_by_one_process_or_several(processes: int, honest: Path) -> None:
    found, report = verify(honest, processes=processes)

    assert found == ["no-outside-copy"]
    facts = report.facts
    assert (facts.entries, facts.checkpoints) == (SIZE, 659)
    assert facts.transfers == -(-(SIZE - 1) // 10)
    assert facts.unanswered_count == 0
    assert (honest / "tile/2/000.p/1").is_file()


def test_where_other_threads_run_the_processes_are_new_ones(honest: Path) -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert verify(honest)[0] == ["no-outside-copy"]
    finally:
        done.set()
        other.join()


def test_a_zip_file_is_read_by_several_processes(tmp_path: Path) -> None:
    assert verify(export(Kept(SIZE), tmp_path / "long.zip"))[0] == ["no-outside-copy"]


def test_a_checkpoint_kept_from_the_first_chunk_or_the_second_is_compared(honest: Path) -> None:
    notes = dict(Kept(SIZE).notes(LOG))
    for size in (100, 65_500, 65_600, SIZE):
        assert verify(honest, since=notes[size])[0] == []
    forged = notes[65_600].replace("\n65600\n", "\n65601\n")
    assert verify(honest, since=forged)[0] == ["history-rewritten"]


@pytest.mark.parametrize("name", ["tile/2/000.p/1", "tile/1/000", "tile/1/001.p/1", "tile/0/256"])
def test_hashes_at_any_height_are_compared(name: str, copied: Path) -> None:
    raw = bytearray((copied / name).read_bytes())
    raw[-1] ^= 1
    (copied / name).write_bytes(raw)
    assert verify(copied)[0] == ["file-altered"]

    signed_again(copied)
    found, report = verify(copied)
    assert found == ["hashes-altered"]
    assert name in report.findings[0].sentence


@pytest.mark.parametrize("size", [100, 65_500, 65_600])
def test_a_checkpoint_on_the_way_is_checked_in_another_process(size: int, copied: Path) -> None:
    note = copied / "checkpoints" / str(size)
    note.write_text(STRANGER.sign(note.read_text().partition("\n\n")[0] + "\n"))
    assert verify(copied)[0] == ["file-altered"]

    found, report = verify(signed_again(copied))
    assert found == ["checkpoint-unsigned"]
    assert f"checkpoint of size {size} " in report.findings[0].sentence


def test_a_file_missing_in_the_second_chunk_is_missed(copied: Path) -> None:
    (copied / "tile/entries/257.p/44").unlink()

    assert verify(copied)[0] == ["file-missing"]


@pytest.mark.parametrize(
    ("old", "new", "at", "reason", "sentence"),
    [
        (b'"t":"2026', b'"t":"2025', CHUNK, "time-goes-back", f"Entry {CHUNK} is dated"),
        (b'"seq":5', b'"seq":6', CHUNK, "number-missing", f"Entry {CHUNK} is number 6"),
        (b'"idx":65537', b'"idx":65538', CHUNK + 1, "entry-moved", "Entry 65537 was moved"),
    ],
)
def test_a_seam_between_chunks_hides_nothing(
    old: bytes, new: bytes, at: int, reason: str, sentence: str, tmp_path: Path
) -> None:
    log = Spoiled(old, new, at=at)
    if reason == "number-missing":  # the rest of the transfer follows the wrong number
        log = _counting_on(log)

    found, report = verify(export(log, tmp_path / "export"))

    assert found == [reason]
    assert sentence in report.findings[0].sentence


def _counting_on(log: Spoiled) -> Spoiled:
    """Number each later entry of the same transfer one higher, so that nothing else is wrong."""

    class CountingOn(Spoiled):
        def leaf(self, idx: int) -> bytes:
            leaf = Kept.leaf(self, idx)
            if CHUNK <= idx <= CHUNK + 4:
                seq = (idx - 1) % 10
                leaf = leaf.replace(b'"seq":%d' % seq, b'"seq":%d' % (seq + 1))
                leaf = leaf.replace(b'"entries":10', b'"entries":11')
            return leaf

    return CountingOn(log.old, log.new, at=log.at)


def test_an_intent_is_paired_with_its_result_across_a_seam(tmp_path: Path) -> None:
    number = (CHUNK - 1) // 10
    log = Spoiled(b"disclosure.result", b"access.viewed", at=10 * number + 7, size=CHUNK + 20)
    found, report = verify(export(log, tmp_path / "export"))

    assert found == ["no-outside-copy"]
    assert report.facts.unanswered == [transfer_of(number)]


def test_erased_bodies_are_counted_over_all_chunks(tmp_path: Path) -> None:
    path = export(Erased(SIZE), tmp_path / "export", bodies=True)

    found, report = verify(path, bodies=True)

    assert found == ["no-outside-copy", "bodies-erased"]
    assert report.facts.bodies_erased == SIZE - 1
    assert report.facts.bodies_opened == 0
    assert report.facts.bodies_erased_first == list(range(1, 21))


def test_what_was_found_comes_back_whole_from_another_process() -> None:
    found = pickle.loads(pickle.dumps(Found(Reason.ENTRY_MOVED, idx=3, found=4)))  # noqa: S301

    assert (found.reason, found.details) == (Reason.ENTRY_MOVED, {"idx": 3, "found": 4})


def test_a_folder_that_goes_away_while_it_is_read_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    archive = open_archive(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(Found) as ended:
        list(archive.names())
    assert ended.value.reason == Reason.UNREADABLE


def test_a_failed_verification_shows_no_checkpoint_to_keep(tmp_path: Path) -> None:
    report = verify_export(tmp_path, BY_KEY)

    assert report.verdict is Verdict.UNUSABLE
    assert report.as_object()["checkpoint"] is None
    assert report.as_object()["root"] is None


class Held:
    """Files in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def names(self) -> Iterator[str]:
        yield from self.files

    def read(self, name: str, bytes_max: int) -> bytes:
        assert len(self.files[name]) <= bytes_max
        return self.files[name]


def test_the_hashes_of_a_log_of_17_million_entries_have_a_level_more() -> None:
    joined = Joined()
    joined._roots_of_chunks = [leaf_hash(b"%d" % at) for at in range(258)]
    level_2 = b"".join(joined._roots_of_chunks)
    level_3 = tree_hash(joined._roots_of_chunks[:256])
    files = {
        "tile/2/000": level_2[: 256 * 32],
        "tile/2/001.p/2": level_2[256 * 32 :],
        "tile/3/000.p/1": level_3,
    }

    joined.check_high_tiles(Held(files))
    for name, content in files.items():
        with pytest.raises(Found, match="hashes-altered"):
            joined.check_high_tiles(Held({**files, name: content[:-1] + b"x"}))


def test_a_process_opens_an_export_once(honest: Path) -> None:
    assert _archive(honest) is _archive(honest)
    named = _elsewhere(lambda archive, name: archive.read(name, 10_000), honest, "checkpoint")
    assert named == (honest / "checkpoint").read_bytes()
