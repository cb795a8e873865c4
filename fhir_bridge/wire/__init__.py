"""
How the bridge speaks HTTP: to whom, how long, how much.

Everything a server sends is data from outside. A link in its answer is followed
only inside the base that was registered, because the credential travels with
the request. Nothing here knows FHIR beyond its media types, and nothing here
ever writes a URL's query into a log or an error: it may name a patient.
"""

from fhir_bridge.wire.answer import Answer, Limits, OverTotal, Side
from fhir_bridge.wire.connection import Wire
from fhir_bridge.wire.credential import Credential, NoCredential
from fhir_bridge.wire.failures import AnswerLost, Faults
from fhir_bridge.wire.gate import Gate
from fhir_bridge.wire.links import follow, normalised_base, rebuild, same_origin
from fhir_bridge.wire.patience import ONCE, PATIENT, Retry, retry_after_seconds

__all__ = [
    "ONCE",
    "PATIENT",
    "Answer",
    "AnswerLost",
    "Credential",
    "Faults",
    "Gate",
    "Limits",
    "NoCredential",
    "OverTotal",
    "Retry",
    "Side",
    "Wire",
    "follow",
    "normalised_base",
    "rebuild",
    "retry_after_seconds",
    "same_origin",
]
