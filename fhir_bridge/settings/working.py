"""How workers work, as the operator wrote it down."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.tables import refuse_unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The table ``engine``."""

    transfers: int = 8
    """How many one worker carries at once."""
    per_destination: int = 4
    """How many go to one destination at once, over all workers."""
    deaths: int = 3
    """How many workers may die over one transfer before it is parked."""
    give_up_hours: float = 72.0
    """How long a transfer waits for a server before it is parked."""
    drain_seconds: int = 20
    """How long a worker that is told to stop waits for its transfers."""


KEYS = frozenset(one.name for one in fields(EngineSettings))


def engine(value: Any) -> EngineSettings:
    """
    Read the table.

    Raises:
        SettingsError: It names the member that is wrong or unknown.
    """
    if not isinstance(value, dict):
        raise SettingsError("engine must be a table")
    refuse_unknown(value, KEYS, "engine.")
    for name, number in value.items():
        least = 0 if name == "drain_seconds" else 1
        if isinstance(number, bool) or not isinstance(number, int | float) or number < least:
            raise SettingsError(f"engine.{name} is a number of at least {least}")
        if name != "give_up_hours" and not isinstance(number, int):
            raise SettingsError(f"engine.{name} is a whole number")
    return EngineSettings(**value)
