"""
Each act of the bridge as a FHIR AuditEvent, in IHE's profile where one fits.

Pure: what is written here says who did what with whose record, by identifiers
and counts. It must never hold a value of a record or a patient's name, and it
claims a profile only for what that profile describes.
"""

from __future__ import annotations

from fhir_bridge.audit.acting import NO_PERMIT, Act, Form, NamedConsent, Said
from fhir_bridge.audit.codings import PROFILES
from fhir_bridge.audit.reading import Opened, opened
from fhir_bridge.audit.scene import End, Scene
from fhir_bridge.audit.writing import write

__all__ = [
    "NO_PERMIT",
    "PROFILES",
    "Act",
    "End",
    "Form",
    "NamedConsent",
    "Opened",
    "Said",
    "Scene",
    "opened",
    "write",
]
