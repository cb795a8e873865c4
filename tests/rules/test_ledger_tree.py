"""The Merkle tree: RFC 6962 is the rule, its published probes are the witness."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.ledger import Frontier, leaf_hash, node_hash, tree_hash
from tests.simulators.published import published

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def defined(leaves: Sequence[bytes]) -> bytes:
    """Compute the root as RFC 6962 section 2.1 defines it: by halves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(defined(leaves[:split]), defined(leaves[split:]))


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert tree_hash([]).hex() == Frontier().root().hex() == EMPTY


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_of_the_reference_tree_are_ours(size: int) -> None:
    assert tree_hash(map(leaf_hash, ENTRIES[:size])).hex() == ROOTS[size - 1]


def test_a_leaf_is_never_hashed_like_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")

    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"a") == hashlib.sha256(b"\x00a").digest()
    assert node_hash(left, right) == hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize("size", [*range(70), 127, 128, 129, 255, 256, 257])
def test_growing_leaf_by_leaf_gives_the_root_that_the_standard_defines(size: int) -> None:
    leaves = [leaf_hash(str(at).encode()) for at in range(size)]
    frontier = Frontier()
    for leaf in leaves:
        frontier = frontier.appended(leaf)

    assert frontier.size == size
    assert frontier.root() == defined(leaves)


@given(st.integers(0, 2000))
def test_a_frontier_read_back_is_the_same_and_grows_the_same(size: int) -> None:
    frontier = Frontier()
    for at in range(size % 97):
        frontier = frontier.appended(leaf_hash(str(at).encode()))
    again = Frontier.of(frontier.size, bytes(frontier))

    assert again == frontier
    assert again.appended(leaf_hash(b"x")).root() == frontier.appended(leaf_hash(b"x")).root()


@pytest.mark.parametrize(("size", "length"), [(0, 32), (1, 0), (1, 31), (1, 64), (3, 32), (-1, 32)])
def test_peaks_that_cannot_belong_to_a_size_are_not_a_frontier(size: int, length: int) -> None:
    assert Frontier.of(size, b"x" * length) is None


# The verifications of RFC 9162 sections 2.1.3.2 and 2.1.4.2, written here as an
# outsider would. The published probes show them right; then they judge our trees.


@dataclass
class _Walk:
    index: int
    last: int

    def up(self) -> None:
        self.index >>= 1
        self.last >>= 1

    def strip(self) -> None:
        while self.index & 1:
            self.up()

    def skip(self) -> None:
        while self.index and not self.index & 1:
            self.up()


def included(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    if not 0 <= index < size or len(leaf) != 32:
        return False
    walk, at = _Walk(index, size - 1), leaf
    for step in proof:
        if walk.last == 0:
            return False
        if walk.index & 1 or walk.index == walk.last:
            at = node_hash(step, at)
            walk.skip()
        else:
            at = node_hash(at, step)
        walk.up()
    return walk.last == 0 and at == root


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    if old == new:
        zero = new == 0 and new_root != hashlib.sha256(b"").digest()
        return not proof and old_root == new_root and not zero
    if not 0 < old < new or not proof:
        return False
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    walk = _Walk(old - 1, new - 1)
    walk.strip()
    was = now = steps[0]
    for step in steps[1:]:
        if walk.last == 0:
            return False
        if walk.index & 1 or walk.index == walk.last:
            was, now = node_hash(step, was), node_hash(step, now)
            walk.skip()
        else:
            now = node_hash(now, step)
        walk.up()
    return walk.last == 0 and was == old_root and now == new_root


def _probes(kind: str) -> list[dict[str, Any]]:
    folder = published(f"vectors/merkle/{kind}")
    return [json.loads(path.read_bytes()) for path in sorted(folder.rglob("*.json"))]


def _b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_the_published_inclusion_probes_are_judged_right() -> None:
    probes = _probes("inclusion")
    wrong = [
        probe["desc"]
        for probe in probes
        if included(
            probe["leafIdx"],
            probe["treeSize"],
            _b64(probe["leafHash"]),
            [_b64(step) for step in probe["proof"] or []],
            _b64(probe["root"]),
        )
        is probe["wantErr"]
    ]

    assert len(probes) == 98
    assert wrong == []


def test_the_published_consistency_probes_are_judged_right() -> None:
    probes = _probes("consistency")
    wrong = [
        probe["desc"]
        for probe in probes
        if consistent(
            probe["size1"],
            probe["size2"],
            _b64(probe["root1"]),
            _b64(probe["root2"]),
            [_b64(step) for step in probe["proof"] or []],
        )
        is probe["wantErr"]
    ]

    assert len(probes) == 98
    assert wrong == []


def test_the_published_probes_that_hold_have_roots_of_our_tree() -> None:
    ours = {tree_hash(map(leaf_hash, ENTRIES[:size])) for size in range(9)}
    theirs = {
        _b64(probe["root2"])
        for probe in _probes("consistency")
        if not probe["wantErr"] and 1 < probe["size2"] <= 8
    }

    assert theirs
    assert theirs <= ours


def test_every_leaf_of_our_tree_is_included_as_an_outsider_checks_it() -> None:
    for size in range(1, 34):
        leaves = [leaf_hash(str(at).encode()) for at in range(size)]
        root = tree_hash(leaves)
        for index in range(size):
            proof = _path(index, leaves)
            assert included(index, size, leaves[index], proof, root)
            assert not included(index, size, leaf_hash(b"other"), proof, root)


def _path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return the inclusion proof of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return [*_path(index, leaves[:split]), defined(leaves[split:])]
    return [*_path(index - split, leaves[split:]), defined(leaves[:split])]
