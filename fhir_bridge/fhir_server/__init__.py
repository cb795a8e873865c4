"""
One provider's FHIR server: what it can do, read everything, store without loss.

Every answer is data from outside and is checked before it is used. Of a
server's error only codes, places and numbers are kept: its texts repeat what
was sent. Nothing here decides what may travel.
"""

from fhir_bridge.fhir_server.attachment import AttachmentBytes
from fhir_bridge.fhir_server.capabilities import Capabilities
from fhir_bridge.fhir_server.chunks import Stored, Write
from fhir_bridge.fhir_server.outcome import Absent
from fhir_bridge.fhir_server.quirks import Quirks
from fhir_bridge.fhir_server.search import SearchAnswer
from fhir_bridge.fhir_server.server import FhirServer, Kept

__all__ = [
    "Absent",
    "AttachmentBytes",
    "Capabilities",
    "FhirServer",
    "Kept",
    "Quirks",
    "SearchAnswer",
    "Stored",
    "Write",
]
