"""
Write what the bridge itself adds: documents, the consent's copy, Provenance, the referral.

What is written says who, whom, for what and until when. It never says how much
was withheld.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fhir_bridge import lossless
from fhir_bridge.bundles import (
    Involved,
    Referral,
    ReportDocument,
    Undelivered,
    created_patient,
    document_reference,
    service_request,
    task,
    travelling_consent,
)
from fhir_bridge.bundles import provenance as write_provenance
from fhir_bridge.consent import travelling_copy_needed
from fhir_bridge.journey.announcing import Announced
from fhir_bridge.journey.copying import Copies, identifiers_of
from fhir_bridge.journey.examining import Examined
from fhir_bridge.journey.matching import escaped
from fhir_bridge.journey.proving import intent_proof
from fhir_bridge.journey.signing import Pen
from fhir_bridge.ledger import timestamp
from fhir_bridge.manifest import Decision, Gap, Line, Outcome
from fhir_bridge.records import Json, Kind, RecordRef
from fhir_bridge.references import copy_id, rewrite, survey
from fhir_bridge.sensitivity import is_test_data
from fhir_bridge.transfer import Party

_ABOUT = ("DiagnosticReport", "ImagingStudy")
"""What a referral names as the records that it is about."""


@dataclass(slots=True, kw_only=True)
class Authored:
    """What we write beside the copies."""

    referral: Referral
    consent: RecordRef | None = None
    bodies: dict[RecordRef, bytes] = field(default_factory=dict[RecordRef, bytes])
    edges: dict[RecordRef, tuple[RecordRef, ...]] = field(
        default_factory=dict[RecordRef, tuple[RecordRef, ...]]
    )
    refs: set[RecordRef] = field(default_factory=set[RecordRef])

    def add(self, content: Json, *edges: RecordRef) -> RecordRef:
        """Take up one resource of ours."""
        ref = RecordRef(f"{content['resourceType']}/{content['id']}")
        self.bodies[ref] = lossless.encode(content)
        self.edges[ref] = edges
        self.refs.add(ref)
        return ref


def author(pen: Pen, announced: Announced, copies: Copies) -> Authored:
    """
    Write what travels with the records: the patient when created, documents, the consent.

    Args:
        pen: Of this transfer.
        announced: The disclosure; nothing of ours is sent before it is signed.
        copies: The copies, which ours refer to.
    """
    authored = Authored(referral=_referral(pen, announced, copies))
    if announced.matched.create:
        content = announced.released.patient.content()
        authored.add(created_patient(content, copies.plan, to=announced.matched.ref).content)
    for document in _documents(announced, copies):
        content = document_reference(authored.referral, document)
        authored.add(content, document.report, document.binary, announced.matched.ref)
    for content in _consents(pen, announced, copies, authored.referral):
        authored.consent = authored.add(content, announced.matched.ref)
    return authored


def provenance(pen: Pen, announced: Announced, copies: Copies, authored: Authored) -> Json:
    """Write where the delivered records came from."""
    return write_provenance(
        authored.referral,
        targets=sorted(
            copies.of[line.ref]
            for line in announced.released.manifest.released
            if line.ref in copies.of
        ),
        recorded=timestamp(pen.parties.clock.now()),
        source_patient=pen.requested.patient,
        proof=intent_proof(pen.parties.store, pen.requested.id, announced.intent),
        number=announced.released.number,
    )


def referral(
    pen: Pen,
    authored: Authored,
    lines: Sequence[Line],
    gaps: Sequence[Gap],
    images: Sequence[Gap],
) -> tuple[Json, Json]:
    """Write the ServiceRequest and the Task, which tell the second doctor."""
    there = [line for line in lines if line.destination and line.outcome is not Outcome.ABSENT]
    request = service_request(
        authored.referral,
        reasons=pen.requested.order.reasons,
        question=pen.requested.order.question,
        consent=authored.consent,
        records=_of_types(there, _ABOUT),
        conditions=_of_types(there, ("Condition",)),
    )
    released = {line.ref for line in lines if line.decision is Decision.RELEASED}
    undelivered = Undelivered(
        # What only a withheld record misses would tell that there is such a record.
        unobtained=len(
            {
                gap.ref
                for gap in gaps
                if gap.at == "source" and (gap.referrer is None or gap.referrer in released)
            }
        ),
        studies=tuple(one.sentence.rpartition("held at ")[2] for one in images),
        differing=sum(1 for gap in gaps if gap.at == "destination"),
    )
    return request, task(authored.referral, undelivered)


def _of_types(lines: Sequence[Line], types: tuple[str, ...]) -> list[RecordRef]:
    return [
        line.destination
        for line in lines
        if line.destination is not None and line.ref.partition("/")[0] in types
    ]


def _referral(pen: Pen, announced: Announced, copies: Copies) -> Referral:
    parties, requested = pen.parties, pen.requested
    involved = {
        party: _involved(pen, party, announced, copies)
        for party in {requested.custodian, requested.recipient, requested.requester}
    }
    patient = announced.released.patient
    return Referral(
        key=requested.key,
        source_identity=parties.source.identity,
        patient=announced.matched.ref,
        custodian=involved[requested.custodian],
        recipient=involved[requested.recipient],
        requester=involved[requested.requester],
        written=parties.store.read_transfer(requested.id).created,
        purpose=requested.order.purpose,
        by_patient=_by_patient(announced),
        test_data=is_test_data(patient.content()),
    )


def _involved(pen: Pen, party: Party, announced: Announced, copies: Copies) -> Involved:
    """
    Name an organisation by its resource at the destination, where there is exactly one.

    A copy of ours counts only through this transfer's own plan: whether it is
    there already must not change what we write, or a transfer taken up again
    would write something else.
    """
    identifier = (party.system, party.value)
    for one in _released_of_type(announced, "Organization"):
        if identifier in identifiers_of(one.resource.content()):
            return Involved(party=party, at=copies.plan.copies.get(one.resource.ref))
    asked = f"{escaped(party.system)}|{escaped(party.value)}"
    server = pen.parties.destination.server
    answer = server.search("Organization", {"identifier": asked}, post=True)
    ours = f"{pen.parties.source.identity}/Organization"
    found = [
        one.ref
        for one in answer.resources
        if ours not in {system for system, _ in identifiers_of(one.content())}
    ]
    return Involved(party=party, at=found[0] if len(found) == 1 else None)


def _by_patient(announced: Announced) -> bool:
    """Tell whether the patient himself gave a Consent that this release rests on."""
    used = {line.consent for line in announced.released.manifest.released}
    patient = announced.released.patient.ref
    for one in announced.released.consent.consents:
        if one.ref in used:
            for found in survey(one.content()).references:
                if found.element == "Consent.performer" and found.reference == patient:
                    return True
    return False


def _documents(announced: Announced, copies: Copies) -> Iterator[ReportDocument]:
    """Find the documents of released reports that no released DocumentReference shows."""
    released = announced.released
    shown = {
        mark
        for one in _released_of_type(announced, "DocumentReference")
        for shown in one.attachments
        for mark in shown.marks
    }
    for one in _released_of_type(announced, "DiagnosticReport"):
        ref = one.resource.ref
        holders = {found.path: found.holder for found in survey(one.resource.content()).attachments}
        for attachment in one.attachments:
            fetched = released.attached.by_url.get(attachment.url or "")
            if fetched is None or shown & set(attachment.marks):
                continue
            if not attachment.path.startswith("presentedForm") or ref not in copies.of:
                continue
            yield ReportDocument(
                name=f"{ref}/{attachment.path}",
                report=copies.of[ref],
                content=one.resource.content(),
                kind=released.found.kinds.get(ref, Kind.LABORATORY),
                binary=copies.of[fetched.ref],
                data=fetched.data,
                content_type=fetched.content_type,
                attachment=holders[attachment.path],
            )


def _released_of_type(announced: Announced, type_: str) -> list[Examined]:
    released = announced.released
    return [
        released.found.examined[line.ref]
        for line in released.manifest.released
        if line.ref in released.found.examined and line.ref.startswith(f"{type_}/")
    ]


def _consents(pen: Pen, announced: Announced, copies: Copies, about: Referral) -> Iterator[Json]:
    """The consent travels as it is when it has no exception, else as a copy that tells none."""
    released = announced.released
    used = {line.consent for line in released.manifest.released}
    for one in released.consent.consents:
        if one.ref not in used:
            continue
        content = one.content()
        if travelling_copy_needed(content):
            yield travelling_consent(about, content, source=one.ref, version=one.version)
        else:
            to = RecordRef(f"Consent/{copy_id(pen.parties.source.identity, one.ref)}")
            yield rewrite(content, copies.plan, to=to).content
    brought = released.consent.brought
    if brought is not None and RecordRef(f"Consent/{brought.get('id')}") in used:
        source = RecordRef(f"Consent/{brought.get('id')}")
        yield travelling_consent(about, brought, source=source, version=None)
