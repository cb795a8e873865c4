"""
Match the patient, then sign the disclosure before the first byte leaves.

If the power fails in the middle of the delivery, the log still names everything
that may have gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from fhir_bridge.errors import Cancelled, PatientUnclear
from fhir_bridge.journey import recording
from fhir_bridge.journey.consenting import unchanged
from fhir_bridge.journey.delivering import ConsentChanged
from fhir_bridge.journey.intents import phase_of, settle_intent
from fhir_bridge.journey.matching import Matched, match, shown
from fhir_bridge.journey.parties import Progress, Step
from fhir_bridge.journey.releasing import Released
from fhir_bridge.journey.signing import SERIOUS, Pen
from fhir_bridge.ledger import Event
from fhir_bridge.transfer import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """The disclosure is in the log, durably and signed."""

    released: Released
    matched: Matched
    intent: int
    """Index of the log's entry."""
    phase: str
    """Names the intent, and the result that answers it."""


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
    matched = _matched(pen, released)
    settle_intent(pen, going_on_with=released.number)
    phase = phase_of(pen, released.number)
    intent = pen.sign(
        Event.DISCLOSURE_INTENT,
        recording.disclosed(
            requested.id,
            released.manifest,
            number=released.number,
            key=pen.key,
            consent=released.consent,
        ),
        phase=phase,
        consent=released.consent,
        content=pen.content_of(released.manifest),
    )
    parties.before_leaving()
    parties.store.set_state(requested.id, State.ANNOUNCED)
    parties.tell(
        Progress(
            step=Step.DISCLOSURE,
            sentence=f"signed: entry {intent} of log {parties.store.log},"
            " before the first byte left",
        )
    )
    return Announced(released=released, matched=matched, intent=intent, phase=phase)


def _matched(pen: Pen, released: Released) -> Matched:
    """Sign what is shown of the patient before it is, ask, and sign the answer."""
    parties, requested = pen.parties, pen.requested
    systems, asked = shown(requested, parties, released.patient)
    pen.sign(
        Event.PATIENT_ASKED,
        recording.asked(requested.id, released.consent, systems),
        consent=released.consent,
    )
    parties.before_leaving()
    try:
        matched = match(requested, parties, released.patient)
    except PatientUnclear:
        act = recording.matched(parties.destination, None, asked, "")
        pen.sign(Event.PATIENT_MATCHED, act, phase="unclear", outcome=SERIOUS)
        raise
    by = requested.order.override if matched.by_person else ""
    pen.sign(Event.PATIENT_MATCHED, recording.matched(parties.destination, matched, asked, by))
    parties.store.set_state(requested.id, State.MATCHED)
    parties.tell(
        Progress(
            step=Step.PATIENT,
            sentence=f"{matched.ref} at {parties.destination.name}: {matched.how}",
        )
    )
    return matched


def confirm_consent(pen: Pen, released: Released) -> None:
    """
    Search every Consent again; sign and stop when one is new, changed or gone.

    Raises:
        ConsentChanged: What was released must be decided again.
        Cancelled: A person wants the transfer to stop.
    """
    if not unchanged(released.consent, pen.parties, released.patient):
        pen.sign(
            Event.CONSENT_REVOKED,
            recording.changed(released.consent),
            phase=f"{released.number}.{pen.parties.clock.now()}",
            outcome=SERIOUS,
            consent=released.consent,
        )
        raise ConsentChanged("the patient's consents are not what they were when weighed")
    confirm_wanted(pen)


def confirm_wanted(pen: Pen) -> None:
    """
    Stop when a person has cancelled the transfer.

    Raises:
        Cancelled: Nothing more may leave.
    """
    if pen.parties.store.is_cancelled(pen.requested.id):
        raise Cancelled("the transfer was cancelled: nothing more was sent")
