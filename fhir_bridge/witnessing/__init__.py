"""Both sides of witnessing: our log is shown to witnesses, and we are one for our peers."""

from __future__ import annotations

from fhir_bridge.witnessing.asked import Asked, Heard, Quorum
from fhir_bridge.witnessing.being import BeingWitness
from fhir_bridge.witnessing.opening import Witnessing

__all__ = ["Asked", "BeingWitness", "Heard", "Quorum", "Witnessing"]
