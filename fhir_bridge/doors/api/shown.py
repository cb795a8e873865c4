"""What a caller is shown: the answers, and how much of them each role sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from fhir_bridge.doors.api.roles import Caller, Role
from fhir_bridge.manifest import Decision, Gap, count
from fhir_bridge.store import LineRow, TransferRow
from fhir_bridge.transfer import State

EVERYTHING = (Role.RECORDS_OFFICER, Role.AUDITOR, Role.AUDITOR_BODIES)
"""Who sees what was withheld or is held."""

_NOT_SENT = frozenset({Decision.WITHHELD, Decision.HELD, Decision.UNCLASSIFIED})


class CountsShown(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The sums of a manifest. What did not travel is counted only to who may see it."""

    released: int
    identical: int
    normalised: int
    theirs: int
    changed: int
    absent: int
    bytes: int
    found: int | None = None
    withheld: int | None = None
    held: int | None = None
    unclassified: int | None = None
    excluded: int | None = None


class GapShown(msgspec.Struct, kw_only=True):
    """What could not be obtained or delivered, or images that stay where they are."""

    ref: str
    reason: str
    sentence: str
    at: str
    """source, destination or images"""
    accepted: bool


class TransferBrief(msgspec.Struct, kw_only=True):
    """Where a transfer stands, in a list."""

    transfer: str
    state: str
    source: str
    destination: str
    attempt: int
    created: str
    updated: str


class WaitShown(msgspec.Struct, kw_only=True):
    """Why a transfer does not go on at this moment."""

    until: str | None
    """When a worker goes on by itself; null: a person must retry it."""
    reason: str
    """Stable code."""


class TransferShown(TransferBrief, kw_only=True):
    """Where a transfer stands."""

    joined: str | None
    """The transfer that was asked for before and that this request turned out to be."""
    cancelled: str | None
    """When it was cancelled; its state says so once it has been stopped."""
    wait: WaitShown | None
    says: str
    """What is so and who must act, in words."""

    complete: bool
    """All that was released is there, and no images stayed behind."""
    limited_by_consent: bool
    """Something did not travel by a rule or waits for a person."""
    counts: CountsShown
    gaps: list[GapShown]


class TransferPage(msgspec.Struct, kw_only=True):
    """Some transfers, newest first."""

    transfers: list[TransferBrief]
    next: str | None
    """Cursor of what follows; null at the end."""


