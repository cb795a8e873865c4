"""Tiles: names and contents that follow from the size and the entries alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import leaf_hash, tree_hash
from fhir_bridge.ledger.tiles import (
    WIDTH,
    bodies_tile,
    entries_tile,
    hash_tile,
    hash_tiles,
    pack_entries,
    subtree_root,
    unpack_entries,
    widths,
)


@pytest.mark.parametrize(
    ("n", "path"),
    [
        (0, "000"),
        (7, "007"),
        (999, "999"),
        (1000, "x001/000"),
        (1234067, "x001/x234/067"),
        (12345, "x012/345"),
    ],
)
def test_a_tile_is_numbered_in_folders_of_three_digits(n: int, path: str) -> None:
    assert hash_tile(0, n) == f"tile/0/{path}"
    assert hash_tile(12, n, 1) == f"tile/12/{path}.p/1"
    assert entries_tile(n) == f"tile/entries/{path}"
    assert entries_tile(n, 255) == f"tile/entries/{path}.p/255"
    assert bodies_tile(n, 3) == f"bodies/{path}.p/3"


@pytest.mark.parametrize("width", [0, 257])
def test_there_is_no_empty_tile_and_none_wider_than_256(width: int) -> None:
    with pytest.raises(AssertionError):
        hash_tile(0, 0, width)


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    tiles = list(hash_tiles(70_000))

    assert sum(level == 0 and width == WIDTH for level, _, width in tiles) == 273
    assert [one for one in tiles if one[2] < WIDTH] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert [one for one in tiles if one[0] == 1] == [(1, 0, 256), (1, 1, 17)]


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        (0, []),
        (1, [(0, 0, 1)]),
        (255, [(0, 0, 255)]),
        (256, [(0, 0, 256), (1, 0, 1)]),
        (257, [(0, 0, 256), (0, 1, 1), (1, 0, 1)]),
    ],
)
def test_a_tree_of_256_has_a_whole_tile_and_one_above(
    size: int, tiles: list[tuple[int, int, int]]
) -> None:
    assert list(hash_tiles(size)) == tiles


def test_the_widths_of_a_level_add_up_to_its_hashes() -> None:
    assert list(widths(0)) == []
    assert sum(width for _, width in widths(70_000)) == 70_000
    assert sum(width for _, width in widths(70_000, 1)) == 273
    assert [n for n, _ in widths(1000)] == [0, 1, 2, 3]


def test_a_whole_tile_hashes_to_what_the_level_above_holds() -> None:
    leaves = [leaf_hash(bytes([at])) for at in range(WIDTH)]

    assert subtree_root(leaves) == tree_hash(leaves)
    assert subtree_root(leaves[:1]) == leaves[0]


def test_a_bundle_holds_each_entry_after_its_length() -> None:
    assert pack_entries([b"ab", b"", b"c" * 300]) == b"\0\2ab" + b"\0\0" + b"\1\x2c" + b"c" * 300


@given(st.lists(st.binary(max_size=600), max_size=20))
def test_a_bundle_reads_back_as_its_entries(entries: list[bytes]) -> None:
    assert unpack_entries(pack_entries(entries), len(entries)) == entries


def test_the_longest_entry_fits_and_no_longer_one() -> None:
    longest = [b"x" * 65_535]

    assert unpack_entries(pack_entries(longest), 1) == longest
    with pytest.raises(AssertionError):
        pack_entries([b"x" * 65_536])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.integers(0, 300))
def test_a_bundle_cut_short_or_with_more_is_refused(entries: list[bytes], at: int) -> None:
    bundle = pack_entries(entries)
    for bad in (bundle[: at % len(bundle)], bundle + b"\0", bundle + b"\0\0"):
        with pytest.raises(AlteredLog, match="exactly"):
            unpack_entries(bad, len(entries))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_bundle_with_another_number_of_entries_is_refused(count: int) -> None:
    with pytest.raises(AlteredLog):
        unpack_entries(pack_entries([b"a", b"b"]), count)
