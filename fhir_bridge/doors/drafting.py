"""Write a Consent that the patient can sign."""

from __future__ import annotations

import argparse
import re

from fhir_bridge import lossless
from fhir_bridge.bundles import Involved, Referral, Terms, consent_draft
from fhir_bridge.clock import Clock
from fhir_bridge.doors.arguments import KINDS
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.records import Kind, RecordRef
from fhir_bridge.settings import organisation
from fhir_bridge.transfer import Party

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)


def draft(arguments: argparse.Namespace) -> str:
    """
    Return a Consent with status draft, as JSON.

    Args:
        arguments: Of ``consent draft``.

    Raises:
        SettingsError: A kind, a date or an organisation is not written as it must be.
    """
    if not _DATE.match(arguments.until):
        raise SettingsError("--until is a date, YYYY-MM-DD")
    custodian = _involved(arguments.custodian)
    patient = arguments.patient
    referral = Referral(
        key=f"draft/{patient}/{arguments.custodian}/{arguments.recipient}/{arguments.until}",
        source_identity="urn:fhir-bridge:draft",
        patient=RecordRef(patient if patient.startswith("Patient/") else f"Patient/{patient}"),
        custodian=custodian,
        recipient=_involved(arguments.recipient),
        requester=custodian,
        written=timestamp(Clock().now()),
        purpose=(arguments.purpose or ["TREAT"])[0],
    )
    terms = Terms(
        kinds=_kinds(arguments.kinds),
        exceptions=tuple(arguments.exceptions),
        end=arguments.until,
        policy=arguments.policy,
    )
    return lossless.encode(consent_draft(referral, terms)).decode()


def _involved(text: str) -> Involved:
    one = organisation(text)
    return Involved(party=Party(system=one.system, value=one.value, name=one.value))


def _kinds(text: str) -> tuple[Kind, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in KINDS]:
        raise SettingsError(f"--kinds: {unknown[0]} is not one of {', '.join(KINDS)}")
    return tuple(Kind(KINDS[name]) for name in names)
