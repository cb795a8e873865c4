"""
The Merkle tree of RFC 6962, and the part of it that growing needs.

A tree of n leaves is a row of complete subtrees, one for each bit set in n,
the largest first. Their roots (the frontier) are all that is needed to add a
leaf and to know the new root, so an append costs O(log n), whatever the age of
the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

HASH_BYTES = 32

_LEAF = b"\x00"
_NODE = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry: 32 bytes (RFC 6962 section 2.1)."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into the one above them: 32 bytes (RFC 6962 section 2.1)."""
    return hashlib.sha256(_NODE + left + right).digest()


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """
    Hash a whole tree.

    Args:
        leaves: Leaf hashes, 32 bytes each, oldest first. May be empty.

    Returns:
        The root, 32 bytes.

    Source:
        RFC 6962 section 2.1.
    """
    frontier = Frontier()
    for leaf in leaves:
        frontier = frontier.appended(leaf)
    return frontier.root()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the complete subtrees that a tree consists of."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()
    """32 bytes each, the largest (and oldest) subtree first."""

    def __post_init__(self) -> None:
        """Check that there is one peak for each bit set in the size."""
        assert len(self.peaks) == self.size.bit_count()

    def appended(self, leaf: bytes) -> Self:
        """
        Return the frontier of the tree with one more leaf.

        Args:
            leaf: A leaf hash, 32 bytes.
        """
        peaks = list(self.peaks)
        # Each trailing one bit of the size is a complete subtree as large as
        # the one in hand: the two become one, as a carry does in an addition.
        carry = self.size
        while carry & 1:
            leaf = node_hash(peaks.pop(), leaf)
            carry >>= 1
        return type(self)(self.size + 1, (*peaks, leaf))

    def root(self) -> bytes:
        """Return the root of the tree, 32 bytes; that of nothing is the hash of nothing."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        *others, root = self.peaks
        for peak in reversed(others):
            root = node_hash(peak, root)
        return root

    def __bytes__(self) -> bytes:
        """Write the peaks one after the other."""
        return b"".join(self.peaks)

    @classmethod
    def of(cls, size: int, peaks: bytes) -> Self | None:
        """
        Read what `bytes` wrote; None when it cannot belong to a tree of this size.

        Args:
            size: Number of leaves. Untrusted.
            peaks: The peaks one after the other. Untrusted.
        """
        if size < 0 or len(peaks) != size.bit_count() * HASH_BYTES:
            return None
        return cls(
            size, tuple(peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES))
        )
