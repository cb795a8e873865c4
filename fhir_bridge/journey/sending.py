"""
Send what was announced, read it back, and sign what became of it.

The order matters: the intent is durable before this room is entered; the result
is signed whatever happens to the requests in between; the second doctor is told
(`closing`) only when everything else is verified.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from fhir_bridge.compare import Verdict
from fhir_bridge.errors import Cancelled
from fhir_bridge.fhir_server import Stored, Write
from fhir_bridge.journey import recording
from fhir_bridge.journey.announcing import Announced, confirm_consent
from fhir_bridge.journey.authoring import Authored, author
from fhir_bridge.journey.copying import Copies, copy, theirs
from fhir_bridge.journey.delivering import (
    ConsentChanged,
    Known,
    Looked,
    Sent,
    Verified,
    deliver,
    look,
    read_back,
)
from fhir_bridge.journey.parties import Progress, Step
from fhir_bridge.journey.remembering import deleted, made_before, remember, with_rulings
from fhir_bridge.journey.signing import MINOR, OK, OutcomeCode, Pen
from fhir_bridge.ledger import Event
from fhir_bridge.manifest import Gap, Line, Manifest, Outcome, reconcile
from fhir_bridge.records import RecordRef
from fhir_bridge.transfer import State

_OUTCOMES = {
    Verdict.IDENTICAL: Outcome.IDENTICAL,
    Verdict.NORMALISED: Outcome.NORMALISED,
    Verdict.CHANGED: Outcome.CHANGED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Everything that could be stored was stored and read back."""

    announced: Announced
    copies: Copies
    authored: Authored
    sent: Sent
    manifest: Manifest
    """With an outcome for each released line."""
    gaps: tuple[Gap, ...]
    first_time: bool
    """Nothing of this record was there before."""

    @property
    def whole(self) -> bool:
        """Tell whether every released line and all we wrote arrived as sent."""
        return not any(gap.at == "destination" and not gap.accepted for gap in self.gaps)


def send(pen: Pen, announced: Announced) -> Delivered:
    """
    Store every released copy at the second provider and compare what it stored.

    Raises:
        ConsentChanged: A Consent changed; the log names what had gone before.
        Cancelled: A person cancelled it; the log names what had gone before.
        DestinationUnreachable: Try again later; what was stored is found then.
    """
    parties, released = pen.parties, announced.released
    own = theirs(parties, released.found, released.decisions)
    copies = copy(
        parties,
        released.found,
        released.decisions,
        released.attached,
        announced.matched,
        own,
    )
    authored = author(pen, announced, copies)
    bodies = {**copies.bodies, **authored.bodies}
    known = made_before(pen, list(bodies), copies)
    looked = look(parties, bodies, known, all_of_them=False)
    copies.bodies.update(authored.bodies)
    copies.edges.update(authored.edges)
    sent = _deliver(pen, announced, copies, known, looked)
    verified = read_back(parties, bodies, looked, [*own.values(), announced.matched.ref])
    remember(pen, copies, known, looked, verified)
    evidence = _Evidence(copies, authored, looked, sent, verified)
    return _reconciled(pen, announced, evidence)


def _deliver(pen: Pen, announced: Announced, copies: Copies, known: Known, looked: Looked) -> Sent:
    stored: list[Stored] = []

    def before(_: Sequence[Write]) -> None:
        confirm_consent(pen, announced.released)

    try:
        sent = deliver(
            pen.parties,
            copies.bodies,
            known,
            looked,
            ordered=lambda now: copies.writes(now.to_send, now.if_match, now.new),
            before_send=before,
            after_send=stored.extend,
        )
    except (Cancelled, ConsentChanged) as error:
        why = "a person cancelled" if isinstance(error, Cancelled) else "a consent changed"
        stayed = f"{why}: the rest was not sent"
        gone = _gone(announced, copies, stored, looked)
        new = _new(gone, copies, {one.ref for one in stored if one.stored})
        _sign_result(pen, announced, gone, MINOR, new=new, sentence=stayed)
        raise
    pen.parties.store.set_state(pen.requested.id, State.DELIVERED)
    documents = sum(1 for line in announced.released.manifest.released if line.attachment)
    pen.parties.tell(
        Progress(
            step=Step.DELIVERED,
            sentence=f"{sent.stored} sent in {sent.requests} requests, {len(looked.same)} were"
            f" there already, {documents} documents",
        )
    )
    return sent


def _new(manifest: Manifest, copies: Copies, stored: Collection[RecordRef]) -> int:
    """Count the lines whose copies this run stored; the others were there from before."""
    return sum(1 for line in manifest.released if copies.of.get(line.ref) in stored)


