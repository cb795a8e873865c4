"""One of everything that the bridge writes, for the tests that look at it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fhir_bridge.bundles import (
    Involved,
    Referral,
    ReportDocument,
    Terms,
    Undelivered,
    consent_draft,
    created_patient,
    document_reference,
    provenance,
    reason_codes,
    service_request,
    task,
    travelling_consent,
)
from fhir_bridge.records import Kind, RecordRef
from fhir_bridge.references import Plan
from fhir_bridge.transfer import Party

IDENTITY = "https://first.example.org/fhir"


def involved(name: str, at: str | None = None) -> Involved:
    party = Party(system="urn:oid:2.999.1.1", value=name, name=name.title())
    return Involved(party=party, at=RecordRef(at) if at else None)


REFERRAL = Referral(
    key="9f" * 32,
    source_identity=IDENTITY,
    patient=RecordRef("Patient/p"),
    custodian=involved("first-clinic", "Organization/1"),
    recipient=involved("second-opinion-centre"),
    requester=involved("first-clinic", "Organization/1"),
    written="2026-11-22T10:00:00Z",
)

REPORT: dict[str, Any] = {
    "resourceType": "DiagnosticReport",
    "id": "r1",
    "issued": "2026-10-01T08:00:00.000Z",
    "code": {"coding": [{"system": "http://loinc.org", "code": "11529-5"}]},
    "meta": {
        "security": [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
        ]
    },
}

DOCUMENT = ReportDocument(
    name="DiagnosticReport/r1#presentedForm[0]",
    report=RecordRef("DiagnosticReport/copy"),
    content=REPORT,
    kind=Kind.PATHOLOGY,
    binary=RecordRef("Binary/copy"),
    data=b"%PDF-1.7",
    content_type="application/pdf",
    attachment={"title": "Biopsy", "language": "en-US", "creation": "2026-10-01", "size": 3},
)

CONSENT: dict[str, Any] = {
    "resourceType": "Consent",
    "dateTime": "2026-11-01",
    "policy": [{"uri": "https://first.example.org/policies/all-but-hiv"}],
    "provision": {
        "type": "permit",
        "period": {"start": "2026-11-01", "end": "2099-12-31"},
        "provision": [{"type": "deny", "securityLabel": [{"code": "HIV"}]}],
    },
}

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "name": [{"family": "Invented"}],
    "gender": "female",
    "birthDate": "1970-01-01",
    "link": [{"other": {"reference": "Patient/2"}, "type": "seealso"}],
    "photo": [{"url": "Binary/face"}],
    "generalPractitioner": [{"reference": "Practitioner/9"}],
    "managingOrganization": {"reference": "Organization/9"},
}

TERMS = Terms(
    kinds=[Kind.LABORATORY],
    exceptions=["HIV"],
    start="2026-11-22",
    end="2099-12-31",
    policy="https://first.example.org/policies/second-opinion",
)


def fresh(content: dict[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(content))
    return copied


def everything(*, test_data: bool = False) -> dict[str, dict[str, Any]]:
    """Each kind of resource that we write, by its name."""
    referral = replace(REFERRAL, test_data=test_data)
    plan = Plan(base=IDENTITY, identity=IDENTITY, copies={})
    return {
        "ServiceRequest": service_request(
            referral,
            reasons=sorted(reason_codes()),
            question="Is surgery needed first?",
            consent=RecordRef("Consent/c"),
            records=[RecordRef("DiagnosticReport/copy")],
            conditions=[RecordRef("Condition/c")],
        ),
        "Task": task(referral, Undelivered(unobtained=2, studies=["Endpoint/e"])),
        "Provenance": provenance(
            referral,
            targets=[RecordRef("Observation/a"), RecordRef("Patient/p")],
            recorded="2026-11-22T10:00:01.5Z",
            proof="c2sp.org/tlog-proof@v1\n",
            source_patient=RecordRef("Patient/1"),
        ),
        "DocumentReference": document_reference(referral, DOCUMENT),
        "Consent": travelling_consent(
            referral, CONSENT, source=RecordRef("Consent/c1"), version="3"
        ),
        "Consent draft": consent_draft(referral, TERMS),
        "Patient": created_patient(fresh(PATIENT), plan, to=RecordRef("Patient/p")).content,
    }
