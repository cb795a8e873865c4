"""
A whole transfer between real servers, proven to someone who has only the root key.

Method: by the command line. The auditor's commands run in an empty folder of
their own and are given no store and no settings. The second server is the
audit repository too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from fhir_bridge.ledger import Receipt
from tests.benchmarks import floor, patients
from tests.simulators.servers import hapi_bases

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("hapi-transfers")]


@dataclass
class Offices:
    """The custodian, with a store, and an auditor, who has what he was handed."""

    folder: Path
    books: str

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def custodian(self, *words: str, code: int = 0) -> str:
        settings = self.folder / "fhir-bridge.toml"
        return self._run(*words, "--store", str(self.store), "--settings", str(settings), code=code)

    def auditor(self, *words: str, code: int) -> Any:
        return json.loads(self._run("audit", *words, "--json", code=code))

    def root_key(self) -> str:
        """Make a root key away from the store, and have it sign the policy; return its vkey."""
        (self.folder / "passphrase").write_text("correct horse battery", encoding="utf-8")
        secret = ("--passphrase-file", str(self.folder / "passphrase"))
        key = str(self.folder / "root.key")
        said = self._run(
            "audit", "keys", "root", key, "--name", "bridge.example/root", *secret, code=0
        )
        self.custodian("audit", "keys", "policy", "--root-key", key, *secret)
        return said.rpartition("Give auditors")[2].strip()

    def _run(self, *words: str, code: int) -> str:
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "fhir_bridge", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            cwd=elsewhere,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def offices(tmp_path: Path) -> Offices:
    source, destination = hapi_bases()
    rows = [("first", source, patients.CUSTODIAN), ("second", destination, patients.RECIPIENT)]
    tables = [
        f'[servers.{name}]\nbase = "{base}"\n'
        f'organisations = [{{ identifier = "{system}|{value}", address = "{name} street" }}]\n'
        for name, base, (system, value) in rows
    ]
    books = f'[audit]\nrepository = "books"\n[servers.books]\nbase = "{destination}"\n'
    (tmp_path / "fhir-bridge.toml").write_text("".join([*tables, books]), encoding="utf-8")
    return Offices(tmp_path, destination)


def moved(offices: Offices) -> tuple[str, Any]:
    """Move one invented patient's record; return the patient's id and what the command said."""
    name = f"p{uuid.uuid4().hex[:12]}"
    source, destination = hapi_bases()
    with requests.Session() as session:
        session.trust_env = False
        floor.load(session, source, patients.record(name, 54))
        floor.load(session, destination, patients.destination(name))
    asked = ("--source", "first", "--destination", "second", "--patient", f"Patient/{name}")
    return name, json.loads(offices.custodian("transfer", *asked, "--json"))


def test_a_whole_transfer_is_proven_with_only_the_root_key_before_and_after_erasure(
    offices: Offices,
) -> None:
    root = offices.root_key()
    name, report = moved(offices)
    transfer = report["transfer"]

    export, receipt = offices.folder / "log.zip", offices.folder / "receipt"
    offices.custodian("audit", "export", str(export))
    handed = offices.custodian("audit", "receipt", transfer, "--act", "disclosure.result")
    receipt.write_text(handed, encoding="utf-8")

    told = offices.auditor("verify", str(export), "--root-key", root, "--bodies", code=3)
    assert reasons(told) == {"no-outside-copy"}
    assert told["intents_without_result"]["count"] == 0
    assert told["bodies"]["erased"] == 0
    assert told["bodies"]["opened"] >= 9
    opened = offices.auditor("verify-receipt", str(receipt), "--root-key", root, code=3)
    assert f"urn:uuid:{transfer}" in json.dumps(opened)
    kept_by_the_repository(offices, transfer)
    accounted(offices, name, report)

    erased = ("--by", "Ada Invented", "--reason", "the patient asked for it")
    offices.custodian("erase", transfer, *erased)
    offices.custodian("audit", "verify-db")
    later = offices.folder / "later.zip"
    offices.custodian("audit", "export", str(later))
    told = offices.auditor("verify", str(later), "--root-key", root, "--bodies", code=3)
    assert reasons(told) == {"no-outside-copy", "bodies-erased"}
    assert told["bodies"]["erased"] >= 9
    again = offices.auditor("verify-receipt", str(receipt), "--root-key", root, code=3)
    assert again == opened


def reasons(told: Any) -> set[str]:
    return {one["reason"] for one in told["findings"]}


def kept_by_the_repository(offices: Offices, transfer: str) -> None:
    """HAPI has each AuditEvent of the transfer, as the receipt of its result shows it."""
    receipt = offices.folder / "opened"
    for act in ("disclosure.intent", "disclosure.result", "consent.verified"):
        text = offices.custodian("audit", "receipt", transfer, "--act", act)
        receipt.write_text(text, encoding="utf-8")
        body = Receipt.parse(text).body
        assert body is not None
        content = json.loads(body)
        with requests.Session() as session:
            session.trust_env = False
            there = session.get(f"{offices.books}/AuditEvent/{content['id']}", timeout=60).json()
        assert there["meta"]["versionId"] == "1"
        assert {key: there[key] for key in content if key != "meta"} == {
            key: value for key, value in content.items() if key != "meta"
        }
        profiles = content.get("meta", {}).get("profile", [])
        assert there["meta"].get("profile", []) == profiles


def accounted(offices: Offices, name: str, report: Any) -> None:
    said = offices.custodian("audit", "disclosures", f"Patient/{name}", "--json")
    (line,) = json.loads(said)["disclosures"]
    assert line["what"]["records"] == report["counts"]["delivered"]
    assert line["ended"] == "complete"
    assert line["recipient"]["address"] == "second street"
