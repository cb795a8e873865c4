"""
The code systems that a Consent speaks in, with what is-a what.

A system may be written as URL or OID; a code that is not known here means
nothing, and is never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

from fhir_bridge.codes import mapping
from fhir_bridge.records import Json

_OID = re.compile(r"[0-2](\.[0-9]+)+\Z")
_URN = "urn:oid:"

Code = tuple[str, str]
"""System and code."""


@lru_cache(maxsize=1_024)
def system_name(system: str) -> str:
    """Return a system without blanks, trailing slash and version, a bare OID as URN."""
    plain = system.partition("|")[0].strip().rstrip("/")
    oid = plain[len(_URN) :] if plain.lower().startswith(_URN) else plain
    return _URN + oid if _OID.match(oid) else plain


def identifier(system: str, value: str) -> Code:
    """Return an identifier so that equal ones are equal: NPI's OID and URL are one system."""
    plain = system_name(system)
    known: Mapping[str, str] = mapping("participation.json")["identifier_systems"]
    return known.get(plain, plain), value.strip()


def identifiers_of(rows: Any) -> frozenset[Code]:
    """Return the identifiers of a resource or reference; what is no identifier is left out."""
    rows = rows if isinstance(rows, list) else [rows]
    return frozenset(
        identifier(row["system"], row["value"])
        for row in rows
        if isinstance(row, dict)
        and isinstance(row.get("system"), str)
        and isinstance(row.get("value"), str)
    )


def coding(value: Any) -> Code:
    """Return system and code of a Coding; two empty strings, which mean nothing, else."""
    if isinstance(value, dict):
        system, code = value.get("system"), value.get("code")
        if isinstance(system, str) and isinstance(code, str):
            return system_name(system), code.strip()
    return "", ""


def codings(concept: Any) -> list[Code]:
    """Return the codings of a CodeableConcept, in any shape."""
    rows = concept.get("coding") if isinstance(concept, dict) else None
    return [coding(row) for row in rows] if isinstance(rows, list) else []


class Tree:
    """A code system and its is-a relation."""

    def __init__(self, systems: list[str], parents: Mapping[str, str]) -> None:
        """Keep the parents; a code without parent that is nobody's parent is not known."""
        self._systems = frozenset(systems)
        self._parents = parents
        self._known = frozenset(parents) | frozenset(parents.values())

    def code(self, pair: Code) -> str | None:
        """Return the code when it is one of this system, else None."""
        system, code = pair
        return code if system in self._systems and self.knows(code) else None

    def knows(self, code: str) -> bool:
        """Tell whether a code is one of this system."""
        return code in self._known

    def is_a(self, code: str, ancestor: str) -> bool:
        """Tell whether a code is another, or one of its kinds."""
        return ancestor in self._upwards(code)

    def _upwards(self, code: str) -> Iterator[str]:
        step: str | None = code
        while step is not None:
            yield step
            step = self._parents.get(step)


@cache
def purposes() -> Tree:
    """Return the purposes of use of v3-ActReason."""
    known: Json = mapping("purposes.json")
    return Tree(known["systems"], known["is_a"])


def purpose_codes() -> frozenset[str]:
    """Return the codes of v3-ActReason that say what a disclosure is for; HTEST marks test data."""
    return frozenset(mapping("purposes.json")["is_a"]) - {"HTEST"}


@cache
def participations() -> Tree:
    """Return v3-ParticipationType."""
    known: Json = mapping("participation.json")
    return Tree(known["systems"], known["is_a"])
