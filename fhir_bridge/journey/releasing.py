"""Gather, decide, fetch what the released records show, and list everything in a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fhir_bridge.journey import recording
from fhir_bridge.journey.attaching import Attached, Attachments, fetch
from fhir_bridge.journey.consenting import Consented
from fhir_bridge.journey.deciding import ByPerson, Decided, Decisions, Rules, decide
from fhir_bridge.journey.examining import Examined
from fhir_bridge.journey.gathering import Found, gather
from fhir_bridge.journey.parties import Progress, Step
from fhir_bridge.journey.remaining import NOTICE, was_delivered
from fhir_bridge.journey.signing import MINOR, OK, Pen
from fhir_bridge.ledger import Event
from fhir_bridge.manifest import GONE_AT_SOURCE, Decision, Gap, Line, Manifest, sealed_digest
from fhir_bridge.records import Kind, RecordRef, Resource
from fhir_bridge.store import LineRow
from fhir_bridge.transfer import State

_ROUNDS_MAX = 8
"""Each round holds at least one record more, for a hash that its bytes do not keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """Everything found, decided and listed; nothing has left."""

    patient: Resource
    consent: Consented
    found: Found
    decisions: Decisions
    attached: Attachments
    manifest: Manifest
    number: int
    """Of the manifest; one more each time something in it is new, changed or gone."""
    gaps: tuple[Gap, ...]


def release(
    pen: Pen, patient: Resource, consent: Consented, *, fetch_attachments: bool = True
) -> Released:
    """
    Find everything and decide what travels.

    Raises:
        SourceUnreachable: Try again later; nothing has been changed.
        UnfilteredAnswer: The source does not filter by patient.
    """
    parties, requested = pen.parties, pen.requested
    found = gather(parties, patient, requested.order.kinds)
    act = recording.fetched(parties.source, found)
    pen.sign(Event.RECORDS_FETCHED, act, outcome=MINOR if found.gaps else OK)
    _tell_gathered(pen, found)
    rules = _rules(pen, consent)
    attached = Attachments()
    decisions = decide(found, rules)
    if fetch_attachments:
        decisions = _fetch_and_decide(pen, found, rules, attached, decisions)
    manifest = Manifest.of(_lines(found, decisions, attached))
    gaps = (
        *found.gaps,
        *attached.gaps,
        *_gone(pen, manifest),
        *_wider(consent),
        *_hashes(attached),
    )
    number = _save(pen, manifest, gaps)
    parties.store.set_state(requested.id, State.GATHERED)
    counts = manifest.counts()
    parties.tell(
        Progress(
            step=Step.DECIDED,
            sentence=f"{counts.released} released · {counts.withheld} withheld ·"
            f" {counts.held + counts.unclassified} held for a person",
        )
    )
    return Released(
        patient=patient,
        consent=consent,
        found=found,
        decisions=decisions,
        attached=attached,
        manifest=manifest,
        number=number,
        gaps=gaps,
    )


def _fetch_and_decide(
    pen: Pen, found: Found, rules: Rules, attached: Attachments, decisions: Decisions
) -> Decisions:
    """Fetch; a hash that differs holds its record, which may hold others."""
    for _ in range(_ROUNDS_MAX):
        before = len(attached.holds)
        fetch(pen.parties.source.server, found, decisions, attached)
        if len(attached.holds) == before:
            break
        rules.holds.update(attached.holds)
        decisions = decide(found, rules)
    still_shown = {
        shown.url
        for ref in decisions.of
        if decisions.released(ref)
        for shown in found.examined[ref].attachments
    }
    attached.by_url = {url: one for url, one in attached.by_url.items() if url in still_shown}
    return decisions


def _gone(pen: Pen, manifest: Manifest) -> Iterator[Gap]:
    """Name what an earlier manifest released, what never arrived and what is no longer there."""
    parties, store = pen.parties, pen.parties.store
    listed = {line.ref for line in manifest.lines}
    former = {
        row.ref
        for row in store.manifest(pen.requested.id)
        if row.decision is Decision.RELEASED and not row.attachment
    }
    former |= {
        RecordRef(gap.ref) for gap in store.gaps(pen.requested.id) if gap.reason == GONE_AT_SOURCE
    }
    missing = [ref for ref in sorted(former - listed) if not was_delivered(parties, ref)]
    if not missing:
        return
    for ref, there in parties.source.server.read_many(missing).items():
        if there is None:
            yield Gap(
                ref=ref,
                reason=GONE_AT_SOURCE,
                sentence="it was part of the record and is gone at the first provider → ask the"
                " first provider, or accept the gap",
                at="source",
            )


