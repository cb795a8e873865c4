"""Test material that others published; a newcomer's machine has none of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[2].parent / "shared" / "data"


def published(name: str) -> Path:
    """Return a file or folder of published test material, or skip the test."""
    path = Path(os.environ.get("FHIR_BRIDGE_TEST_DATA", _BESIDE)) / name
    if not path.exists():
        pytest.skip("published test material is not on this machine: set FHIR_BRIDGE_TEST_DATA")
    return path
