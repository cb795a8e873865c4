"""
The codes of audit events, each with the display that IHE's patterns name.

A pattern that holds a display is matched with it: left out, the element is not
the profile's slice.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from fhir_bridge.ledger import Event
from fhir_bridge.records import Json

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_REST = "http://hl7.org/fhir/restful-interaction"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_ROLE_TYPE = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
_SNOMED = "http://snomed.info/sct"

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
URI_SYSTEM = "urn:ietf:rfc:3986"

OWN_ACTS = "urn:oid:2.25.271162353272291244995354505744297697959"
"""Our own code system (`mappings/audit-acts.json`): the words of the log's entries."""


def coding(system: str, code: str, display: str = "") -> Json:
    """Return a Coding."""
    return {"system": system, "code": code, **({"display": display} if display else {})}


def _dcm(code: str, display: str) -> Json:
    return coding(_DCM, code, display)


TEST_DATA = coding(ACT_REASON, "HTEST", "test health data")

SOURCE_ROLE = _dcm("110153", "Source Role ID")
DESTINATION_ROLE = _dcm("110152", "Destination Role ID")
APPLICATION = _dcm("110150", "Application")
CUSTODIAN = coding(_SNOMED, "159541003", "Record keeping/library clerk")
PATIENT_ADVOCATE = coding(_SNOMED, "429577009", "Patient Advocate")
RECIPIENT = coding(
    "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP", "information recipient"
)
PROVIDER = coding(
    "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV", "healthcare provider"
)
AUTHORIZATION_SERVER = coding(_ROLE_TYPE, "authserver", "authorization server")
PERSON_AT_WORK = coding(_ROLE_TYPE, "humanuser", "human user")

APPLICATION_SERVER = coding(_SOURCE_TYPE, "4", "Application Server")
SECURITY_SERVER = coding(_SOURCE_TYPE, "6", "Security Server")

PERSON = coding(_ENTITY_TYPE, "1", "Person")
SYSTEM_OBJECT = coding(_ENTITY_TYPE, "2", "System Object")
OTHER = coding(_ENTITY_TYPE, "4", "Other")
CONSENT = coding("http://hl7.org/fhir/resource-types", "Consent", "Consent")
REQUEST_ID = coding(
    "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId"
)

PATIENT_ROLE = coding(_ENTITY_ROLE, "1", "Patient")
DOMAIN_RESOURCE = coding(_ENTITY_ROLE, "4", "Domain Resource")
SECURITY_RESOURCE = coding(_ENTITY_ROLE, "13", "Security Resource")
JOB = coding(_ENTITY_ROLE, "20", "Job")
QUERY_ROLE = coding(_ENTITY_ROLE, "24", "Query")

PURPOSES = {
    "TREAT": "treatment",
    "PATRQT": "patient requested",
    "COC": "coordination of care",
}


class Form(StrEnum):
    """What shape an act is written in."""

    DISCLOSURE = "disclosure"
    SEARCH = "search"
    READ = "read"
    AUTHORIZATION = "authorization"
    PLAIN = "plain"
    """No profile of IHE describes such an act."""


_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."

PROFILES = {
    Form.DISCLOSURE: f"{_BALP}PrivacyDisclosure.Source",
    Form.SEARCH: f"{_BALP}PatientQuery",
    Form.READ: f"{_BALP}PatientRead",
    Form.AUTHORIZATION: f"{_BALP}AuthZconsent",
}
"""IHE BALP 1.1.4."""


class Kind(NamedTuple):
    """What an AuditEvent says an act is."""

    type: Json
    subtype: tuple[Json, ...]
    action: str
    """http://hl7.org/fhir/audit-event-action."""


_REST_TYPE = coding(
    "http://terminology.hl7.org/CodeSystem/audit-event-type", "rest", "RESTful Operation"
)
_EXPORT = _dcm("110106", "Export")
_ALERT = _dcm("110113", "Security Alert")
_SECURED = _dcm("110129", "Security Configuration")
_LOG_USED = _dcm("110101", "Audit Log Used")
_ORDER = _dcm("110109", "Order Record")
_RECORD = _dcm("110110", "Patient Record")
_ATTEST = coding(_LIFECYCLE, "attest", "Attest Record Lifecycle Event")
_DISCLOSE = coding(_LIFECYCLE, "disclose", "Disclose Record Lifecycle Event")
_VERIFY = coding(_LIFECYCLE, "verify", "Verify Record Lifecycle Event")
_DESTROY = coding(_LIFECYCLE, "destroy", "Destroy/Delete Record Lifecycle Event")
_EXTRACT = coding(_LIFECYCLE, "extract", "Extract Record Lifecycle Event")

_BY_FORM = {
    Form.DISCLOSURE: Kind(_EXPORT, (_DISCLOSE,), "R"),
    Form.SEARCH: Kind(_REST_TYPE, (coding(_REST, "search", "search"),), "E"),
    Form.READ: Kind(_REST_TYPE, (coding(_REST, "read", "read"),), "R"),
    Form.AUTHORIZATION: Kind(
        _ALERT,
        (
            coding(
                "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType",
                "AuthZ-Consent",
                "Authorization Decision using Roles and Consent",
            ),
        ),
        "E",
    ),
}

_BY_EVENT = {
    Event.TRANSFER_REQUESTED: Kind(_ORDER, (), "C"),
    Event.TRANSFER_CANCELLED: Kind(_ATTEST, (), "U"),
    Event.TRANSFER_CLOSED: Kind(_ORDER, (), "U"),
    Event.DELIVERY_CONFIRMED: Kind(_VERIFY, (), "R"),
    Event.RECORD_RELEASED: Kind(_ATTEST, (), "U"),
    Event.RECORD_WITHHELD: Kind(_ATTEST, (), "U"),
    Event.GAP_ACCEPTED: Kind(_ATTEST, (), "U"),
    Event.ACCESS_VIEWED: Kind(_LOG_USED, (), "R"),
    Event.EXPORT_MADE: Kind(_LOG_USED, (_EXTRACT,), "R"),
    Event.RECEIPT_ISSUED: Kind(_LOG_USED, (_DISCLOSE,), "R"),
    Event.ERASURE_DONE: Kind(_DESTROY, (), "D"),
    Event.KEY_ROTATED: Kind(_ALERT, (_SECURED,), "U"),
}


def kind(form: Form, event: Event) -> Kind:
    """Return what an act is, in the codes of its form."""
    if form is Form.PLAIN:
        return _BY_EVENT.get(event, Kind(_RECORD, (), "E"))
    return _BY_FORM[form]
