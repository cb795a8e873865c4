"""
The durable engine: which worker carries which transfer, through crashes, on one machine or many.

It knows turns, not transfers: a turn is a name, and what is done in it is handed
in. Where a transfer stands, what it waits for and why it rests is in the store,
in the transfer's own row; the engine's tables hold names and outcomes, sealed,
and could be lost without losing a transfer.

`Engine` itself is in `durable`, which is imported where a worker starts: DBOS
loads slowly.
"""

from __future__ import annotations

from fhir_bridge.engine.places import Place
from fhir_bridge.engine.rounds import Round, Rounds
from fhir_bridge.engine.sealing import SealedJson
from fhir_bridge.engine.turns import Limits, Turn, Turns

__all__ = ["Limits", "Place", "Round", "Rounds", "SealedJson", "Turn", "Turns"]
