"""
Handing the log out, and verifying what was handed out.

An export is a tiled log in files (https://c2sp.org/tlog-tiles) that outlives
the bridge; a receipt is one entry with its proof. Whoever verifies needs no
store, only a root key or a policy from outside. Nothing that comes with an
export or a receipt is ever believed because it came with it.
"""

from __future__ import annotations

from fhir_bridge.exports.reasons import Reason, Verdict
from fhir_bridge.exports.receipts import ReceiptReport, verify_receipt
from fhir_bridge.exports.report import Facts, Finding, Report
from fhir_bridge.exports.trust import Trust
from fhir_bridge.exports.verifying import verify_export

__all__ = [
    "Facts",
    "Finding",
    "Reason",
    "ReceiptReport",
    "Report",
    "Trust",
    "Verdict",
    "verify_export",
    "verify_receipt",
]
