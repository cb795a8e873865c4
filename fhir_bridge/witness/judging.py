"""
A witness's one rule: cosign nothing that does not continue what was cosigned before.

Pure. Whoever calls keeps what was cosigned last, and must store the new
checkpoint, in the same commit as the comparison, before the cosignature is
handed out: a witness that forgets is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fhir_bridge.errors import BridgeError, MalformedCheckpoint, Tampered
from fhir_bridge.ledger import Checkpoint, Note, VerifierKey, is_consistent
from fhir_bridge.witness.exchange import Submission

Peers = Callable[[str], Sequence[VerifierKey]]
"""Gives the keys of a log by its name; none for a log that is not cosigned here."""


class NotCosigned(BridgeError):
    """
    A checkpoint is not cosigned.

    Source:
        https://c2sp.org/tlog-witness, "add-checkpoint", for the status.
    """

    issue = "business-rule"

    def __init__(self, message: str, *, status: int, size: int | None = None) -> None:
        """Keep the HTTP status, and for a 409 the size that was cosigned last."""
        super().__init__(message)
        self.status = status
        self.size = size


def read(submission: Submission, peers: Peers) -> Checkpoint:
    """
    Return the checkpoint that a known log submits.

    Args:
        submission: Untrusted.
        peers: Whom this witness cosigns for.

    Raises:
        NotCosigned: 400 not a checkpoint, 404 a log that is not known here, 403
            not signed by it.
    """
    try:
        note = Note.parse(submission.note)
        checkpoint = Checkpoint.parse(note.text)
    except MalformedCheckpoint as error:
        raise NotCosigned(str(error), status=400) from error
    keys = peers(checkpoint.origin)
    if not keys:
        raise NotCosigned("this witness does not know the log", status=404)
    signers = [key for key in keys if note.by(key)]
    try:
        for key in signers:
            key.open_read(note)
    except Tampered as error:
        raise NotCosigned("the log's signature is wrong", status=403) from error
    if not signers:
        raise NotCosigned("no key of the log that is known here has signed it", status=403)
    if submission.old > checkpoint.size:
        raise NotCosigned("the old size is above the checkpoint's", status=400)
    return checkpoint


def judge(submission: Submission, checkpoint: Checkpoint, last: Checkpoint | None) -> None:
    """
    Refuse a checkpoint that does not continue the last one.

    Args:
        submission: Where `checkpoint` was read from.
        checkpoint: From `read`.
        last: What was cosigned last for this log; None for nothing.

    Raises:
        NotCosigned: 409 the submission starts from another size, 422 the
            checkpoint is of another history.
    """
    size = 0 if last is None else last.size
    if submission.old != size:
        raise NotCosigned(f"{size} entries were cosigned last", status=409, size=size)
    if last is None or size == 0:
        if submission.proof:
            raise NotCosigned("a first checkpoint needs no proof", status=422)
        return
    if not is_consistent(
        size,
        checkpoint.size,
        submission.proof,
        old_root=last.root,
        new_root=checkpoint.root,
    ):
        raise NotCosigned("the checkpoint does not continue the one before", status=422)
