"""Which tests know which module, and which changes mean the same."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

_RULES = "tests/rules/test_ledger_"
_EXPORTS = "tests/counterparties/test_exports"
_OF_EXPORTS = "tests/rules/test_exports_"
_WHOLE = [
    f"{_EXPORTS}.py",
    f"{_EXPORTS}_hostile.py",
    f"{_EXPORTS}_receipts.py",
    f"{_OF_EXPORTS}verifying.py",
]

TESTS: dict[str, list[str]] = {
    "fhir_bridge.ledger.checkpoint": [f"{_RULES}checkpoint.py"],
    "fhir_bridge.ledger.note": [f"{_RULES}checkpoint.py", f"{_RULES}cosignature.py"],
    "fhir_bridge.ledger.keys": [f"{_RULES}checkpoint.py", f"{_RULES}cosignature.py"],
    "fhir_bridge.ledger.cosignature": [f"{_RULES}cosignature.py"],
    "fhir_bridge.ledger.tree": [f"{_RULES}tree.py", f"{_RULES}proofs.py"],
    "fhir_bridge.ledger.proofs": [f"{_RULES}proofs.py", f"{_RULES}tree.py"],
    "fhir_bridge.ledger.policy": [f"{_RULES}policy.py"],
    "fhir_bridge.ledger.epochs": [f"{_RULES}epochs.py"],
    "fhir_bridge.ledger.entry": [f"{_RULES}entry.py", f"{_RULES}reading.py"],
    "fhir_bridge.ledger.reading": [f"{_RULES}reading.py"],
    "fhir_bridge.ledger.receipt": [f"{_RULES}receipt.py"],
    "fhir_bridge.ledger.tiles": [f"{_RULES}tiles.py"],
    "fhir_bridge.exports.archive": [f"{_OF_EXPORTS}archive.py", f"{_EXPORTS}_hostile.py"],
    "fhir_bridge.exports.checkpoints": [f"{_OF_EXPORTS}trust.py"],
    "fhir_bridge.exports.chunks": [f"{_OF_EXPORTS}chunks.py"],
    "fhir_bridge.exports.joining": [f"{_OF_EXPORTS}joining.py"],
    "fhir_bridge.exports.layout": [f"{_OF_EXPORTS}layout.py"],
    "fhir_bridge.exports.reasons": [f"{_OF_EXPORTS}reasons.py"],
    "fhir_bridge.exports.receipts": [f"{_EXPORTS}_receipts.py"],
    "fhir_bridge.exports.report": [f"{_OF_EXPORTS}reasons.py"],
    "fhir_bridge.exports.single": [
        f"{_EXPORTS}_receipts.py",
        f"{_OF_EXPORTS}trust.py",
        f"{_OF_EXPORTS}verifying.py",
    ],
    "fhir_bridge.exports.trust": [f"{_OF_EXPORTS}trust.py"],
    "fhir_bridge.exports.verifying": _WHOLE,
}


def argued() -> dict[str, dict[str, str]]:
    """Give each module's changes that no test can see, each with the reason."""
    text = Path(__file__).with_name("argued.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def source_of(module: str) -> Path:
    """Return the file that a module is read from."""
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")
