"""
The bridge's own memory: the signed log, and where each transfer stands.

It holds references, decisions, digests under erasable keys, and what was
asked, sealed. It must never hold clinical content. Everything that the log
promises rests on one rule: what was acknowledged is on the disk and under a
signed checkpoint; what cannot be written stops the bridge.
"""

from __future__ import annotations

from fhir_bridge.store.api_keys import ApiKeyRow
from fhir_bridge.store.appending import Appended
from fhir_bridge.store.events import EventRow
from fhir_bridge.store.listing import Wanted
from fhir_bridge.store.manifests import LineRow
from fhir_bridge.store.opening import Store
from fhir_bridge.store.outbox import MessageRow, TargetCounts, TargetRow
from fhir_bridge.store.pairings import NewPairing, Pairing
from fhir_bridge.store.repositories import RepositoryRow
from fhir_bridge.store.rulings import Ruling, gap_key, is_accepted, may_be_accepted, ruling_on
from fhir_bridge.store.runs import Turn
from fhir_bridge.store.servers import ServerRow
from fhir_bridge.store.transfers import TransferRow
from fhir_bridge.store.triggers import Claim, Claimed
from fhir_bridge.store.verification import Verified

__all__ = [
    "ApiKeyRow",
    "Appended",
    "Claim",
    "Claimed",
    "EventRow",
    "LineRow",
    "MessageRow",
    "NewPairing",
    "Pairing",
    "RepositoryRow",
    "Ruling",
    "ServerRow",
    "Store",
    "TargetCounts",
    "TargetRow",
    "TransferRow",
    "Turn",
    "Verified",
    "Wanted",
    "gap_key",
    "is_accepted",
    "may_be_accepted",
    "ruling_on",
]
