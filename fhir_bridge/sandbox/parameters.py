"""
Search parameters: which elements of a resource can be searched, and by what value.

A resource becomes a set of keys (parameter, value) when it is stored; a search
is then a look-up. What a value looks like follows from the element: a Reference
gives ``Type/id``, a Coding or an Identifier ``system|code`` and its halves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fhir_bridge.records import Json

Key = tuple[str, str]
"""Search parameter and one value it is found by."""

_SUBJECT = "identifier patient=subject subject status code date encounter"

_PARAMETERS = {
    "Patient": "identifier family=name.family given=name.given birthdate=birthDate gender active"
    " name=name.family,name.given,name.text organization=managingOrganization"
    " general-practitioner=generalPractitioner link=link.other",
    "Practitioner": "identifier family=name.family given=name.given active"
    " name=name.family,name.given,name.text",
    "PractitionerRole": "identifier practitioner organization active",
    "RelatedPerson": "identifier patient",
    "Organization": "identifier name active partof=partOf endpoint",
    "Endpoint": "identifier status organization=managingOrganization",
    "Location": "identifier name status organization=managingOrganization",
    "Device": "identifier patient status type",
    "Group": "identifier member=member.entity",
    "Observation": "identifier patient=subject subject category code status"
    " date=effectiveDateTime,effectivePeriod,effectiveInstant performer specimen encounter"
    " based-on=basedOn has-member=hasMember derived-from=derivedFrom",
    "DiagnosticReport": "identifier patient=subject subject category code status result specimen"
    " date=effectiveDateTime,effectivePeriod issued performer encounter based-on=basedOn"
    " media=media.link results-interpreter=resultsInterpreter",
    "Specimen": "identifier patient=subject subject status type parent"
    " accession=accessionIdentifier collected=collection.collectedDateTime",
    "ImagingStudy": "identifier patient=subject subject status started encounter"
    " modality=modality,series.modality endpoint=endpoint,series.endpoint basedon=basedOn",
    "Media": "identifier patient=subject subject status type encounter based-on=basedOn",
    "DocumentReference": "identifier=masterIdentifier,identifier patient=subject subject status"
    " type category date author custodian encounter=context.encounter related=context.related"
    " security-label=securityLabel relatesto=relatesTo.target",
    "Composition": "identifier patient=subject subject status type category date author",
    "Binary": "",
    "List": "identifier patient=subject subject status code date item=entry.item",
    "ServiceRequest": "identifier patient=subject subject status intent category code"
    " authored=authoredOn requester performer encounter based-on=basedOn requisition",
    "Task": "identifier patient=for subject=for status intent code focus owner requester"
    " based-on=basedOn part-of=partOf authored-on=authoredOn",
    "Consent": "identifier patient status scope category date=dateTime consentor=performer"
    " organization period=provision.period actor=provision.actor.reference"
    " source-reference=sourceReference",
    "Provenance": "target patient=target agent=agent.who recorded entity=entity.what",
    "AuditEvent": "patient=agent.who,entity.what agent=agent.who entity=entity.what date=recorded",
    "Encounter": "identifier patient=subject subject status type date=period"
    " service-provider=serviceProvider part-of=partOf",
    "EpisodeOfCare": "identifier patient status",
    "Condition": "identifier patient=subject subject category code clinical-status=clinicalStatus"
    " encounter",
    "Procedure": "identifier patient=subject subject status code date=performedDateTime encounter",
    "AllergyIntolerance": "identifier patient code",
    "Immunization": "identifier patient status",
    "MedicationRequest": "identifier patient=subject subject status intent",
    "MedicationStatement": "identifier patient=subject subject status",
    "Medication": "identifier code status",
    "FamilyMemberHistory": "identifier patient status",
    "CarePlan": "identifier patient=subject subject status category",
    "CareTeam": "identifier patient=subject subject status",
    "QuestionnaireResponse": "identifier patient=subject subject status",
    "Communication": "identifier patient=subject subject status",
    "Coverage": "identifier patient=beneficiary beneficiary status payor",
    "Subscription": "status",
    "MolecularSequence": "identifier patient",
    "BodyStructure": "identifier patient",
    "Appointment": "identifier status patient=participant.actor",
    "Basic": _SUBJECT,
}
_EVERYWHERE = "_tag=meta.tag _security=meta.security _profile=meta.profile"

DATES = frozenset(
    [
        "date",
        "birthdate",
        "authored",
        "authored-on",
        "recorded",
        "issued",
        "started",
        "collected",
        "period",
    ]
)
"""Parameters whose values are times; `_lastUpdated` is handled by whoever knows versions."""

TEXTS = frozenset({"family", "given", "name"})
"""Parameters whose values are compared as words, from their beginning."""

_REFERENCES = frozenset(
    [
        "patient",
        "subject",
        "encounter",
        "performer",
        "specimen",
        "result",
        "media",
        "parent",
        "endpoint",
        "author",
        "custodian",
        "related",
        "relatesto",
        "requester",
        "based-on",
        "basedon",
        "has-member",
        "derived-from",
        "part-of",
        "partof",
        "organization",
        "practitioner",
        "general-practitioner",
        "link",
        "member",
        "results-interpreter",
        "item",
        "focus",
        "owner",
        "consentor",
        "actor",
        "source-reference",
        "target",
        "agent",
        "entity",
        "service-provider",
        "beneficiary",
        "payor",
    ]
)

_LOCAL = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}\Z")

Paths = dict[str, tuple[tuple[str, ...], ...]]


def _paths(text: str) -> Paths:
    table: Paths = {}
    for word in f"{text} {_EVERYWHERE}".split():
        name, _, paths = word.partition("=")
        table[name] = tuple(tuple(path.split(".")) for path in (paths or name).split(","))
    return table


_TABLE: dict[str, Paths] = {type_: _paths(text) for type_, text in _PARAMETERS.items()}
TYPES = tuple(_TABLE)
"""The resource types that a sandbox keeps."""


def searchable(type_: str) -> tuple[str, ...]:
    """Return the names of a type's search parameters."""
    return tuple(_TABLE[type_])


