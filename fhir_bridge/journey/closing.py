"""
Tell the second doctor, last of all, and close the transfer.

The Task and the ServiceRequest are what a doctor's worklist shows. They are
written when everything released is verified, so that nobody at the second
provider sees half a record as whole. What the *first* provider could not give
does not stop them: their note says how many items are missing. Withheld records
are never counted to the recipient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fhir_bridge import lossless
from fhir_bridge.journey import recording
from fhir_bridge.journey.announcing import confirm_consent
from fhir_bridge.journey.authoring import provenance, referral
from fhir_bridge.journey.delivering import Looked, deliver, look, read_back
from fhir_bridge.journey.intents import settle_intent
from fhir_bridge.journey.releasing import Released
from fhir_bridge.journey.remaining import NOTICE
from fhir_bridge.journey.remembering import deleted, made_before, remember, with_rulings
from fhir_bridge.journey.sending import Delivered
from fhir_bridge.journey.signing import MINOR, OK, Pen
from fhir_bridge.ledger import Event
from fhir_bridge.manifest import Decision, Gap
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.store import LineRow
from fhir_bridge.transfer import Ended, State


def close(pen: Pen, delivered: Delivered) -> Ended:
    """
    Write Provenance, then Task and ServiceRequest, and sign how the transfer stands.

    Raises:
        ConsentChanged: Decide again.
        DestinationUnreachable: Try again later.
    """
    images = tuple(_images(delivered))
    missing: list[Gap] = []
    if delivered.manifest.released:
        missing += _write(
            pen,
            delivered,
            provenance(pen, delivered.announced, delivered.copies, delivered.authored),
        )
    if delivered.whole and _arrived(missing):
        request, told = referral(
            pen, delivered.authored, delivered.manifest.lines, delivered.gaps, images
        )
        missing += _write(pen, delivered, request, told)
    gaps = (*delivered.gaps, *missing)
    state = _state(delivered, gaps)
    number = delivered.announced.released.number
    if delivered.whole and _arrived(missing):
        act = recording.confirmed(number, delivered.manifest)
        pen.sign(Event.DELIVERY_CONFIRMED, act, phase=str(number))
    pen.sign(
        Event.TRANSFER_CLOSED,
        recording.closed(number, state, gaps=len(gaps), images=len(images)),
        phase=f"{number}.{state}",
        outcome=OK if state is State.CLOSED else MINOR,
        content=pen.content_of(delivered.manifest),
    )
    _keep(pen, delivered, (*gaps, *images))
    pen.parties.store.set_state(pen.requested.id, state)
    return Ended(
        request=pen.requested,
        state=state,
        manifest=delivered.manifest,
        gaps=gaps,
        images=images,
        authored=tuple(sorted(delivered.authored.refs)),
    )


def close_unsent(pen: Pen, released: Released) -> Ended:
    """Sign that nothing may go by itself: every line is withheld or waits for a person."""
    manifest = released.manifest
    waits = manifest.having(Decision.HELD, Decision.UNCLASSIFIED)
    state = State.HELD if waits else State.INCOMPLETE
    settle_intent(pen)
    act = recording.closed(released.number, state, gaps=len(released.gaps))
    pen.sign(Event.TRANSFER_CLOSED, act, phase=f"{released.number}.{state}", outcome=MINOR)
    rows = [LineRow.of(line, pen.key) for line in manifest.lines]
    pen.parties.store.save_manifest(pen.requested.id, released.number, rows, released.gaps)
    pen.parties.store.set_state(pen.requested.id, state)
    return Ended(
        request=pen.requested,
        state=state,
        manifest=manifest,
        gaps=released.gaps,
        images=(),
    )


def _keep(pen: Pen, delivered: Delivered, gaps: tuple[Gap, ...]) -> None:
    """Keep the manifest with what became of each line."""
    rows = [LineRow.of(line, pen.key) for line in delivered.manifest.lines]
    number = delivered.announced.released.number
    pen.parties.store.save_manifest(pen.requested.id, number, rows, gaps)


def _state(delivered: Delivered, gaps: tuple[Gap, ...]) -> State:
    if any(gap.at != NOTICE and not gap.accepted for gap in gaps):
        return State.INCOMPLETE
    if delivered.manifest.having(Decision.HELD, Decision.UNCLASSIFIED):
        return State.HELD
    return State.CLOSED


def _write(pen: Pen, delivered: Delivered, *contents: Json) -> list[Gap]:
    """Store what we author, unless it is there already; read it back."""
    parties, released = pen.parties, delivered.announced.released
    bodies = {
        RecordRef(f"{one['resourceType']}/{one['id']}"): lossless.encode(one) for one in contents
    }
    delivered.copies.edges.update(_edges(bodies))
    known = made_before(pen, list(bodies), delivered.copies)
    looked: Looked = look(parties, bodies, known, all_of_them=not delivered.first_time)
    delivered.copies.bodies.update(bodies)
    sent = deliver(
        parties,
        bodies,
        known,
        looked,
        ordered=lambda now: delivered.copies.writes(now.to_send, {}, now.new),
        before_send=lambda _writes: confirm_consent(pen, released),
    )
    outside = [*delivered.copies.of.values(), *delivered.copies.theirs.values()]
    verified = read_back(parties, bodies, looked, [*outside, *delivered.authored.refs])
    delivered.authored.refs.update(bodies)
    remember(pen, delivered.copies, known, looked, verified)
    gaps = [
        deleted(ref, ref)
        if ref in looked.deleted_there
        else Gap(
            ref=ref,
            reason="refused" if ref in sent.refused else "absent",
            sentence=sent.sentences.get(ref, "written by the bridge, and not at the destination"),
            at="destination",
        )
        for ref in sorted(verified.absent)
    ]
    return list(with_rulings(pen, gaps))


def _arrived(gaps: Sequence[Gap]) -> bool:
    """Tell whether nothing is missing that nobody accepted."""
    return all(gap.accepted for gap in gaps)


def _edges(bodies: dict[RecordRef, bytes]) -> dict[RecordRef, tuple[RecordRef, ...]]:
    """The Task names the ServiceRequest, so it comes after it."""
    return {
        ref: tuple(other for other in bodies if other != ref and other.encode() in body)
        for ref, body in bodies.items()
    }


def _images(delivered: Delivered) -> Iterator[Gap]:
    """Name each study whose pixels stay behind, and where they are held."""
    found = delivered.announced.released.found
    for line in delivered.manifest.released:
        if not line.ref.startswith("ImagingStudy/"):
            continue
        one = found.examined[line.ref]
        endpoints = sorted({e.to for e in one.edges if e.to.startswith("Endpoint/")})
        where = ", ".join(endpoints) or "the first provider's imaging server"
        yield Gap(
            ref=line.ref,
            reason="images-not-transferred",
            sentence=f"not transferred, held at {where}",
            at="images",
        )
