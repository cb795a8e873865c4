"""Proof for people outside, at the command line."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.doors.cli import main
from fhir_bridge.ledger import Policy, Signer, VerifierKey
from tests.simulators.written_log import ROOT


class Office:
    """A records department after the demo's transfer, and an auditor."""

    def __init__(self, folder: Path, played: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.said = self.warned = ""
        (folder / "settings.toml").write_text('[log]\norigin = "demo.fhir-bridge.example"\n')
        self.transfer = played.split("fhir-bridge show ")[1].split(maxsplit=1)[0]
        assert self.bridge("audit", "verify-db") == 0
        self.key = self.said.split("the key that signs: ")[1].strip()
        self.log = VerifierKey.parse(self.key).name

    def bridge(self, *words: str) -> int:
        """Run a command that opens the store."""
        settings = ("--settings", str(self.folder / "settings.toml"))
        return self.audit(*words, "--store", str(self.folder / "store"), *settings)

    def audit(self, *words: str) -> int:
        code = main(list(words))
        self.said, self.warned = self.capsys.readouterr()
        assert "Traceback" not in self.warned
        return code

    def export(self, name: str, *more: str) -> str:
        path = str(self.folder / name)
        assert self.bridge("audit", "export", path, *more) == 0
        return path

    def receipt(self, *words: str) -> str:
        assert self.bridge("audit", *words) == 0
        path = self.folder / "one.tlog-proof"
        path.write_text(self.said)
        return str(path)

    def verify(self, what: str, path: str, *more: str) -> int:
        return self.audit("audit", what, path, "--root-key", self.key, *more)

    def events(self) -> list[str]:
        export = self.export("all", "--without-bodies")
        bundle = next((Path(export) / "tile/entries").rglob("*.p/*")).read_bytes()
        shutil.rmtree(export)
        types = [part.split(b'"')[0].decode() for part in bundle.split(b'"type":"')[1:]]
        return [one for one in types if "." in one]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The store of one demo, and what the demo said."""
    store, said = tmp_path_factory.mktemp("played") / "store", StringIO()
    with redirect_stdout(said):
        assert main(["demo", "--store", str(store)]) == 0
    return store, said.getvalue()


@pytest.fixture
def office(tmp_path: Path, played: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> Office:
    shutil.copytree(played[0], tmp_path / "store")
    return Office(tmp_path, played[1], capsys)


def test_an_export_is_verified_by_someone_who_has_only_the_key(office: Office) -> None:
    path = office.export("export")
    assert "HOWTO.txt" in office.said
    shutil.rmtree(office.folder / "store")

    assert office.verify("verify", path, "--bodies") == 3
    assert "Verified, with limits" in office.said
    assert "[no-outside-copy]" in office.said
    assert f"Log            {office.log}" in office.said
    kept = office.folder / "kept"
    kept.write_text(office.said.split("--since the next time:\n")[1])
    assert office.verify("verify", path, "--bodies", "--since", str(kept)) == 0
    assert office.said.startswith("Verified.\n")
    assert "Your copy" in office.said


def test_a_zip_file_and_its_json_report(office: Office) -> None:
    path = office.export("export.zip")

    assert office.verify("verify", path, "--json") == 3
    report = json.loads(office.said)
    assert report["verdict"] == "limited"
    assert report["exit"] == 3
    assert [one["reason"] for one in report["findings"]] == ["no-outside-copy"]
    assert report["log"] == office.log
    assert report["checkpoint"].startswith(f"{office.log}\n{report['entries']}\n")
    assert report["bodies"]["checked"] is False


def test_an_export_that_was_changed_ends_with_one_and_a_sentence(office: Office) -> None:
    path = office.export("export")
    (Path(path) / "HOWTO.txt").write_text("x")

    assert office.verify("verify", path) == 1
    assert office.said.startswith("TAMPERED.\n  File HOWTO.txt is not the one")
    assert office.said.count("\n") == 2
    assert office.verify("verify", str(office.folder / "nothing")) == 2
    assert office.said.startswith("Cannot be verified.\n")


def test_a_former_export_shows_that_the_store_was_set_back(office: Office) -> None:
    backup = office.folder / "backup"
    shutil.copytree(office.folder / "store", backup)
    path = office.export("before")
    assert office.verify("verify", path) == 3
    kept = office.folder / "kept"
    office.export("between")
    office.verify("verify", str(office.folder / "between"))
    kept.write_text(office.said.split("--since the next time:\n")[1])
    shutil.rmtree(office.folder / "store")
    shutil.copytree(backup, office.folder / "store")

    back = office.export("after")

    assert office.verify("verify", back, "--since", str(kept)) == 1
    assert "[rolled-back]" in office.said or "[history-rewritten]" in office.said


def test_who_exports_and_who_proves_is_in_the_log(office: Office) -> None:
    office.export("export")
    office.export("transfer", "--transfer", office.transfer)
    office.receipt("receipt", office.transfer)
    office.receipt("prove", "0")

    assert office.events()[-4:] == [
        "export.made",
        "export.made",
        "receipt.issued",
        "receipt.issued",
    ]


def test_the_entries_of_one_transfer_are_exported_and_verified(office: Office) -> None:
    path = office.export("transfer", "--transfer", office.transfer)
    assert f"those of transfer {office.transfer} only" in office.said

    assert office.verify("verify", path, "--bodies") == 3
    assert "of 1 transfers" in office.said


def test_a_receipt_shows_the_disclosure_that_it_proves(office: Office) -> None:
    path = office.receipt("receipt", office.transfer)
    shutil.rmtree(office.folder / "store")

    assert office.verify("verify-receipt", path) == 3
    assert "What         disclosure.result" in office.said
    assert f"Transfer     urn:uuid:{office.transfer}" in office.said
    assert "Content      60 records" in office.said
    assert '"resourceType":"AuditEvent"' in office.said
    assert office.verify("verify-receipt", path, "--json") == 3
    shown: dict[str, Any] = json.loads(office.said)
    assert json.loads(shown["body"])["resourceType"] == "AuditEvent"


def test_a_receipt_is_of_the_act_that_is_asked_for(office: Office) -> None:
    path = office.receipt("receipt", office.transfer, "--act", "disclosure.intent")
    assert office.verify("verify-receipt", path) == 3
    assert "disclosure.intent" in office.said

    assert office.bridge("audit", "receipt", office.transfer, "--act", "x.y") == 2
    assert "has no x.y; it has" in office.warned


def test_a_proof_does_not_open_its_entry(office: Office) -> None:
    path = office.receipt("prove", "2")

    assert office.verify("verify-receipt", path) == 3
    assert "[body-not-shown]" in office.said
    assert "AuditEvent:" not in office.said
    assert office.bridge("audit", "prove", "99") == 2


def test_a_receipt_that_was_changed_shows_nothing(office: Office) -> None:
    path = Path(office.receipt("receipt", office.transfer))
    path.write_text(path.read_text().replace("index ", "index 1"))

    assert office.verify("verify-receipt", str(path)) == 1
    assert office.said.startswith("TAMPERED.\n")
    assert "What " not in office.said


def test_a_policy_signed_by_an_offline_root_travels_with_what_is_handed_out(office: Office) -> None:
    policy = Policy.of_key(VerifierKey.parse(office.key))
    (office.folder / "store" / "policy").write_text(policy.signed(ROOT))
    path = office.export("export")
    receipt = office.receipt("receipt", office.transfer)
    office.key = str(ROOT.verifier)

    assert office.verify("verify", path) == 3
    assert office.verify("verify-receipt", receipt) == 3
    office.key = str(Signer(ROOT.name, office_key()).verifier)
    assert office.verify("verify", path) == 2
    assert "[policy-unsigned]" in office.said


def office_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(b"o" * 32)


def test_a_policy_of_the_auditors_own_is_read_from_a_file(office: Office) -> None:
    path = office.export("export")
    own = office.folder / "own"
    own.write_text(str(Policy.of_key(VerifierKey.parse(office.key))))

    assert office.audit("audit", "verify", path, "--policy", str(own)) == 3
    own.write_bytes(b"\xff")
    assert office.audit("audit", "verify", path, "--policy", str(own)) == 2
    assert "cannot be read as text" in office.warned


def test_what_an_auditor_gives_wrong_is_said(office: Office) -> None:
    path = office.export("export")

    assert office.audit("audit", "verify", path) == 2
    assert "--root-key" in office.warned
    assert office.audit("audit", "verify", path, "--root-key", "nonsense") == 2
    assert office.verify("verify", path, "--since", str(office.folder / "nothing")) == 2


def test_what_is_in_the_way_is_not_written_over(office: Office) -> None:
    path = office.export("export")

    assert office.bridge("audit", "export", path) == 2
    assert "there already" in office.warned
    assert office.bridge("audit", "export", path + "-2", "--log", "x") == 2
    (office.folder / "store" / "policy").write_bytes(b"\xff")
    assert office.bridge("audit", "export", path + "-3") == 2
    assert "policy" in office.warned
    assert sorted(one.name for one in office.folder.iterdir()) == [
        "export",
        "settings.toml",
        "store",
    ]