def _wider(consent: Consented) -> Iterator[Gap]:
    """Name older Consents that permit more than a newer one: both are in force."""
    for older, newer in consent.standing.wider_pairs():
        yield Gap(
            ref=older,
            reason="older-and-wider",
            sentence=f"permits more than {newer}, which was given later, and stays in force until"
            " it is made inactive → ask the patient which is meant",
            at=NOTICE,
            referrer=newer,
        )


def _hashes(attached: Attachments) -> Iterator[Gap]:
    """Name records whose document has a hash in a form that FHIR does not have."""
    words = {
        "equal-sha256": "gives SHA-256 as hash of a document, where FHIR wants SHA-1; it is right",
        "not-understood": "gives a hash of a document in a form that is not understood, so it was"
        " not compared",
    }
    for ref, verdict in sorted(attached.notes.items()):
        yield Gap(ref=ref, reason=f"hash-{verdict}", sentence=words[verdict], at=NOTICE)


def _save(pen: Pen, manifest: Manifest, gaps: Sequence[Gap]) -> int:
    """Keep the manifest, under a new number when anything in it is new, changed or gone."""
    store, transfer = pen.parties.store, pen.requested.id
    rows = [LineRow.of(line, pen.key) for line in manifest.lines]
    before = store.manifest(transfer)
    number = store.read_transfer(transfer).manifest
    if number and [_decided(row) for row in before] == [_decided(row) for row in rows]:
        return number
    store.save_manifest(transfer, number + 1, rows, gaps)
    return number + 1


def _decided(row: LineRow) -> tuple[str, str, str, str]:
    return (row.ref, f"{row.mac}/{row.size_bytes}", row.decision, row.rule)


def _rules(pen: Pen, consent: Consented) -> Rules:
    parties, requested = pen.parties, pen.requested
    rulings = parties.store.rulings(requested.id)

    def by_person(one: Examined) -> ByPerson | None:
        ruling = rulings.get(one.resource.ref)
        if ruling is None or ruling.mac != sealed_digest(pen.key, one.digest):
            return None
        return ByPerson(release=ruling.word == "released")

    return Rules(
        consent=consent.decide,
        sensitivity=parties.sensitivity,
        base=parties.source.server.base,
        test_data_only=parties.destination.sandbox or parties.source.sandbox,
        by_person=by_person,
        holds={},
        delivered_before=lambda ref: was_delivered(parties, ref),
    )


def _lines(found: Found, decisions: Decisions, attached: Attachments) -> Iterator[Line]:
    for ref, decided in decisions.of.items():
        one = found.examined[ref]
        yield Line(
            ref=ref,
            kind=found.kinds.get(ref),
            decision=decided.decision,
            rule=decided.rule,
            sentence=decided.sentence,
            digest=one.digest,
            size_bytes=len(one.resource.raw),
            consent=decided.consent,
            consent_version=decided.consent_version,
            provision=decided.provision,
        )
    named: set[RecordRef] = set()
    for attachment in attached.by_url.values():
        if attachment.ref not in named:
            named.add(attachment.ref)
            yield _attachment_line(attachment, decisions.of[attachment.holder])


def _attachment_line(one: Attached, holder: Decided) -> Line:
    return Line(
        ref=one.ref,
        kind=None,
        decision=Decision.RELEASED,
        rule=holder.rule,
        sentence=f"shown by {one.holder}",
        digest=one.digest,
        size_bytes=len(one.data),
        attachment=True,
        consent=holder.consent,
        consent_version=holder.consent_version,
        provision=holder.provision,
    )


def _tell_gathered(pen: Pen, found: Found) -> None:
    kinds = list(found.kinds.values())
    parts = [f"{kinds.count(kind)} {kind}" for kind in Kind if kinds.count(kind)]
    others = len(found.examined) - len(kinds) - len(found.excluded) - len(found.unclassified)
    total = len(found.examined) - len(found.excluded)
    sentence = f"{total} records: {', '.join(parts) or 'none of the kinds asked'}"
    if others > 0:
        sentence += f", and {others} they refer to"
    if found.unclassified:
        sentence += f", and {len(found.unclassified)} of unknown kind"
    pen.parties.tell(Progress(step=Step.GATHERED, sentence=sentence))
