"""
The files of `mappings/`: read once, checked, never changed.

They ship inside the wheel; in a checkout they lie beside the package.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fhir_bridge.errors import SettingsError

_PACKAGE = Path(__file__).parent


def shipped(folder: str) -> Path:
    """
    Return a folder of data that ships with the bridge.

    Args:
        folder: ``mappings`` or ``fixtures``.

    Raises:
        SettingsError: The installation is broken.
    """
    for place in (_PACKAGE / folder, _PACKAGE.parent / folder):
        if place.is_dir():
            return place
    raise SettingsError(f"the installation has no {folder} folder: install fhir-bridge again")


@cache
def mapping(name: str) -> Any:
    """
    Return one JSON file of `mappings/`.

    Args:
        name: File name, e.g. ``quirks.json``.

    Raises:
        SettingsError: The file is missing or not JSON.
    """
    path = shipped("mappings") / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"mappings/{name} cannot be read: install fhir-bridge again") from error