class LineShown(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One resource or attachment found at the source. Why it was decided so, only to who may."""

    ref: str
    kind: str | None
    attachment: bool
    decision: str
    destination: str | None
    digest: str
    bytes: int
    outcome: str | None
    paths: list[str]
    """Elements that differ at the destination; never values."""
    rule: str | None = None
    reason: str | None = None
    consent: str | None = None
    consent_version: str | None = None
    provision: str | None = None
    severed: list[str] | None = None


class ManifestPage(msgspec.Struct, kw_only=True):
    """Some lines of a manifest, by reference."""

    transfer: str
    number: int
    """Of the manifest: one more each time it is decided again; 0 while there is none."""
    limited_by_consent: bool
    lines: list[LineShown]
    next: str | None


def brief(row: TransferRow) -> TransferBrief:
    """Show a transfer in a list."""
    return TransferBrief(
        transfer=row.id,
        state=row.state,
        source=row.source,
        destination=row.destination,
        attempt=row.attempt,
        created=row.created,
        updated=row.updated,
    )


def transfer(
    row: TransferRow, lines: Sequence[LineRow], gaps: Iterable[Gap], caller: Caller
) -> TransferShown:
    """Show a transfer to a caller."""
    seen = [one for one in gaps if _may_see(one, lines, caller)]
    closed = State(row.state) is State.CLOSED
    return TransferShown(
        transfer=row.id,
        state=row.state,
        source=row.source,
        destination=row.destination,
        attempt=row.attempt,
        created=row.created,
        updated=row.updated,
        joined=row.joined,
        cancelled=row.cancelled,
        wait=_wait(row),
        says=_says(row, caller),
        complete=closed and not any(one.at == "images" for one in seen),
        limited_by_consent=limited(lines),
        counts=_counts(lines, caller),
        gaps=[
            GapShown(
                ref=one.ref,
                reason=one.reason,
                sentence=one.sentence,
                at=one.at,
                accepted=one.accepted,
            )
            for one in seen
        ],
    )


def _wait(row: TransferRow) -> WaitShown | None:
    if row.wait_reason is None:
        return None
    return WaitShown(until=row.wait_until, reason=row.wait_reason)


def _says(row: TransferRow, caller: Caller) -> str:
    """Say what the bridge noted to who may see all of it, else what the state means."""
    if row.trouble is not None and caller.is_any(*EVERYTHING):
        return row.trouble
    return MEANINGS[State(row.state)]


MEANINGS = {
    State.REQUESTED: "Asked for; a worker takes it up.",
    State.PERMITTED: "The patient's consent permits it.",
    State.GATHERED: "The records are gathered and decided about.",
    State.MATCHED: "The patient is found at the destination.",
    State.ANNOUNCED: "The disclosure is signed; records leave.",
    State.DELIVERED: "The records are stored at the destination.",
    State.VERIFIED: "The records were read back and compared.",
    State.CLOSED: "Done: the second doctor is told.",
    State.HELD: "Lines wait for the records officer; nothing more is sent until then.",
    State.INCOMPLETE: "Something is missing, see gaps: mend it, then retry.",
    State.REFUSED: "A rule forbids it, most often a missing consent: the patient or requester"
    " must act, then retry.",
    State.CANCELLED: "Stopped by a person; what had gone is signed.",
    State.PARKED: "No worker can bring it further: see wait.reason, then retry.",
}
"""What each state means, and who must act."""


def limited(lines: Iterable[LineRow]) -> bool:
    """Return whether something did not travel by a rule, or waits for a person."""
    return any(line.decision in _NOT_SENT for line in lines)


def visible(lines: Iterable[LineRow], caller: Caller) -> list[LineRow]:
    """Return the lines that a caller may see."""
    if caller.is_any(*EVERYTHING):
        return list(lines)
    return [line for line in lines if line.decision is Decision.RELEASED]


def line(row: LineRow, caller: Caller) -> LineShown:
    """Show one line to a caller who may see it."""
    shown = LineShown(
        ref=row.ref,
        kind=None if row.kind is None else str(row.kind),
        attachment=row.attachment,
        decision=str(row.decision),
        destination=row.destination,
        digest=f"hmac-sha256:{row.mac}",
        bytes=row.size_bytes,
        outcome=None if row.outcome is None else str(row.outcome),
        paths=list(row.paths),
    )
    if caller.is_any(*EVERYTHING):
        shown.rule, shown.reason = row.rule, row.sentence
        shown.consent, shown.consent_version = row.consent, row.consent_version
        shown.provision, shown.severed = row.provision, list(row.severed)
    return shown


def _counts(lines: Sequence[LineRow], caller: Caller) -> CountsShown:
    sums = count(lines)
    shown = CountsShown(
        released=sums.released,
        identical=sums.identical,
        normalised=sums.normalised,
        theirs=sums.theirs,
        changed=sums.changed,
        absent=sums.absent,
        bytes=sums.bytes,
    )
    if caller.is_any(*EVERYTHING):
        shown.found, shown.withheld, shown.held = sums.found, sums.withheld, sums.held
        shown.unclassified, shown.excluded = sums.unclassified, sums.excluded
    return shown


def _may_see(gap: Gap, lines: Iterable[LineRow], caller: Caller) -> bool:
    """A gap that only a withheld record names would tell of that record."""
    if caller.is_any(*EVERYTHING):
        return True
    released = {line.ref for line in lines if line.decision is Decision.RELEASED}
    return (gap.referrer or gap.ref) in released or gap.at == "destination"
