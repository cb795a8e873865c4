"""Whose new requests become transfers by themselves, as the operator wrote it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.tables import refuse_unknown

KEYS = frozenset({"source", "destination", "custodian", "recipient", "every_seconds"})

EVERY_SECONDS, EVERY_SECONDS_MIN = 60, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """One server that is looked at, and where its requests lead."""

    source: str
    """Alias."""
    destination: str
    """Alias."""
    custodian: str = ""
    """``system|value``; empty where only one organisation stands behind the source."""
    recipient: str = ""
    """``system|value``; empty where only one organisation stands behind the destination."""
    every_seconds: int = EVERY_SECONDS

    @property
    def name(self) -> str:
        """Return what tells it from others."""
        return f"{self.source} {self.destination}"


def watches(value: Any) -> tuple[WatchSettings, ...]:
    """
    Read what is watched.

    Raises:
        SettingsError: It names the member that is wrong, missing or unknown.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise SettingsError("watch is written as [[watch]], one table for each source")
    read = tuple(_watch(one) for one in value)
    names = [one.name for one in read]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"watch names the same source and destination twice: {twice[0]}")
    return read


def _watch(entry: dict[str, Any]) -> WatchSettings:
    refuse_unknown(entry, KEYS, "watch.")
    for name in ("source", "destination"):
        if not isinstance(entry.get(name), str) or not entry[name]:
            raise SettingsError(f"each of watch needs {name}, an alias of servers")
    every = entry.get("every_seconds", EVERY_SECONDS)
    if isinstance(every, bool) or not isinstance(every, int) or every < EVERY_SECONDS_MIN:
        raise SettingsError(f"watch.every_seconds is a number, {EVERY_SECONDS_MIN} or more")
    return WatchSettings(
        source=entry["source"],
        destination=entry["destination"],
        custodian=str(entry.get("custodian", "")),
        recipient=str(entry.get("recipient", "")),
        every_seconds=every,
    )
