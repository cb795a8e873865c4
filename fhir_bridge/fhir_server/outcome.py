"""
What an OperationOutcome says, reduced to what may be kept.

Diagnostics and texts repeat what was sent, names and values included. Only the
issue's code, the place it names, the server's error number and the status are
ever read from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.errors import BridgeError, DestinationRefused
from fhir_bridge.records import RecordRef

_NUMBER = re.compile(r"\bHAPI-\d{4}\b")
_CODE = re.compile(r"[a-z][a-z-]{1,40}\Z")
_PLACE = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]()]{0,200}\Z")
_ENTRY = re.compile(r"Bundle\.entry\[(\d{1,6})\]")
_CODES_MAX = 8


class Absent(BridgeError):
    """A resource is not on the server: it never was (404), or it was deleted (410)."""

    issue = "not-found"
    exit_code = 5

    def __init__(self, ref: RecordRef | None, *, gone: bool = False) -> None:
        """Keep which resource, and whether it was deleted."""
        what = ref or "an attachment"
        super().__init__(f"{what} is {'deleted' if gone else 'not there'}")
        self.ref = ref
        self.gone = gone


@dataclass(frozen=True, slots=True)
class Outcome:
    """What may be kept of one OperationOutcome."""

    codes: tuple[str, ...] = ()
    """Issue codes and error numbers, e.g. ``processing``, ``HAPI-1094``."""
    places: tuple[str, ...] = ()
    entries: frozenset[int] = frozenset()
    """Entries of the bundle that it names, from 0."""
    too_large: bool = False


def outcome_of(body: bytes) -> Outcome:
    """Return what an error answer says; nothing when it is no OperationOutcome."""
    try:
        content = lossless.decode(body)
    except BridgeError:
        return Outcome()
    return outcome_in(content)


def outcome_in(content: Any) -> Outcome:
    """Return what may be kept of an OperationOutcome. Its shape is not trusted."""
    issues = content.get("issue") if isinstance(content, dict) else None
    rows = [row for row in issues if isinstance(row, dict)] if isinstance(issues, list) else []
    codes: list[str] = []
    places: list[str] = []
    for row in rows[:_CODES_MAX]:
        codes += [text for text in _texts(row.get("code")) if _CODE.match(text)]
        codes += _NUMBER.findall(" ".join(_texts(row.get("diagnostics"))))
        for name in ("expression", "location"):
            places += [text for text in _texts(row.get(name)) if _PLACE.match(text)]
    return Outcome(
        codes=tuple(dict.fromkeys(codes)),
        places=tuple(dict.fromkeys(places)),
        entries=frozenset(int(m[1]) for place in places if (m := _ENTRY.match(place))),
        too_large=bool({"too-costly", "too-long"} & set(codes)) or _says_too_many(rows),
    )


def refusal(who: str, ref: RecordRef | None, status: int, outcome: Outcome) -> DestinationRefused:
    """Return the error that says what was refused and why, without any of its text."""
    why = ", ".join((*outcome.codes, *outcome.places)) or "no reason given"
    what = ref or "a request"
    return DestinationRefused(
        f"{who} refused {what} ({status}; {why}): ask its operator",
        status=status,
        codes=outcome.codes,
    )


def _says_too_many(rows: Iterable[Any]) -> bool:
    """Some servers say only in words that a bundle has too many entries."""
    words = " ".join(
        text.lower()
        for row in rows
        for name in ("diagnostics", "details")
        for text in _all(row.get(name))
    )
    return "too many entries" in words or "number of entries" in words


def _all(value: Any) -> list[str]:
    return _texts(value.get("text")) if isinstance(value, dict) else _texts(value)


def _texts(value: Any) -> list[str]:
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, str)]
