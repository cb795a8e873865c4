"""
Every intent gets its result, whatever happens after it.

A delivery can break after its intent was signed and never go on as it was: the
consent is revoked, a record changes, the server refuses. What had gone by then
is looked for at the second provider and signed, before anything else is
announced and before the transfer ends otherwise. What cannot be looked for is
taken to have gone, all of it.
"""

from __future__ import annotations

from dataclasses import replace

from fhir_bridge.errors import BridgeError
from fhir_bridge.journey import recording
from fhir_bridge.journey.signing import MINOR, OK, SERIOUS, Pen
from fhir_bridge.ledger import Content, Entry, Event
from fhir_bridge.manifest import Decision, sealed_root
from fhir_bridge.references import copy_ref
from fhir_bridge.store import LineRow
from fhir_bridge.transfer import Basis


def phase_of(pen: Pen, number: int) -> str:
    """
    Name the intent to send what a manifest releases, so that it is signed once.

    Args:
        pen: Of this transfer.
        number: Of the manifest.

    Returns:
        The same until a result says that something did not arrive: what is sent
        after it is announced anew.
    """
    step = f"{Event.DISCLOSURE_RESULT}.{number}"
    unfinished = sum(
        entry.step == step and entry.attempt == pen.requested.attempt and entry.outcome != OK
        for entry in pen.parties.store.entries(pen.requested.id)
    )
    return f"{number}.{unfinished}"


def settle_intent(pen: Pen, *, going_on_with: int | None = None) -> None:
    """
    Sign what had gone under an intent that an earlier run left without its result.

    Args:
        pen: Of this transfer.
        going_on_with: Number of the manifest that is about to be sent; its own
            intent, signed in this attempt, stays open.
    """
    entry = _left_open(pen)
    if entry is None or entry.step is None or entry.attempt is None:
        return
    number = int(entry.step.rpartition(".")[2])
    if (number, entry.attempt) == (going_on_with, pen.requested.attempt):
        return
    rows = _announced(pen, number)
    there = _found_there(pen, rows)
    content = None if there is None else _content(there)
    sentence, outcome = "what is at the destination was looked for later", MINOR
    if content is None:
        content, outcome = entry.content, SERIOUS
        sentence = "it could not be looked for: all of it is taken to have gone"
    assert content is not None, "an intent says what is announced"
    act = recording.settled(
        pen.requested.id,
        number,
        content,
        entry.consent,
        kinds=[recording.kind_of(row) for row in (rows if there is None else there)],
        basis=Basis(entry.basis or Basis.CONSENT),
        sentence=sentence,
    )
    replace(pen, requested=replace(pen.requested, attempt=entry.attempt)).sign(
        Event.DISCLOSURE_RESULT,
        act,
        phase=f"{number}.settled.{entry.idx}",
        outcome=outcome,
        consent=entry.consent,
        content=content,
    )


def _left_open(pen: Pen) -> Entry | None:
    """Return the intent that no result answers; there is never more than one."""
    found = None
    for entry in pen.parties.store.entries(pen.requested.id):
        if entry.type is Event.DISCLOSURE_INTENT:
            found = entry
        elif entry.type is Event.DISCLOSURE_RESULT:
            found = None
    return found


def _announced(pen: Pen, number: int) -> list[LineRow]:
    """Return the lines that a manifest releases."""
    rows = pen.parties.store.manifest(pen.requested.id, number)
    return [row for row in rows if row.decision is Decision.RELEASED]


def _found_there(pen: Pen, announced: list[LineRow]) -> list[LineRow] | None:
    """Return the announced lines whose copies are there; None when nobody can tell."""
    parties = pen.parties
    identity = parties.source.identity
    copies = {copy_ref(identity, row.ref, attachment=row.attachment): row for row in announced}
    try:
        there = parties.destination.server.read_many(list(copies))
    except BridgeError:
        return None
    return [copies[ref] for ref, one in there.items() if one is not None]


def _content(rows: list[LineRow]) -> Content:
    rows = sorted(rows, key=lambda row: row.ref)
    return Content.of(
        count=len(rows),
        size_bytes=sum(row.size_bytes for row in rows),
        root=sealed_root((row.ref, row.mac, row.size_bytes) for row in rows),
    )
