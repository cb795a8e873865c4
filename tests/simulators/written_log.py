"""A log of its own making, as the store hands one out: honest, or written by a thief of its key."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.exports.exporting import Order, export_log
from fhir_bridge.exports.layout import Manifest
from fhir_bridge.ledger import (
    Body,
    Checkpoint,
    ConsentSeen,
    Content,
    Cosigner,
    Epoch,
    Event,
    Frontier,
    NewEntry,
    Note,
    Place,
    Policy,
    Signer,
    Subtrees,
    encode_entry,
    leaf_hash,
    subtrees_of,
    timestamp,
)

LOG = "bridge.first.example/audit/2026"
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
PER_TRANSFER = 10

_OF_A_TRANSFER = (
    Event.TRANSFER_REQUESTED,
    Event.CONSENT_VERIFIED,
    Event.RECORDS_FETCHED,
    Event.PATIENT_ASKED,
    Event.PATIENT_MATCHED,
    Event.DISCLOSURE_INTENT,
    Event.DISCLOSURE_RESULT,
    Event.DELIVERY_CONFIRMED,
    Event.ACCESS_VIEWED,
    Event.TRANSFER_CLOSED,
)

_ON_CONSENT = {
    Event.CONSENT_VERIFIED,
    Event.PATIENT_ASKED,
    Event.DISCLOSURE_INTENT,
    Event.DISCLOSURE_RESULT,
}
_OF_CONTENT = {Event.DISCLOSURE_INTENT, Event.DISCLOSURE_RESULT, Event.TRANSFER_CLOSED}
"""As in the logs of the bridge itself."""


def private(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


KEY = Signer(LOG, private("log"))
SECOND_KEY = Signer(LOG, private("log, second epoch"))
ROOT = Signer("bridge.first.example/audit/root", private("root"))
STRANGER = Signer(LOG, private("stranger"))
WITNESS = Cosigner("witness.example/w1", private("witness"))
OTHER_WITNESS = Cosigner("witness.example/w2", private("other witness"))


def transfer_of(number: int) -> str:
    return str(uuid.UUID(int=0xF00D << 64 | number, version=4))


def body_of(idx: int) -> tuple[bytes, bytes]:
    """Salt and stored bytes of what an entry commits to."""
    salt = hashlib.sha256(b"salt %d" % idx).digest()
    return salt, b'{"resourceType":"AuditEvent","id":"%d","recorded":"2026-03-01T00:00:00Z"}' % idx


def commitment(salt: bytes, body: bytes) -> Body:
    digest = base64.b64encode(hashlib.sha256(salt + body).digest()).decode()
    return Body(alg="sha256-salted", digest=digest, type="AuditEvent")


def ordinary(idx: int, *, log: str = LOG, t: str | None = None) -> bytes:
    """The entry that stands at an index of a log of ordinary transfers."""
    t = t or timestamp(BEGAN + timedelta(seconds=idx))
    if idx == 0:
        return written(NewEntry(type=Event.LOG_OPENED, actor="svc:fhir-bridge"), log, idx, t)
    number, seq = divmod(idx - 1, PER_TRANSFER)
    new = NewEntry(
        type=_OF_A_TRANSFER[seq],
        actor="cli:ada",
        transfer=transfer_of(number),
        step="deliver.laboratory",
        attempt=1,
        basis="consent",
        purpose="TREAT",
        custodian="urn:oid:2.999.1.1|first-clinic",
        recipient="urn:oid:2.999.1.2|second-opinion-centre",
        source="first-clinic",
        destination="second-opinion-centre",
        consent=(
            ConsentSeen(id="Consent/c1", version="1", commitment=_hex(b"consent %d" % number)),
        )
        if _OF_A_TRANSFER[seq] in _ON_CONSENT
        else (),
        content=Content.of(count=3, size_bytes=4711, root=hashlib.sha256(b"%d" % idx).digest())
        if _OF_A_TRANSFER[seq] in _OF_CONTENT
        else None,
        subject=f"hmac-sha256:{_hex(b'subject %d' % number)}",
        trace=_hex(b"trace %d" % number)[:32],
        entries=PER_TRANSFER if seq == PER_TRANSFER - 1 else None,
    )
    return written(new, log, idx, t, seq=seq, body=commitment(*body_of(idx)))


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def written(
    new: NewEntry, log: str, idx: int, t: str, *, seq: int | None = None, body: Body | None = None
) -> bytes:
    return encode_entry(new.at(Place(log=log, idx=idx, t=t, seq=seq), body))


@dataclass
class WrittenLog:
    """A log, every part of which a test may spoil before it is handed out."""

    entries: list[bytes]
    bodies: dict[int, tuple[bytes, bytes]]
    published: list[tuple[int, str]] = field(default_factory=list)
    cosigned: int | None = None
    log: str = LOG

    @classmethod
    def of(cls, count: int, *, every: int = 7, signers: Sequence[Signer] = (KEY,)) -> WrittenLog:
        """Write a log of ordinary transfers, with a checkpoint every so many entries."""
        log = cls([ordinary(idx) for idx in range(count)], {})
        log.bodies = {idx: body_of(idx) for idx in range(1, count)}
        log.sign(every=every, signers=signers)
        return log

    def sign(self, *, every: int = 7, signers: Sequence[Signer] = (KEY,)) -> None:
        """Sign checkpoints over the entries as they are now."""
        self.published = []
        frontier = Frontier()
        for size, entry in enumerate(self.entries, start=1):
            frontier = frontier.appended(leaf_hash(entry))
            if size % every == 0 or size == len(self.entries):
                text = str(Checkpoint(origin=self.log, size=size, root=frontier.root()))
                lines = "".join(signer.line(text) for signer in signers)
                self.published.append((size, f"{text}\n{lines}"))

    def sign_epochs(self, handover: int, *, every: int = 7) -> None:
        """Sign with the first key up to a size, with the second from there; there with both."""
        self.sign(every=every)
        self.published = [
            (
                size,
                self.note(size, *([KEY] * (size <= handover) + [SECOND_KEY] * (size >= handover))),
            )
            for size, _ in self.published
        ]

    def root(self, size: int) -> bytes:
        frontier = Frontier()
        for entry in self.entries[:size]:
            frontier = frontier.appended(leaf_hash(entry))
        return frontier.root()

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(origin=self.log, size=size, root=self.root(size))

    def note(self, size: int, *signers: Signer) -> str:
        text = str(self.checkpoint(size))
        return f"{text}\n{''.join(signer.line(text) for signer in signers)}"

    def cosign(self, size: int, *witnesses: Cosigner, at: datetime | None = None) -> None:
        """Let witnesses sign the checkpoint of a size, a minute after its last entry."""
        moment = at or BEGAN + timedelta(seconds=size + 60)
        text = str(self.checkpoint(size))
        lines = "".join(one.cosign(text, int(moment.timestamp())) for one in witnesses)
        self.published = [
            (one, note + lines if one == size else note) for one, note in self.published
        ]
        self.cosigned = max(size, self.cosigned or 0)

    def leaves(self, log: str, first: int, end: int) -> Iterator[bytes]:
        assert log == self.log
        yield from self.entries[first:end]

    def notes(self, log: str) -> Iterator[tuple[int, str]]:
        assert log == self.log
        yield from self.published

    def opened(self, log: str, first: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        assert log == self.log
        for idx in sorted(self.bodies):
            if first <= idx < end:
                yield idx, *self.bodies[idx]

    def last_cosigned(self, log: str, witness: str | None = None) -> int | None:
        assert (log, witness) == (self.log, None)
        return self.cosigned

    def subtrees(self, log: str) -> Subtrees:
        assert log == self.log
        return subtrees_of([leaf_hash(entry) for entry in self.entries])

    def export(self, path: Path, *, signer: Signer = KEY, **order: Any) -> Path:
        """Export it with all its checkpoints, the list of files signed by a key of the log."""
        order = {"per_checkpoint": 1, **order}
        export_log(self, path, Order(log=self.log, **order), sign=signer.sign)
        return path


def signed_again(path: Path, *, signer: Signer = KEY) -> Path:
    """List the files of a folder as they are now, and sign the list."""
    old = Manifest.parse(Note.parse((path / "manifest").read_text(), chars_max=10**8).text)
    files = {
        str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in path.rglob("*")
        if one.is_file() and one != path / "manifest"
    }
    (path / "manifest").write_text(signer.sign(str(replace(old, files=files))))
    return path


ONE_KEY = Policy.of_key(KEY.verifier)
TWO_KEYS = Policy(
    epochs=(Epoch(key=KEY.verifier, end=22), Epoch(key=SECOND_KEY.verifier, first=21))
)
WITNESSED = Policy(epochs=ONE_KEY.epochs, witnesses={"w1": WITNESS.verifier}, quorum="w1")
