"""Where delivered records came from, and through whose hands."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from fhir_bridge.bundles.checked import checked
from fhir_bridge.bundles.codings import ACT_REASON, concept, meta
from fhir_bridge.bundles.referral import Referral
from fhir_bridge.records import Json, RecordRef

_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_US_CORE_PARTICIPANT = "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type"
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_SIGNATURE, _SOURCE = "urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.14"
_PROFILE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-provenance"


def provenance(
    referral: Referral,
    *,
    targets: Sequence[RecordRef],
    recorded: str,
    source_patient: RecordRef,
    proof: str,
    number: int = 1,
) -> Json:
    """
    Write the Provenance of one delivered bundle.

    Args:
        referral: Who, whom.
        targets: The copies at the destination, without version: a later change
            there does not make the origin untrue.
        recorded: When they were delivered, as a FHIR instant.
        source_patient: The patient at the source, whose chart they come from.
        proof: That the disclosure stands in the custodian's log, as text.
        number: Number of the bundle within the referral, from 1.

    Raises:
        BadRecord: Something given has a form that FHIR does not allow.

    Source:
        https://hl7.org/fhir/R4/provenance.html; US Core 6.1.0 Provenance. The
        source is named by an identifier, because the destination cannot open
        its address.
    """
    content: Json = {
        "resourceType": "Provenance",
        "id": referral.id_of(f"Provenance/{number}"),
        **meta(test_data=referral.test_data, profiles=[_PROFILE]),
        "target": [{"reference": ref} for ref in targets],
        "recorded": recorded,
        "reason": [concept(ACT_REASON, referral.purpose)],
        "activity": concept(_OPERATION, "CREATE", "create"),
        "agent": _agents(referral),
        "entity": [{"role": "source", "what": _chart(referral, source_patient)}],
        "signature": [
            {
                "type": [{"system": _SIGNATURE, "code": _SOURCE, "display": "Source Signature"}],
                "when": recorded,
                "who": referral.custodian.reference(),
                "sigFormat": "text/plain",
                "data": base64.b64encode(proof.encode()).decode(),
            }
        ],
    }
    return checked(content)


def _chart(referral: Referral, patient: RecordRef) -> Json:
    """Name the chart that the records come from."""
    type_, _, id_ = patient.partition("/")
    return {
        "identifier": {"system": f"{referral.source_identity}/{type_}", "value": id_},
        "display": f"Patient record at {referral.custodian.name}",
    }


def _agents(referral: Referral) -> list[Json]:
    custodian = referral.custodian.reference()
    bridge = _agent(_US_CORE_PARTICIPANT, "transmitter", "Transmitter", _bridge())
    return [
        _agent(_PARTICIPANT, "custodian", "Custodian", custodian),
        _agent(_PARTICIPANT, "author", "Author", custodian),
        {**bridge, "onBehalfOf": custodian},
    ]


def _agent(system: str, code: str, display: str, who: Json) -> Json:
    return {"type": concept(system, code, display), "who": who}


def _bridge() -> Json:
    return {"type": "Device", "display": "fhir-bridge"}
