"""A patient in the log: a number that another transfer's number does not betray."""

from __future__ import annotations

import hashlib
import hmac
import os

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
    tag = seal.mac("patient", patient.encode()).hex()
    rows = select(schema.patient_key.c.key).where(schema.patient_key.c.tag == tag)
    sealed = connection.execute(rows).scalar_one_or_none()
    if sealed is None:
        sealed = seal.close(f"patient-key/{tag}", os.urandom(_KEY_BYTES))
        connection.execute(insert(schema.patient_key), {"tag": tag, "key": sealed})
    key = seal.open(f"patient-key/{tag}", sealed)
    mac = hmac.new(key, transfer_urn(transfer).encode(), hashlib.sha256)
    return f"hmac-sha256:{mac.hexdigest()}"
