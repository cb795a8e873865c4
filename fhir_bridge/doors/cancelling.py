"""Cancel a transfer, and say what that means for what had left before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.errors import Cancelled

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge


def cancel(bridge: Bridge, transfer: str, *, by: str, reason: str) -> str:
    """
    Cancel a transfer; one that no worker has is stopped here.

    Returns:
        What to say.
    """
    row = bridge.cancel(transfer, by=by, reason=reason)
    if row.run:
        return "Signed. Nothing more of it leaves; the worker that has it signs what had gone."
    try:
        bridge.carry(transfer)
    except Cancelled:
        return "Signed. The transfer is cancelled: nothing more of it leaves."
    return "Signed, and too late: the transfer ended before."
