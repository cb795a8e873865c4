"""Codes that stand in everything we write, each with the place where it is defined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_bridge.records import Json

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
"""HL7 v3-ActReason: purposes of use, and HTEST for invented data."""

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
URI_SYSTEM = "urn:ietf:rfc:3986"

TEST_DATA: Json = {"system": ACT_REASON, "code": "HTEST", "display": "test health data"}
"""Carried on to what we write about a patient who carries it (HL7 v3-ActReason)."""


def concept(system: str, code: str, display: str = "", *, text: str = "") -> Json:
    """Return a CodeableConcept with one coding."""
    coding = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return {"coding": [coding], **({"text": text} if text else {})}


def meta(*, test_data: bool, labels: Sequence[Json] = (), profiles: Sequence[str] = ()) -> Json:
    """
    Return the meta of a resource that we write, as its one member; empty when there is none.

    Args:
        test_data: Whether the patient carries HTEST.
        labels: Security labels to carry on.
        profiles: Profiles that are claimed and that the build validates.
    """
    security = [dict(one) for one in labels]
    if test_data and not any(is_test_label(one) for one in security):
        security.append(dict(TEST_DATA))
    content: dict[str, Any] = {}
    if profiles:
        content["profile"] = list(profiles)
    if security:
        content["security"] = security
    return {"meta": content} if content else {}


def is_test_label(label: Json) -> bool:
    """Tell whether a label says that the data are invented."""
    return label.get("system") == ACT_REASON and label.get("code") == "HTEST"
