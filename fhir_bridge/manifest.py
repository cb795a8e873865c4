"""
The manifest: everything found at the first provider, and what became of it.

The second doctor must work with the complete record. The manifest is how the
bridge proves it: each resource and each attachment is released, or it is
withheld, held or excluded by a rule that is written down. There is no third
way, and the sums must agree (`Counts.check`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from fhir_bridge import lossless
from fhir_bridge.ledger import leaf_hash, tree_hash
from fhir_bridge.records import Kind, RecordRef, Sha256

DELETED_THERE = "deleted-at-destination"
"""Reason of a gap: a copy of ours is no longer there, so somebody there decided so."""

GONE_AT_SOURCE = "gone-at-source"
"""Reason of a gap: it was announced, and the first provider no longer has it."""


class Decision(StrEnum):
    """What the rules say of one line before anything leaves."""

    RELEASED = "released"
    WITHHELD = "withheld"
    HELD = "held"
    UNCLASSIFIED = "unclassified"
    EXCLUDED = "excluded"


class Outcome(StrEnum):
    """What became of a released line at the destination."""

    IDENTICAL = "identical"
    NORMALISED = "normalised"
    THEIRS = "theirs"
    CHANGED = "changed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One resource or attachment found at the source."""

    ref: RecordRef
    """Reference at the source; an attachment that is no Binary is named by its holder."""
    kind: Kind | None
    """None for what a record only refers to."""
    decision: Decision
    rule: str
    """Code of the rule that decided, e.g. ``consent-permit`` or ``carries-withheld``."""
    sentence: str
    """The rule in words; holds references, never a value from a record."""
    digest: Sha256
    size_bytes: int
    attachment: bool = False
    consent: RecordRef | None = None
    consent_version: str | None = None
    provision: str | None = None
    """Path inside the Consent, e.g. ``provision.provision[1]``."""
    destination: RecordRef | None = None
    outcome: Outcome | None = None
    paths: tuple[str, ...] = ()
    """Elements that differ at the destination; paths, never values."""
    severed: tuple[str, ...] = ()
    """Elements whose reference was replaced or removed in the copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that the record refers to and that could not be obtained or delivered."""

    ref: str
    reason: str
    """Stable code, e.g. ``not-found``."""
    sentence: str
    at: str
    """``source`` or ``destination``: whose gap it is decides whether the doctor is told."""
    referrer: RecordRef | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The sums of a manifest. Each equals what it is the sum of."""

    found: int
    released: int
    withheld: int
    held: int
    unclassified: int
    excluded: int
    identical: int
    normalised: int
    theirs: int
    changed: int
    absent: int
    severed: int
    bytes: int

    def check(self, *, delivered: bool) -> None:
        """Assert that nothing was lost between the columns."""
        parts = self.released + self.withheld + self.held + self.unclassified + self.excluded
        assert self.found == parts, "found must equal the sum of the decisions"
        if delivered:
            outcomes = self.identical + self.normalised + self.theirs + self.changed + self.absent
            assert self.released == outcomes, "released must equal the sum of the outcomes"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Every line, sorted by reference, each named once."""

    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        """Check the order once, so that no reader has to."""
        refs = [line.ref for line in self.lines]
        assert refs == sorted(set(refs)), "lines must be sorted and unique"

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Manifest:
        """Sort lines into a manifest."""
        return cls(tuple(sorted(lines, key=lambda line: line.ref)))

    def having(self, *decisions: Decision) -> tuple[Line, ...]:
        """Return the lines that were decided so."""
        return tuple(line for line in self.lines if line.decision in decisions)

    @property
    def released(self) -> tuple[Line, ...]:
        """Return the lines that travel."""
        return self.having(Decision.RELEASED)

    def with_outcomes(self, changed: Iterable[Line]) -> Manifest:
        """Return the manifest with some lines replaced by their later state."""
        later = {line.ref: line for line in changed}
        return Manifest(tuple(later.get(line.ref, line) for line in self.lines))

    def counts(self) -> Counts:
        """Return the sums."""
        return count(self.lines)


class Counted(Protocol):
    """What the sums are taken over: a line, or what the store keeps of one."""

    @property
    def decision(self) -> Decision:
        """What was decided."""

    @property
    def outcome(self) -> Outcome | None:
        """What became of it."""

    @property
    def severed(self) -> tuple[str, ...]:
        """Elements whose reference was replaced or removed."""

    @property
    def size_bytes(self) -> int:
        """Its size."""


def count(lines: Sequence[Counted]) -> Counts:
    """Return the sums over lines."""
    decisions = Counter(line.decision for line in lines)
    released = [line for line in lines if line.decision is Decision.RELEASED]
    outcomes = Counter(line.outcome for line in released)
    return Counts(
        found=len(lines),
        released=len(released),
        withheld=decisions[Decision.WITHHELD],
        held=decisions[Decision.HELD],
        unclassified=decisions[Decision.UNCLASSIFIED],
        excluded=decisions[Decision.EXCLUDED],
        identical=outcomes[Outcome.IDENTICAL],
        normalised=outcomes[Outcome.NORMALISED],
        theirs=outcomes[Outcome.THEIRS],
        changed=outcomes[Outcome.CHANGED],
        absent=outcomes[Outcome.ABSENT],
        severed=sum(len(line.severed) for line in released),
        bytes=sum(line.size_bytes for line in released),
    )


def sealed_digest(key: bytes, digest: Sha256) -> str:
    """
    Return what may be stored or printed instead of a digest.

    The plain hash of a small result can be guessed back; without the
    transfer's key, which can be erased, this cannot.

    Args:
        key: The transfer's key, 32 bytes.
        digest: Digest v1 of a resource, or the SHA-256 of an attachment.

    Returns:
        HMAC-SHA-256, 64 lowercase hexadecimal digits.
    """
    return hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()


def root(lines: Sequence[Line], key: bytes) -> bytes:
    """
    Return the Merkle root that a disclosure is signed with.

    Args:
        lines: The released lines, sorted by reference. Withheld ones have a
            commitment of their own, because its number must not be told.
        key: The transfer's key.

    Returns:
        32 bytes, RFC 6962 over one leaf per line: its reference, its sealed
        digest and its size as canonical JSON.

    Source:
        RFC 6962 section 2.1; the leaf is our own rule.
    """
    return sealed_root(
        (line.ref, sealed_digest(key, line.digest), line.size_bytes) for line in lines
    )


def sealed_root(lines: Iterable[tuple[str, str, int]]) -> bytes:
    """
    Return the same root from what the store keeps of the lines.

    Args:
        lines: Of each released line, sorted: reference, sealed digest, size.
    """
    leaves = [
        leaf_hash(lossless.canonical({"bytes": size, "digest": sealed, "ref": ref}))
        for ref, sealed, size in lines
    ]
    return tree_hash(leaves)


def reconcile(line: Line, outcome: Outcome, paths: Sequence[str] = ()) -> Line:
    """Write down what became of a released line at the destination."""
    assert line.decision is Decision.RELEASED, "only what was released can have arrived"
    return replace(line, outcome=outcome, paths=tuple(paths))
