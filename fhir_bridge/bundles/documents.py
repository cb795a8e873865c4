"""A DocumentReference for a report's document that has none at the first provider."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_bridge.bundles.checked import checked
from fhir_bridge.bundles.codings import URI_SYSTEM, concept, meta
from fhir_bridge.bundles.referral import Referral
from fhir_bridge.codes import mapping
from fhir_bridge.records import Json, Kind, RecordRef

_PROFILES = (
    "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.DocumentReference",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-documentreference",
)
_CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"
_IDENTIFIER_TYPE = "https://profiles.ihe.net/ITI/MHD/CodeSystem/IHE.MHD.MHDIdentifierType"
_FORMAT = {
    "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    "display": "mimeType Sufficient",
}
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+\-]\d{2}:\d{2})", re.ASCII)
_CARRIED = {
    "language": re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*"),
    "title": re.compile(r".*\S.*", re.DOTALL),
    "creation": re.compile(rf"\d{{4}}(-\d{{2}}(-\d{{2}})?)?|{_INSTANT.pattern}", re.ASCII),
}
"""What is taken from an attachment as received, and the form that FHIR R4 gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDocument:
    """One document of a report, as it is at the destination."""

    name: str
    """What tells it from the referral's other documents, e.g. its reference at the source."""
    report: RecordRef
    """The report's copy."""
    content: Json
    """The report as received: its code, its date, its labels."""
    kind: Kind
    binary: RecordRef
    """The copy of the bytes."""
    data: bytes
    content_type: str
    attachment: Json
    """The Attachment as received: its title, its language, its date."""


def document_reference(referral: Referral, document: ReportDocument) -> Json:
    """
    Write the DocumentReference of one document.

    Args:
        referral: For whom.
        document: The document; hash and size are taken from its bytes.

    Raises:
        BadRecord: Something given has a form that FHIR does not allow.

    Source:
        IHE MHD 4.2.3 Minimal DocumentReference and US Core 6.1.0 (one category,
        no docStatus, url and not data); Attachment.hash is the base64 of the
        SHA-1 of the bytes (https://hl7.org/fhir/R4/datatypes.html#Attachment).
    """
    id_ = referral.id_of(f"DocumentReference/{document.name}")
    labels = _labels(document.content)
    content: Json = {
        "resourceType": "DocumentReference",
        "id": id_,
        **meta(test_data=referral.test_data, labels=labels, profiles=_PROFILES),
        "masterIdentifier": {
            "use": "usual",
            "type": concept(_IDENTIFIER_TYPE, "uniqueId"),
            "system": URI_SYSTEM,
            "value": f"urn:oid:2.25.{uuid.UUID(id_).int}",
        },
        "status": "current",
        "type": _type(document),
        "category": [concept(_CATEGORY, "clinical-note", "Clinical Note")],
        "subject": referral.subject,
        "date": _issued(document.content) or referral.written,
        "author": [referral.custodian.reference()],
        "custodian": referral.custodian.reference(),
        **({"securityLabel": [{"coding": [one]} for one in labels]} if labels else {}),
        "content": [{"attachment": _attachment(document), "format": dict(_FORMAT)}],
        "context": {"related": [{"reference": document.report, "type": "DiagnosticReport"}]},
    }
    return checked(content)


def _attachment(document: ReportDocument) -> Json:
    carried = {
        name: value
        for name, form in _CARRIED.items()
        if (value := _in_form(document.attachment.get(name), form)) is not None
    }
    digest = hashlib.sha1(document.data, usedforsecurity=False).digest()
    return {
        "contentType": document.content_type,
        **carried,
        "url": document.binary,
        "size": len(document.data),
        "hash": base64.b64encode(digest).decode(),
    }


def _type(document: ReportDocument) -> Json:
    """Take the report's own code where it is a kind of document, else the kind's."""
    types = mapping("document-types.json")
    own = {(one["system"], one["code"]): one for one in types["own_types"]}
    for coding in _codings(document.content.get("code")):
        found = own.get((coding.get("system"), coding.get("code")))
        if found is not None:
            return concept(found["system"], found["code"], found["display"])
    default = types["types"][document.kind]
    return concept(default["system"], default["code"], default["display"])


def _codings(value: object) -> Sequence[Json]:
    codings = value.get("coding") if isinstance(value, dict) else None
    return [one for one in codings if isinstance(one, dict)] if isinstance(codings, list) else []


def _labels(report: Json) -> list[Json]:
    """Carry the report's own labels on: its document needs the same care."""
    carried = report.get("meta")
    labels = carried.get("security") if isinstance(carried, dict) else None
    return [one for one in labels if isinstance(one, dict)] if isinstance(labels, list) else []


def _issued(report: Json) -> str | None:
    return _in_form(report.get("issued"), _INSTANT)


def _in_form(value: object, form: re.Pattern[str]) -> str | None:
    """Leave out what FHIR does not allow: one bad title must not stop a transfer."""
    return value if isinstance(value, str) and form.fullmatch(value) else None
