"""
Whether a provision's security labels cover a record's.

A permit covers what is at most as confidential as it says, a deny what is at
least so: the same label is a high-water mark read in both directions. A permit
must cover every sensitivity of the record, a deny any one of them.

Source: https://hl7.org/fhir/R4/consent-definitions.html#Consent.provision.securityLabel;
IHE PCF; the strict and the wide tree are in `mappings/actcode-tree.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir_bridge.codes import mapping
from fhir_bridge.consent.answers import Truth
from fhir_bridge.consent.terms import coding
from fhir_bridge.records import Json
from fhir_bridge.sensitivity import CONFIDENTIALITY, Labels

_RANK = {code: rank for rank, code in enumerate(CONFIDENTIALITY)}
_RESTRICTED = _RANK["R"]


@dataclass(frozen=True, slots=True)
class LabelClause:
    """The security labels of one provision; one of them is enough to match."""

    floor: int | None
    """Rank of the least confidential label."""
    ceiling: int | None
    """Rank of the most confidential label."""
    named: frozenset[str]
    """Sensitivities as written."""
    covered: frozenset[str]
    """What a permit covers: the named ones and their kinds."""
    denied: frozenset[str]
    """What a deny covers: the wider reading."""
    vague: frozenset[str]
    """Labels broader than a denied one: a record that carries them may be of that kind."""
    foreign: bool
    """One label is not understood."""

    element = "securityLabel"

    def permits(self, labels: Labels) -> Truth:
        """
        Tell whether a permit with these labels covers a record.

        A label that is not understood, on either side, covers nothing; that a
        record carries one is held for a person before any permit is asked.
        """
        effective = labels.effective_confidentiality
        rank = _RESTRICTED if effective is None else _RANK[effective]
        if self.ceiling is not None and rank <= self.ceiling:
            return Truth.YES
        if not labels.sensitivities or not labels.sensitivities <= self.covered:
            return Truth.NO
        carried = _RANK[labels.confidentiality or "U"]
        return Truth.YES if carried <= max(self.ceiling or 0, _RESTRICTED) else Truth.NO

    def denies(self, labels: Labels, *, document: bool) -> Truth:
        """
        Tell whether a deny with these labels covers a record.

        Args:
            labels: The record's.
            document: It holds free text or a file, so that what was computed
                from its codes does not say what it is not about.
        """
        effective = labels.effective_confidentiality
        rank = _RESTRICTED if effective is None else _RANK[effective]
        if self.floor is not None and rank >= self.floor:
            return Truth.YES
        codes = labels.sensitivities | labels.policies
        if codes & self.denied:
            return Truth.YES
        if self.foreign or labels.unknown or codes & self.vague:
            return Truth.CANNOT_TELL
        if self.named and not _says_all(labels, document=document):
            return Truth.CANNOT_TELL
        return Truth.NO


def label_clause(rows: Iterable[Any]) -> LabelClause:
    """Read Provision.securityLabel."""
    ranks, named, foreign = [], set(), False
    words = _words()
    for row in rows:
        system, code = coding(row)
        if system in words.confidentiality and code in _RANK:
            ranks.append(_RANK[code])
        elif system in words.sensitivity and code in words.known:
            named.add(code)
        else:
            foreign = True
    denied = frozenset().union(*(words.wide(code) for code in named))
    return LabelClause(
        floor=min(ranks, default=None),
        ceiling=max(ranks, default=None),
        named=frozenset(named),
        covered=frozenset().union(*(words.strict(code) for code in named)),
        denied=denied,
        vague=frozenset(code for code in words.known if words.wide(code) & denied) - denied,
        foreign=foreign,
    )


def is_substance_use(labels: Labels) -> bool:
    """Tell whether a record is of a Part 2 program, or about substance use."""
    words = _words()
    return bool(labels.policies & words.part_2 or labels.sensitivities & words.substance_use)


def is_psychotherapy(labels: Labels) -> bool:
    """Tell whether a record is a psychotherapy note, by whichever of its two names."""
    return bool((labels.sensitivities | labels.policies) & _words().psychotherapy)


def needs(labels: Labels) -> str | None:
    """
    Return what a prohibition that a record carries asks for.

    Returns:
        ``consent`` (the patient's permit), ``person`` (what a machine cannot
        check), or None.
    """
    words = _words()
    if labels.policies & words.needs_person:
        return "person"
    return "consent" if labels.policies & words.needs_consent else None


class _Words:
    """The label codes and their trees, read once."""

    def __init__(self, tree: Json, labels: Json, record_policies: Json) -> None:
        self.confidentiality = frozenset(tree["systems"]["confidentiality"])
        self.sensitivity = frozenset(tree["systems"]["sensitivity"])
        self.known = frozenset(labels["sensitivities"]) | frozenset(labels["policies"])
        self.substance_use = frozenset(tree["substance_use"])
        self.psychotherapy = frozenset(tree["psychotherapy"])
        self.part_2 = frozenset(record_policies["part_2"])
        self.needs_consent = frozenset(record_policies["consent"])
        self.needs_person = frozenset(record_policies["person"])
        strict = {code: {code} for code in self.known}
        for child, parent in tree["is_a"].items():
            strict[parent].add(child)
        wide = {code: kinds | set(tree["wider"].get(code, ())) for code, kinds in strict.items()}
        self._strict = _closed(strict)
        self._wide = _closed(wide)

    def strict(self, code: str) -> frozenset[str]:
        """Return a code and its kinds."""
        return self._strict[code]

    def wide(self, code: str) -> frozenset[str]:
        """Return a code and its kinds in PCF's wider reading."""
        return self._wide[code]


def _closed(kinds: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    closed = {}
    for code in kinds:
        found, waiting = {code}, [code]
        while waiting:
            new = kinds[waiting.pop()] - found
            found |= new
            waiting += new
        closed[code] = frozenset(found)
    return closed


@cache
def _words() -> _Words:
    return _Words(
        mapping("actcode-tree.json"),
        mapping("sensitivity/labels.json"),
        mapping("consent-policies.json")["record_policies"],
    )


def _says_all(labels: Labels, *, document: bool) -> bool:
    """
    Tell whether the absence of a sensitivity means that there is none.

    What the source labelled, it labelled; what was only computed from codes
    says nothing of the words and pages in a document.
    """
    if labels.confidentiality is not None:
        return True
    return not document and (labels.computed_normal or bool(labels.sensitivities))
