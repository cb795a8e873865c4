"""Inclusion and consistency proofs: those of the standard, and no others."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest

from fhir_bridge.ledger import (
    Subtrees,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    subtrees_of,
    tree_hash,
)
from tests.simulators.published import published

SIZES = range(1, 130)
LEAVES = [leaf_hash(str(at).encode()) for at in range(SIZES[-1])]
ROOTS = [tree_hash(LEAVES[:size]) for size in range(SIZES[-1] + 1)]
EMPTY = hashlib.sha256(b"").digest()


def tree(size: int) -> Subtrees:
    return subtrees_of(LEAVES[:size])


def defined_root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(defined_root(leaves[:split]), defined_root(leaves[split:]))


def defined_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Follow RFC 6962 section 2.1.1 word by word."""
    if len(leaves) == 1:
        return []
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return [*defined_path(index, leaves[:split]), defined_root(leaves[split:])]
    return [*defined_path(index - split, leaves[split:]), defined_root(leaves[:split])]


def defined_proof(old: int, leaves: Sequence[bytes], *, known: bool = True) -> list[bytes]:
    """Follow RFC 6962 section 2.1.2 word by word."""
    if old == len(leaves):
        return [] if known else [defined_root(leaves)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old <= split:
        return [*defined_proof(old, leaves[:split], known=known), defined_root(leaves[split:])]
    later = defined_proof(old - split, leaves[split:], known=False)
    return [*later, defined_root(leaves[:split])]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 100, 129])
def test_a_proof_is_the_one_that_the_standard_defines(size: int) -> None:
    leaves = LEAVES[:size]

    for index in range(size):
        assert inclusion_proof(index, size, tree(size)) == defined_path(index, leaves)
        assert consistency_proof(index + 1, size, tree(size)) == defined_proof(index + 1, leaves)


def test_every_leaf_of_every_tree_up_to_129_is_proved() -> None:
    proved = 0
    for size in SIZES:
        for index in range(size):
            proof = inclusion_proof(index, size, tree(size))
            proved += is_included(LEAVES[index], index, proof, size=size, root=ROOTS[size])

    assert proved == 8385


def test_every_pair_of_trees_up_to_129_is_proved() -> None:
    proved = 0
    for size in SIZES:
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, tree(size))
            proved += is_consistent(old, size, proof, old_root=ROOTS[old], new_root=ROOTS[size])

    assert proved == 8385


def spoiled(proof: list[bytes], chance: Random) -> Iterator[list[bytes]]:
    """Spoil a proof in each of the ways a proof can be wrong."""
    yield [*proof, EMPTY]
    yield [EMPTY, *proof]
    if proof:
        at = chance.randrange(len(proof))
        step = bytearray(proof[at])
        step[chance.randrange(32)] ^= 1 << chance.randrange(8)
        yield [*proof[:at], bytes(step), *proof[at + 1 :]]
        yield proof[:at] + proof[at + 1 :]
        yield [*proof[:at], proof[at][:31], *proof[at + 1 :]]
        yield [*proof[:at], proof[at] + b"\0", *proof[at + 1 :]]
    if len(proof) > 1:
        yield proof[::-1]


def test_no_spoiled_inclusion_proof_is_believed() -> None:
    chance, refused = Random(6962), 0  # noqa: S311 - a sample, not a secret
    for size in SIZES:
        for index in range(size):
            leaf, root = LEAVES[index], ROOTS[size]
            proof = inclusion_proof(index, size, tree(size))
            for bad in spoiled(proof, chance):
                assert not is_included(leaf, index, bad, size=size, root=root)
                refused += 1
            assert not is_included(EMPTY, index, proof, size=size, root=root)
            assert not is_included(leaf, index, proof, size=size, root=EMPTY)
            assert not is_included(leaf[:31], index, proof, size=size, root=root)
            assert not is_included(leaf, index + size, proof, size=size, root=root)
            assert not is_included(leaf, -1, proof, size=size, root=root)
            other = (index + 1) % size
            assert other == index or not is_included(leaf, other, proof, size=size, root=root)

    assert refused > 50_000


