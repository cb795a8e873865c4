"""The log's tree, read from the store's rows."""

from __future__ import annotations

import uuid

from fhir_bridge.ledger import (
    Event,
    NewEntry,
    inclusion_proof,
    is_included,
    leaf_hash,
    subtrees_of,
)
from tests.simulators.stores import Place


def test_the_tree_of_the_rows_is_the_tree_of_the_leaves(place: Place) -> None:
    with place.open() as store:
        for count in (1, 254, 3, 700):
            acts = [NewEntry(type=Event.ACCESS_VIEWED, actor="cli:records") for _ in range(count)]
            store.append(*acts, event_id=str(uuid.uuid4()))
            leaves = [leaf_hash(leaf) for leaf in store.leaves(store.log, 0, 10_000)]
            rows, memory = store.subtrees(store.log), subtrees_of(leaves)
            complete = [(height, n) for height in range(11) for n in range(len(leaves) >> height)]
            assert all(rows(*at) == memory(*at) for at in complete)
        checkpoint = store.checkpoint()
        proof = inclusion_proof(700, checkpoint.size, store.subtrees(store.log))
        assert is_included(leaves[700], 700, proof, size=checkpoint.size, root=checkpoint.root)
