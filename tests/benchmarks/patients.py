"""Invented patients of any size, of one shape: laboratory results with reports, a PDF, an image."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from fhir_bridge import lossless

HTEST = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
NORMAL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}
CUSTODIAN = ("urn:oid:2.999.7.1", "bench-first")
RECIPIENT = ("urn:oid:2.999.7.2", "bench-second")
IDENTIFIERS = "urn:oid:2.999.7.31"
RESULTS_IN_A_REPORT = 20

_CODES = ("718-7", "789-8", "6690-2", "777-3", "2345-7", "2160-0", "2951-2", "2823-3")


def patient(name: str) -> dict[str, Any]:
    """The patient of that name; the same person at both providers."""
    return {
        "resourceType": "Patient",
        "id": name,
        "meta": {"security": [HTEST]},
        "identifier": [{"system": IDENTIFIERS, "value": name}],
        "name": [{"family": f"Bench-{name}", "given": ["Ada"]}],
        "gender": "female",
        "birthDate": "1970-01-01",
        "managingOrganization": {"reference": "Organization/bench-first"},
    }


def record(name: str, count: int) -> list[dict[str, Any]]:
    """
    Everything the first provider holds of one patient: exactly `count` resources,
    the patient, organisations and Consent included, in an order that a server
    with referential integrity takes.
    """
    fixed = list(_fixed(name))
    observations = count - len(fixed)
    reports = max(1, observations // (RESULTS_IN_A_REPORT + 1))
    results = [_observation(name, number) for number in range(observations - reports)]
    return [*fixed, *results, *_reports(name, results, reports)]


def destination(name: str) -> list[dict[str, Any]]:
    """What the second provider holds before: the patient, under another id."""
    there = {k: v for k, v in patient(name).items() if k != "managingOrganization"}
    return [
        {**there, "id": f"{name}-there"},
        _organisation("bench-second", RECIPIENT),
    ]


def _fixed(name: str) -> Iterator[dict[str, Any]]:
    yield _organisation("bench-first", CUSTODIAN)
    yield _organisation("bench-second", RECIPIENT)
    yield _labelled("Practitioner", f"{name}-doctor", name=[{"family": "Bench"}])
    yield patient(name)
    pdf = b"%PDF-1.4\n" + name.encode() * 2000
    attachment = {
        "contentType": "application/pdf",
        "url": f"Binary/{name}-pdf",
        "size": len(pdf),
        "hash": base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode(),
    }
    yield {
        "resourceType": "Binary",
        "id": f"{name}-pdf",
        "meta": {"security": [HTEST]},
        "contentType": "application/pdf",
        "data": base64.b64encode(pdf).decode(),
    }
    paper = _labelled(
        "DocumentReference",
        f"{name}-paper",
        status="current",
        type={"coding": [{"system": "http://loinc.org", "code": "64292-6"}]},
        subject={"reference": f"Patient/{name}"},
        content=[{"attachment": attachment}],
    )
    yield paper
    yield _consent(name)
    yield _labelled(
        "Endpoint",
        f"{name}-images",
        status="active",
        connectionType={
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
        },
        payloadType=[{"text": "DICOM WADO-RS"}],
        address="https://images.example.org/wado-rs",
    )
    yield _labelled(
        "ImagingStudy",
        f"{name}-study",
        status="available",
        subject={"reference": f"Patient/{name}"},
        endpoint=[{"reference": f"Endpoint/{name}-images"}],
        numberOfSeries=1,
        numberOfInstances=4,
    )
    yield _labelled(
        "DiagnosticReport",
        f"{name}-imaging",
        status="final",
        category=[_category("v2-0074", "RAD")],
        code={"coding": [{"system": "http://loinc.org", "code": "24606-6"}]},
        subject={"reference": f"Patient/{name}"},
        imagingStudy=[{"reference": f"ImagingStudy/{name}-study"}],
        presentedForm=[attachment],
    )


def _consent(name: str) -> dict[str, Any]:
    return _labelled(
        "Consent",
        f"{name}-consent",
        status="active",
        scope={"coding": [{"system": _hl7("consentscope"), "code": "patient-privacy"}]},
        category=[{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        patient={"reference": f"Patient/{name}"},
        dateTime="2026-01-02T09:00:00Z",
        performer=[{"reference": f"Patient/{name}"}],
        organization=[{"reference": "Organization/bench-first"}],
        sourceReference={"reference": f"DocumentReference/{name}-paper"},
        policy=[{"uri": "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"}],
        provision={
            "type": "permit",
            "period": {"start": "2026-01-02", "end": "2099-12-31"},
            "actor": [
                {
                    "role": {"coding": [{"system": _hl7("v3-ParticipationType"), "code": "IRCP"}]},
                    "reference": {"reference": "Organization/bench-second"},
                }
            ],
            "purpose": [{"system": _hl7("v3-ActReason"), "code": "TREAT"}],
        },
    )


def _observation(name: str, number: int) -> dict[str, Any]:
    return _labelled(
        "Observation",
        f"{name}-o{number}",
        status="final",
        category=[_category("observation-category", "laboratory")],
        code={"coding": [{"system": "http://loinc.org", "code": _CODES[number % len(_CODES)]}]},
        subject={"reference": f"Patient/{name}"},
        effectiveDateTime=f"20{10 + number % 15:02}-03-{1 + number % 28:02}T08:00:00.000Z",
        performer=[{"reference": f"Practitioner/{name}-doctor"}],
        valueQuantity={
            "value": lossless.decode(f"{number % 90}.{number % 10}0".encode()),
            "unit": "g/dL",
            "system": "http://unitsofmeasure.org",
            "code": "g/dL",
        },
        referenceRange=[
            {
                "low": {"value": lossless.decode(b"1.10"), "unit": "g/dL"},
                "high": {"value": lossless.decode(b"9.90"), "unit": "g/dL"},
            }
        ],
    )


def _reports(name: str, results: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        mine = results[number * RESULTS_IN_A_REPORT : (number + 1) * RESULTS_IN_A_REPORT]
        yield _labelled(
            "DiagnosticReport",
            f"{name}-r{number}",
            status="final",
            category=[_category("v2-0074", "LAB")],
            code={"coding": [{"system": "http://loinc.org", "code": "11502-2"}]},
            subject={"reference": f"Patient/{name}"},
            performer=[{"reference": "Organization/bench-first"}],
            result=[{"reference": f"Observation/{one['id']}"} for one in mine],
        )


def _labelled(type_: str, id_: str, **members: Any) -> dict[str, Any]:
    return {
        "resourceType": type_,
        "id": id_,
        "meta": {"security": [HTEST, NORMAL]},
        **members,
    }


def _organisation(id_: str, identifier: tuple[str, str]) -> dict[str, Any]:
    return _labelled(
        "Organization",
        id_,
        identifier=[{"system": identifier[0], "value": f"{identifier[1]}"}],
        name=identifier[1],
    )


def _category(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": _hl7(system), "code": code}]}


def _hl7(name: str) -> str:
    return f"http://terminology.hl7.org/CodeSystem/{name}"
