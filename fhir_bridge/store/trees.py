"""The log's Merkle tree, as proofs need it."""

from __future__ import annotations

from fhir_bridge.ledger import Subtrees, leaf_hash, node_hash, tree_hash
from fhir_bridge.store.published import Published

_KEPT_HEIGHT = 8
"""256 leaves are read and hashed at once; larger subtrees are made of such, and kept."""


class Trees(Published):
    """
    Complete subtrees of each log.

    They never change, and the next proof needs nearly the same ones, so those
    of 256 leaves and more stay in memory: 64 bytes for each 256 entries.
    """

    _kept: dict[tuple[str, int, int], bytes] | None = None

    def subtrees(self, log: str) -> Subtrees:
        """
        Give the complete subtrees of a log, read from its rows and not verified.

        Args:
            log: The log's name.
        """
        if self._kept is None:
            self._kept = {}
        kept = self._kept

        def subtree(height: int, n: int) -> bytes:
            if height < _KEPT_HEIGHT:
                return self._hashed(log, height, n)
            at = (log, height, n)
            if at not in kept:
                kept[at] = (
                    self._hashed(log, height, n)
                    if height == _KEPT_HEIGHT
                    else node_hash(subtree(height - 1, 2 * n), subtree(height - 1, 2 * n + 1))
                )
            return kept[at]

        return subtree

    def _hashed(self, log: str, height: int, n: int) -> bytes:
        return tree_hash(map(leaf_hash, self.leaves(log, n << height, (n + 1) << height)))
