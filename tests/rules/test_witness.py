"""What a witness cosigns, and what it refuses."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import MalformedCheckpoint
from fhir_bridge.ledger import (
    Checkpoint,
    Signer,
    VerifierKey,
    consistency_proof,
    leaf_hash,
    subtrees_of,
    tree_hash,
)
from fhir_bridge.witness import NotCosigned, Submission, judge
from fhir_bridge.witness.judging import read

LOG = "first.example/audit/2026"
SIGNER = Signer(LOG, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = Signer(LOG, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))


def peers(log: str) -> list[VerifierKey]:
    return [SIGNER.verifier] if log == LOG else []


LEAVES = [leaf_hash(str(number).encode()) for number in range(20)]


def checkpoint(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint(origin=LOG, size=size, root=tree_hash(leaves[:size]))


def submitted(
    old: int, new: int, leaves: list[bytes] = LEAVES, signer: Signer = SIGNER
) -> Submission:
    proof = consistency_proof(old, new, subtrees_of(leaves[:new])) if old else []
    return Submission(old=old, proof=tuple(proof), note=signer.sign(str(checkpoint(new, leaves))))


def cosign(submission: Submission, last: Checkpoint | None) -> None:
    judge(submission, read(submission, peers), last)


def refusal(submission: Submission, last: Checkpoint | None) -> NotCosigned:
    with pytest.raises(NotCosigned) as refused:
        cosign(submission, last)
    return refused.value


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_checkpoint_that_continues_the_last_one_is_cosigned(one: int, other: int) -> None:
    old, new = sorted((one, other))
    cosign(submitted(old, new), checkpoint(old))


def test_the_first_checkpoint_of_a_log_needs_no_proof() -> None:
    cosign(submitted(0, 7), None)


@given(st.integers(1, 20), st.integers(1, 20))
def test_another_history_is_never_cosigned_whoever_signed_it(one: int, other: int) -> None:
    old, new = sorted((one, other))
    forged = [leaf_hash(b"forged"), *LEAVES[1:]]
    assert refusal(submitted(old, new, forged), checkpoint(old)).status == 422


def test_a_larger_fork_is_refused_with_any_proof() -> None:
    honest = submitted(5, 9)
    forged = [*LEAVES[:4], leaf_hash(b"forged"), *LEAVES[5:]]
    for proof in (honest.proof, submitted(5, 9, forged).proof, ()):
        lie = Submission(old=5, proof=proof, note=SIGNER.sign(str(checkpoint(9, forged))))
        assert refusal(lie, checkpoint(5)).status == 422


def test_a_first_checkpoint_with_a_proof_is_refused() -> None:
    lie = Submission(old=0, proof=(LEAVES[0],), note=SIGNER.sign(str(checkpoint(3))))
    assert refusal(lie, None).status == 422


def test_a_log_that_was_set_back_is_told_the_size_that_was_cosigned_last() -> None:
    refused = refusal(submitted(5, 9), checkpoint(12))
    assert (refused.status, refused.size) == (409, 12)


def test_a_log_that_is_not_known_is_not_cosigned() -> None:
    foreign = Signer("other.example/audit/2026", SIGNER.private)
    text = str(Checkpoint(origin=foreign.name, size=1, root=LEAVES[0]))
    assert refusal(Submission(old=0, proof=(), note=foreign.sign(text)), None).status == 404


def test_a_checkpoint_by_another_key_is_not_cosigned() -> None:
    assert refusal(submitted(0, 3, signer=OTHER), None).status == 403


def test_a_wrong_signature_by_the_log_s_key_is_not_cosigned() -> None:
    note = submitted(0, 3).note
    line = SIGNER.line(str(checkpoint(4)))
    forged = Submission(old=0, proof=(), note=note.partition("\n\n")[0] + "\n\n" + line)
    assert refusal(forged, None).status == 403


def test_an_old_size_above_the_checkpoint_is_refused() -> None:
    lie = Submission(old=9, proof=(), note=SIGNER.sign(str(checkpoint(5))))
    assert refusal(lie, checkpoint(9)).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1",
        b"old -1\n\nx",
        b"old 01\n\nx",
        b"old 1\nnot base64\n\nx",
        b"old 1\nAAAA\n\nx",
        b"old 1\n" + b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n" * 64 + b"\nx",
        b"old 1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n\nx",
        b"\xff\n\nx",
        b"old 1\n\n" + b"x" * 65_536,
    ],
)
def test_a_malformed_submission_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        Submission.parse(body)


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_submission_reads_back_as_it_was_written(one: int, other: int) -> None:
    old, new = sorted((one, other))
    submission = submitted(old, new)
    assert Submission.parse(str(submission).encode()) == submission


def test_what_is_not_a_checkpoint_is_refused() -> None:
    assert refusal(Submission(old=0, proof=(), note="x"), None).status == 400
    assert refusal(Submission(old=0, proof=(), note=SIGNER.sign("x\n")), None).status == 400
