"""What is asked of the consents: who sends to whom, for what, when, and which record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fhir_bridge.records import Json, RecordRef
from fhir_bridge.sensitivity import Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organisation as the settings know it."""

    identifiers: frozenset[tuple[str, str]]
    """System and value, as written; spellings of a system are made one here."""
    references: frozenset[str] = frozenset()
    """References at the source that are known to be this organisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One disclosure that somebody wants to make."""

    patient: RecordRef
    """At the source."""
    patient_identifiers: frozenset[tuple[str, str]]
    custodian: Party
    recipient: Party
    purpose: str
    """Code of v3-ActReason, e.g. TREAT."""
    now: datetime
    """With its zone."""
    timezone: ZoneInfo | None
    """Where the custodian's days begin; None reads every date in the patient's favour."""
    accepted_policies: frozenset[str]
    """Policies that the operator knows: a URI, or ``system|code`` of a policyRule."""
    birth_date: str | None = None
    """The patient's, as the source wrote it; None takes every record for one of a child."""
    waive_paper: bool
    """Do not ask for the signed paper of a Consent that the source holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFacts:
    """What a decision may know of one record."""

    ref: RecordRef
    content: Json
    last_updated: str | None
    labels: Labels
    related: frozenset[RecordRef]
    """Everything it refers to at the source."""
