"""Write down what the consents say before any record is read."""

from __future__ import annotations

from fhir_bridge.errors import ConsentRefused
from fhir_bridge.journey import recording
from fhir_bridge.journey.consenting import Consented, NothingPermitted, consented
from fhir_bridge.journey.parties import Progress, Step
from fhir_bridge.journey.signing import SERIOUS, Pen
from fhir_bridge.ledger import Event
from fhir_bridge.records import Resource
from fhir_bridge.transfer import Basis, State


def permit(pen: Pen, patient: Resource) -> Consented:
    """
    Ask the patient's consent, and sign the answer.

    Raises:
        ConsentRefused: Nothing may be released; no record has been read.
    """
    parties, requested = pen.parties, pen.requested
    try:
        consent = consented(requested, parties, patient)
    except ConsentRefused as error:
        weighed = error.weighed if isinstance(error, NothingPermitted) else None
        act = recording.denied(weighed, "no consent lets anything go, or not all could be read")
        pen.sign(Event.CONSENT_DENIED, act, phase=_round(pen), outcome=SERIOUS)
        raise
    pen.sign(
        Event.CONSENT_VERIFIED,
        recording.permitted(consent),
        phase=pen.consent_phase(consent),
        consent=consent,
    )
    parties.store.set_state(requested.id, State.PERMITTED)
    parties.tell(Progress(step=Step.CONSENT, sentence=_sentence(consent)))
    return consent


def _round(pen: Pen) -> str:
    """A refusal at another time is another act."""
    return pen.parties.clock.now().isoformat(timespec="seconds")


def _sentence(consent: Consented) -> str:
    if consent.basis is Basis.TREATMENT:
        return "not the basis: the records go for treatment, as the operator allows"
    in_force = [one for one in consent.standing.consents if one.counts]
    named = ", ".join(f"{one.ref} version {one.version or '-'}" for one in in_force)
    return named or "none in force"
