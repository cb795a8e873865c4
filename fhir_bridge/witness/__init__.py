"""
Witnesses: someone outside who signs no two histories of one log (https://c2sp.org/tlog-witness).

A bridge asks witnesses to cosign its own checkpoints, and is a witness for the
bridges that it receives records from. A cosigned checkpoint shows later that a
log was set back or written anew, even by the holder of its key.
"""

from __future__ import annotations

from fhir_bridge.witness.asking import Witness
from fhir_bridge.witness.exchange import Submission
from fhir_bridge.witness.judging import NotCosigned, Peers, judge, read

__all__ = ["NotCosigned", "Peers", "Submission", "Witness", "judge", "read"]
