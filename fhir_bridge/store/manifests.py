"""Manifests as they are kept: references, decisions and sealed digests, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from sqlalchemy import Row, bindparam, delete, func, insert, select, update

from fhir_bridge.ledger import timestamp
from fhir_bridge.manifest import Decision, Gap, Line, Outcome, sealed_digest
from fhir_bridge.records import Kind, RecordRef
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRow:
    """A line of a manifest, without its digest."""

    ref: RecordRef
    kind: Kind | None
    decision: Decision
    rule: str
    sentence: str
    mac: str
    """HMAC-SHA-256 of the digest under the transfer's key."""
    size_bytes: int
    attachment: bool = False
    consent: RecordRef | None = None
    consent_version: str | None = None
    provision: str | None = None
    bundle: int = 0
    """Which group it is sent with."""
    destination: RecordRef | None = None
    outcome: Outcome | None = None
    paths: tuple[str, ...] = ()
    """Elements that differ; paths, never values."""
    severed: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    """References of the attachments it shows."""

    @classmethod
    def of(
        cls, line: Line, key: bytes, *, bundle: int = 0, documents: tuple[str, ...] = ()
    ) -> Self:
        """
        Turn a manifest's line into what may be kept of it.

        Args:
            line: The line, with its digest.
            key: The transfer's key.
            bundle: Which group it is sent with.
            documents: References of the attachments it shows.
        """
        return cls(
            ref=line.ref,
            kind=line.kind,
            decision=line.decision,
            rule=line.rule,
            sentence=line.sentence,
            mac=sealed_digest(key, line.digest),
            size_bytes=line.size_bytes,
            attachment=line.attachment,
            consent=line.consent,
            consent_version=line.consent_version,
            provision=line.provision,
            bundle=bundle,
            destination=line.destination,
            outcome=line.outcome,
            paths=line.paths,
            severed=line.severed,
            documents=documents,
        )


class Manifests(Part):
    """The manifests of transfers."""

    def save_manifest(
        self, transfer: str, number: int, lines: Iterable[LineRow], gaps: Sequence[Gap] = ()
    ) -> None:
        """
        Keep a manifest; one of the same number is replaced whole.

        Args:
            transfer: The transfer's id.
            number: 1 for the first, one more each time it is decided again.
            lines: Its lines.
            gaps: What could not be obtained or delivered.
        """
        place = {"transfer": transfer, "number": number}
        with self._database.writing() as connection:
            for table in (schema.line, schema.gap):
                connection.execute(
                    delete(table).where(table.c.transfer == transfer, table.c.number == number)
                )
            if rows := [place | _columns(line) for line in lines]:
                connection.execute(insert(schema.line), rows)
            if rows := [place | _gap_columns(position, gap) for position, gap in enumerate(gaps)]:
                connection.execute(insert(schema.gap), rows)
            connection.execute(
                update(schema.transfer).where(schema.transfer.c.id == transfer),
                {"manifest": number, "updated": timestamp(self._clock.now())},
            )

    def manifest(self, transfer: str, number: int | None = None) -> tuple[LineRow, ...]:
        """
        Return a manifest's lines, sorted by reference.

        Args:
            transfer: The transfer's id.
            number: Which manifest; None for the last.
        """
        table = schema.line
        last = select(func.max(table.c.number)).where(table.c.transfer == transfer)
        wanted = last.scalar_subquery() if number is None else number
        rows = select(table).where(table.c.transfer == transfer, table.c.number == wanted)
        with self._database.reading() as connection:
            found = connection.execute(rows).all()
        return tuple(sorted(map(_line, found), key=lambda line: line.ref))

    def ever_released(self, transfer: str) -> tuple[tuple[RecordRef, bool], ...]:
        """Return each line that any manifest of a transfer released, and whether it is bytes."""
        table = schema.line
        rows = (
            select(table.c.ref, table.c.attachment)
            .where(table.c.transfer == transfer, table.c.decision == Decision.RELEASED.value)
            .distinct()
            .order_by(table.c.ref)
        )
        with self._database.reading() as connection:
            return tuple(
                (RecordRef(row.ref), bool(row.attachment)) for row in connection.execute(rows)
            )

    def gaps(self, transfer: str, number: int | None = None) -> tuple[Gap, ...]:
        """
        Return a manifest's gaps, in the order they were found.

        Args:
            transfer: The transfer's id.
            number: Which manifest; None for the last of the transfer.
        """
        table = schema.gap
        last = select(schema.transfer.c.manifest).where(schema.transfer.c.id == transfer)
        wanted = last.scalar_subquery() if number is None else number
        rows = (
            select(table)
            .where(table.c.transfer == transfer, table.c.number == wanted)
            .order_by(table.c.position)
        )
        with self._database.reading() as connection:
            return tuple(map(_gap, connection.execute(rows)))

    def update_outcomes(
        self,
        transfer: str,
        number: int,
        outcomes: Mapping[RecordRef, tuple[Outcome, Sequence[str]]],
    ) -> None:
        """
        Write down what became of released lines.

        Args:
            transfer: The transfer's id.
            number: The manifest's number.
            outcomes: By reference at the source, with the paths that differ.
        """
        table = schema.line
        change = update(table).where(
            table.c.transfer == transfer, table.c.number == number, table.c.ref == bindparam("line")
        )
        rows = [
            {"line": ref, "outcome": outcome.value, "paths": _text(paths)}
            for ref, (outcome, paths) in outcomes.items()
        ]
        with self._database.writing() as connection:
            if rows:
                connection.execute(change, rows)


def _text(words: Sequence[str]) -> str:
    return msgspec.json.encode(list(words)).decode()


def _words(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _columns(line: LineRow) -> dict[str, Any]:
    return {
        "ref": line.ref,
        "kind": line.kind,
        "decision": line.decision.value,
        "rule": line.rule,
        "sentence": line.sentence,
        "mac": line.mac,
        "size_bytes": line.size_bytes,
        "attachment": int(line.attachment),
        "consent": line.consent,
        "consent_version": line.consent_version,
        "provision": line.provision,
        "bundle": line.bundle,
        "destination": line.destination,
        "outcome": line.outcome,
        "paths": _text(line.paths),
        "severed": _text(line.severed),
        "documents": _text(line.documents),
    }


def _line(row: Row[Any]) -> LineRow:
    columns = row._asdict()
    del columns["transfer"], columns["number"]
    return LineRow(
        **columns
        | {
            "kind": None if row.kind is None else Kind(row.kind),
            "decision": Decision(row.decision),
            "outcome": None if row.outcome is None else Outcome(row.outcome),
            "attachment": bool(row.attachment),
            "paths": _words(row.paths),
            "severed": _words(row.severed),
            "documents": _words(row.documents),
        }
    )


def _gap_columns(position: int, gap: Gap) -> dict[str, Any]:
    return {
        "position": position,
        "ref": gap.ref,
        "reason": gap.reason,
        "sentence": gap.sentence,
        "place": gap.at,
        "referrer": gap.referrer,
        "accepted": int(gap.accepted),
    }


def _gap(row: Row[Any]) -> Gap:
    return Gap(
        ref=row.ref,
        reason=row.reason,
        sentence=row.sentence,
        at=row.place,
        referrer=row.referrer,
        accepted=bool(row.accepted),
    )
