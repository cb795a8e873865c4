"""
Telling other programs, by signed messages, that a transfer reached a state.

A message holds a transfer's id, its state and numbers: never anything about a
patient. It goes to the addresses of the settings and to no other, follows no
redirect, and is kept in the outbox until its target has taken it. Messages of
one transfer come in the order in which its states came.
"""

from fhir_bridge.webhooks.delivering import Round, Tried, Webhooks, check_target
from fhir_bridge.webhooks.outbox import Counts, Happened, Message, Outbox, Standing
from fhir_bridge.webhooks.signing import keys, new_secret, signed_headers

__all__ = [
    "Counts",
    "Happened",
    "Message",
    "Outbox",
    "Round",
    "Standing",
    "Tried",
    "Webhooks",
    "check_target",
    "keys",
    "new_secret",
    "signed_headers",
]
