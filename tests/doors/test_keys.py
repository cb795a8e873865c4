"""The log's keys at the command line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fhir_bridge.doors.cli import main
from fhir_bridge.ledger import Policy, VerifierKey

LOG = "clinic.example/audit/"
ROOT = "clinic.example/root"


class Desk:
    """An operator with a store, and a root key of his own."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        self._settings = folder / "settings.toml"
        self._settings.write_text('[log]\norigin = "clinic.example"\n')
        self.said = self.warned = ""
        monkeypatch.setenv("PHRASE", "correct horse battery")
        monkeypatch.setenv("OTHER", "wrong horse battery")

    @property
    def root_file(self) -> str:
        return str(self.folder / "root.key")

    def run(self, *words: str) -> int:
        code = main(["audit", *words])
        self.said, self.warned = self._capsys.readouterr()
        assert "Traceback" not in self.warned
        assert "horse" not in self.said + self.warned
        return code

    def bridge(self, *words: str) -> int:
        store = str(self.folder / "store")
        return self.run(*words, "--store", store, "--settings", str(self._settings))

    def settings(self, text: str) -> None:
        self._settings.write_text(f'{text}[log]\norigin = "clinic.example"\n')

    def root(self, *more: str) -> int:
        given = more or ("--passphrase-env", "PHRASE")
        return self.run("keys", "root", self.root_file, "--name", ROOT, *given)

    def policy(self, *more: str) -> int:
        given = more or ("--passphrase-env", "PHRASE")
        return self.bridge("keys", "policy", "--root-key", self.root_file, *given)

    def shown(self) -> list[str]:
        assert self.bridge("keys", "show") == 0
        return self.said.splitlines()


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


def test_keys_are_shown_with_their_sizes_and_changed(desk: Desk) -> None:
    (first,) = desk.shown()
    key, _, sizes = first.partition("  ")
    assert VerifierKey.parse(key).name.startswith(LOG)
    assert sizes == "signs sizes 0 and on"
    assert desk.bridge("keys", "rotate") == 0
    new = desk.said.split("by  ")[1].strip()

    assert desk.shown() == [f"{key}  signs sizes 0 to 2", f"{new}  signs sizes 2 and on"]
    assert desk.bridge("verify-db") == 0


def test_an_auditor_who_has_only_the_root_key_verifies_an_export(desk: Desk) -> None:
    assert desk.root() == 0
    assert stat.S_IMODE((desk.folder / "root.key").stat().st_mode) == 0o600
    root = desk.said.split("Give auditors  ")[1].strip()
    assert VerifierKey.parse(root).name == ROOT
    assert desk.bridge("keys", "rotate") == 0
    assert desk.policy() == 0
    assert desk.said.strip().endswith(root)
    policy = Policy.open((desk.folder / "store" / "policy").read_text(), VerifierKey.parse(root))
    assert [str(epoch.key) for epoch in policy.epochs] == [
        line.split("  ")[0] for line in desk.shown()
    ]
    export = str(desk.folder / "export")
    assert desk.bridge("export", export) == 0

    assert desk.run("verify", export, "--root-key", root) == 3
    assert desk.bridge("keys", "rotate") == 0
    assert desk.policy() == 0
    assert desk.bridge("export", f"{export}2") == 0
    assert desk.run("verify", f"{export}2", "--root-key", root) == 3
    assert "nobody outside" in desk.said.lower()


def test_a_policy_names_the_witnesses_of_the_settings(desk: Desk) -> None:
    witness = "witness.example+c5b1e7a1+AAAA"
    desk.settings(f'[witness]\nask = [{{ vkey = "{witness}", url = "http://127.0.0.1:1" }}]\n')
    assert desk.root() == 0

    assert desk.policy() == 2
    assert "key" in desk.warned


def test_the_root_key_opens_with_its_passphrase_only(desk: Desk) -> None:
    assert desk.root() == 0
    assert b"ENCRYPTED" in (desk.folder / "root.key").read_bytes()
    for given, sentence in (
        (("--passphrase-env", "OTHER"), "does not open"),
        (("--passphrase-env", "NOWHERE"), "NOWHERE is not set"),
        (("--passphrase-file", str(desk.folder / "none")), "cannot be read"),
        (("--passphrase-env", "PHRASE", "--passphrase-file", "x"), "give one"),
    ):
        assert desk.policy(*given) == 2
        assert sentence in desk.warned
    assert not (desk.folder / "store" / "policy").exists()
    (desk.folder / "phrase").write_text("correct horse battery\n")
    assert desk.policy("--passphrase-file", str(desk.folder / "phrase")) == 0


def test_a_root_key_is_not_made_carelessly(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASE", "short")
    assert desk.root() == 2
    assert "fewer than 12" in desk.warned
    assert not Path(desk.root_file).exists()
    monkeypatch.setenv("PHRASE", "correct horse battery")
    assert desk.root() == 0
    made = Path(desk.root_file).read_bytes()
    assert desk.root() == 2
    assert "is there already" in desk.warned
    assert Path(desk.root_file).read_bytes() == made


def test_what_is_no_root_key_signs_no_policy(desk: Desk) -> None:
    assert desk.policy() == 2
    assert "cannot be read" in desk.warned
    Path(desk.root_file).write_text("-----BEGIN PRIVATE KEY-----\n")
    assert desk.policy() == 2
    assert "not a root key" in desk.warned


def test_a_policy_of_another_root_is_not_replaced(desk: Desk) -> None:
    assert desk.root() == 0
    assert desk.policy() == 0
    assert desk.policy() == 0
    kept = (desk.folder / "store" / "policy").read_bytes()
    Path(desk.root_file).unlink()
    assert desk.root() == 0

    assert desk.policy() == 2
    assert "not signed by this root key" in desk.warned
    assert (desk.folder / "store" / "policy").read_bytes() == kept


def test_the_logs_key_is_encrypted_where_the_settings_say_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.folder / "settings.toml").write_text(
        '[log]\norigin = "clinic.example"\npassphrase_env = "PHRASE"\n'
    )
    before = desk.shown()
    assert b"ENCRYPTED" in (desk.folder / "store" / "log.key").read_bytes()
    monkeypatch.setenv("PHRASE", "wrong horse battery")
    assert desk.bridge("verify-db") == 2
    assert "does not open log.key" in desk.warned
    monkeypatch.delenv("PHRASE")
    assert desk.bridge("verify-db") == 2
    assert "PHRASE is not set" in desk.warned
    monkeypatch.setenv("PHRASE", "correct horse battery")

    assert desk.shown() == before
