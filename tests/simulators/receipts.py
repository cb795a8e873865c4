"""A small log of its own making, and receipts of its entries: honest ones and forged ones."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.ledger import (
    Body,
    Checkpoint,
    Content,
    Cosigner,
    Epoch,
    Event,
    NewEntry,
    Place,
    Policy,
    Receipt,
    Signer,
    encode_entry,
    inclusion_proof,
    leaf_hash,
    subtrees_of,
    tree_hash,
)

LOG = "first.example/audit/2026"
SALT = bytes(range(32))
BODY = json.dumps(
    {
        "resourceType": "AuditEvent",
        "agent": [
            {
                "who": {
                    "identifier": {"system": "urn:oid:2.999.1.2", "value": "centre"},
                    "display": "Second Opinion Centre",
                }
            }
        ],
    }
).encode()


def private(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


ROOT = Signer("first.example/root", private(1))
SIGNER = Signer(LOG, private(2))
ATTACKER = Signer(LOG, private(3))
WITNESS = Cosigner("witness.example/w1", private(4))


def entry(idx: int, *, log: str = LOG, at: int | None = None) -> bytes:
    """Write a disclosure as entry `idx`, or one that says of itself that it is another."""
    digest = base64.b64encode(hashlib.sha256(SALT + BODY).digest()).decode()
    new = NewEntry(
        type=Event.DISCLOSURE_RESULT,
        actor="cli:records",
        transfer="0d4b6b3e-5d0c-4f7e-9a53-2c6f5d6e7a11",
        step="disclosure.result",
        attempt=1,
        basis="consent",
        purpose="TREAT",
        custodian="urn:oid:2.999.1.1|clinic",
        recipient="urn:oid:2.999.1.2|centre",
        source="first-clinic",
        destination="second-centre",
        content=Content.of(count=60, size_bytes=81_000, root=bytes(32)),
    )
    place = Place(log=log, idx=idx if at is None else at, t="2026-11-22T06:00:10.101Z", seq=9)
    return encode_entry(new.at(place, Body(alg="sha256-salted", digest=digest, type="AuditEvent")))


@dataclass(frozen=True, kw_only=True)
class SmallLog:
    """Entries, and who signs them."""

    entries: Sequence[bytes] = field(default_factory=lambda: [entry(idx) for idx in range(11)])
    signer: Signer = SIGNER
    origin: str = LOG
    policy: str | None = None
    witnesses: Sequence[Cosigner] = ()

    def receipt(self, index: int = 5) -> Receipt:
        """Give the receipt of one entry."""
        leaves = [leaf_hash(one) for one in self.entries]
        checkpoint = Checkpoint(origin=self.origin, size=len(leaves), root=tree_hash(leaves))
        note = self.signer.sign(str(checkpoint))
        lines = "".join(one.cosign(str(checkpoint), 1_795_000_000) for one in self.witnesses)
        return Receipt(
            index=index,
            proof=tuple(inclusion_proof(index, len(leaves), subtrees_of(leaves))),
            note=note + lines,
            entry=self.entries[index],
            salt=SALT,
            body=BODY,
            policy=self.policy,
        )


def policy(*, first: int = 0, end: int | None = None, root: Signer = ROOT) -> str:
    """Give a policy that a root signed: the log's key from one size to another, one witness."""
    epochs = [Epoch(key=SIGNER.verifier, first=0, end=end)]
    if first:
        epochs = [
            Epoch(key=ATTACKER.verifier, first=0, end=first + 1),
            Epoch(key=SIGNER.verifier, first=first, end=end),
        ]
    witness = {"w1": WITNESS.verifier}
    return Policy(epochs=tuple(epochs), witnesses=witness, quorum="w1").signed(root)
