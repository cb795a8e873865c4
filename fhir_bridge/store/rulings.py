"""
What a person decided: a line released or withheld, a gap accepted, a copy made again.

A line and a gap may have the same reference, and a decision about the one says
nothing about the other; so what is said of a gap is filed under its reason too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from fhir_bridge.errors import Refused, SettingsError
from fhir_bridge.manifest import DELETED_THERE, GONE_AT_SOURCE, Decision, Gap
from fhir_bridge.records import RecordRef
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part
from fhir_bridge.store.manifests import LineRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """
    One decision. Who made it and why is signed in the log.

    It is written here after the log has it, so that a ruling without an entry
    cannot be.
    """

    ref: str
    """Reference of the line, or `gap_key` of the gap."""
    word: str
    """``released`` or ``withheld`` of a line; ``accepted``, ``again`` or ``done`` of a gap."""
    mac: str | None = None
    """Sealed digest of what the person decided about; changed since, the ruling is void."""


class Rulings(Part):
    """What persons decided."""

    def remember_rulings(self, transfer: str, rulings: Sequence[Ruling]) -> None:
        """Keep decisions; a later one about the same reference replaces the earlier."""
        table = schema.ruling
        with self._database.writing() as connection:
            for ruling in rulings:
                connection.execute(
                    delete(table).where(table.c.transfer == transfer, table.c.ref == ruling.ref)
                )
                row = {
                    "transfer": transfer,
                    "ref": ruling.ref,
                    "word": ruling.word,
                    "mac": ruling.mac,
                }
                connection.execute(insert(table), row)

    def rulings(self, transfer: str) -> dict[str, Ruling]:
        """Return the decisions of a transfer, by reference."""
        table = schema.ruling
        rows = select(table.c.ref, table.c.word, table.c.mac).where(table.c.transfer == transfer)
        with self._database.reading() as connection:
            found = [Ruling(**row._asdict()) for row in connection.execute(rows)]
        return {ruling.ref: ruling for ruling in found}


def gap_key(gap: Gap) -> str:
    """Name a gap so that a decision about it is none about another with the same reference."""
    return f"{gap.reason} {gap.ref}"


def may_be_accepted(gap: Gap) -> bool:
    """Tell whether a person may accept a gap: one of delivery, or of what is gone for good."""
    return gap.at == "destination" or gap.reason == GONE_AT_SOURCE


def is_accepted(gap: Gap, rulings: Mapping[str, Ruling]) -> bool:
    """Tell whether a person accepted a gap."""
    ruling = rulings.get(gap_key(gap))
    return ruling is not None and ruling.word == "accepted"


def ruling_on(
    ref: str, lines: Mapping[RecordRef, LineRow], gaps: Iterable[Gap], *, release: bool
) -> Ruling:
    """
    Return what a person's decision about a reference is, when the person may decide so.

    Args:
        ref: What the person named.
        lines: Of the last manifest.
        gaps: Of the last manifest: a copy that was deleted at the destination
            is made again only when a person says so.
        release: Whether it shall go.

    Raises:
        SettingsError: No such line, or it is not held.
        Refused: A Consent denies it; no person may release it.
    """
    line = lines.get(RecordRef(ref))
    mac = None if line is None else line.mac
    for gap in gaps:
        if release and gap.ref == ref and gap.reason == DELETED_THERE:
            return Ruling(ref=gap_key(gap), word="again", mac=mac)
    _may_decide(ref, line, release=release)
    return Ruling(ref=ref, word="released" if release else "withheld", mac=mac)


def _may_decide(ref: str, line: LineRow | None, *, release: bool) -> None:
    if line is None:
        raise SettingsError(f"{ref} is not a line of this transfer: see fhir-bridge show")
    if line.consent is not None and line.decision is Decision.WITHHELD:
        raise Refused(
            f"{ref} is denied by {line.consent} ({line.provision or 'as a whole'}): no person may"
            " release it; the way is a new consent"
        )
    if release and line.decision not in {Decision.HELD, Decision.UNCLASSIFIED}:
        raise SettingsError(f"{ref} is {line.decision}, not held: there is nothing to decide")
