"""The referral: who asks whom, about which patient, and why."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from fhir_bridge.bundles.checked import checked
from fhir_bridge.bundles.codings import SNOMED, concept, meta
from fhir_bridge.codes import mapping
from fhir_bridge.errors import SettingsError
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.references import NAMESPACE
from fhir_bridge.transfer import Party

_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_REFERRAL_REASON = "http://terminology.hl7.org/CodeSystem/v2-0336"
_DISPOSITION = "http://terminology.hl7.org/CodeSystem/v2-0282"


class Purpose(StrEnum):
    """What the records are used for (HL7 v3-ActReason)."""

    TREATMENT = "TREAT"
    PATIENT_REQUESTED = "PATRQT"
    COORDINATION = "COC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Involved:
    """An organisation, and the resource at the destination that stands for it."""

    party: Party
    at: RecordRef | None = None
    """None when the destination has none; it is named by its identifier then."""

    @property
    def name(self) -> str:
        """Return what people call it; its identifier when nobody said."""
        return self.party.name or self.party.value

    def reference(self) -> Json:
        """Return the Reference to it: by identifier always, by address where there is one."""
        address = {"reference": self.at} if self.at is not None else {}
        identifier = {"system": self.party.system, "value": self.party.value}
        return {
            **address,
            "type": "Organization",
            "identifier": identifier,
            "display": self.name,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Referral:
    """What everything we write for one transfer has in common."""

    key: str
    """Key of the referral; ids come from it."""
    source_identity: str
    patient: RecordRef
    """The patient at the destination."""
    custodian: Involved
    recipient: Involved
    requester: Involved
    written: str
    """When it was asked, as a FHIR instant with its zone."""
    purpose: str = Purpose.TREATMENT
    by_patient: bool = False
    """The patient is the one who gave the consent, not someone in his place."""
    test_data: bool = False
    """The patient carries HTEST."""

    def id_of(self, what: str) -> str:
        """Return the id of something that we write for this referral."""
        return authored_id(self.key, what)

    def identifier(self, what: str) -> Json:
        """Return the placer's identifier of something that we write."""
        return {
            "type": concept(_IDENTIFIER_TYPE, "PLAC", "Placer Identifier"),
            "system": f"{self.source_identity}/second-opinion",
            "value": self.id_of(what),
            "assigner": {"display": self.custodian.name},
        }

    @property
    def subject(self) -> Json:
        """Return the Reference to the patient."""
        return {"reference": self.patient, "type": "Patient"}


def authored_id(key: str, what: str) -> str:
    """
    Return the id of something that the bridge writes, the same at every attempt.

    Args:
        key: Key of the referral.
        what: Type, and where there are several what tells them apart.

    Source:
        RFC 9562 section 5.5 (UUID version 5); the name is our own rule.
    """
    return str(uuid.uuid5(NAMESPACE, f"{key}/{what}"))


def service_request(
    referral: Referral,
    *,
    reasons: Sequence[str],
    question: str = "",
    consent: RecordRef | None = None,
    records: Sequence[RecordRef] = (),
    conditions: Sequence[RecordRef] = (),
) -> Json:
    """
    Write the request for a second opinion.

    Args:
        referral: Who, whom, when.
        reasons: Codes of ``mappings/reasons.json``.
        question: What the second doctor is asked, in the requester's words.
        consent: The consent at the destination.
        records: What was delivered and the question is about, e.g. reports.
        conditions: Diagnoses at the destination that the question is about.

    Raises:
        SettingsError: A reason that is not in ``mappings/reasons.json``.
        BadRecord: Something given has a form that FHIR does not allow.

    Source:
        https://hl7.org/fhir/R4/servicerequest.html; the code as HL7 Switzerland
        binds it to a request for a second opinion; the rules of BSeR's
        referral-servicerequest, which is not claimed because the build has not
        its package.
    """
    supporting = [ref for ref in (consent, *records) if ref is not None]
    content: Json = {
        "resourceType": "ServiceRequest",
        "id": referral.id_of("ServiceRequest"),
        **meta(test_data=referral.test_data),
        "identifier": [referral.identifier("ServiceRequest")],
        "status": "active",
        "intent": _intent(referral),
        "priority": "routine",
        **_what_is_asked(),
        "subject": referral.subject,
        "authoredOn": referral.written,
        "requester": referral.requester.reference(),
        "performer": [referral.recipient.reference()],
        "reasonCode": _reasons(reasons),
        **_references("reasonReference", conditions),
        **_references("supportingInfo", supporting),
        **_question(referral, question),
    }
    return checked(content)


def _intent(referral: Referral) -> str:
    """An order is a practitioner's, a directive the patient's own (45 CFR 164.524(c)(3)(ii))."""
    directed = referral.by_patient and referral.purpose == Purpose.PATIENT_REQUESTED
    return "directive" if directed else "order"


def _what_is_asked() -> Json:
    code = concept(
        SNOMED,
        "77406008",
        "Confirmatory medical consultation (procedure)",
        text="Second medical opinion",
    )
    return {
        "category": [concept(SNOMED, "386053000", "Evaluation procedure (procedure)")],
        "code": code,
        "orderDetail": [
            concept(_DISPOSITION, "SO", "Second Opinion"),
            concept(_DISPOSITION, "WR", "Send Written Report"),
        ],
    }


def _references(name: str, refs: Sequence[RecordRef]) -> Json:
    return {name: [{"reference": ref} for ref in refs]} if refs else {}


def _question(referral: Referral, question: str) -> Json:
    if not question:
        return {}
    author = referral.requester.reference()
    return {
        "note": [{"authorReference": author, "time": referral.written, "text": question}],
    }


def reason_codes() -> dict[str, str]:
    """Return the reasons for a second opinion: code to what it means."""
    return {one["code"]: one["display"] for one in _trigger_system()["concept"]}


def reason_system() -> tuple[str, frozenset[str]]:
    """Return the code system of those reasons, and its codes."""
    system = _trigger_system()
    return str(system["url"]), frozenset(str(one["code"]) for one in system["concept"])


def check_reasons(codes: Iterable[str]) -> None:
    """
    Refuse an unknown reason before anything is read: the referral is written after the records.

    Raises:
        SettingsError: It is none of `reason_codes`.
    """
    known = reason_codes()
    if unknown := [code for code in codes if code not in known]:
        raise SettingsError(
            f"the reason {unknown[0]!r} is not known: use one of {', '.join(sorted(known))}"
        )


def _reasons(codes: Sequence[str]) -> list[Json]:
    always = concept(_REFERRAL_REASON, "S", "Second Opinion", text="Second medical opinion")
    return [always, *(_reason(code) for code in codes)]


def _reason(code: str) -> Json:
    check_reasons([code])
    display = reason_codes()[code]
    own = {"system": _trigger_system()["url"], "code": code, "display": display}
    return {"coding": [*_standard_codings(code), own], "text": display}


def _standard_codings(code: str) -> Iterator[Json]:
    for group in _resources()["ConceptMap"]["group"]:
        for element in group["element"]:
            if element["code"] == code:
                for one in element["target"]:
                    yield {
                        "system": group["target"],
                        "code": one["code"],
                        "display": one["display"],
                    }


def _trigger_system() -> Any:
    return _resources()["CodeSystem"]


@cache
def _resources() -> dict[str, Any]:
    entries = mapping("reasons.json")["entry"]
    return {one["resource"]["resourceType"]: one["resource"] for one in entries}
