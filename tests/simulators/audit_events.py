"""One AuditEvent of each kind that the bridge writes, for the tests that look at them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fhir_bridge.audit import Act, End, Form, NamedConsent, Said, Scene, write
from fhir_bridge.ledger import Event
from fhir_bridge.records import RecordRef

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
FIRST = End(base="https://first.example.org/fhir", identity="https://first.example.org/fhir")
SECOND = End(base="https://second.example.org/fhir", identity="https://second.example.org/fhir")

SCENE = Scene(
    host="bridge.first.example.org",
    actor="cli:ada",
    transfer=TRANSFER,
    trace="7f" * 16,
    purpose="PATRQT",
    custodian="urn:oid:2.999.1.1|first-clinic",
    recipient="urn:oid:2.999.1.2|second-opinion-centre",
    source=FIRST,
    destination=SECOND,
    patient=FIRST.named(RecordRef("Patient/p1")),
)

CONSENT = NamedConsent(ref=RecordRef("Consent/c1"), version="3", provision="provision")
DENIED = replace(CONSENT, provision="provision.provision[1]", reason="provision-deny")
PERSON = Said(by="Ada Invented", reason="asked by the patient", refs=("Observation/1",))
COUNTS = {"manifest-root": "8Kv0", "lines": 60, "bytes": 4711, "laboratory": 35}
DISCLOSED = f"urn:uuid:{TRANSFER}#manifest-1"

ACTS: dict[str, tuple[Event, Act, str]] = {
    "requested": (
        Event.TRANSFER_REQUESTED,
        Act(details={"kinds": "imaging laboratory", "basis": "consent"}),
        "0",
    ),
    "requested for treatment": (
        Event.TRANSFER_REQUESTED,
        Act(by_consent=False, said=Said(reason="emergency")),
        "0",
    ),
    "consent verified": (
        Event.CONSENT_VERIFIED,
        Act(form=Form.AUTHORIZATION, consents=[CONSENT]),
        "0",
    ),
    "no consent needed": (Event.CONSENT_VERIFIED, Act(form=Form.AUTHORIZATION), "0"),
    "consent denied": (
        Event.CONSENT_DENIED,
        Act(form=Form.AUTHORIZATION, consents=[DENIED], sentence="denied"),
        "8",
    ),
    "no consent at all": (
        Event.CONSENT_DENIED,
        Act(form=Form.AUTHORIZATION, sentence="there is none"),
        "8",
    ),
    "consent changed": (
        Event.CONSENT_REVOKED,
        Act(form=Form.AUTHORIZATION, consents=[CONSENT], sentence="not as it was"),
        "8",
    ),
    "records fetched": (
        Event.RECORDS_FETCHED,
        Act(form=Form.SEARCH, at=FIRST, asked=["GET Observation?patient=p1"], details=COUNTS),
        "0",
    ),
    "records fetched in part": (
        Event.RECORDS_FETCHED,
        Act(form=Form.SEARCH, at=FIRST, asked=["GET Observation?patient=p1"]),
        "4",
    ),
    "patient asked for": (
        Event.PATIENT_ASKED,
        Act(form=Form.DISCLOSURE, data=f"urn:uuid:{TRANSFER}#patient", consents=[CONSENT]),
        "0",
    ),
    "patient found": (
        Event.PATIENT_MATCHED,
        Act(form=Form.SEARCH, at=SECOND, asked=["POST Patient/_search identifier=urn:oid:1.2|"]),
        "0",
    ),
    "patient unclear": (
        Event.PATIENT_MATCHED,
        Act(form=Form.SEARCH, at=SECOND, asked=["POST Patient/_search identifier=urn:oid:1.2|"]),
        "8",
    ),
    "patient given": (
        Event.PATIENT_MATCHED,
        Act(form=Form.READ, at=SECOND, data="urn:x:Patient/7", said=Said(by="Ada Invented")),
        "0",
    ),
    "disclosure announced": (
        Event.DISCLOSURE_INTENT,
        Act(form=Form.DISCLOSURE, data=DISCLOSED, details=COUNTS, consents=[CONSENT]),
        "0",
    ),
    "disclosure announced for treatment": (
        Event.DISCLOSURE_INTENT,
        Act(form=Form.DISCLOSURE, data=DISCLOSED, details=COUNTS, by_consent=False),
        "0",
    ),
    "disclosed": (
        Event.DISCLOSURE_RESULT,
        Act(form=Form.DISCLOSURE, data=DISCLOSED, details=COUNTS, consents=[CONSENT]),
        "0",
    ),
    "disclosed in part": (
        Event.DISCLOSURE_RESULT,
        Act(form=Form.DISCLOSURE, data=DISCLOSED, details=COUNTS, sentence="3 are missing"),
        "4",
    ),
    "delivery confirmed": (Event.DELIVERY_CONFIRMED, Act(details=COUNTS), "0"),
    "released by a person": (Event.RECORD_RELEASED, Act(said=PERSON), "0"),
    "withheld by a person": (Event.RECORD_WITHHELD, Act(said=PERSON), "0"),
    "gap accepted": (Event.GAP_ACCEPTED, Act(said=PERSON), "0"),
    "cancelled": (Event.TRANSFER_CANCELLED, Act(said=PERSON), "0"),
    "closed": (Event.TRANSFER_CLOSED, Act(details={"state": "closed"}), "0"),
    "erased": (Event.ERASURE_DONE, Act(said=PERSON, details={"bodies": 9}), "0"),
    "viewed": (Event.ACCESS_VIEWED, Act(details={"command": "show"}), "0"),
    "exported": (Event.EXPORT_MADE, Act(details={"log": "a/audit/2026", "entries": 9}), "0"),
    "key changed": (Event.KEY_ROTATED, Act(), "0"),
    "receipt issued": (Event.RECEIPT_ISSUED, Act(details={"entry": 7}), "0"),
}
NAMES = tuple(sorted(ACTS))


def written(name: str, scene: Scene = SCENE) -> dict[str, Any]:
    """The AuditEvent of one kind."""
    event, act, outcome = ACTS[name]
    body = write(
        scene,
        act,
        event=event,
        id_="0b0b9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1",
        recorded="2026-11-22T10:00:00.120Z",
        outcome=outcome,
    )
    content: dict[str, Any] = json.loads(body)
    return content
