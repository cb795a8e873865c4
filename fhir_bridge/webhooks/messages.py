"""What a message says: a transfer's id, its state, and numbers."""

from __future__ import annotations

import json
from collections.abc import Callable

from fhir_bridge.transfer import State
from fhir_bridge.webhooks.outbox import Counts, Happened

_COUNTED = frozenset({State.VERIFIED, State.CLOSED, State.INCOMPLETE})
"""States in which it is known what was released and what arrived. What was withheld or
held is never counted here: only the records department may see that."""


def message_id(number: int, transfer: str) -> str:
    """Name a message; the same each time it is sent, so that a target can tell it was there."""
    return f"evt_{number}_{transfer}"


def written(happened: Happened, counts: Callable[[str], Counts]) -> bytes:
    """
    Return the body of a message.

    Args:
        happened: A transfer reached a state.
        counts: Counts a transfer's lines.
    """
    data: dict[str, object] = {
        "transfer": happened.transfer,
        "state": happened.state,
        "attempt": happened.attempt,
        "number": happened.number,
    }
    if happened.tenant:
        data["tenant"] = happened.tenant
    if happened.state in _COUNTED:
        found = counts(happened.transfer)
        data["counts"] = {"released": found.released, "verified": found.verified}
    return _body(f"transfer.{happened.state}", happened.at, data)


def test_message(at: str) -> bytes:
    """Return a message that says nothing but that messages arrive."""
    return _body("webhook.test", at, {})


def _body(type_: str, at: str, data: dict[str, object]) -> bytes:
    body = {"type": type_, "timestamp": at, "data": data}
    return json.dumps(body, separators=(",", ":")).encode()
