"""The patient at the second provider, when there is none yet and one may be created."""

from __future__ import annotations

from fhir_bridge.records import Json, RecordRef
from fhir_bridge.references import Plan, Rewritten, rewrite

_NOT_CARRIED = ("link", "photo", "generalPractitioner")
"""Other charts, a picture and the family doctor are no part of who the patient is."""


def created_patient(patient: Json, plan: Plan, *, to: RecordRef) -> Rewritten:
    """
    Write the patient who is created at the destination.

    Args:
        patient: The patient as received, parsed for this call.
        plan: Where everything is at the destination.
        to: Reference of the patient there.

    Returns:
        The copy: identifiers, names, birth date and addresses as received,
        numbers and labels included. Links to other charts stay behind.

    Raises:
        MalformedJson: A list inside a list.
    """
    carried = {
        name: value for name, value in patient.items() if name.lstrip("_") not in _NOT_CARRIED
    }
    return rewrite(carried, plan, to=to)