def test_no_spoiled_consistency_proof_is_believed() -> None:
    chance, refused = Random(9162), 0  # noqa: S311 - a sample, not a secret
    for size in SIZES:
        for old in range(1, size + 1):
            was, now = ROOTS[old], ROOTS[size]
            proof = consistency_proof(old, size, tree(size))
            for bad in spoiled(proof, chance):
                assert not is_consistent(old, size, bad, old_root=was, new_root=now)
                refused += 1
            assert not is_consistent(old, size, proof, old_root=EMPTY, new_root=now)
            assert not is_consistent(old, size, proof, old_root=was, new_root=EMPTY)
            assert not is_consistent(old, size, proof, old_root=was[:31], new_root=now)
            assert old == size or not is_consistent(old, size, proof, old_root=now, new_root=was)
            assert old == size or not is_consistent(size, old, proof, old_root=now, new_root=was)

    assert refused > 50_000


@pytest.mark.parametrize(
    ("old", "new", "was", "now", "continues"),
    [
        (0, 0, EMPTY, EMPTY, True),
        (0, 0, ROOTS[1], ROOTS[1], False),
        (0, 1, EMPTY, ROOTS[1], False),
        (-1, 1, EMPTY, ROOTS[1], False),
        (1, 1, ROOTS[1], ROOTS[1], True),
        (1, 1, ROOTS[1], ROOTS[2], False),
        (1, 2, ROOTS[1], ROOTS[2], False),
        (2, 1, ROOTS[2], ROOTS[1], False),
    ],
)
def test_without_a_proof_only_a_tree_continues_itself(
    *, old: int, new: int, was: bytes, now: bytes, continues: bool
) -> None:
    assert is_consistent(old, new, [], old_root=was, new_root=now) is continues


def test_a_proof_is_right_or_it_is_not() -> None:
    one, two = ROOTS[1], ROOTS[2]

    assert is_included(LEAVES[0], 0, [], size=1, root=one) is True
    assert is_included(LEAVES[0], 1, [], size=1, root=one) is False
    assert is_included(LEAVES[0], 0, [EMPTY], size=1, root=one) is False
    assert is_included(LEAVES[0], 0, [], size=1, root=two) is False
    assert is_consistent(1, 2, [LEAVES[1]], old_root=one, new_root=two) is True
    assert is_consistent(2, 1, [LEAVES[1]], old_root=two, new_root=one) is False
    assert is_consistent(1, 2, [LEAVES[1]] * 2, old_root=one, new_root=two) is False


def test_a_proof_longer_than_any_tree_is_refused_unread() -> None:
    assert not is_included(LEAVES[0], 0, [EMPTY] * 100, size=2**62, root=EMPTY)
    assert not is_consistent(3, 2**62, [EMPTY] * 100, old_root=EMPTY, new_root=EMPTY)


def test_the_hashes_of_a_whole_tree_prove_the_largest_trees() -> None:
    def endless(height: int, _: int) -> bytes:
        at = EMPTY
        for _height in range(height):
            at = node_hash(at, at)
        return at

    size = 2**63 - 1
    root = tree_hash([])  # of no tree: only the shape of the proof is looked at here
    proof = inclusion_proof(size - 1, size, endless)
    assert len(proof) == 62
    assert not is_included(EMPTY, size - 1, proof, size=size, root=root)
    assert len(inclusion_proof(0, size, endless)) == 63


def _probes(kind: str) -> list[dict[str, Any]]:
    folder = published(f"vectors/merkle/{kind}")
    return [json.loads(path.read_bytes()) for path in sorted(folder.rglob("*.json"))]


def _b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_the_98_published_inclusion_probes_are_judged_right() -> None:
    wrong = [
        probe["desc"]
        for probe in _probes("inclusion")
        if is_included(
            _b64(probe["leafHash"]),
            probe["leafIdx"],
            [_b64(step) for step in probe["proof"] or []],
            size=probe["treeSize"],
            root=_b64(probe["root"]),
        )
        is probe["wantErr"]
    ]

    assert len(_probes("inclusion")) == 98
    assert wrong == []


def test_the_98_published_consistency_probes_are_judged_right() -> None:
    wrong = [
        probe["desc"]
        for probe in _probes("consistency")
        if is_consistent(
            probe["size1"],
            probe["size2"],
            [_b64(step) for step in probe["proof"] or []],
            old_root=_b64(probe["root1"]),
            new_root=_b64(probe["root2"]),
        )
        is probe["wantErr"]
    ]

    assert len(_probes("consistency")) == 98
    assert wrong == []
