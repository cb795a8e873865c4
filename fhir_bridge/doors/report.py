"""A transfer as people and programs see it: references, decisions and counts, never content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhir_bridge.manifest import Decision, Gap, Outcome, count
from fhir_bridge.transfer import State

if TYPE_CHECKING:
    from fhir_bridge.bridge import Report
    from fhir_bridge.store import LineRow

_DONE, _REFUSED, _INCOMPLETE = 0, 3, 4
_SHOWN_MAX = 20
"""Lines of one kind shown on a terminal; `--json` has them all."""

_NOT_SENT = (Decision.WITHHELD, Decision.HELD, Decision.UNCLASSIFIED)


def exit_code(report: Report) -> int:
    """Return 0 when done, 3 when refused or cancelled, 4 when something is missing or held."""
    if report.preview or report.state is State.CLOSED:
        return _DONE
    return _REFUSED if report.state in {State.REFUSED, State.CANCELLED} else _INCOMPLETE


def as_object(report: Report) -> dict[str, Any]:
    """
    Return the documented, stable JSON object of a transfer.

    Returns:
        transfer, state, complete, preview, counts, records (one per resource
        and attachment), gaps, images, notes, authored, audit. README lists the
        members.
    """
    counts = asdict(count(report.lines))
    counts["delivered"] = counts["identical"] + counts["normalised"] + counts["changed"]
    counts["verified"] = counts["identical"] + counts["normalised"] + counts["theirs"]
    counts["documents"] = sum(1 for line in _released(report) if line.attachment)
    return {
        "transfer": report.transfer,
        "state": str(report.state),
        "complete": report.state is State.CLOSED and not report.images and not report.gaps,
        "preview": report.preview,
        "counts": counts,
        "records": [_record(line) for line in report.lines],
        "gaps": [_gap(gap) for gap in report.gaps],
        "images": [_gap(gap) for gap in report.images],
        "notes": [_gap(gap) for gap in report.notes],
        "authored": list(report.authored),
        "audit": {
            "log": report.log,
            "entries": report.entries,
            "checkpoint": report.checkpoint,
        },
    }


def _record(line: LineRow) -> dict[str, Any]:
    return {
        "ref": line.ref,
        "kind": None if line.kind is None else str(line.kind),
        "attachment": line.attachment,
        "decision": str(line.decision),
        "rule": line.rule,
        "reason": line.sentence,
        "consent": line.consent,
        "consent_version": line.consent_version,
        "provision": line.provision,
        "destination": line.destination,
        "digest": f"hmac-sha256:{line.mac}",
        "bytes": line.size_bytes,
        "outcome": None if line.outcome is None else str(line.outcome),
        "paths": list(line.paths),
        "severed": list(line.severed),
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "ref": gap.ref,
        "reason": gap.reason,
        "sentence": gap.sentence,
        "at": gap.at,
        "referrer": gap.referrer,
        "accepted": gap.accepted,
    }


def render(report: Report, *, store: Path | None) -> str:
    """Return the result in words: what is so, what is not, what to do next."""
    return "\n".join(_lines(report, f" --store {store}" if store else ""))


def _lines(report: Report, store: str) -> Iterator[str]:
    if report.preview:
        yield from _preview(report)
        return
    yield _headline(report)
    yield from _gaps(report)
    yield from _waiting(report)
    if report.images:
        yield f"Images: {len(report.images)} studies are not transferred."
        yield from (f"  {one.ref:<28} {one.sentence}" for one in report.images[:_SHOWN_MAX])
    yield from _notes(report)
    if report.state is not State.CLOSED:
        yield (
            f"Nothing is lost: `fhir-bridge resume {report.transfer}{store}` tries what is missing"
            " again."
        )
    yield f"  What went, what did not, and why     fhir-bridge show {report.transfer}{store}"
    yield f"  Is the log untouched?                fhir-bridge audit verify-db{store}"


def _headline(report: Report) -> str:
    counts = count(report.lines)
    there = counts.identical + counts.normalised + counts.theirs
    if report.state is State.CLOSED and report.gaps:
        return (
            f"Closed with {len(report.gaps)} accepted gaps: {there} of {counts.released} released"
            f" lines are at {report.recipient}, verified."
        )
    if report.state is State.CLOSED and report.images:
        return (
            f"Complete except images: {there} of {counts.released} released lines are at"
            f" {report.recipient}, verified."
        )
    if report.state is State.CLOSED:
        return (
            f"Complete: all {counts.released} released lines are at {report.recipient}, verified."
        )
    if report.state in {State.INCOMPLETE, State.HELD}:
        return (
            f"{str(report.state).capitalize()}: {there} of {counts.released} released lines are at"
            f" {report.recipient}, verified."
        )
    return f"The transfer stands at: {report.state}. {counts.released} lines are released."


def _notes(report: Report) -> Iterator[str]:
    if report.notes:
        yield "To be known:"
        yield from (f"  {one.ref:<28} {one.sentence}" for one in report.notes[:_SHOWN_MAX])
    if len(report.notes) > _SHOWN_MAX:
        more = len(report.notes) - _SHOWN_MAX
        yield f"  and {more} more: fhir-bridge show {report.transfer} --json"


def _gaps(report: Report) -> Iterator[str]:
    for gap in report.gaps[:_SHOWN_MAX]:
        accepted = " (accepted)" if gap.accepted else ""
        yield f"  {gap.ref:<28} {gap.sentence}{accepted}"
    for line in _released(report):
        if line.outcome in {Outcome.CHANGED, Outcome.ABSENT} and not _has_gap(report, line):
            where = f" at {', '.join(line.paths[:3])}" if line.paths else ""
            yield f"  {line.ref:<28} {line.outcome} at the destination{where}"


def _released(report: Report) -> list[LineRow]:
    return [line for line in report.lines if line.decision is Decision.RELEASED]


def _has_gap(report: Report, line: LineRow) -> bool:
    return any(gap.ref == line.ref for gap in report.gaps)


def _waiting(report: Report) -> Iterator[str]:
    lines = [line for line in report.lines if line.decision in _NOT_SENT]
    if not lines:
        return
    counts = count(report.lines)
    yield (
        f"Not sent: {counts.withheld} withheld, {counts.held} held for a person,"
        f" {counts.unclassified} unclassified."
    )
    for line in lines[:_SHOWN_MAX]:
        yield f"  {line.ref:<28} {line.decision} ({line.rule}): {line.sentence}{_source(line)}"
    if len(lines) > _SHOWN_MAX:
        yield f"  and {len(lines) - _SHOWN_MAX} more: fhir-bridge show {report.transfer} --json"


def _source(line: LineRow) -> str:
    if line.consent is None:
        return ""
    version = f" version {line.consent_version}" if line.consent_version else ""
    return f" [{line.consent}{version}{' ' + line.provision if line.provision else ''}]"


def _preview(report: Report) -> Iterator[str]:
    counts = count(report.lines)
    yield (
        f"Preview: {counts.released} lines would go to {report.recipient} ({counts.bytes} bytes,"
        " attachments not counted). Nothing was sent."
    )
    yield from _gaps(report)
    yield from _waiting(report)
    yield from _notes(report)
    if counts.excluded:
        yield f"Not asked for: {counts.excluded} records of other kinds."
