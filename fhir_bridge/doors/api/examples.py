"""Examples of the OpenAPI document: invented, and of the form that real answers have."""

from __future__ import annotations

from typing import Any

TRANSFER = "0197c2a4-5d1e-4c2b-9a77-3f0d5b1c2e90"

ASKED: dict[str, Any] = {
    "source": "first-clinic",
    "destination": "second-opinion-centre",
    "patient": {"system": "urn:oid:2.16.756.5.31", "value": "80756015090002647590"},
    "referral": {
        "reasons": ["cancer", "major-surgery"],
        "question": "Is surgery needed before chemotherapy?",
    },
}

BRIEF: dict[str, Any] = {
    "transfer": TRANSFER,
    "state": "requested",
    "source": "first-clinic",
    "destination": "second-opinion-centre",
    "attempt": 1,
    "created": "2026-11-25T09:00:00.000Z",
    "updated": "2026-11-25T09:00:00.000Z",
}

_NO_COUNTS = {
    "released": 0,
    "identical": 0,
    "normalised": 0,
    "theirs": 0,
    "changed": 0,
    "absent": 0,
    "bytes": 0,
}

REQUESTED: dict[str, Any] = BRIEF | {
    "joined": None,
    "cancelled": None,
    "wait": None,
    "says": "Asked for; a worker takes it up.",
    "complete": False,
    "limited_by_consent": False,
    "counts": _NO_COUNTS,
    "gaps": [],
}

CLOSED: dict[str, Any] = REQUESTED | {
    "state": "closed",
    "says": "Done: the second doctor is told.",
    "updated": "2026-11-25T09:00:07.412Z",
    "limited_by_consent": True,
    "counts": _NO_COUNTS | {"released": 60, "identical": 60, "bytes": 81234},
    "gaps": [
        {
            "ref": "ImagingStudy/amelia-breast-mri",
            "reason": "images-not-transferred",
            "sentence": "not transferred, held at Endpoint/first-clinic-images",
            "at": "images",
            "accepted": False,
        }
    ],
}

PAGE: dict[str, Any] = {"transfers": [BRIEF], "next": None}

MANIFEST: dict[str, Any] = {
    "transfer": TRANSFER,
    "number": 1,
    "limited_by_consent": True,
    "lines": [
        {
            "ref": "Observation/amelia-hb",
            "kind": "laboratory",
            "attachment": False,
            "decision": "released",
            "destination": "Observation/0b7b2f0e-6a5d-5b0c-8f0e-2f3f0c5d7a11",
            "digest": "hmac-sha256:" + "0f" * 32,
            "bytes": 812,
            "outcome": "identical",
            "paths": [],
        }
    ],
    "next": None,
}

EVENTS = (
    'id: 41\nevent: state\ndata: {"transfer":"' + TRANSFER + '","state":"announced",'
    '"attempt":1,"at":"2026-11-25T09:00:03.100Z"}\n\n'
)

DECISION: dict[str, Any] = {
    "refs": ["DiagnosticReport/p-3"],
    "by": "M. Keller, records office",
    "reason": "The report names no third person; checked by hand.",
}

ACCEPTANCE: dict[str, Any] = {
    "gap": "Binary/ct-report-2",
    "by": "M. Keller, records office",
    "reason": "Sent by registered mail instead.",
}

SERVER_SAID: dict[str, Any] = {
    "base": "https://first.example/fhir",
    "identity": "https://first.example/fhir",
    "organisations": [{"identifier": "urn:oid:1.2.3|4711", "name": "First Clinic"}],
    "timezone": "Europe/Zurich",
    "credential": {"kind": "bearer", "secret": "written, never read"},
}

SERVER: dict[str, Any] = {
    "alias": "first-clinic",
    "in_settings": False,
    "said": {
        "base": "https://first.example/fhir",
        "identity": "https://first.example/fhir",
        "organisations": [{"identifier": "urn:oid:1.2.3|4711", "name": "First Clinic"}],
        "timezone": "Europe/Zurich",
        "credential": {"kind": "bearer"},
    },
    "has_secret": True,
}
