"""Who cosigns our log, and whose logs we cosign, as the operator wrote it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.tables import refuse_unknown, table


class WithoutWitness(StrEnum):
    """What a transfer does while too few witnesses answer."""

    GO_ON = "go-on"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAddress:
    """One witness that cosigns our log."""

    vkey: str
    """Its C2SP verifier key: name, id and key."""
    url: str
    """What comes before ``/add-checkpoint``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """Both sides of witnessing."""

    asked: tuple[WitnessAddress, ...] = ()
    quorum: int = 0
    """How many of those asked must cosign a disclosure's intent, where a transfer stops without."""
    without: WithoutWitness = WithoutWitness.GO_ON
    name: str = ""
    """What this bridge cosigns as; empty when it is no witness."""
    peers: tuple[str, ...] = ()
    """Verifier keys of the logs that this bridge cosigns."""


def read_witnessing(tree: Mapping[str, Any]) -> WitnessSettings:
    """
    Read the table ``witness``.

    Raises:
        SettingsError: A setting is wrong; the message names it.
    """
    found = table(tree, "witness")
    refuse_unknown(found, {"ask", "quorum", "without", "name", "peers"}, "witness.")
    asked = tuple(_address(entry) for entry in _list(found, "ask"))
    quorum = found.get("quorum", len(asked))
    if not isinstance(quorum, int) or not 0 <= quorum <= len(asked):
        raise SettingsError("witness.quorum is a number, at most that of the witnesses asked")
    try:
        without = WithoutWitness(found.get("without", WithoutWitness.GO_ON))
    except ValueError as error:
        raise SettingsError("witness.without is go-on or stop") from error
    peers = _list(found, "peers")
    if not all(isinstance(one, str) for one in peers):
        raise SettingsError("witness.peers holds verifier keys: lines of audit keys show")
    name = found.get("name", "")
    if not isinstance(name, str) or bool(peers) > bool(name):
        raise SettingsError("witness.name names this bridge as a witness; witness.peers needs it")
    return WitnessSettings(
        asked=asked, quorum=quorum, without=without, name=name, peers=tuple(peers)
    )


def _address(entry: Any) -> WitnessAddress:
    if (
        not isinstance(entry, dict)
        or set(entry) != {"vkey", "url"}
        or not all(isinstance(value, str) and value for value in entry.values())
    ):
        raise SettingsError("witness.ask needs vkey and url in each")
    return WitnessAddress(vkey=entry["vkey"], url=entry["url"])


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    value = found.get(name, [])
    if not isinstance(value, list):
        raise SettingsError(f"witness.{name} must be a list")
    return value
