"""What a verification found, for whoever asked: a person, or a program."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from fhir_bridge.exports.reasons import Found, Reason, Verdict, sentence, verdict_of
from fhir_bridge.ledger import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found, or where the proof ends."""

    reason: Reason
    sentence: str

    @classmethod
    def of(cls, found: Found) -> Finding:
        """Put into words what ended a verification."""
        return cls(reason=found.reason, sentence=sentence(found.reason, found.details))

    @classmethod
    def limit(cls, reason: Reason, **details: Any) -> Finding:
        """Put into words where a proof ends."""
        return cls(reason=reason, sentence=sentence(reason, details))


@dataclass(slots=True, kw_only=True)
class Facts:
    """What was counted on the way; complete only when nothing was wrong."""

    log: str | None = None
    entries: int = 0
    root: bytes | None = None
    """Of the tree of all entries; None before it was known."""
    checkpoints: int = 0
    transfers: int = 0
    unanswered: list[str] = field(default_factory=list)
    """UUIDs of the first transfers with an intent to disclose that has no result."""
    unanswered_count: int = 0
    witnessed: int = 0
    """So many of the first entries are witnessed as the policy asks; 0 where it asks for none."""
    pinned: int = 0
    """So many of the first entries are those of the checkpoint that the auditor kept."""
    bodies_opened: int = 0
    bodies_erased: int = 0
    bodies_erased_first: list[int] = field(default_factory=list)
    """Indexes of the first entries whose body was erased."""
    bodies_checked: bool = False

    @property
    def checkpoint(self) -> str | None:
        """Return the newest checkpoint's text, to be kept for the next time."""
        if self.log is None or self.root is None:
            return None
        return str(Checkpoint(origin=self.log, size=self.entries, root=self.root))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a verification ended."""

    findings: tuple[Finding, ...]
    """Empty: verified. One that is not a limit: the first thing that is wrong."""
    facts: Facts

    @property
    def verdict(self) -> Verdict:
        """Return how it ended; the value is the exit code."""
        verdicts = [verdict_of(finding.reason) for finding in self.findings]
        return verdicts[0] if verdicts else Verdict.VERIFIED

    def as_object(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        facts = self.facts
        return {
            "verdict": self.verdict.name.lower(),
            "exit": int(self.verdict),
            "findings": [
                {"reason": str(finding.reason), "sentence": finding.sentence}
                for finding in self.findings
            ],
            "log": facts.log,
            "entries": facts.entries,
            "root": None if facts.root is None else base64.b64encode(facts.root).decode(),
            "checkpoint": facts.checkpoint,
            "checkpoints": facts.checkpoints,
            "transfers": facts.transfers,
            "intents_without_result": {
                "count": facts.unanswered_count,
                "transfers": facts.unanswered,
            },
            "witnessed": facts.witnessed,
            "pinned": facts.pinned,
            "bodies": {
                "checked": facts.bodies_checked,
                "opened": facts.bodies_opened,
                "erased": facts.bodies_erased,
                "erased_entries": facts.bodies_erased_first,
            },
        }
