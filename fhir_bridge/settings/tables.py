"""Read a table of the settings strictly: what is not known is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from fhir_bridge.errors import SettingsError


def table(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """
    Return a table; empty when it is not there.

    Raises:
        SettingsError: It is something else.
    """
    value = tree.get(name, {})
    if not isinstance(value, dict):
        raise SettingsError(f"{name} must be a table")
    return value


def refuse_unknown(found: Mapping[str, Any], known: AbstractSet[str], where: str) -> None:
    """
    Check that a table holds nothing that has no meaning.

    Args:
        found: As it was read.
        known: Names that have a meaning.
        where: What stands before the name in the message, e.g. ``consent.``.

    Raises:
        SettingsError: It names the first one.
    """
    if unknown := sorted(set(found) - known):
        raise SettingsError(
            f"unknown setting {where}{unknown[0]}; known: {', '.join(sorted(known))}"
        )
