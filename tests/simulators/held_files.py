"""An export that is held in memory, so that a test can spoil any byte of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import Frontier, leaf_hash
from fhir_bridge.ledger.tiles import (
    WIDTH,
    bodies_tile,
    entries_tile,
    hash_tile,
    pack_entries,
    widths,
)


class HeldFiles:
    """Files by name, and how large each was allowed to be when it was read."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.allowed: dict[str, int] = {}

    def names(self) -> Iterator[str]:
        yield from self.files

    def read(self, name: str, bytes_max: int) -> bytes:
        self.allowed[name] = bytes_max
        if name not in self.files:
            raise Found(Reason.FILE_MISSING, file=name)
        return self.files[name]


def packed_bodies(opened: Sequence[bytes]) -> bytes:
    """Write what entries commit to: each after its length in four bytes."""
    return b"".join(len(one).to_bytes(4, "big") + one for one in opened)


def chunk_files(
    entries: Sequence[bytes], opened: Sequence[bytes] = (), *, first: int = 0
) -> HeldFiles:
    """
    Lay a chunk out in files.

    Args:
        entries: Of one chunk.
        opened: Salt and body of each entry; nothing where there is none.
        first: Index of the first entry.
    """
    files: dict[str, bytes] = {}
    tops: list[bytes] = []
    for n, width in widths(len(entries)):
        here = entries[n * WIDTH : n * WIDTH + width]
        tile, hashes = first // WIDTH + n, list(map(leaf_hash, here))
        files[entries_tile(tile, width)] = pack_entries(here)
        files[hash_tile(0, tile, width)] = b"".join(hashes)
        if opened:
            files[bodies_tile(tile, width)] = packed_bodies(opened[n * WIDTH : n * WIDTH + width])
        if width == WIDTH:
            tops.append(grown(hashes).root())
    if tops:
        files[hash_tile(1, first // WIDTH // WIDTH, len(tops))] = b"".join(tops)
    return HeldFiles(files)


def grown(hashes: Sequence[bytes]) -> Frontier:
    """Grow a tree leaf by leaf."""
    frontier = Frontier()
    for one in hashes:
        frontier = frontier.appended(one)
    return frontier
