"""What the labels of a record say, carried and computed together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """
    Everything a consent decision may ask about the sensitivity of one record.

    Codes only: no text of the record is kept here, so labels may be shown,
    logged and written into the manifest.
    """

    confidentiality: str | None = None
    """Highest confidentiality that the source wrote: U, L, M, N, R or V."""
    computed_normal: bool = False
    """Everything that is known of the record and its members says it is ordinary."""
    sensitivities: frozenset[str] = frozenset()
    """Codes of v3-ActCode, e.g. HIV: carried by the record or computed by the bridge."""
    carried_sensitivities: frozenset[str] = frozenset()
    """Those of `sensitivities` that the source wrote itself."""
    policies: frozenset[str] = frozenset()
    """Codes of laws and obligations, e.g. 42CFRPart2, HIPAAPsyNotes."""
    purposes: frozenset[str] = frozenset()
    """Codes of v3-ActReason for which the source says the record may be used."""
    unknown: bool = False
    """The record carries a label that the bridge does not understand."""
    reasons: tuple[str, ...] = ()
    """Why, as codes: ``HIV: http://loinc.org|20447-9``; never text of the record."""
