"""What the labels of a record say, carried and computed together."""

from __future__ import annotations

from dataclasses import dataclass

PART_2 = "42CFRPart2"
"""Records of a federally assisted substance use programme (42 CFR Part 2)."""

CONFIDENTIALITY = ("U", "L", "M", "N", "R", "V")
"""v3-Confidentiality, the least confidential first."""


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
    """Codes of laws and prohibitions, e.g. 42CFRPart2, HIPAAPsyNotes, NORDSCLCD."""
    purposes: frozenset[str] = frozenset()
    """Codes of v3-ActReason for which the source says the record may be used."""
    unknown: bool = False
    """The record carries a label that the bridge does not understand."""
    reasons: tuple[str, ...] = ()
    """Why, as codes: ``HIV: http://loinc.org|20447-9``; never text of the record."""

    @property
    def effective_confidentiality(self) -> str | None:
        """
        Return the confidentiality that a decision must use.

        Returns:
            At least R for a sensitive or Part 2 record, whatever it carries;
            else what the source wrote; else N when that was computed; else
            None: unlabelled.

        Source:
            README of the sensitivity codes, rule 12; our own rule.
        """
        if self.sensitivities or PART_2 in self.policies:
            return highest(self.confidentiality, "R")
        if self.confidentiality is None and self.computed_normal:
            return "N"
        return self.confidentiality


def highest(one: str | None, other: str | None) -> str | None:
    """Return the more confidential of two codes of `CONFIDENTIALITY`."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=CONFIDENTIALITY.index)
