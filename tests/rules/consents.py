"""A patient, two organisations, and the Consents that tests vary by one element each."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhir_bridge.consent import Ask, Decision, Party, RecordFacts, Standing, weigh
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.sensitivity import Labels

NPI = "http://hl7.org/fhir/sid/us-npi"
OURS = ("urn:oid:1.2.3", "first-clinic")
THEIRS = (NPI, "1111111112")
OTHER = (NPI, "2222222223")
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
ZURICH = ZoneInfo("Europe/Zurich")
POLICY = "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"
TREE = "http://terminology.hl7.org/CodeSystem/"


def code(system: str, value: str) -> Json:
    return {"system": TREE + system, "code": value}


def concept(system: str, value: str) -> Json:
    return {"coding": [code(system, value)]}


def label(value: str) -> Json:
    return code("v3-Confidentiality" if value in "ULMNRV" else "v3-ActCode", value)


def purpose(value: str) -> Json:
    return code("v3-ActReason", value)


def actor(reference: Any, role: str = "IRCP") -> Json:
    if isinstance(reference, str):
        reference = {"reference": reference}
    return {"role": concept("v3-ParticipationType", role), "reference": reference}


def organization(id_: str, pair: tuple[str, str], **more: Any) -> Json:
    row = {"system": pair[0], "value": pair[1]}
    return {"resourceType": "Organization", "id": id_, "identifier": [row], **more}


WORLD: Mapping[str, Json] = {
    "Organization/ours": organization("ours", OURS),
    "Organization/theirs": organization("theirs", THEIRS),
    "Organization/other": organization("other", OTHER),
    "Organization/other-clinic": organization("other-clinic", (OURS[0], "other-clinic")),
    "Patient/p": {"resourceType": "Patient", "id": "p"},
    "RelatedPerson/parent": {
        "resourceType": "RelatedPerson",
        "id": "parent",
        "patient": {"reference": "Patient/p"},
    },
    "DocumentReference/paper": {"resourceType": "DocumentReference", "id": "paper"},
}


def permit(**more: Any) -> Json:
    return {"type": "permit", "actor": [actor("Organization/theirs")], **more}


def deny(**more: Any) -> Json:
    return {"type": "deny", **more}


def consent(provision: Json | None = None, **more: Any) -> Json:
    """Return a Consent that permits everything, changed by `more`; None removes an element."""
    made: Json = {
        "resourceType": "Consent",
        "id": "c",
        "meta": {"versionId": "3"},
        "status": "active",
        "scope": concept("consentscope", "patient-privacy"),
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p"},
        "dateTime": "2026-01-10T09:00:00Z",
        "performer": [{"reference": "Patient/p"}],
        "organization": [{"reference": "Organization/ours"}],
        "sourceReference": {"reference": "DocumentReference/paper"},
        "policy": [{"uri": POLICY}],
        "provision": permit() if provision is None else provision,
    }
    made |= deepcopy(more)
    return {name: value for name, value in made.items() if value is not None}


def ask(**more: Any) -> Ask:
    given: dict[str, Any] = {
        "patient": RecordRef("Patient/p"),
        "patient_identifiers": frozenset({("urn:oid:1.2.3.4", "P-1")}),
        "custodian": Party(identifiers=frozenset({OURS})),
        "recipient": Party(identifiers=frozenset({THEIRS})),
        "purpose": "TREAT",
        "now": NOW,
        "timezone": ZURICH,
        "accepted_policies": frozenset(),
        "waive_paper": False,
    }
    return Ask(**given | more)


NORMAL = Labels(confidentiality="N")
COMPUTED = Labels(computed_normal=True)
UNLABELLED = Labels()
HIV = Labels(sensitivities=frozenset({"HIV"}))
PSY = Labels(sensitivities=frozenset({"PSY"}))


def sensitive(*codes: str, **more: Any) -> Labels:
    return Labels(sensitivities=frozenset(codes), **more)


def record(labels: Labels = NORMAL, content: Json | None = None, **more: Any) -> RecordFacts:
    made: Json = {"resourceType": "Observation", "id": "o", "meta": {"versionId": "1"}}
    made |= content or {}
    given: dict[str, Any] = {
        "ref": RecordRef(f"{made['resourceType']}/{made['id']}"),
        "content": made,
        "last_updated": None,
        "labels": labels,
        "related": frozenset(),
    }
    return RecordFacts(**given | more)


def weighed(
    *consents: Any,
    world: Mapping[str, Json] | None = None,
    paper: bool | None = True,
    brought: tuple[Any, ...] = (),
    **asked: Any,
) -> Standing:
    known = {**WORLD, **(world or {})}
    return weigh(
        consents,
        ask(**asked),
        known.get,
        brought=brought,
        source_paper=lambda _: paper,
    )


def decided(
    *consents: Any, about: RecordFacts | Labels = NORMAL, treatment: bool = False, **more: Any
) -> Decision:
    facts = record(about) if isinstance(about, Labels) else about
    standing = weighed(*consents, **more)
    return standing.decide_treatment(facts) if treatment else standing.decide(facts)


def answer(*consents: Any, **more: Any) -> str:
    return str(decided(*consents, **more).answer)


def reason(*consents: Any, **more: Any) -> str:
    return decided(*consents, **more).reason
