"""What a consent decision can say, and how certain a match can be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from fhir_bridge.records import RecordRef


class Answer(StrEnum):
    """What may be done with one record."""

    PERMIT = "permit"
    DENY = "deny"
    REFUSE = "refuse"
    """A machine must not decide this; the record is held for a person."""


class Truth(IntEnum):
    """
    Whether something matches: of several that must all match the least counts.

    `min` is AND and `max` is OR, so that what cannot be told stays visible
    until a permit or a deny asks for it.
    """

    NO = 0
    CANNOT_TELL = 1
    YES = 2


class Reading(StrEnum):
    """
    For what a provision is read.

    A permit needs certainty that it covers the record; a deny, certainty that
    it does not. Each clause is therefore read in the direction that protects
    the patient.
    """

    PERMIT = "permit"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer about one record, and whom to show it to when it is questioned."""

    answer: Answer
    reason: str
    """Stable code, e.g. ``provision-deny``."""
    consent: RecordRef | None
    """The Consent that decided; None when a rule of the bridge or no Consent did."""
    version: str | None
    path: str | None
    """Where in the Consent, e.g. ``provision.provision[1]``."""
    sentence: str
    """The reason in words; holds references and element names, never a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentState:
    """How one Consent stands before any record is asked about."""

    ref: RecordRef
    version: str | None
    counts: bool
    """It is in force for this custodian, recipient and purpose, or may be."""
    usable: bool
    """False: it is in force but cannot be read by a machine, so every record is refused."""
    reason: str
    path: str | None
    sentence: str
    """Follows the Consent's name: ``names another recipient (provision.actor)``."""
    brought: bool = False
    """The operator brought it; the source does not hold it."""
    paper_waived: bool = False
    """Its signed paper was not looked at, by the operator's policy."""


def either(*matches: Truth) -> Truth:
    """Return the match of repetitions: one is enough. None at all matches nothing."""
    return max(matches, default=Truth.NO)
