"""
Is this the same person, and how sure.

The patient is never guessed: what does not agree, or cannot be compared, stops
the transfer, and a person decides. Results name elements, never what stands in
them, so that they may be shown and logged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fhir_bridge.records import Json, RecordRef

_FULL_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_ID_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"

_SPECIFIC = ("NI", "SS", "PPN", "JHN", "HC", "DL", "MC", "MA", "PT", "PI", "MR", "PRN", "MB", "SN")
"""
Identifier types, those first that name one person whoever issued them; numbers
of one organisation follow, and numbers a family may share come last. The order
is our own; the codes are those of v2-0203 (http://terminology.hl7.org).
"""

# tuples: what a server sends as `use` may be anything, also what cannot be hashed
_UNUSABLE = ("temp", "old")
_NOT_A_NAME = ("anonymous", "temp")


class Verdict(StrEnum):
    """What a comparison of two patients says."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How two patients compare."""

    verdict: Verdict
    differing: tuple[str, ...] = ()
    """Elements that both have and that differ."""
    missing: tuple[str, ...] = ()
    """What a comparison lacks, or why a chart must not be used: ``source active``."""


class Outcome(StrEnum):
    """What a search by identifier led to."""

    ONE = "one"
    NONE = "none"
    SEVERAL = "several"
    DISAGREES = "disagrees"
    INSUFFICIENT = "insufficient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which candidate is the patient, if a machine may say so."""

    outcome: Outcome
    ref: RecordRef | None = None
    """The candidate, when there is exactly one; to be used only for `Outcome.ONE`."""
    match: Match | None = None
    candidates: tuple[RecordRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Other charts of the same person, as `Patient.link` names them."""

    replaced_by: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    seealso: tuple[str, ...] = ()
    """Charts that are to be read too, `refer` among them."""


def same_person(source: Json, candidate: Json) -> Match:
    """
    Compare the source's patient with one at the destination.

    Args:
        source: Patient as the source sent it. Untrusted.
        candidate: Patient as the destination sent it. Untrusted.

    Returns:
        AGREE only when the birth dates are complete and equal, one family name
        is equal (NFC, case folded), the genders are equal where both have one,
        and neither chart is inactive or replaced.

    Source:
        Our own rule.
    """
    birth = [_birth_date(patient) for patient in (source, candidate)]
    families = [_families(patient) for patient in (source, candidate)]
    genders = [_gender(patient) for patient in (source, candidate)]
    differing, missing = [], []
    if not all(birth):
        missing.append("birthDate")
    elif birth[0] != birth[1]:
        differing.append("birthDate")
    if not all(families):
        missing.append("name.family")
    elif families[0].isdisjoint(families[1]):
        differing.append("name.family")
    if all(genders) and genders[0] != genders[1]:
        differing.append("gender")
    missing += _obstacles("source", source) + _obstacles("destination", candidate)
    return Match(
        verdict=_verdict(differing, missing), differing=tuple(differing), missing=tuple(missing)
    )


def choose(
    source: Json,
    candidates: Sequence[Json],
    *,
    never: Collection[str] = (),
    own_systems: Collection[str] = (),
) -> Choice:
    """
    Choose among the patients that a search by identifier found.

    Args:
        source: Patient as the source sent it.
        candidates: What the destination returned, all pages. Untrusted.
        never: Logical ids that cannot be meant, e.g. the source patient itself
            when both ends are one server.
        own_systems: Systems of the bridge's own copy identifiers.

    Returns:
        ONE when exactly one other patient was found, shares an identifier and
        agrees; several stop even if only one of them agrees.

    Source:
        Our own rule: the patient is never guessed.
    """
    found = {
        str(candidate.get("id")): candidate
        for candidate in candidates
        if str(candidate.get("id")) not in never
    }
    refs = tuple(RecordRef(f"Patient/{id_}") for id_ in sorted(found))
    if not found:
        return Choice(outcome=Outcome.NONE)
    if len(found) > 1:
        return Choice(outcome=Outcome.SEVERAL, candidates=refs)
    candidate = next(iter(found.values()))
    match = same_person(source, candidate)
    if not shared_identifiers(source, candidate, own_systems=own_systems):
        match = Match(
            verdict=Verdict.DISAGREE,
            differing=("identifier", *match.differing),
            missing=match.missing,
        )
    outcome = {
        Verdict.AGREE: Outcome.ONE,
        Verdict.DISAGREE: Outcome.DISAGREES,
        Verdict.INSUFFICIENT: Outcome.INSUFFICIENT,
    }[match.verdict]
    return Choice(outcome=outcome, ref=refs[0], match=match, candidates=refs)


def shared_identifiers(
    one: Json, other: Json, *, own_systems: Collection[str] = ()
) -> tuple[str, ...]:
    """
    Return the systems in which two patients have the same identifier.

    Args:
        one: A Patient. Untrusted.
        other: Another Patient. Untrusted.
        own_systems: Systems of the bridge's own copy identifiers: they prove
            where a copy came from, not who somebody is.
    """
    both = set(identifiers_for_asking(one, own_systems=own_systems)) & set(
        identifiers_for_asking(other, own_systems=own_systems)
    )
    return tuple(sorted({system for system, _ in both}))


def identifiers_for_asking(
    patient: Json, *, own_systems: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """
    Return the identifiers to search for a patient by.

    Args:
        patient: A Patient. Untrusted.
        own_systems: Systems of the bridge's own copy identifiers, left out.

    Returns:
        System and value, the most specific first; without temporary, old and
        masked ones, and without those that have no system.
    """
    usable: dict[tuple[str, str], int] = {}
    for place, identifier in enumerate(_dicts(patient.get("identifier"))):
        system, value = _text(identifier.get("system")), _text(identifier.get("value"))
        if not system or not value or "*" in value or system in own_systems:
            continue
        if identifier.get("use") not in _UNUSABLE:
            usable.setdefault((system, value), _rank(identifier) * 1_000 + place)
    return tuple(sorted(usable, key=usable.__getitem__))


def links(patient: Json) -> Links:
    """
    Return the other charts that a patient's record names.

    Args:
        patient: A Patient. Untrusted.

    Returns:
        References as written. A link that names no chart is given as
        ``Patient.link[n]``, so that it is not lost.

    Source:
        https://hl7.org/fhir/R4/patient.html#links
    """
    named: dict[str, list[str]] = {"replaced-by": [], "replaces": [], "seealso": []}
    for place, link in enumerate(_dicts(patient.get("link"))):
        other = link.get("other")
        reference = other.get("reference") if isinstance(other, dict) else None
        type_ = link.get("type")
        group = named.get(type_ if isinstance(type_, str) else "", named["seealso"])
        group.append(reference if isinstance(reference, str) else f"Patient.link[{place}]")
    return Links(
        replaced_by=tuple(named["replaced-by"]),
        replaces=tuple(named["replaces"]),
        seealso=tuple(named["seealso"]),
    )


def _obstacles(side: str, patient: Json) -> list[str]:
    """Name what forbids the use of a chart."""
    obstacles = []
    if patient.get("active", True) is not True:
        obstacles.append(f"{side} active")
    if links(patient).replaced_by:
        obstacles.append(f"{side} link.replaced-by")
    return obstacles


def _verdict(differing: list[str], missing: list[str]) -> Verdict:
    if differing:
        return Verdict.DISAGREE
    return Verdict.INSUFFICIENT if missing else Verdict.AGREE


def _birth_date(patient: Json) -> str | None:
    """Return a complete birth date; a year alone proves too little."""
    date = patient.get("birthDate")
    return date if isinstance(date, str) and _FULL_DATE.match(date) else None


def _gender(patient: Json) -> str | None:
    gender = patient.get("gender")
    return gender if isinstance(gender, str) and gender != "unknown" else None


def _families(patient: Json) -> set[str]:
    """Return every family name, earlier ones too: people marry."""
    names = [
        name.get("family")
        for name in _dicts(patient.get("name"))
        if name.get("use") not in _NOT_A_NAME
    ]
    return {folded for name in names if isinstance(name, str) and (folded := _fold(name))}


def _fold(name: str) -> str:
    """Fold so that two spellings that look the same are the same (Unicode D145)."""
    decomposed = unicodedata.normalize("NFD", name).casefold()
    return " ".join(unicodedata.normalize("NFC", decomposed).split())


def _rank(identifier: Json) -> int:
    type_ = identifier.get("type")
    codings = _dicts(type_.get("coding")) if isinstance(type_, dict) else []
    ranks = [
        _SPECIFIC.index(coding["code"])
        for coding in codings
        if coding.get("system") == _ID_TYPES and coding.get("code") in _SPECIFIC
    ]
    if ranks:
        return min(ranks)
    return _SPECIFIC.index("PI")  # of no type: as specific as any number of an organisation


def _dicts(value: Any) -> list[Json]:
    """Return the objects of a list; anything else a server may send counts as nothing."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
