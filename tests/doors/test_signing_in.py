"""Keys that servers know the bridge by, at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fhir_bridge.doors.cli import main


def test_a_key_is_made_and_its_public_half_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key.pem"
    file = tmp_path / "fhir-bridge.toml"
    file.write_text(
        "[servers.first]\nbase = 'https://first.example/fhir'\n[servers.first.credential]\n"
        f"kind = 'smart'\nclient_id = 'a'\nscopes = ['system/*.rs']\nkey_file = '{key}'\n"
    )

    assert main(["smart", "new-key", str(key)]) == 0
    assert "fhir-bridge smart jwks" in capsys.readouterr().out
    assert main(["smart", "jwks", "--settings", str(file)]) == 0

    (published,) = json.loads(capsys.readouterr().out)["keys"]
    assert published["alg"] == "ES384"
    assert "d" not in published


def test_a_key_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key.pem"
    key.write_text("known to servers")

    assert main(["smart", "new-key", str(key), "--algorithm", "RS384"]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert key.read_text() == "known to servers"
