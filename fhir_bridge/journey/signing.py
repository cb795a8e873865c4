"""
Write each act of a transfer into the signed log: the intent before, the result after.

An act is named by its transfer, step, attempt and phase, so that a transfer
taken up again after a crash signs nothing twice.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Literal, Self

from fhir_bridge.audit import Act, Scene, write
from fhir_bridge.journey import recording
from fhir_bridge.journey.consenting import Consented
from fhir_bridge.journey.parties import Parties
from fhir_bridge.ledger import ConsentSeen, Content, Event, NewEntry, event_id, timestamp
from fhir_bridge.manifest import Manifest, root, sealed_digest
from fhir_bridge.records import Json, Resource, digest
from fhir_bridge.sensitivity import is_test_data
from fhir_bridge.transfer import Requested

OutcomeCode = Literal["0", "4", "8", "12"]
OK: OutcomeCode = "0"
MINOR: OutcomeCode = "4"
"""Something is missing, and named."""
SERIOUS: OutcomeCode = "8"
"""Refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Signs the acts of one transfer."""

    parties: Parties
    requested: Requested
    key: bytes
    """The transfer's erasable key, 32 bytes."""
    subject: str
    """The patient's pseudonym in this transfer."""
    scene: Scene
    """Who takes part, for the body of each act."""

    @classmethod
    def of(cls, parties: Parties, requested: Requested, patient: Resource) -> Self:
        """
        Take up the pen for a transfer that the store knows.

        Args:
            parties: Everyone who takes part.
            requested: The transfer.
            patient: The patient at the source, as just read.
        """
        store = parties.store
        trace = parties.trace or trace_of(requested.id, requested.attempt)
        return cls(
            parties=parties.traced(trace),
            requested=requested,
            key=store.transfer_key(requested.id),
            subject=store.subject(f"{parties.source.identity}/{requested.patient}", requested.id),
            scene=Scene(
                host=store.log.partition("/")[0],
                actor=parties.actor,
                transfer=requested.id,
                trace=trace,
                purpose=requested.order.purpose,
                custodian=requested.custodian.identifier,
                recipient=requested.recipient.identifier,
                source=recording.end(parties.source),
                destination=recording.end(parties.destination),
                patient=recording.end(parties.source).named(requested.patient),
                test_data=is_test_data(patient.content()),
            ),
        )

    def sign(
        self,
        type_: Event,
        act: Act,
        *,
        phase: str = "",
        outcome: OutcomeCode = OK,
        consent: Consented | tuple[ConsentSeen, ...] = (),
        content: Content | None = None,
    ) -> int:
        """
        Append one act, durably, under a signed checkpoint.

        Args:
            type_: What happened.
            act: What its AuditEvent says of it.
            phase: What tells this act from others of its type in this attempt;
                of an intent and its result it begins with the manifest's number.
            outcome: Code of http://hl7.org/fhir/audit-event-outcome.
            consent: The Consents the act rests on.
            content: What is disclosed.

        Returns:
            The entry's index. The same act signed before gives the same index.

        Raises:
            StoreUnavailable: Not written; nothing may leave.
        """
        order, requested, parties = self.requested.order, self.requested, self.parties
        id_ = event_id(requested.id, str(type_), requested.attempt, phase)
        entry = NewEntry(
            type=type_,
            actor=parties.actor,
            transfer=requested.id,
            outcome=outcome,
            step=_step(type_, phase),
            attempt=requested.attempt,
            basis=str(order.basis),
            purpose=order.purpose,
            custodian=requested.custodian.identifier,
            recipient=requested.recipient.identifier,
            source=parties.source.name,
            destination=parties.destination.name,
            consent=self._consents(consent) if isinstance(consent, Consented) else consent,
            content=content,
            subject=self.subject,
            trace=self.scene.trace,
            audit_event=self._body(type_, act, id_, outcome),
        )
        return parties.store.append(entry, event_id=id_).first

    def _body(self, type_: Event, act: Act, id_: str, outcome: OutcomeCode) -> bytes:
        recorded = timestamp(self.parties.clock.now())
        return write(self.scene, act, event=type_, id_=id_, recorded=recorded, outcome=outcome)

    def content_of(self, manifest: Manifest) -> Content:
        """Describe the released lines of a manifest."""
        released = manifest.released
        return Content.of(
            count=len(released),
            size_bytes=sum(line.size_bytes for line in released),
            root=root(released, self.key),
        )

    def consent_phase(self, consent: Consented) -> str:
        """Name a set of Consents: the same set verified twice is one act."""
        return hashlib.sha256(repr(consent.seen).encode()).hexdigest()[:16]

    def _consents(self, consent: Consented) -> tuple[ConsentSeen, ...]:
        in_force = {state.ref for state in consent.standing.consents if state.counts}
        seen = [
            self._seen(one.ref, one.version or "-", one.content())
            for one in consent.consents
            if one.ref in in_force
        ]
        if consent.brought is not None and any(
            state.brought and state.counts for state in consent.standing.consents
        ):
            seen.append(self._seen(recording.BROUGHT, "-", consent.brought))
        return tuple(seen)

    def _seen(self, ref: str, version: str, content: Json) -> ConsentSeen:
        commitment = sealed_digest(self.key, digest(content))
        return ConsentSeen(id=ref, version=version, commitment=commitment)


def trace_of(transfer: str, attempt: int) -> str:
    """
    Return what joins our log with the servers' logs, for one attempt of a transfer.

    Returns:
        32 hexadecimal digits, the same when the attempt is taken up again.
    """
    return uuid.uuid5(uuid.UUID(transfer), f"trace/{attempt}").hex


def _step(type_: Event, phase: str) -> str:
    """Name the act; the number of the manifest tells which result answers which intent."""
    if type_ in {Event.DISCLOSURE_INTENT, Event.DISCLOSURE_RESULT}:
        return f"{type_}.{phase.partition('.')[0]}"
    return str(type_)
