"""The consent that travels with the records, and one drafted for signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_bridge.bundles.checked import checked
from fhir_bridge.bundles.codings import ACT_REASON, LOINC, concept, meta
from fhir_bridge.bundles.referral import Referral
from fhir_bridge.codes import mapping
from fhir_bridge.records import Json, Kind, RecordRef

_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"

LIMITED = "The patient's consent limits this record."
"""What the recipient is told of a consent that stays behind; not what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a patient is asked to sign."""

    kinds: Sequence[Kind] = tuple(Kind)
    """What may be sent."""
    exceptions: Sequence[str] = ()
    purposes: Sequence[str] = ()
    """Codes of v3-ActReason; none for the referral's own."""
    """Sensitivities that may not: codes of HL7 v3-ActCode, e.g. ``HIV``."""
    start: str = ""
    """First day, as a FHIR date; empty for from now on."""
    end: str = ""
    """Last day."""
    policy: str
    """Address of the policy that the paper refers to; PCF requires one."""


def travelling_consent(
    referral: Referral, original: Json, *, source: RecordRef, version: str | None
) -> Json:
    """
    Write the consent that goes to the recipient in place of the patient's own.

    A consent that excepts HIV results tells as much as the results do. So the
    copy says who, to whom, for what and until when, and that there are limits;
    it does not say which.

    Args:
        referral: Who, whom.
        original: The Consent as received; only its dates are taken.
        source: Its reference at the source.
        version: Its version there.

    Raises:
        BadRecord: Something given has a form that FHIR does not allow.

    Source:
        https://hl7.org/fhir/R4/consent.html; that the original stays behind is
        our own rule.
    """
    type_, _, id_ = source.partition("/")
    of_version = f" (version {version})" if version else ""
    content: Json = {
        "resourceType": "Consent",
        "id": referral.id_of(f"Consent/{id_}"),
        **meta(test_data=referral.test_data),
        "identifier": [referral.identifier(f"Consent/{id_}")],
        "status": "active",
        "scope": _scope(),
        "category": [_category()],
        "patient": referral.subject,
        **_text(original, "dateTime"),
        "organization": [referral.custodian.reference()],
        "sourceReference": {
            "type": "Consent",
            "identifier": {"system": f"{referral.source_identity}/{type_}", "value": id_},
            "display": f"The consent itself{of_version}, held by {referral.custodian.name}",
        },
        "policyRule": {"text": LIMITED},
        "provision": _permit(referral, _period_of(original), [referral.purpose]),
    }
    return checked(content)


def consent_draft(referral: Referral, terms: Terms) -> Json:
    """
    Write a consent that is ready to be signed.

    Args:
        referral: Who, whom; `patient` is the patient at the *source* here, and
            so are the references of the organisations.
        terms: What may be sent, what not, until when, under which policy.

    Returns:
        A Consent with status draft. When the paper is signed, its scan goes
        into sourceAttachment, the patient into performer, and status becomes
        active.

    Raises:
        BadRecord: Something given has a form that FHIR does not allow.

    Source:
        IHE PCF, consent advanced: policy.uri, root provision with type, one
        level of exceptions, role IRCP.
    """
    period = {name: day for name, day in (("start", terms.start), ("end", terms.end)) if day}
    permit = _permit(referral, period, terms.purposes or [referral.purpose])
    exceptions = [_denied_label(code) for code in terms.exceptions]
    for kind in Kind:
        if kind not in terms.kinds:
            exceptions += _denied_kind(kind)
    if exceptions:
        permit["provision"] = exceptions
    content: Json = {
        "resourceType": "Consent",
        "id": referral.id_of("Consent"),
        **meta(test_data=referral.test_data),
        "status": "draft",
        "scope": _scope(),
        "category": [_category()],
        "patient": referral.subject,
        "dateTime": referral.written,
        "performer": [referral.subject],
        "organization": [referral.custodian.reference()],
        "policy": [{"uri": terms.policy}],
        "provision": permit,
    }
    return checked(content)


def _scope() -> Json:
    return concept(_SCOPE, "patient-privacy", "Privacy Consent")


def _category() -> Json:
    return concept(LOINC, "59284-0", "Consent Document")


def _permit(referral: Referral, period: Json, purposes: Sequence[str]) -> Json:
    return {
        "type": "permit",
        **({"period": period} if period else {}),
        "actor": [
            {
                "role": concept(_PARTICIPATION, "IRCP", "information recipient"),
                "reference": referral.recipient.reference(),
            }
        ],
        "purpose": [{"system": ACT_REASON, "code": code} for code in purposes],
    }


def _denied_label(code: str) -> Json:
    return {"type": "deny", "securityLabel": [{"system": _ACT_CODE, "code": code}]}


def _denied_kind(kind: Kind) -> list[Json]:
    """Name a kind by the categories that its records carry, and studies by their type."""
    rows = mapping("document-types.json")["categories"][kind]
    codes = [concept(one["system"], one["code"], one["display"]) for one in rows]
    denied: list[Json] = [{"type": "deny", "code": codes}]
    if kind is Kind.IMAGING:
        study = {"system": _RESOURCE_TYPES, "code": "ImagingStudy"}
        denied.append({"type": "deny", "class": [study]})
    return denied


def _period_of(original: Json) -> Json:
    provision = original.get("provision")
    period = provision.get("period") if isinstance(provision, dict) else None
    if not isinstance(period, dict):
        return {}
    return {**_text(period, "start"), **_text(period, "end")}


def _text(content: Json, name: str) -> Json:
    value = content.get(name)
    return {name: value} if isinstance(value, str) else {}
