"""
Match the patient, then sign the disclosure before the first byte leaves.

If the power fails in the middle of the delivery, the log still names everything
that may have gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from fhir_bridge.errors import PatientUnclear
from fhir_bridge.journey.consenting import unchanged
from fhir_bridge.journey.delivering import ConsentChanged
from fhir_bridge.journey.matching import Matched, match
from fhir_bridge.journey.parties import Progress, Step
from fhir_bridge.journey.releasing import Released
from fhir_bridge.journey.signing import SERIOUS, Pen
from fhir_bridge.ledger import Event
from fhir_bridge.transfer import Requested, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """The disclosure is in the log, durably and signed."""

    released: Released
    matched: Matched
    intent: int
    """Index of the log's entry."""


def announce(pen: Pen, released: Released) -> Announced:
    """
    Ask the destination for the patient, and sign the intent to disclose.

    Raises:
        PatientUnclear: A person decides who the patient is there.
        ConsentChanged: Decide again; nothing was sent.
        StoreUnavailable: The intent is not durable, so nothing may leave.
    """
    parties, requested = pen.parties, pen.requested
    confirm_consent(pen, released)
    pen.sign(Event.PATIENT_ASKED, consent=released.consent)
    try:
        matched = match(requested, parties, released.patient)
    except PatientUnclear:
        pen.sign(Event.PATIENT_MATCHED, phase="unclear", outcome=SERIOUS)
        raise
    pen.sign(Event.PATIENT_MATCHED, statement=_confirmed(matched, requested))
    parties.store.set_state(requested.id, State.MATCHED)
    parties.tell(
        Progress(
            step=Step.PATIENT,
            sentence=f"{matched.ref} at {parties.destination.name}: {matched.how}",
        )
    )
    intent = pen.sign(
        Event.DISCLOSURE_INTENT,
        phase=str(released.number),
        consent=released.consent,
        content=pen.content_of(released.manifest),
        statement=_waived(released),
    )
    parties.store.set_state(requested.id, State.ANNOUNCED)
    parties.tell(
        Progress(
            step=Step.DISCLOSURE,
            sentence=f"signed: entry {intent} of log {parties.store.log},"
            " before the first byte left",
        )
    )
    return Announced(released=released, matched=matched, intent=intent)


def _waived(released: Released) -> dict[str, list[str]] | None:
    """Which Consents count without their signed paper, because the operator says so."""
    refs = [str(one.ref) for one in released.consent.standing.consents if one.paper_waived]
    return {"paper_waived": refs} if refs else None


def _confirmed(matched: Matched, requested: Requested) -> dict[str, str] | None:
    """Who said that the given patient is the right one although data differ."""
    return {"by": requested.order.override} if matched.by_person else None


def confirm_consent(pen: Pen, released: Released) -> None:
    """
    Search every Consent again; sign and stop when one is new, changed or gone.

    Raises:
        ConsentChanged: What was released must be decided again.
    """
    if not unchanged(released.consent, pen.parties, released.patient):
        pen.sign(Event.CONSENT_REVOKED, phase=f"{released.number}.{pen.parties.clock.now()}")
        raise ConsentChanged("the patient's consents are not what they were when weighed")
