"""
The ledger: what the bridge did, in a form that nobody can rewrite unseen.

Each act is an `Entry` with one written form. Entries are the leaves of a
Merkle tree (RFC 6962), and the root of the tree at each size is signed as a
C2SP checkpoint. Pure: it holds no key of its own, asks no clock and stores
nothing; the store does that. An entry never holds a value from a record, the
name of a patient or a patient's identifier.
"""

from __future__ import annotations

from fhir_bridge.ledger.checkpoint import Checkpoint
from fhir_bridge.ledger.cosignature import Cosigner, WitnessKey
from fhir_bridge.ledger.entry import (
    LEAF_BYTES_MAX,
    Body,
    ConsentSeen,
    Content,
    Entry,
    Event,
    NewEntry,
    Place,
    decode_entry,
    encode_entry,
    event_id,
    timestamp,
    transfer_urn,
)
from fhir_bridge.ledger.note import Note, Signer, VerifierKey
from fhir_bridge.ledger.policy import Epoch, Group, Policy
from fhir_bridge.ledger.proofs import (
    Subtrees,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    subtrees_of,
)
from fhir_bridge.ledger.receipt import Receipt
from fhir_bridge.ledger.tree import Frontier, leaf_hash, node_hash, tree_hash

__all__ = [
    "LEAF_BYTES_MAX",
    "Body",
    "Checkpoint",
    "ConsentSeen",
    "Content",
    "Cosigner",
    "Entry",
    "Epoch",
    "Event",
    "Frontier",
    "Group",
    "NewEntry",
    "Note",
    "Place",
    "Policy",
    "Receipt",
    "Signer",
    "Subtrees",
    "VerifierKey",
    "WitnessKey",
    "consistency_proof",
    "decode_entry",
    "encode_entry",
    "event_id",
    "inclusion_proof",
    "is_consistent",
    "is_included",
    "leaf_hash",
    "node_hash",
    "subtrees_of",
    "timestamp",
    "transfer_urn",
    "tree_hash",
]
