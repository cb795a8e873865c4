"""Chunks that are joined into one log: what no chunk can judge by itself."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from fhir_bridge.exports.chunks import CHUNK, Chunk, Numbers
from fhir_bridge.exports.joining import Joined, chunks_of
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import Epoch, Event, Frontier, Policy, leaf_hash, node_hash
from tests.simulators.held_files import HeldFiles, grown
from tests.simulators.written_log import KEY, LOG, ROOT, SECOND_KEY, STRANGER

EARLY, LATE = "2026-03-01T00:00:00.000Z", "2026-03-01T00:00:01.000Z"
LEAVES = [leaf_hash(b"%d" % at) for at in range(8)]
T1, T2 = uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes


def chunk(first: int, count: int, **more: Any) -> Chunk:
    given: dict[str, Any] = {"t_first": EARLY, "t_last": EARLY} | more
    return Chunk(first=first, count=count, **given)


def whole(number: int, **more: Any) -> Chunk:
    """A chunk of 65,536 entries, whose root is a leaf of the test."""
    end = (number + 1) * CHUNK
    return chunk(number * CHUNK, CHUNK, peaks={end: (LEAVES[number],)}, **more)


def joined(*chunks: Chunk) -> Joined:
    log = Joined()
    for one in chunks:
        log.add(one)
    return log


def raised(act: Callable[[], object]) -> tuple[Reason, dict[str, Any]]:
    with pytest.raises(Found) as caught:
        act()
    return caught.value.reason, caught.value.details


def test_a_log_is_cut_into_chunks_of_65536() -> None:
    assert CHUNK == 65_536
    assert list(chunks_of(0)) == []
    assert list(chunks_of(1)) == [(0, 1)]
    assert list(chunks_of(65_536)) == [(0, 65_536)]
    assert list(chunks_of(131_073)) == [(0, 65_536), (65_536, 65_536), (131_072, 1)]


def test_the_root_of_nothing_is_known_from_the_start() -> None:
    assert Joined().roots == {0: hashlib.sha256(b"").digest()}


def test_the_roots_of_a_log_are_those_of_the_tree_over_all_its_chunks() -> None:
    last = chunk(2 * CHUNK, 3, peaks={2 * CHUNK + 3: (LEAVES[5], LEAVES[6])})
    log = joined(whole(0), whole(1), last)

    assert log.roots == {
        0: Frontier().root(),
        CHUNK: LEAVES[0],
        2 * CHUNK: node_hash(LEAVES[0], LEAVES[1]),
        2 * CHUNK + 3: node_hash(node_hash(LEAVES[0], LEAVES[1]), node_hash(LEAVES[5], LEAVES[6])),
    }


def test_a_chunk_dated_before_the_one_that_precedes_it_is_found() -> None:
    log = joined(whole(0, t_last=LATE))

    assert raised(lambda: log.add(chunk(CHUNK, 1))) == (
        Reason.TIME_GOES_BACK,
        {"idx": CHUNK},
    )


def test_chunks_of_the_same_moment_are_no_fault() -> None:
    last = chunk(2 * CHUNK, 1, t_first=LATE, t_last=LATE, peaks={2 * CHUNK + 1: (LEAVES[7],)})
    log = joined(whole(0, t_last=LATE), whole(1, t_first=LATE, t_last=LATE), last)

    assert log.facts.entries == 2 * CHUNK + 1


def test_what_each_chunk_tells_is_kept_in_order() -> None:
    log = joined(
        whole(0, times={3: EARLY}, keys=[(0, "a")], ends=[(0, Event.LOG_OPENED)], continues=True),
        whole(1, times={CHUNK + 3: LATE}, keys=[(CHUNK, "b")], ends=[(CHUNK, Event.LOG_CLOSED)]),
    )

    assert log.times == {3: EARLY, CHUNK + 3: LATE}
    assert log.keys == [(0, "a"), (CHUNK, "b")]
    assert log.ends == [(0, Event.LOG_OPENED), (CHUNK, Event.LOG_CLOSED)]
    assert log.continues is True
    assert joined(whole(0), whole(1)).continues is False


def test_a_transfer_goes_on_in_the_next_chunk_where_it_ended() -> None:
    log = joined(
        whole(0, transfers={T1: Numbers(first=0, next=4, intents=1)}),
        whole(1, transfers={T1: Numbers(first=4, next=5, results=1)}),
        whole(2, transfers={T1: Numbers(first=5, next=9, intents=2)}),
    )
    log.count_transfers()

    assert (log.facts.transfers, log.facts.unanswered_count) == (1, 1)
    assert raised(lambda: log.add(whole(3, transfers={T1: Numbers(first=8, next=9)}))) == (
        Reason.NUMBER_MISSING,
        {"idx": 3 * CHUNK, "found": 8, "expected": 9},
    )


def test_intents_and_results_are_added_up_over_the_chunks() -> None:
    log = joined(
        whole(0, transfers={T1: Numbers(first=0, next=4, intents=1)}),
        whole(1, transfers={T1: Numbers(first=4, next=6, intents=1, results=2)}),
        whole(2, transfers={T2: Numbers(first=0, next=6, intents=2, results=2)}),
    )
    log.count_transfers()

    assert (log.facts.transfers, log.facts.unanswered_count) == (2, 0)
    assert log.facts.unanswered == []


def test_of_transfers_without_a_result_the_first_twenty_are_named() -> None:
    names = [uuid.UUID(int=number) for number in range(1, 26)]
    log = joined(
        whole(0, transfers={name.bytes: Numbers(first=0, next=1, intents=1) for name in names})
    )
    log.count_transfers()

    assert (log.facts.transfers, log.facts.unanswered_count) == (25, 25)
    assert log.facts.unanswered == [str(name) for name in names[:20]]


def test_bodies_are_counted_over_the_chunks_and_the_first_twenty_erased_are_named() -> None:
    log = joined(
        whole(0, committed=30, erased=18, erased_first=list(range(18))),
        whole(1, committed=10, erased=3, erased_first=[100, 101, 102]),
        whole(2, committed=10, erased=1, erased_first=[200]),
    )

    assert (log.facts.bodies_opened, log.facts.bodies_erased) == (28, 22)
    assert log.facts.bodies_erased_first == [*range(18), 100, 101]
    assert log.facts.entries == 3 * CHUNK


def high_tiles(roots: list[bytes]) -> dict[str, bytes]:
    """The hashes above the chunks, as the specification lays them out."""
    files = {}
    for n in range(0, len(roots), 256):
        tile = roots[n : n + 256]
        partial = "" if len(tile) == 256 else f".p/{len(tile)}"
        files[f"tile/2/{n // 256:03}{partial}"] = b"".join(tile)
    above = [grown(roots[n : n + 256]).root() for n in range(0, len(roots) - 255, 256)]
    if above:
        files[f"tile/3/000.p/{len(above)}"] = b"".join(above)
    return files


@pytest.mark.parametrize("count", [0, 1, 3, 256, 257, 513])
def test_the_hashes_above_the_chunks_are_compared_at_every_level(count: int) -> None:
    roots = [leaf_hash(b"root %d" % number) for number in range(count)]
    log = joined(
        *(
            chunk(number * CHUNK, CHUNK, peaks={(number + 1) * CHUNK: (root,)})
            for number, root in enumerate(roots)
        )
    )
    right = high_tiles(roots)
    files = HeldFiles(right)
    log.check_high_tiles(files)

    assert files.allowed == dict.fromkeys(right, 8192)
    for name in right:
        spoiled = HeldFiles(right | {name: right[name][:-1]})
        assert raised(lambda spoiled=spoiled: log.check_high_tiles(spoiled)) == (  # type: ignore[misc]
            Reason.HASHES_ALTERED,
            {"file": name},
        )


# The log's ends


def with_ends(*ends: tuple[int, Event]) -> Joined:
    return joined(chunk(0, 10, ends=list(ends)))


OPENED, CLOSED = Event.LOG_OPENED, Event.LOG_CLOSED


@pytest.mark.parametrize(
    "ends", [[(0, OPENED)], [(0, OPENED), (9, CLOSED)]], ids=["open", "closed"]
)
def test_a_log_opens_with_its_first_entry_and_may_close_with_its_last(
    ends: list[tuple[int, Event]],
) -> None:
    with_ends(*ends).check_ends(size=10)


def test_a_log_without_entries_has_no_ends() -> None:
    Joined().check_ends(size=0)


@pytest.mark.parametrize(
    ("ends", "idx"),
    [
        ([], 0),
        ([(1, OPENED)], 1),
        ([(0, OPENED), (5, OPENED)], 5),
        ([(0, OPENED), (5, OPENED), (6, OPENED)], 5),
        ([(0, OPENED), (8, CLOSED)], 8),
        ([(0, OPENED), (5, CLOSED), (9, CLOSED)], 5),
        ([(9, CLOSED)], 0),
    ],
)
def test_a_log_that_opens_or_closes_elsewhere_is_found(
    ends: list[tuple[int, Event]], idx: int
) -> None:
    log = with_ends(*ends)

    assert raised(lambda: log.check_ends(size=10)) == (Reason.ENDS_WRONG, {"idx": idx})


def test_a_transfer_that_does_not_begin_with_its_first_entry_is_found() -> None:
    log = joined(whole(0, transfers={T1: Numbers(first=0, next=2), T2: Numbers(first=1, next=2)}))

    assert raised(log.check_first_numbers) == (
        Reason.TRANSFER_BEHEADED,
        {"transfer": uuid.UUID(bytes=T2), "found": 1},
    )
    joined(whole(0, transfers={T1: Numbers(first=0, next=2)})).check_first_numbers()


def test_a_transfer_may_have_begun_in_the_log_that_this_one_continues() -> None:
    joined(whole(0, continues=True, transfers={T2: Numbers(first=1, next=2)})).check_first_numbers()


# Its keys

FIRST, NEXT = str(KEY.verifier), str(SECOND_KEY.verifier)
TWO = Policy(
    epochs=(
        Epoch(key=KEY.verifier, end=8),
        Epoch(key=SECOND_KEY.verifier, first=7),
        Epoch(key=ROOT.verifier),
    )
)


def with_keys(*keys: tuple[int, str]) -> Joined:
    return joined(chunk(0, 10, keys=list(keys)))


def test_a_log_that_passes_to_the_keys_that_the_policy_lists_is_right() -> None:
    assert with_keys((0, FIRST), (6, NEXT)).check_keys(LOG, TWO, {7, 10}, size=10) is None
    assert with_keys((6, NEXT)).check_keys(LOG, TWO, {7}, size=7) is None


def test_an_epoch_that_begins_after_the_exports_end_is_not_looked_for() -> None:
    assert with_keys((0, FIRST)).check_keys(LOG, TWO, {6}, size=6) is None


@pytest.mark.parametrize("keys", [[], [(0, FIRST)], [(7, NEXT)], [(9, NEXT)]])
def test_a_key_that_the_log_does_not_name_before_it_signs_is_found(
    keys: list[tuple[int, str]],
) -> None:
    log = with_keys(*keys)
    for size in (7, 10):
        assert raised(lambda size=size: log.check_keys(LOG, TWO, {7, 10}, size=size)) == (  # type: ignore[misc]
            Reason.KEY_UNANNOUNCED,
            {"idx": 6},
        )


def test_of_two_entries_that_name_a_key_the_first_counts() -> None:
    assert with_keys((6, NEXT), (8, NEXT)).check_keys(LOG, TWO, {7}, size=10) is None


def test_the_checkpoint_that_both_keys_signed_must_be_there() -> None:
    log = with_keys((6, NEXT))

    assert raised(lambda: log.check_keys(LOG, TWO, {6, 8, 10}, size=10)) == (
        Reason.HANDOVER_UNSIGNED,
        {"size": 7},
    )


def test_the_first_entry_that_names_a_key_which_the_policy_does_not_list_is_told() -> None:
    stranger = str(STRANGER.verifier)
    log = with_keys((0, FIRST), (6, NEXT), (8, stranger), (9, str(ROOT.verifier)))

    assert log.check_keys(LOG, TWO, {7, 10}, size=10) == 8


def test_a_key_that_another_log_has_in_the_policy_is_not_listed_for_this_one() -> None:
    log = with_keys((0, FIRST), (6, NEXT), (8, str(ROOT.verifier)))

    assert log.check_keys(LOG, TWO, {7, 10}, size=10) == 8


def test_a_key_that_the_policy_lets_begin_at_the_first_entry_must_be_named_too() -> None:
    early = Policy(epochs=(Epoch(key=KEY.verifier, end=2), Epoch(key=SECOND_KEY.verifier, first=1)))

    assert raised(lambda: with_keys((0, FIRST)).check_keys(LOG, early, {1}, size=10)) == (
        Reason.KEY_UNANNOUNCED,
        {"idx": 0},
    )


def test_the_keys_of_other_logs_in_the_policy_are_not_looked_for() -> None:
    both = Policy(epochs=(Epoch(key=ROOT.verifier, end=3), Epoch(key=STRANGER.verifier)))
    other = Policy(
        epochs=(
            *both.epochs,
            Epoch(key=type(ROOT.verifier)(ROOT.name, KEY.verifier.public), first=2),
        )
    )

    assert with_keys((0, str(STRANGER.verifier))).check_keys(LOG, other, {10}, size=10) is None
