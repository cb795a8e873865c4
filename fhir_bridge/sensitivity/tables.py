"""
The tables of codes: which make a record sensitive, which are known to be ordinary.

Everything is a dictionary made once; asking about a coding costs one look-up.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from fhir_bridge.codes import mapping, shipped
from fhir_bridge.errors import SettingsError
from fhir_bridge.sensitivity.systems import Systems

_ICD_CODE = re.compile(r"[A-Z]\d[0-9A-Z]{1,5}\Z")
_NOT_IN_ICD = re.compile(r"[^A-Z0-9]")
_CATEGORY = 3
"""Characters of a category in every ICD-10: B20, F10."""

_LISTS = ("codes.csv", "codes-snomed.csv", "codes-nucc.csv")
_SEPARABLE = ("codes-snomed.csv", "codes-nucc.csv", "plain-snomed.csv")
"""Files an operator without the licence may delete."""


class Standing(IntEnum):
    """What a code proves about a record; a higher one proves less."""

    ORDINARY = 0
    PLAIN = 1
    LISTED = 2
    UNPROVEN = 3
    LOCAL = 4


class Meaning(NamedTuple):
    """What one coding says about sensitivity."""

    standing: Standing
    listed: str = ""
    """``system|code`` as the tables spell them, never as the record did."""
    labels: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    """Questions the operator has not answered, on which a label depends."""
    decided: bool = False
    """The operator knows this code and says that it is ordinary here."""


class _Row(NamedTuple):
    label: str
    question: str


_ORDINARY = Meaning(Standing.ORDINARY)
_DECIDED = Meaning(Standing.ORDINARY, decided=True)
_PLAIN = Meaning(Standing.PLAIN)
_UNPROVEN = Meaning(Standing.UNPROVEN)
_LOCAL = Meaning(Standing.LOCAL)


class Tables:
    """The tables, with the operator's answers worked in."""

    def __init__(self, answers: Mapping[str, bool], ordinary: Iterable[tuple[str, str]]) -> None:
        """
        Read the tables of `mappings/sensitivity/`.

        Args:
            answers: Question of a policy row to whether it is sensitive here.
            ordinary: System and code of further codes that the operator knows
                to be ordinary; a code that is listed as sensitive stays so.

        Raises:
            SettingsError: An answer to a question that no row asks.
        """
        known = mapping("sensitivity/systems.json")
        plain = mapping("sensitivity/plain.json")
        self.systems = Systems(known["aliases"])
        self._cm = frozenset(known["icd_10_cm"])
        self._three = frozenset(known["icd_10_three_characters"])
        self._clinical = frozenset(known["clinical"]["systems"])
        self._administrative = frozenset(
            self.systems.name(system) for system in plain["administrative"]["systems"]
        )
        self._answers = answers
        self._exact: dict[tuple[str, str], list[_Row]] = {}
        self._prefixes: dict[str, list[_Row]] = {}
        for entry in _entries(*_LISTS):
            self._add(entry)
        self._check(answers)
        self._decided = {self._key(*pair) for pair in ordinary}
        self._ordinary = {self._key(e["system"], e["code"]) for e in _entries("ordinary.csv")}
        self._plain = {self._key(e["system"], e["code"]) for e in _entries("plain-snomed.csv")}
        for group in plain["plain_codes"].values():
            if isinstance(group, dict):
                self._plain.update(self._key(group["system"], code) for code in group["codes"])
        # a whole code above a listed one: Z33 stands for Z33.1 and Z33.2 alike
        self._above = {p[:n] for p in self._prefixes for n in range(_CATEGORY, len(p))}
        self._categories = {p[:_CATEGORY] for p in self._prefixes if len(p) > _CATEGORY}

    def meaning(self, system: str | None, code: str) -> Meaning:
        """
        Say what a coding means.

        Args:
            system: As the record wrote it; None when it wrote none.
            code: As the record wrote it.

        Source:
            README of the sensitivity codes, rules 2-4, 8.
        """
        if system is None:
            return _LOCAL
        name, code = self._key(system, code)
        if name in self._cm:
            return self._icd(name, code, whole=True)
        if name in self._three:
            return self._icd(name, code, whole=False)
        rows = self._exact.get((name, code))
        if rows is not None:
            return self._weigh(rows, f"{name}|{code}")
        return self._unlisted(name, code)

    def _unlisted(self, name: str, code: str) -> Meaning:
        if (name, code) in self._decided:
            return _DECIDED
        if (name, code) in self._ordinary:
            return _ORDINARY
        if name in self._administrative or (name, code) in self._plain:
            return _PLAIN
        return _UNPROVEN if name in self._clinical else _LOCAL

    def _icd(self, name: str, code: str, *, whole: bool) -> Meaning:
        """Match by prefix; editions other than ICD-10-CM share only the categories."""
        code = _NOT_IN_ICD.sub("", code)
        if not _ICD_CODE.match(code):
            return _UNPROVEN
        longest = len(code) if whole else _CATEGORY
        rows = [row for n in range(1, longest + 1) for row in self._prefixes.get(code[:n], ())]
        if rows:
            return self._weigh(rows, f"{name}|{code}")
        vague = code in self._above if whole else code[:_CATEGORY] in self._categories
        return _UNPROVEN if vague else _ORDINARY

    def _weigh(self, rows: list[_Row], listed: str) -> Meaning:
        labels, questions = [], []
        for label, question in rows:
            answer = self._answers.get(question) if question else True
            if answer is None:
                questions.append(question)
            elif answer and label not in labels:
                labels.append(label)
        if not labels and not questions:
            return _DECIDED
        return Meaning(Standing.LISTED, listed, tuple(labels), tuple(questions))

    def _add(self, entry: dict[str, str]) -> None:
        row = _Row(entry["label"], entry["policy"])
        system, code = self._key(entry["system"], entry["code"])
        if entry["match"] == "prefix":
            self._prefixes.setdefault(_NOT_IN_ICD.sub("", code), []).append(row)
        else:
            self._exact.setdefault((system, code), []).append(row)

    def _check(self, answers: Mapping[str, bool]) -> None:
        groups = (*self._exact.values(), *self._prefixes.values())
        asked = {row.question for rows in groups for row in rows}
        unknown = sorted(set(answers) - asked)
        if unknown:
            raise SettingsError(
                f"no code asks the sensitivity question {unknown[0]!r}; "
                f"the questions are {', '.join(sorted(asked - {''}))}"
            )

    def _key(self, system: str, code: str) -> tuple[str, str]:
        return self.systems.name(system), code.strip().upper()


def _entries(*names: str) -> Iterator[dict[str, Any]]:
    folder: Path = shipped("mappings") / "sensitivity"
    for name in names:
        path = folder / name
        if name in _SEPARABLE and not path.exists():
            continue
        with path.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines)
