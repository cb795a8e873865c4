"""The data that ships with the bridge is found, or its absence is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_bridge import codes
from fhir_bridge.errors import SettingsError


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package without any data yet."""
    package = tmp_path / "site-packages" / "fhir_bridge"
    package.mkdir(parents=True)
    monkeypatch.setattr(codes, "_PACKAGE", package)
    codes.mapping.cache_clear()
    return package


@pytest.mark.parametrize("folder", ["mappings", "fixtures"])
def test_shipped_data_is_found_in_this_checkout(folder: str) -> None:
    assert codes.shipped(folder).is_dir()


def test_data_inside_the_package_comes_before_data_beside_it(installation: Path) -> None:
    beside = installation.parent / "mappings"
    beside.mkdir()
    assert codes.shipped("mappings") == beside
    inside = installation / "mappings"
    inside.mkdir()
    assert codes.shipped("mappings") == inside


def test_missing_data_says_what_to_do(installation: Path) -> None:
    assert installation.is_dir()
    with pytest.raises(SettingsError, match="no mappings folder: install fhir-bridge again"):
        codes.shipped("mappings")


def test_mapping_is_read_once(installation: Path) -> None:
    file = installation / "mappings" / "kinds.json"
    file.parent.mkdir()
    file.write_text('{"é": [1]}', encoding="utf-8")
    first = codes.mapping("kinds.json")
    file.unlink()
    assert first == {"é": [1]}
    assert codes.mapping("kinds.json") is first
    codes.mapping.cache_clear()


@pytest.mark.parametrize("text", [None, "not JSON", b"\xff"])
def test_mapping_that_cannot_be_read_says_which(
    installation: Path, text: str | bytes | None
) -> None:
    folder = installation / "mappings"
    folder.mkdir()
    if text is not None:
        raw = text if isinstance(text, bytes) else text.encode()
        (folder / "quirks.json").write_bytes(raw)
    with pytest.raises(SettingsError, match=r"mappings/quirks\.json cannot be read"):
        codes.mapping("quirks.json")
