"""Verifying a receipt, and what it then shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from fhir_bridge.exports.archive import read_plain
from fhir_bridge.exports.reasons import Found, Reason, Verdict, verdict_of
from fhir_bridge.exports.report import Facts, Finding
from fhir_bridge.exports.single import RECEIPT_BYTES_MAX, Shown, check_receipt, limits
from fhir_bridge.exports.trust import Trust
from fhir_bridge.ledger.policy import NO_QUORUM


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptReport:
    """How the verification of a receipt ended."""

    findings: tuple[Finding, ...]
    """Empty: verified. One that is not a limit: what is wrong."""
    shown: Shown | None
    """None when nothing is proved."""

    @property
    def verdict(self) -> Verdict:
        """Return how it ended; the value is the exit code."""
        verdicts = [verdict_of(finding.reason) for finding in self.findings]
        return verdicts[0] if verdicts else Verdict.VERIFIED

    def as_object(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "verdict": self.verdict.name.lower(),
            "exit": int(self.verdict),
            "findings": [
                {"reason": str(finding.reason), "sentence": finding.sentence}
                for finding in self.findings
            ],
            **({} if self.shown is None else _shown(self.shown)),
        }


def _shown(shown: Shown) -> dict[str, Any]:
    return {
        "entry": msgspec.to_builtins(shown.entry),
        "body": None if shown.body is None else shown.body.decode(errors="replace"),
        "checkpoint": str(shown.checkpoint),
        "witnessed": dict(shown.signed.witnessed),
    }


def verify_receipt(path: Path, trust: Trust) -> ReceiptReport:
    """
    Verify a receipt.

    Args:
        path: Of the file. Untrusted.
        trust: From outside the receipt.

    Returns:
        What was found; nothing is raised for whatever lies at `path`.
    """
    try:
        shown = check_receipt(_text(path), trust)
    except Found as found:
        return ReceiptReport(findings=(Finding.of(found),), shown=None)
    return ReceiptReport(findings=tuple(_limits(shown)), shown=shown)


def _text(path: Path) -> str:
    try:
        return read_plain(path, RECEIPT_BYTES_MAX).decode()
    except UnicodeDecodeError as error:
        raise Found(Reason.NOT_A_RECEIPT, detail="it is not text") from error


def _limits(shown: Shown) -> list[Finding]:
    facts = Facts(entries=shown.checkpoint.size)
    if shown.policy.quorum != NO_QUORUM and shown.signed.is_met:
        facts.witnessed = facts.entries
    found = list(limits(facts, shown.policy))
    if shown.is_closed:
        found.append(Finding.limit(Reason.BODY_NOT_SHOWN))
    return found
