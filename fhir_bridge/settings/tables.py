"""Read a table of the settings strictly: what is not known is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
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


def paths(where: str, value: Any) -> tuple[Path, ...]:
    """
    Read a list of files.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f"{where} is a list of files")
    return tuple(Path(one).expanduser() for one in value)


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


def positive(where: str, value: Any) -> float | None:
    """
    Return a number above zero; None when there is none.

    Raises:
        SettingsError: It is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise SettingsError(f"{where} is a number above 0")
    return float(value)