def kind(name: str) -> str:
    """Return the kind of a search parameter, as a CapabilityStatement calls it."""
    if name in DATES:
        return "date"
    if name in TEXTS:
        return "string"
    if name == "_profile":
        return "uri"
    return "reference" if name in _REFERENCES else "token"


def local(reference: str, base: str) -> str | None:
    """Return ``Type/id`` when a reference points into this server, without its version."""
    if reference.startswith(base + "/"):
        reference = reference[len(base) + 1 :]
    reference = reference.partition("/_history/")[0]
    return reference if _LOCAL.match(reference) else None


def keys(content: Json, base: str) -> list[Key]:
    """Return every (parameter, value) that a resource is found by."""
    found: list[Key] = []
    for name, paths in _TABLE[content["resourceType"]].items():
        for path in paths:
            if path[0] in content:
                for value in _values(content, path):
                    found.extend((name, word) for word in _words(name, value, base))
    return found


def _values(holder: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(holder, list):
        for item in holder:
            yield from _values(item, path)
    elif not path:
        yield holder
    elif isinstance(holder, dict) and path[0] in holder:
        yield from _values(holder[path[0]], path[1:])


def _words(name: str, value: Any, base: str) -> Iterator[str]:
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str):
        yield value.casefold() if name in TEXTS else value
    elif not isinstance(value, dict):
        return
    elif name in DATES:
        yield f"{value.get('start', '')}/{value.get('end', '')}"
    elif "reference" in value:
        yield from _reference_words(name, str(value["reference"]), base)
    elif "coding" in value:
        for coding in _values(value, ("coding",)):
            yield from _token_words(coding, "code")
    else:
        yield from _token_words(value, "value" if "value" in value else "code")


def _reference_words(name: str, reference: str, base: str) -> Iterator[str]:
    there = local(reference, base)
    if name == "patient" and not (there or "").startswith("Patient/"):
        return
    yield there or reference
    if there:
        yield there.partition("/")[2]


def _token_words(token: Any, member: str) -> Iterator[str]:
    if not isinstance(token, dict):
        return
    system, code = token.get("system", ""), token.get(member)
    if isinstance(code, str):
        yield f"{system}|{code}"
        yield code
    if system:
        yield f"{system}|"
