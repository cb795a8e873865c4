"""
What the bridge knows of the copies it made before, and what persons decided about gaps.

A copy that is no longer as it was verified, or no longer there, was changed by
somebody at the second provider: it is not written over and not made again,
until a person says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fhir_bridge.journey.copying import Copies
from fhir_bridge.journey.delivering import Known, Looked, Verified
from fhir_bridge.journey.signing import Pen
from fhir_bridge.manifest import DELETED_THERE, Gap
from fhir_bridge.records import RecordRef
from fhir_bridge.store import Ruling, gap_key, is_accepted


def with_rulings(pen: Pen, gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return gaps, with what persons accepted marked."""
    rulings = pen.parties.store.rulings(pen.requested.id)
    return tuple(replace(gap, accepted=is_accepted(gap, rulings)) for gap in gaps)


def made_before(pen: Pen, refs: Sequence[RecordRef], copies: Copies) -> Known:
    """Say what is known of copies: how they were verified, and which to make again."""
    store = pen.parties.store
    rulings = store.rulings(pen.requested.id)
    lines = {line.ref: line for line in store.manifest(pen.requested.id)}
    sources = {there: ref for ref, there in copies.of.items()}

    def again(ref: RecordRef) -> bool:
        named = sources.get(ref, ref)
        ruling = rulings.get(gap_key(deleted(named, ref)))
        line = lines.get(named)
        return (
            ruling is not None
            and ruling.word == "again"
            and ruling.mac == (None if line is None else line.mac)
        )

    return Known(
        pairings=store.pairings(pen.parties.destination.identity, refs),
        again=frozenset(filter(again, refs)) if rulings else frozenset(),
    )


def remember(pen: Pen, copies: Copies, known: Known, looked: Looked, verified: Verified) -> None:
    """Keep how each copy was verified, so that a later change there is seen."""
    store, identity = pen.parties.store, pen.parties.source.identity
    sources = {there: ref for ref, there in copies.of.items()}
    store.remember_pairings(
        pen.parties.destination.identity,
        [
            known.pairing(ref, f"{identity}/{sources.get(ref, ref)}", verified)
            for ref in verified.comparisons
            if ref not in looked.changed_there
            and (ref not in looked.same or ref not in known.pairings)
        ],
    )
    # A second deletion needs a second word.
    store.remember_rulings(
        pen.requested.id,
        [
            Ruling(ref=gap_key(deleted(sources.get(ref, ref), ref)), word="done")
            for ref in sorted(known.again.intersection(verified.comparisons))
        ],
    )


def deleted(ref: str, there: RecordRef) -> Gap:
    """Name a copy of ours that somebody deleted at the destination."""
    return Gap(
        ref=ref,
        reason=DELETED_THERE,
        sentence=f"{there} was deleted at the destination since it was delivered → a person"
        " decides: release it to send it again, or accept the gap",
        at="destination",
        referrer=None,
    )
