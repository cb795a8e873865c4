"""
What the bridge itself writes: the referral, the consent's copy, documents, provenance.

Records are carried as received; these few resources are ours. Their ids come
from the key of the referral, so the same referral asked again makes the same
resources and never a second set. Nothing here reads a clock, and nothing says
how much was withheld.
"""

from fhir_bridge.bundles.consents import LIMITED, Terms, consent_draft, travelling_consent
from fhir_bridge.bundles.documents import ReportDocument, document_reference
from fhir_bridge.bundles.patients import created_patient
from fhir_bridge.bundles.provenances import provenance
from fhir_bridge.bundles.referral import (
    Involved,
    Purpose,
    Referral,
    authored_id,
    check_reasons,
    reason_codes,
    reason_system,
    service_request,
)
from fhir_bridge.bundles.tasks import Undelivered, task

__all__ = [
    "LIMITED",
    "Involved",
    "Purpose",
    "Referral",
    "ReportDocument",
    "Terms",
    "Undelivered",
    "authored_id",
    "check_reasons",
    "consent_draft",
    "created_patient",
    "document_reference",
    "provenance",
    "reason_codes",
    "reason_system",
    "service_request",
    "task",
    "travelling_consent",
]
