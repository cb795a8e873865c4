"""The Task that tells the second doctor: the records are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_bridge.bundles.checked import checked
from fhir_bridge.bundles.codings import concept, meta
from fhir_bridge.bundles.referral import Referral
from fhir_bridge.records import Json

_TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"
_BUSINESS_STATUS = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """What the second doctor has to know is not there. Never what was withheld."""

    unobtained: int = 0
    """Things that the records refer to and the first provider could not give."""
    studies: Sequence[str] = ()
    """For each imaging study whose pixels were not transferred, where they are held."""
    differing: int = 0
    """Released things that are not at the destination as they were sent, and were accepted so."""


def task(referral: Referral, undelivered: Undelivered) -> Json:
    """
    Write the Task that asks the recipient to give the second opinion.

    It is written last, when everything else was delivered and read back.

    Args:
        referral: Who, whom, when.
        undelivered: What could not be had, and images that did not travel.

    Raises:
        BadRecord: Something given has a form that FHIR does not allow.

    Source:
        https://hl7.org/fhir/R4/task.html; the rules of BSeR's referral-task
        with its business status 2.0 (Service Request Created).
    """
    request = f"ServiceRequest/{referral.id_of('ServiceRequest')}"
    content: Json = {
        "resourceType": "Task",
        "id": referral.id_of("Task"),
        **meta(test_data=referral.test_data),
        "identifier": [referral.identifier("Task")],
        "status": "requested",
        "businessStatus": concept(
            _BUSINESS_STATUS, "2.0", "Service Request Created", text="Service Request Created"
        ),
        "intent": "order",
        "priority": "routine",
        "code": concept(_TASK_CODE, "fulfill", "Fulfill the focal request"),
        "description": "Second medical opinion: the records are delivered",
        "focus": {"reference": request, "type": "ServiceRequest"},
        "for": referral.subject,
        "authoredOn": referral.written,
        "lastModified": referral.written,
        "requester": referral.requester.reference(),
        "owner": referral.recipient.reference(),
        "note": [
            {"time": referral.written, "text": sentence} for sentence in _sentences(undelivered)
        ],
    }
    return checked(content)


def _sentences(undelivered: Undelivered) -> list[str]:
    """Say what is there. No number here may tell that something was withheld."""
    sentences = ["Each record that was released to you was delivered and read back."]
    if count := undelivered.differing:
        is_not = "1 item is not" if count == 1 else f"{count} items are not"
        sentences.append(f"Of these, {is_not} stored here as it was sent.")
    if count := undelivered.unobtained:
        what = "1 item that they refer to" if count == 1 else f"{count} items that they refer to"
        sentences.append(f"{what} could not be obtained at the first provider.")
    if studies := undelivered.studies:
        of = "1 study" if len(studies) == 1 else f"{len(studies)} studies"
        sentences.append(f"Complete except images: those of {of} were not transferred.")
        sentences += [f"Images: not transferred, held at {place}." for place in studies]
    return sentences
