"""
What may never be at rest: looked for in every file that a test run wrote.

The words are the canary of `tests/journeys/test_canary.py` and what the stories
hold that only a patient's record may hold: names, identifiers, dates of birth,
addresses, conclusions, questions. Each is looked for as it is and as base64 has
it at each of its three offsets. Copies of the stories themselves, in folders
named ``fixtures``, are left out, and so is what a test gives the official
validator to judge, in ``validator``.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fhir_bridge import stories

CANARY = "Kanarienvogel7391"
FIXTURES = "fixtures"
_LEFT_OUT = frozenset({FIXTURES, "validator0"})

_CHARS_MIN = 6
"""A shorter word stands in a digest by chance."""

_CARRIERS = frozenset(
    {"comment", "conclusion", "div", "family", "line", "patientInstruction", "valueString"}
)


@dataclass(frozen=True)
class Hit:
    """A file that holds what it may not."""

    path: Path
    word: str
    """The first one found; a test may show it, because the patients are invented."""


def words() -> frozenset[str]:
    """Return what no file of the bridge may hold."""
    found = {CANARY}
    for name in stories.names():
        story = stories.load(name)
        found.add(story.question)
        for content in (*story.source, *story.destination):
            found.update(text for member, text in _texts(content) if member in _CARRIERS)
            if content["resourceType"] == "Patient":
                found.update(row["value"] for row in content.get("identifier", ()))
                found.update(one for row in content.get("name", ()) for one in row.get("given", ()))
                found.add(content.get("birthDate", ""))
    return frozenset(word for word in found if len(word) >= _CHARS_MIN)


def hits(folder: Path) -> Iterator[Hit]:
    """Search every file below a folder; a link is not followed."""
    expression, named = _expression()
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        for file in files:
            path = Path(place) / file
            if path.is_symlink() or not path.is_file():
                continue
            if (found := expression.search(path.read_bytes())) is not None:
                yield Hit(path, named[found[0]])


@cache
def _expression() -> tuple[re.Pattern[bytes], dict[bytes, str]]:
    named = {written: word for word in words() for written in _forms(word)}
    return re.compile(b"|".join(map(re.escape, sorted(named)))), named


def _forms(word: str) -> Iterator[bytes]:
    raw = word.encode()
    yield raw
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw)
        first = -(-offset * 4 // 3)  # what the bytes before it have a part in
        last = (offset + len(raw)) // 3 * 4  # and what the bytes after it have
        if last - first >= _CHARS_MIN:
            yield encoded[first:last]


def _texts(node: Any, member: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _texts(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, member)
    elif isinstance(node, str):
        yield member, node
