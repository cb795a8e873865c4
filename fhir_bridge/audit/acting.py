"""What is particular to one act: its form, what it was about, who answers for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fhir_bridge.audit.codings import Form
from fhir_bridge.audit.scene import End
from fhir_bridge.records import RecordRef

__all__ = ["NO_PERMIT", "Act", "Form", "NamedConsent", "Said"]


NO_PERMIT = "no-permit"
"""Reason of a Consent that counts by what it denies, and permits nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedConsent:
    """A Consent that an act rests on or failed by."""

    ref: RecordRef
    version: str = ""
    provision: str = ""
    """Path of what decided, e.g. ``provision.provision[1]``; empty for the Consent as a whole."""
    reason: str = ""
    """Code of the rule that decided, e.g. ``consent-recipient``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person answers for, in the person's words."""

    by: str = ""
    reason: str = ""
    refs: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act, beside who takes part in it (`Scene`)."""

    form: Form = Form.PLAIN
    sentence: str = ""
    """How it went, in words; references and counts, never a value of a record."""
    at: End | None = None
    """The server that was asked or written to."""
    asked: Sequence[str] = ()
    """Requests as they were made, without the values of identifiers."""
    data: str = ""
    """Names what was disclosed or read."""
    consents: Sequence[NamedConsent] = ()
    said: Said = field(default_factory=Said)
    by_consent: bool = True
    """The patient's consent is the basis; False: treatment is."""
    details: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """Codes and counts."""
