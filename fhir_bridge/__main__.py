"""``python -m fhir_bridge`` is ``fhir-bridge``."""

from fhir_bridge.doors.cli import entry

entry()
