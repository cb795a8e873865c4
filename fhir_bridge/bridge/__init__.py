"""
The only wiring: opens everything from the settings, and closes it.

Doors hand over here and get back plain facts. No rule of the field is decided
in this room.
"""

from __future__ import annotations

from fhir_bridge.bridge.checks import Checked, Checks
from fhir_bridge.bridge.handing import Handing
from fhir_bridge.bridge.keys import Keys
from fhir_bridge.bridge.persons import Persons
from fhir_bridge.bridge.reports import Report
from fhir_bridge.bridge.watching import Looked, Watching
from fhir_bridge.bridge.working import Working

__all__ = ["Bridge", "Checked", "Looked", "Report"]


class Bridge(Working, Watching, Persons, Checks, Handing, Keys):
    """Everything opened, for as long as one command or one worker runs."""