def _gone(
    announced: Announced, copies: Copies, stored: Sequence[Stored], looked: Looked
) -> Manifest:
    """Return the lines whose copies had left before the consent changed, now or in a run before."""
    there = {one.ref for one in stored if one.error is None} | set(looked.same)
    return Manifest(
        tuple(
            line
            for line in announced.released.manifest.released
            if copies.of.get(line.ref) in there
        )
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What was meant, what was found there, what was sent and what was read back."""

    copies: Copies
    authored: Authored
    looked: Looked
    sent: Sent
    verified: Verified


def _reconciled(pen: Pen, announced: Announced, evidence: _Evidence) -> Delivered:
    parties, released = pen.parties, announced.released
    copies, authored, looked = evidence.copies, evidence.authored, evidence.looked
    sent, verified = evidence.sent, evidence.verified
    lines = list(_outcomes(released.manifest, copies, looked, verified))
    manifest = released.manifest.with_outcomes(lines)
    gaps = with_rulings(
        pen,
        (
            *released.gaps,
            *_delivery_gaps(lines, sent, looked, copies),
            *_written_over_gaps(sent),
            *_authored_gaps(authored, looked, verified),
            *_dangling_gaps(verified),
        ),
    )
    delivered = Delivered(
        announced=announced,
        copies=copies,
        authored=authored,
        sent=sent,
        manifest=manifest,
        gaps=gaps,
        first_time=looked.first_time,
    )
    arrived = Manifest(tuple(line for line in manifest.released if _arrived(line, looked)))
    missing = sum(1 for gap in delivered.gaps if gap.at == "destination" and not gap.accepted)
    _sign_result(
        pen,
        announced,
        arrived,
        OK if delivered.whole else MINOR,
        new=_new(arrived, copies, set(looked.to_send) - set(sent.refused)),
        sentence="" if delivered.whole else f"{missing} gaps of delivery",
    )
    parties.store.set_state(pen.requested.id, State.VERIFIED)
    counts = manifest.counts()
    parties.tell(
        Progress(
            step=Step.READ_BACK,
            sentence=f"{counts.identical} identical · {counts.normalised} normalised ·"
            f" {counts.theirs} already theirs · {counts.changed} changed · {counts.absent} absent"
            f" · {len(verified.dangling)} dangling references",
        )
    )
    return delivered


def _arrived(line: Line, looked: Looked) -> bool:
    """Tell whether our copy of a line is there; what was theirs before never left."""
    if line.outcome in {Outcome.ABSENT, Outcome.THEIRS}:
        return False
    return line.destination not in looked.changed_there


def _outcomes(
    manifest: Manifest, copies: Copies, looked: Looked, verified: Verified
) -> Iterator[Line]:
    for line in manifest.released:
        severed = copies.severed.get(line.ref, ())
        if line.ref in copies.theirs:
            there = copies.theirs[line.ref]
            yield replace(reconcile(line, Outcome.THEIRS), destination=there)
            continue
        there = copies.of[line.ref]
        sent = replace(line, destination=there, severed=severed)
        if there in looked.changed_there:
            yield reconcile(sent, Outcome.CHANGED, looked.changed_there[there])
        elif there in verified.comparisons:
            comparison = verified.comparisons[there]
            yield reconcile(sent, _OUTCOMES[comparison.verdict], comparison.paths)
        else:
            yield reconcile(sent, Outcome.ABSENT)


def _delivery_gaps(
    lines: Sequence[Line], sent: Sent, looked: Looked, copies: Copies
) -> Iterator[Gap]:
    for line in lines:
        if line.outcome not in {Outcome.CHANGED, Outcome.ABSENT}:
            continue
        there = copies.of[line.ref]
        if there in looked.deleted_there:
            yield replace(deleted(line.ref, there), referrer=line.ref)
            continue
        if there in looked.changed_there:
            reason = "changed-at-destination"
            sentence = (
                f"{there} is not ours, or was changed at the destination since → a person decides;"
                " nothing was written over"
            )
        elif line.outcome is Outcome.ABSENT:
            reason = "refused" if there in sent.refused else "absent"
            sentence = sent.sentences.get(there, "is not at the destination although it was sent")
        else:
            reason = "changed-by-server"
            sentence = "the destination stored it otherwise than it was sent: " + ", ".join(
                line.paths[:5]
            )
        yield Gap(
            ref=line.ref, reason=reason, sentence=sentence, at="destination", referrer=line.ref
        )


def _written_over_gaps(sent: Sent) -> Iterator[Gap]:
    for ref in sent.written_over:
        yield Gap(
            ref=ref,
            reason="written-over",
            sentence="the destination wrote over what it had, though it was told not to → its"
            " operator looks at the version before",
            at="destination",
        )


def _authored_gaps(authored: Authored, looked: Looked, verified: Verified) -> Iterator[Gap]:
    for ref in authored.bodies:
        if ref in looked.deleted_there:
            yield deleted(ref, ref)
        elif ref not in verified.comparisons:
            yield Gap(
                ref=ref,
                reason="absent",
                sentence="written by the bridge, and not at the destination",
                at="destination",
            )


def _dangling_gaps(verified: Verified) -> Iterator[Gap]:
    for ref, path in verified.dangling:
        yield Gap(
            ref=ref,
            reason="dangling",
            sentence=f"{path} refers to nothing at the destination",
            at="destination",
        )


def _sign_result(
    pen: Pen,
    announced: Announced,
    manifest: Manifest,
    outcome: OutcomeCode,
    *,
    new: int,
    sentence: str,
) -> None:
    content, released = pen.content_of(manifest), announced.released
    pen.sign(
        Event.DISCLOSURE_RESULT,
        recording.disclosed(
            pen.requested.id,
            manifest,
            number=released.number,
            key=pen.key,
            consent=released.consent,
            sentence=sentence,
            counts={"new": new, "announced": len(released.manifest.released)},
        ),
        phase=f"{announced.phase}.{outcome}.{content.root}",
        outcome=outcome,
        consent=released.consent,
        content=content,
    )
