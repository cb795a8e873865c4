"""
Proofs about the tree: that a leaf is in it, and that a larger tree continues a smaller one.

Plain RFC 6962, nothing of our own: every tool that knows the standard makes
and checks the same proofs. What a proof is worth depends on the root: it must
come from a checkpoint whose signature was verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fhir_bridge.ledger.tree import HASH_BYTES, Frontier, node_hash

Subtrees = Callable[[int, int], bytes]
"""
Gives the root of a complete subtree: of 2 ** height leaves, the nth from the left.

Called as ``subtrees(height, n)``; ``subtrees(0, n)`` is the hash of leaf n.
"""

_PROOF_HASHES_MAX = 64
"""A tree of 2 ** 63 leaves needs no more."""


def inclusion_proof(index: int, size: int, subtrees: Subtrees) -> list[bytes]:
    """
    Prove that a leaf is in a tree.

    Args:
        index: Of the leaf; below `size`.
        size: Number of leaves of the tree.
        subtrees: Of that tree.

    Returns:
        Hashes of 32 bytes, from the leaf's sibling up.

    Source:
        RFC 6962 section 2.1.1.
    """
    assert 0 <= index < size, "the leaf is in the tree"
    proof: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        split = first + _largest_power_below(end - first)
        if index < split:
            proof.append(_root(split, end, subtrees))
            end = split
        else:
            proof.append(_root(first, split, subtrees))
            first = split
    return proof[::-1]


def consistency_proof(old: int, new: int, subtrees: Subtrees) -> list[bytes]:
    """
    Prove that a tree continues a smaller one.

    Args:
        old: Number of leaves of the smaller tree; at least 1.
        new: Number of leaves of the larger tree.
        subtrees: Of the larger tree.

    Returns:
        Hashes of 32 bytes; none when both are the same tree.

    Source:
        RFC 6962 section 2.1.2.
    """
    assert 0 < old <= new, "a tree continues one that is not larger"
    proof: list[bytes] = []
    first, end = 0, new
    while old < end:
        split = first + _largest_power_below(end - first)
        if old <= split:
            proof.append(_root(split, end, subtrees))
            end = split
        else:
            proof.append(_root(first, split, subtrees))
            first = split
    # What is left is the last complete subtree of the smaller tree. Where it is
    # the smaller tree itself, its root is known to whoever asks.
    if first:
        proof.append(_root(first, end, subtrees))
    return proof[::-1]


def subtrees_of(leaves: Sequence[bytes]) -> Subtrees:
    """
    Give the subtrees of leaves that are all in memory.

    Args:
        leaves: Leaf hashes, 32 bytes each, oldest first.
    """
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(parents(levels[-1]))
    return lambda height, n: levels[height][n]


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """Hash each pair of neighbours; one left over at the end has no parent yet."""
    return [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes) - 1, 2)]


def is_included(leaf: bytes, index: int, proof: Sequence[bytes], *, size: int, root: bytes) -> bool:
    """
    Check an inclusion proof.

    Args:
        leaf: Hash of the leaf.
        index: Where the leaf is said to be. Untrusted.
        proof: Untrusted.
        size: Number of leaves of the tree, from a verified checkpoint.
        root: Root of the tree, from the same checkpoint.

    Source:
        RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size or not _are_hashes([leaf, root, *proof]):
        return False
    at, last, reached = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            reached = node_hash(step, reached)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            reached = node_hash(reached, step)
        at, last = at >> 1, last >> 1
    return last == 0 and reached == root


def is_consistent(
    old: int, new: int, proof: Sequence[bytes], *, old_root: bytes, new_root: bytes
) -> bool:
    """
    Check a consistency proof.

    Args:
        old: Number of leaves of the smaller tree.
        new: Number of leaves of the larger tree.
        proof: Untrusted.
        old_root: From a verified checkpoint.
        new_root: From a verified checkpoint.

    Returns:
        False also for a smaller tree without leaves, unless both are it: every
        tree continues it, so nothing is proved, and asking is a mistake.

    Source:
        RFC 9162 section 2.1.4.2.
    """
    if old == new:
        empty = Frontier().root()
        return not proof and old_root == new_root and (old > 0 or new_root == empty)
    if not 0 < old < new or not proof or not _are_hashes([old_root, new_root, *proof]):
        return False
    steps = list(proof) if old & (old - 1) else [old_root, *proof]
    return _walk(old, new, steps) == (old_root, new_root)


def _walk(old: int, new: int, steps: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Compute both roots on the way up; None when the proof is of another length."""
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    was = now = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if at & 1 or at == last:
            was, now = node_hash(step, was), node_hash(step, now)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            now = node_hash(now, step)
        at, last = at >> 1, last >> 1
    return (was, now) if last == 0 else None


def _are_hashes(values: Sequence[bytes]) -> bool:
    return len(values) <= _PROOF_HASHES_MAX + 2 and all(len(one) == HASH_BYTES for one in values)


def _largest_power_below(count: int) -> int:
    """Return the largest power of two smaller than a number of leaves above 1."""
    return 1 << ((count - 1).bit_length() - 1)


def _root(first: int, end: int, subtrees: Subtrees) -> bytes:
    """Hash the leaves from `first`, which is a multiple of their largest subtree, to `end`."""
    return Frontier(end - first, tuple(_peaks(first, end, subtrees))).root()


def _peaks(first: int, end: int, subtrees: Subtrees) -> Iterator[bytes]:
    while first < end:
        height = (end - first).bit_length() - 1
        yield subtrees(height, first >> height)
        first += 1 << height
