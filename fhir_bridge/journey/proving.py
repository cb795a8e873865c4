"""What a delivery carries to prove that its disclosure stands in the sender's log."""

from __future__ import annotations

from fhir_bridge.ledger import Checkpoint, Event, Note, Receipt, inclusion_proof
from fhir_bridge.store import Store


def intent_proof(store: Store, transfer: str, idx: int) -> str:
    """
    Prove that the intent of a disclosure is in the log, as a https://c2sp.org/tlog-proof.

    The recipient thereby holds a checkpoint of the sender's log: from then on
    the sender cannot set his log back, or write it anew, unseen. The entry
    itself names organisations, counts and digests, and no patient.

    Args:
        store: The sender's.
        transfer: The transfer's id.
        idx: Index of the intent's entry; in the log of its year, which may have
            ended since.
    """
    intents = [one for one in store.entries(transfer) if one.type is Event.DISCLOSURE_INTENT]
    (log,) = [one.log for one in intents if one.idx == idx][-1:]
    note = store.note() if log == store.log else [note for _, note in store.notes(log)][-1]
    size = Checkpoint.parse(Note.parse(note).text).size
    (entry,) = store.leaves(log, idx, idx + 1)
    proof = inclusion_proof(idx, size, store.subtrees(log))
    return str(Receipt(index=idx, proof=tuple(proof), note=note, entry=entry))
