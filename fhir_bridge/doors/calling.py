"""
Keys of the API, at the command line: made, listed, revoked.

A key is shown once, on standard output by itself; what is kept is its digest.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Callable, Iterator, Mapping

from fhir_bridge.bridge import Bridge
from fhir_bridge.clock import Clock
from fhir_bridge.doors.api import api_keys
from fhir_bridge.doors.api.roles import Role
from fhir_bridge.ledger import Event, NewEntry, timestamp
from fhir_bridge.store import ApiKeyRow


def run(
    arguments: argparse.Namespace,
    bridge: Bridge,
    *,
    actor: str,
    show: Callable[[str], None],
    note: Callable[[str], None],
) -> int:
    """
    Run one of `fhir-bridge keys`.

    Args:
        arguments: `act` says which.
        bridge: Opened.
        actor: Who asks, for the log.
        show: Writes a result.
        note: Writes what is no result.

    Returns:
        The exit code.

    Raises:
        SettingsError: There is no such key, or it cannot be made so.
    """
    if arguments.act == "list":
        now = timestamp(Clock().now())
        show("\n".join(_listed(bridge.store.api_keys(), now)) or "There are no keys.")
    elif arguments.act == "revoke":
        _sign(bridge, actor, {"act": "key.revoked", "key": arguments.key})
        bridge.store.revoke_api_key(arguments.key)
        show(f"{arguments.key} opens nothing any more.")
    else:
        _add(arguments, bridge, actor, show, note)
    return 0


def _add(
    arguments: argparse.Namespace,
    bridge: Bridge,
    actor: str,
    show: Callable[[str], None],
    note: Callable[[str], None],
) -> None:
    key, row = api_keys.make(
        roles=[Role(name) for name in arguments.role],
        tenant=arguments.organisation or "",
        label=arguments.label,
        days=arguments.days,
        now=Clock().now(),
    )
    said = {"act": "key.added", "key": row.id, "roles": list(row.roles), "tenant": row.tenant}
    _sign(bridge, actor, said)
    bridge.store.add_api_key(row)
    show(key)
    note(f"Key {row.id} ({', '.join(row.roles)}) until {row.expires}. It is shown this once.")


def _listed(rows: tuple[ApiKeyRow, ...], now: str) -> Iterator[str]:
    for row in rows:
        state = "valid until" if row.expires > now else "expired"
        when = row.expires
        if row.revoked is not None:
            state, when = "revoked", row.revoked
        whose = f" · {row.tenant}" if row.tenant else ""
        label = f" · {row.label}" if row.label else ""
        yield f"{row.id}  {', '.join(row.roles)}{whose} · {state} {when}{label}"


def _sign(bridge: Bridge, actor: str, statement: Mapping[str, object]) -> None:
    """Sign before it counts: a key without an entry cannot be."""
    entry = NewEntry(
        type=Event.CONFIG_CHANGED,
        actor=actor,
        step=str(statement["act"]),
        statement=statement,
    )
    bridge.store.append(entry, event_id=str(uuid.uuid4()))
