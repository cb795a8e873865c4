"""What a person decided about single lines: released, withheld, a gap accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from fhir_bridge.errors import Refused, SettingsError
from fhir_bridge.manifest import Decision
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
    """Reference of the line, or of the gap."""
    word: str
    """``released``, ``withheld`` or ``accepted``."""
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


def may_decide(ref: str, line: LineRow | None, *, release: bool) -> None:
    """
    Check that a person may decide about a line.

    Args:
        ref: What the person named.
        line: That line of the manifest; None when there is none.
        release: Whether it shall go.

    Raises:
        SettingsError: No such line, or it is not held.
        Refused: A Consent denies it; no person may release it.
    """
    if line is None:
        raise SettingsError(f"{ref} is not a line of this transfer: see fhir-bridge show")
    if line.consent is not None and line.decision is Decision.WITHHELD:
        raise Refused(
            f"{ref} is denied by {line.consent} ({line.provision or 'as a whole'}): no person may"
            " release it; the way is a new consent"
        )
    if release and line.decision not in {Decision.HELD, Decision.UNCLASSIFIED}:
        raise SettingsError(f"{ref} is {line.decision}, not held: there is nothing to decide")
