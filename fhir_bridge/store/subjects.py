"""A patient in the log: a number that another transfer's number does not betray."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator

from sqlalchemy import Connection, insert, select

from fhir_bridge.ledger import transfer_urn
from fhir_bridge.store import schema
from fhir_bridge.store.seal import Seal

_KEY_BYTES = 32


def pseudonym(connection: Connection, seal: Seal, patient: str, transfer: str) -> str:
    """
    Return what a transfer's entries name the patient by, making his key when he is new.

    Args:
        connection: In a write transaction.
        seal: Seals the patient's key and finds it again.
        patient: Identity of the source and reference.
        transfer: The transfer's id.
    """
    tag = _tag(seal, patient)
    key = patient_key(connection, seal, patient)
    if key is None:
        key = os.urandom(_KEY_BYTES)
        sealed = seal.close(_purpose(tag), key)
        connection.execute(insert(schema.patient_key), {"tag": tag, "key": sealed})
    return named(key, transfer)


def named(key: bytes, transfer: str) -> str:
    """Return what a transfer's entries name a patient by, under the patient's key."""
    mac = hmac.new(key, transfer_urn(transfer).encode(), hashlib.sha256)
    return f"hmac-sha256:{mac.hexdigest()}"


def patient_key(connection: Connection, seal: Seal, patient: str) -> bytes | None:
    """Return a patient's key; None when he has none, or it was erased."""
    tag = _tag(seal, patient)
    rows = select(schema.patient_key.c.key).where(schema.patient_key.c.tag == tag)
    sealed = connection.execute(rows).scalar_one_or_none()
    return None if sealed is None else seal.open(_purpose(tag), sealed)


def patient_keys(connection: Connection, seal: Seal) -> Iterator[tuple[str, bytes]]:
    """Return every patient's key, each with what it is filed under."""
    for row in connection.execute(select(schema.patient_key)).all():
        yield row.tag, seal.open(_purpose(row.tag), row.key)


def _tag(seal: Seal, patient: str) -> str:
    return seal.mac("patient", patient.encode()).hex()


def _purpose(tag: str) -> str:
    return f"patient-key/{tag}"
