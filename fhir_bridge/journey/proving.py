"""What a delivery carries to prove that its disclosure stands in the sender's log."""

from __future__ import annotations

from fhir_bridge.ledger import Checkpoint, Note, Receipt, inclusion_proof
from fhir_bridge.store import Store


def intent_proof(store: Store, idx: int) -> str:
    """
    Prove that the intent of a disclosure is in the log, as a https://c2sp.org/tlog-proof.

    The recipient thereby holds a checkpoint of the sender's log: from then on
    the sender cannot set his log back, or write it anew, unseen. The entry
    itself names organisations, counts and digests, and no patient.

    Args:
        store: The sender's.
        idx: Index of the intent's entry.
    """
    note = store.note()
    size = Checkpoint.parse(Note.parse(note).text).size
    (entry,) = store.leaves(store.log, idx, idx + 1)
    proof = inclusion_proof(idx, size, store.subtrees(store.log))
    return str(Receipt(index=idx, proof=tuple(proof), note=note, entry=entry))
