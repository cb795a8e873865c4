"""
What was delivered earlier and is no longer part of what travels.

The bridge never deletes at a destination. A record that was delivered and is
withheld, held or gone since is named, with the day it was first verified there,
so that somebody can ask for its removal.
"""

from __future__ import annotations

from collections.abc import Iterable

from fhir_bridge.journey.parties import Parties
from fhir_bridge.manifest import Decision, Gap
from fhir_bridge.records import RecordRef
from fhir_bridge.references import copy_ref
from fhir_bridge.store import LineRow, Store
from fhir_bridge.transfer import State

NOTICE = "notice"
"""Where a gap is that stops nothing and that somebody should know of."""


def was_delivered(parties: Parties, ref: RecordRef) -> bool:
    """Tell whether a copy of a record was verified at this destination, by any transfer."""
    there = copy_ref(parties.source.identity, ref)
    return parties.store.pairing(parties.destination.identity, there) is not None


def still_there(
    store: Store, transfer: str, lines: Iterable[LineRow], *, source: str, destination: str
) -> tuple[Gap, ...]:
    """
    Name what is at the destination although it would not travel now.

    Args:
        store: What the bridge remembers; no server is asked.
        transfer: Its id.
        lines: Of its last manifest.
        source: Identity of the first provider.
        destination: Identity of the second provider.
    """
    refused = store.read_transfer(transfer).state == State.REFUSED
    copies = {
        copy_ref(source, ref, attachment=attachment): ref
        for ref, attachment in store.ever_released(transfer)
    }
    for line in lines:
        there = copy_ref(source, line.ref, attachment=line.attachment)
        if line.decision is Decision.RELEASED and not refused:
            copies.pop(there, None)
        elif line.decision is not Decision.EXCLUDED:
            copies[there] = line.ref
    pairings = store.pairings(destination, list(copies))
    return tuple(
        Gap(
            ref=copies[there],
            reason="still-at-destination",
            sentence=f"{there} is still at destination since {pairing.since[:10] or 'earlier'}:"
            " the bridge never deletes there → ask the second provider to remove it",
            at=NOTICE,
        )
        for there, pairing in sorted(pairings.items())
    )
