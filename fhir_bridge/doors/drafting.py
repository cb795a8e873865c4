"""Write a Consent that the patient can sign."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Sequence

from fhir_bridge import lossless
from fhir_bridge.bundles import Involved, Referral, Terms, consent_draft
from fhir_bridge.clock import Clock
from fhir_bridge.consent import purpose_codes
from fhir_bridge.doors.arguments import kinds
from fhir_bridge.errors import BadRecord, SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.records import RecordRef
from fhir_bridge.sensitivity import sensitivity_codes
from fhir_bridge.settings import organisation
from fhir_bridge.transfer import Party

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)


def draft(arguments: argparse.Namespace) -> str:
    """
    Return a Consent with status draft, as JSON.

    Args:
        arguments: Of ``consent draft``.

    Raises:
        SettingsError: A kind, a code, a date or an organisation is not written as it
            must be.
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
        purpose="TREAT",
    )
    terms = Terms(
        kinds=kinds(arguments.kinds),
        exceptions=_known("--except", arguments.exceptions, sensitivity_codes()),
        purposes=_known("--purpose", arguments.purpose, purpose_codes()),
        end=arguments.until,
        policy=arguments.policy,
    )
    try:
        return lossless.encode(consent_draft(referral, terms)).decode()
    except BadRecord as error:
        # Nothing here comes from a provider: what FHIR does not allow was typed.
        raise SettingsError(str(error)) from error


def _known(option: str, codes: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Refuse a code that no decision would understand: the patient would sign for nothing."""
    for code in codes:
        if code not in known:
            raise SettingsError(
                f"{option}: {code!r} is not known; use one of {', '.join(sorted(known))}"
            )
    return tuple(codes)


def _involved(text: str) -> Involved:
    one = organisation(text)
    return Involved(party=Party(system=one.system, value=one.value, name=one.value))
