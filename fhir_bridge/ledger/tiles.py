"""
Tiles: the tree's hashes and the entries as files of fixed extent (https://c2sp.org/tlog-tiles).

A tile holds 256 hashes, or 256 entries; the last one of a level holds what is
left. Names and contents follow from the size and the entries alone, so anyone
can compute what must be there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger.entry import LEAF_BYTES_MAX
from fhir_bridge.ledger.proofs import parents

WIDTH = 256
"""Hashes, or entries, in a whole tile."""

_LENGTH_BYTES = 2


def hash_tile(level: int, n: int, width: int = WIDTH) -> str:
    """Name the nth tile of hashes at a level; level 0 holds leaf hashes."""
    return f"tile/{level}/{_numbered(n, width)}"


def entries_tile(n: int, width: int = WIDTH) -> str:
    """Name the nth bundle of entries."""
    return f"tile/entries/{_numbered(n, width)}"


def bodies_tile(n: int, width: int = WIDTH) -> str:
    """Name the nth file of what entries commit to; a form of our own, numbered like the bundles."""
    return f"bodies/{_numbered(n, width)}"


def widths(size: int, level: int = 0) -> Iterator[tuple[int, int]]:
    """
    Give number and width of each tile that a tree has at a level.

    Args:
        size: Number of leaves.
        level: 0 for leaf hashes and bundles of entries.
    """
    hashes = size >> (8 * level)
    for n in range(hashes // WIDTH):
        yield n, WIDTH
    if hashes % WIDTH:
        yield hashes // WIDTH, hashes % WIDTH


def hash_tiles(size: int) -> Iterator[tuple[int, int, int]]:
    """Give level, number and width of each tile of hashes that a tree has."""
    level = 0
    while size >> (8 * level):
        yield from ((level, n, width) for n, width in widths(size, level))
        level += 1


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """
    Hash a whole tile into what the level above holds for it.

    Args:
        hashes: A power of two of them, 32 bytes each.
    """
    while len(hashes) > 1:
        hashes = parents(hashes)
    return hashes[0]


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """Write a bundle: each entry after its length in two bytes."""
    parts: list[bytes] = []
    for entry in entries:
        assert len(entry) <= LEAF_BYTES_MAX, "an entry's length fits in two bytes"
        parts += struct.pack(">H", len(entry)), entry
    return b"".join(parts)


def unpack_entries(bundle: bytes, count: int) -> list[bytes]:
    """
    Read a bundle.

    Args:
        bundle: Untrusted.
        count: How many entries it must have.

    Raises:
        AlteredLog: It has more or fewer, or ends within one.
    """
    entries: list[bytes] = []
    at = 0
    try:
        for _ in range(count):
            first = at + _LENGTH_BYTES
            at = first + (bundle[at] << 8 | bundle[at + 1])
            entries.append(bundle[first:at])
    except IndexError:
        at = -1
    if at != len(bundle):
        raise AlteredLog(f"a bundle of entries does not hold exactly {count}")
    return entries


def _numbered(n: int, width: int) -> str:
    """Write a number as folders of three digits, so that no folder grows large."""
    assert 1 <= width <= WIDTH, "a tile is not empty"
    digits = f"{n:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"
