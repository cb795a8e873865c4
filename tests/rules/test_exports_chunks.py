"""One chunk of an export by itself: what it is found to hold, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fhir_bridge.exports.chunks import (
    Chunk,
    Job,
    Numbers,
    _levels,
    _peaks,
    check_chunk,
)
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import (
    Event,
    NewEntry,
    decode_entry,
    encode_entry,
    leaf_hash,
    timestamp,
    tree_hash,
)
from tests.simulators.held_files import HeldFiles, chunk_files, grown, packed_bodies
from tests.simulators.written_log import (
    BEGAN,
    KEY,
    LOG,
    body_of,
    commitment,
    ordinary,
    transfer_of,
    written,
)

COUNT = 300
SECOND = 65_536
"""Where the second chunk begins."""


def entries(first: int = 0, count: int = COUNT) -> list[bytes]:
    return [ordinary(idx) for idx in range(first, first + count)]


def opened(first: int = 0, count: int = COUNT) -> list[bytes]:
    return [b"".join(body_of(idx)) if idx else b"" for idx in range(first, first + count)]


def job(
    files: HeldFiles, *, first: int = 0, count: int = COUNT, sizes: Sequence[int] = (), **more: Any
) -> Job:
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.files.items()}
    given: dict[str, Any] = {"bodies": False, "digests": digests} | more
    return Job(log=LOG, first=first, count=count, sizes=tuple(sizes), **given)


def checked(leaves: Sequence[bytes], **more: Any) -> Chunk:
    files = chunk_files(leaves, first=more.get("first", 0))
    return check_chunk(files, job(files, count=len(leaves), **more))


def found(leaves: Sequence[bytes], **more: Any) -> tuple[Reason, dict[str, Any]]:
    with pytest.raises(Found) as caught:
        checked(leaves, **more)
    return caught.value.reason, caught.value.details


def changed(leaf: bytes, **members: Any) -> bytes:
    return encode_entry(msgspec.structs.replace(decode_entry(leaf), **members))


def at(idx: float) -> str:
    return timestamp(BEGAN + timedelta(seconds=idx))


def transfer_bytes(number: int) -> bytes:
    return bytes.fromhex(transfer_of(number).replace("-", ""))


def test_a_chunk_tells_what_it_holds() -> None:
    sizes = (1, 2, 255, 256, 257, 299, COUNT)
    leaves = entries()
    chunk = checked(leaves, sizes=sizes)

    hashes = list(map(leaf_hash, leaves))
    assert (chunk.first, chunk.count) == (0, COUNT)
    assert (chunk.t_first, chunk.t_last) == (at(0), at(COUNT - 1))
    assert chunk.times == {size: at(size - 1) for size in sizes}
    assert chunk.peaks == {size: grown(hashes[:size]).peaks for size in sizes}
    assert chunk.transfers == {
        transfer_bytes(number): Numbers(first=0, next=10, intents=1, results=1)
        for number in range(29)
    } | {transfer_bytes(29): Numbers(first=0, next=9, intents=1, results=1)}
    assert (chunk.keys, chunk.ends) == ([], [(0, Event.LOG_OPENED)])
    assert chunk.continues is False
    assert (chunk.committed, chunk.erased, chunk.erased_first) == (COUNT - 1, 0, [])


def test_a_later_chunk_counts_from_where_it_begins() -> None:
    leaves = entries(SECOND)
    chunk = checked(leaves, first=SECOND, sizes=(SECOND + 1, SECOND + 256, SECOND + 299))

    hashes = list(map(leaf_hash, leaves))
    assert (chunk.first, chunk.t_first, chunk.t_last) == (SECOND, at(SECOND), at(SECOND + 299))
    assert chunk.peaks == {
        SECOND + size: grown(hashes[:size]).peaks for size in (1, 256, 299, COUNT)
    }
    assert chunk.times == {SECOND + size: at(SECOND + size - 1) for size in (1, 256, 299)}
    assert chunk.transfers[transfer_bytes(6553)] == Numbers(first=5, next=10, intents=1, results=1)
    assert chunk.transfers[transfer_bytes(6583)] == Numbers(first=0, next=5)
    assert (chunk.ends, chunk.committed) == ([], COUNT)


def test_what_the_files_of_a_chunk_may_have_follows_from_their_kind() -> None:
    files = chunk_files(entries(), opened())
    check_chunk(files, job(files, bodies=True))

    assert files.allowed == {
        "tile/entries/000": 256 * 65_537,
        "tile/entries/001.p/44": 256 * 65_537,
        "tile/0/000": 8192,
        "tile/0/001.p/44": 8192,
        "tile/1/000.p/1": 8192,
        "bodies/000": 67_108_864,
        "bodies/001.p/44": 67_108_864,
    }


def test_a_file_of_bodies_is_read_only_when_it_is_asked_for() -> None:
    files = chunk_files(entries(), opened())
    check_chunk(files, job(files))

    assert not [name for name in files.allowed if name.startswith("bodies/")]


def test_a_log_that_continues_a_former_one_and_names_keys_is_noted() -> None:
    vkey, checkpoint = str(KEY.verifier), "a\n1\nb\n\n— c d\n"
    leaves = entries(0, 5)
    opening = NewEntry(
        type=Event.LOG_OPENED, actor="svc:fhir-bridge", vkey=vkey, checkpoint=checkpoint
    )
    leaves[0] = written(opening, LOG, 0, at(0))
    leaves[3] = written(
        NewEntry(type=Event.KEY_ROTATED, actor="svc:fhir-bridge", vkey=vkey), LOG, 3, at(3)
    )
    leaves[4] = written(NewEntry(type=Event.LOG_CLOSED, actor="svc:fhir-bridge"), LOG, 4, at(4))
    chunk = checked(leaves)

    assert chunk.continues is True
    assert chunk.keys == [(0, vkey), (3, vkey)]
    assert chunk.ends == [(0, Event.LOG_OPENED), (4, Event.LOG_CLOSED)]
    assert chunk.committed == 2


def test_what_is_noted_of_a_later_bundle_bears_its_own_index() -> None:
    vkey = str(KEY.verifier)
    leaves = entries()
    told = NewEntry(
        type=Event.WITNESS_COSIGNED, actor="svc:fhir-bridge", checkpoint="a\n1\nb\n\n— c d\n"
    )
    leaves[256] = written(told, LOG, 256, at(256))
    rotated = NewEntry(type=Event.KEY_ROTATED, actor="svc:fhir-bridge", vkey=vkey)
    leaves[261] = written(rotated, LOG, 261, at(261))
    leaves = [
        *leaves[:262],
        written(NewEntry(type=Event.LOG_CLOSED, actor="svc:fhir-bridge"), LOG, 262, at(262)),
    ]
    leaves[257:261] = [
        written(NewEntry(type=Event.LOG_HEARTBEAT, actor="svc:fhir-bridge"), LOG, idx, at(idx))
        for idx in range(257, 261)
    ]
    chunk = checked(leaves)

    assert chunk.keys == [(261, vkey)]
    assert chunk.ends == [(0, Event.LOG_OPENED), (262, Event.LOG_CLOSED)]
    assert chunk.continues is False


def test_a_checkpoint_in_a_later_chunk_does_not_make_the_log_continue_another() -> None:
    leaves = entries(SECOND, 2)
    told = NewEntry(
        type=Event.WITNESS_COSIGNED, actor="svc:fhir-bridge", checkpoint="a\n1\nb\n\n— c d\n"
    )
    leaves[0] = written(told, LOG, SECOND, at(SECOND))

    assert checked(leaves, first=SECOND).continues is False


@pytest.mark.parametrize("idx", [0, 7, 255, 256, 299])
def test_the_entry_that_cannot_be_read_is_named(idx: int) -> None:
    leaves = entries()
    leaves[idx] = leaves[idx].replace(b'"outcome":"0"', b'"outcome":"9"')
    reason, details = found(leaves)

    assert (reason, details["idx"]) == (Reason.ENTRY_ALTERED, idx)
    assert str(details["detail"]) == "it is not as version 1 demands at $.outcome"


def test_a_bundle_that_ends_too_soon_is_named_by_its_first_entry() -> None:
    files = chunk_files(entries())
    files.files["tile/entries/001.p/44"] = files.files["tile/entries/001.p/44"][:-1]
    with pytest.raises(Found) as caught:
        check_chunk(files, job(files))

    assert caught.value.reason == Reason.ENTRY_ALTERED
    assert caught.value.details["idx"] == 256


@pytest.mark.parametrize(("first", "idx"), [(0, 3), (0, 258), (SECOND, 258)])
def test_an_entry_that_stands_at_anothers_place_is_named(first: int, idx: int) -> None:
    leaves = entries(first)
    leaves[idx], leaves[idx + 1] = leaves[idx + 1], leaves[idx]

    assert found(leaves, first=first) == (
        Reason.ENTRY_MOVED,
        {"idx": first + idx, "found": first + idx + 1},
    )


@pytest.mark.parametrize("idx", [0, 3, 258])
def test_an_entry_of_another_log_is_named(idx: int) -> None:
    leaves = entries()
    leaves[idx] = changed(leaves[idx], log="other.example/audit/2026")

    assert found(leaves) == (Reason.ENTRY_OF_OTHER_LOG, {"idx": idx})


@pytest.mark.parametrize("idx", [1, 3, 256, 258])
def test_an_entry_dated_before_the_one_that_precedes_it_is_named(idx: int) -> None:
    leaves = entries()
    leaves[idx] = changed(leaves[idx], t=at(idx - 1.001))

    assert found(leaves) == (Reason.TIME_GOES_BACK, {"idx": idx})


def test_an_entry_of_the_same_moment_is_not_taken_for_one_that_goes_back() -> None:
    leaves = entries()
    leaves[3] = changed(leaves[3], t=at(2))
    leaves[5] = changed(leaves[5], t=at(3.999))

    assert found(leaves) == (Reason.TIME_GOES_BACK, {"idx": 5})


@pytest.mark.parametrize("idx", [1, 3, 256])
def test_entries_of_the_same_moment_are_no_fault(idx: int) -> None:
    leaves = entries()
    leaves[idx] = changed(leaves[idx], t=at(idx - 1))

    assert checked(leaves).times == {}


@pytest.mark.parametrize(("idx", "seq"), [(4, 4), (4, 2), (2, 0), (258, 8)])
def test_a_number_missing_within_a_transfer_is_named(idx: int, seq: int) -> None:
    leaves = entries()
    leaves[idx] = changed(leaves[idx], seq=seq)

    assert found(leaves) == (
        Reason.NUMBER_MISSING,
        {"idx": idx, "found": seq, "expected": (idx - 1) % 10},
    )


def test_transfers_that_take_turns_are_each_counted() -> None:
    leaves = entries(0, 21)
    one, two = leaves[1:11], leaves[11:21]
    turns = [leaf for pair in zip(one, two, strict=True) for leaf in pair]
    mixed = [
        leaves[0],
        *(changed(leaf, idx=idx, t=at(idx)) for idx, leaf in enumerate(turns, start=1)),
    ]
    chunk = checked(mixed)

    assert chunk.transfers == {
        transfer_bytes(number): Numbers(first=0, next=10, intents=1, results=1) for number in (0, 1)
    }
    mixed[4] = changed(mixed[4], seq=2)
    assert found(mixed) == (Reason.NUMBER_MISSING, {"idx": 4, "found": 2, "expected": 1})


def test_entries_of_no_transfer_between_those_of_one_have_no_number() -> None:
    leaves = entries(0, 6)
    leaves[3] = written(NewEntry(type=Event.LOG_HEARTBEAT, actor="svc:fhir-bridge"), LOG, 3, at(3))
    leaves[4] = changed(leaves[4], seq=2)
    leaves[5] = changed(leaves[5], seq=3)

    assert checked(leaves).transfers == {transfer_bytes(0): Numbers(first=0, next=4)}


@pytest.mark.parametrize("count", [9, 11])
@pytest.mark.parametrize("idx", [10, 20, 260])
def test_a_transfer_that_closes_with_another_number_of_entries_is_named(
    idx: int, count: int
) -> None:
    leaves = entries()
    leaves[idx] = changed(leaves[idx], entries=count)

    assert found(leaves) == (Reason.COUNT_WRONG, {"idx": idx, "found": count, "expected": 10})


def test_intents_and_results_are_counted_apart() -> None:
    leaves = entries(0, 11)
    leaves[7] = changed(leaves[7], type=Event.ACCESS_VIEWED)
    leaves[8] = changed(leaves[8], type=Event.DISCLOSURE_INTENT)

    assert checked(leaves).transfers == {
        transfer_bytes(0): Numbers(first=0, next=10, intents=2, results=0)
    }


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"])
def test_hashes_that_are_not_those_of_the_entries_are_named(name: str) -> None:
    files = chunk_files(entries())
    files.files[name] = files.files[name][:-1] + bytes([files.files[name][-1] ^ 1])
    with pytest.raises(Found) as caught:
        check_chunk(files, job(files))

    assert (caught.value.reason, caught.value.details) == (
        Reason.HASHES_ALTERED,
        {"file": name},
    )


def test_a_whole_chunk_is_one_subtree_and_one_entry_less_is_sixteen() -> None:
    hashes = [hashlib.sha256(b"%d" % at).digest() for at in range(SECOND)]
    levels = _levels(b"".join(hashes))

    assert _peaks(levels, SECOND) == (tree_hash(hashes),)
    assert _peaks(levels, SECOND - 1) == grown(hashes[:-1]).peaks


# Bodies


def bodies_found(held: Sequence[bytes], **more: Any) -> tuple[Reason, dict[str, Any]]:
    files = chunk_files(entries(), held)
    with pytest.raises(Found) as caught:
        check_chunk(files, job(files, bodies=True, **more))
    return caught.value.reason, caught.value.details


def test_a_body_that_was_erased_is_counted_and_its_file_is_the_one_listed() -> None:
    held = opened()
    for idx in (5, 6, 299):
        held[idx] = b""
    files = chunk_files(entries(), held)
    chunk = check_chunk(files, job(files, bodies=True))

    assert (chunk.committed, chunk.erased, chunk.erased_first) == (299, 3, [5, 6, 299])


def test_of_many_erased_bodies_the_first_twenty_are_named() -> None:
    held = [b""] * COUNT
    files = chunk_files(entries(), held)
    chunk = check_chunk(files, job(files, bodies=True))

    assert (chunk.erased, chunk.erased_first) == (299, list(range(1, 21)))


@pytest.mark.parametrize(("idx", "name"), [(5, "bodies/000"), (299, "bodies/001.p/44")])
def test_a_body_erased_that_the_list_still_has_is_found(idx: int, name: str) -> None:
    held = opened()
    listed = job(chunk_files(entries(), held)).digests
    held[idx] = b""

    assert bodies_found(held, digests=listed) == (Reason.FILE_ALTERED, {"file": name})


def test_a_whole_file_of_bodies_is_known_by_its_commitments_alone() -> None:
    files = chunk_files(entries(), opened())

    assert check_chunk(files, job(files, bodies=True, digests={})).erased == 0


@pytest.mark.parametrize("idx", [1, 255, 256, 299])
@pytest.mark.parametrize("by", [b"x", b""])
def test_a_body_that_is_not_the_one_committed_to_is_named(idx: int, by: bytes) -> None:
    held = opened()
    held[idx] = held[idx][:-1] + by

    assert bodies_found(held) == (Reason.BODY_ALTERED, {"idx": idx})


def test_something_for_an_entry_that_commits_to_nothing_is_named() -> None:
    held = opened()
    held[0] = b"".join(body_of(0))

    assert bodies_found(held) == (Reason.BODY_ADDED, {"idx": 0})


@pytest.mark.parametrize("length", [31, 32])
def test_what_is_shorter_than_a_salt_opens_nothing(length: int) -> None:
    leaves, held = entries(0, 2), [b"", b"s" * length]
    leaves[1] = changed(leaves[1], body=commitment(held[1], b""))
    files = chunk_files(leaves, held)
    if length == 32:
        assert check_chunk(files, job(files, count=2, bodies=True)).erased == 0
        return
    with pytest.raises(Found) as caught:
        check_chunk(files, job(files, count=2, bodies=True))
    assert (caught.value.reason, caught.value.details) == (Reason.BODY_ALTERED, {"idx": 1})


@pytest.mark.parametrize("more", [b"\0", b"\0\0\0\0", b"x" * 40])
def test_what_follows_the_last_body_is_found(more: bytes) -> None:
    files = chunk_files(entries(), opened())
    files.files["bodies/001.p/44"] += more
    with pytest.raises(Found) as caught:
        check_chunk(files, job(files, bodies=True))

    assert (caught.value.reason, caught.value.details) == (
        Reason.FILE_ALTERED,
        {"file": "bodies/001.p/44"},
    )


def test_bodies_longer_than_any_byte_counts_are_read() -> None:
    long = [b"", b"s" * 32 + b"x" * 70_000]
    leaves = entries(0, 2)
    leaves[1] = changed(leaves[1], body=commitment(long[1], b""))
    files = chunk_files(leaves, long)

    assert files.files["bodies/000.p/2"] == packed_bodies(long)
    assert check_chunk(files, job(files, count=2, bodies=True)).erased == 0
