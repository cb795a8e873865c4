"""
The journey: one patient's whole record from the first provider to the second.

    confirm the consent -> gather all records and what they refer to -> decide for
    each -> match the patient -> sign the disclosure before the first byte leaves ->
    deliver -> read back and reconcile -> tell the second doctor -> sign

`carry` reads like that sentence. Each step returns the evidence for the next,
so a step out of order does not pass the type checker. A transfer interrupted
anywhere is carried again from its request: content is gathered again, what the
destination has is looked at, and what the log has is not signed twice.
"""

from __future__ import annotations

from fhir_bridge.errors import (
    BridgeError,
    Cancelled,
    ConsentRefused,
    Incomplete,
    Refused,
    Tampered,
)
from fhir_bridge.journey import recording
from fhir_bridge.journey.announcing import Announced, announce, confirm_wanted
from fhir_bridge.journey.closing import close, close_unsent
from fhir_bridge.journey.delivering import ConsentChanged
from fhir_bridge.journey.intents import settle_intent
from fhir_bridge.journey.office import Office
from fhir_bridge.journey.ordering import Settled, patient_at, settle
from fhir_bridge.journey.parties import (
    ConsentRules,
    Parties,
    Progress,
    Provider,
    Step,
)
from fhir_bridge.journey.permitting import permit
from fhir_bridge.journey.releasing import Released, release
from fhir_bridge.journey.sending import Delivered, send
from fhir_bridge.journey.signing import MINOR, SERIOUS, Pen
from fhir_bridge.ledger import Event
from fhir_bridge.records import Resource
from fhir_bridge.transfer import ENDED, Ended, Requested, State

__all__ = [
    "ConsentRules",
    "Office",
    "Parties",
    "Progress",
    "Provider",
    "Settled",
    "Step",
    "carry",
    "patient_at",
    "preview",
    "settle",
]

_DECISIONS_MAX = 5
"""Times that changing consents are decided about in one run; then a person looks."""


def carry(requested: Requested, parties: Parties, patient: Resource) -> Ended | None:
    """
    Carry a transfer as far as it can go without a person.

    Args:
        requested: The transfer; new, interrupted, or closed before.
        parties: Everyone who takes part.
        patient: The patient at the source, as just read.

    Returns:
        Closed, or incomplete or held with every missing line named. None when
        another brought it to its end while this one waited for the patient.

    Raises:
        Refused: A rule forbids it. Nothing was sent.
        Cancelled: A person forbids it; the log names what had gone before.
        Unreachable: Try again later; nothing is lost.
        BridgeError: Somebody must act first; the transfer has ended as incomplete.
    """
    pen = Pen.of(parties, requested, patient)
    parties = pen.parties
    patient_name = f"{parties.source.identity}/{requested.patient}"
    with parties.store.lease(
        parties.destination.identity, patient_name, wait_seconds=parties.lease_seconds
    ):
        if _has_ended(pen):
            return None
        pen.sign(Event.TRANSFER_REQUESTED, recording.requested(requested))
        for _ in range(_DECISIONS_MAX):
            try:
                return _carry_once(pen, patient)
            except ConsentChanged:
                parties.tell(Progress(step=Step.CONSENT, sentence="changed; deciding again"))
            except BridgeError as error:
                _stop(pen, error)
                raise
        restless = recording.denied(None, "the patient's consents changed all the time")
        pen.sign(Event.CONSENT_DENIED, restless, phase="restless", outcome=SERIOUS)
        parties.store.set_state(requested.id, State.REFUSED)
        raise ConsentRefused(
            f"the patient's consents changed {_DECISIONS_MAX} times while the transfer ran: look"
            " at them, then resume"
        )


def _has_ended(pen: Pen) -> bool:
    row = pen.parties.store.read_transfer(pen.requested.id)
    return row.attempt != pen.requested.attempt or State(row.state) in ENDED


def _stop(pen: Pen, error: BridgeError) -> None:
    """
    Write down that a transfer ends here, unless waiting helps.

    A log that was tampered with is not signed on: nothing is written then.
    """
    if error.retryable or isinstance(error, Tampered):
        return
    settle_intent(pen)
    state = State.REFUSED if isinstance(error, Refused) else State.INCOMPLETE
    if isinstance(error, Cancelled):
        state = State.CANCELLED
        pen.sign(Event.TRANSFER_CLOSED, recording.closed(0, state), phase=state, outcome=MINOR)
    elif state is State.INCOMPLETE:
        act = recording.closed(0, state, sentence="somebody must act before it can go on")
        pen.sign(Event.TRANSFER_CLOSED, act, phase="stopped", outcome=SERIOUS)
    pen.parties.store.set_state(pen.requested.id, state)


def preview(requested: Requested, parties: Parties, patient: Resource) -> Released:
    """
    Say what would go and what would not, with the rule; send nothing.

    Reading the record is an act too, so it is signed into the log.
    """
    pen = Pen.of(parties, requested, patient)
    pen.sign(Event.TRANSFER_REQUESTED, recording.requested(requested))
    return release(pen, patient, permit(pen, patient), fetch_attachments=False)


def _carry_once(pen: Pen, patient: Resource) -> Ended:
    confirm_wanted(pen)
    permitted = permit(pen, patient)
    confirm_wanted(pen)
    released: Released = release(pen, patient, permitted)
    confirm_wanted(pen)
    if len(released.manifest.lines) == released.manifest.counts().excluded:
        raise Incomplete(
            f"the first provider has no record of the kinds asked for {patient.ref}: nothing was"
            " sent → ask the first provider"
        )
    if not released.manifest.released:
        return close_unsent(pen, released)
    announced: Announced = announce(pen, released)
    delivered: Delivered = send(pen, announced)
    return close(pen, delivered)
