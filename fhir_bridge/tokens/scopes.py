"""
What a server was asked to allow, and what it allows.

A server may grant less than was asked and answer 200 all the same; a transfer
would then end in the middle with a 403. So the two are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_FIRST_FORM = {"read": "rs", "write": "cud", "*": "cruds"}
"""Words of SMART 1 with the letters of SMART 2 that they mean."""

_LETTERS = frozenset("cruds")
_CONTEXTS = frozenset({"system", "user", "patient"})


class _Scope(NamedTuple):
    context: str
    type: str
    letters: frozenset[str]
    narrowed: str
    """The query that narrows it; empty for none."""


def missing(asked: Sequence[str], granted: Sequence[str]) -> list[str]:
    """
    Return the scopes asked for that what was granted does not cover.

    Source:
        SMART App Launch 2.2, Scopes and Launch Context: `system/Type.cruds`,
        `*` for all types, SMART 1's `read` and `write`, a query that narrows.
        Any other word covers itself only.
    """
    given = [scope for one in granted if (scope := _read(one)) is not None]
    return [one for one in asked if one not in granted and not _covered(_read(one), given)]


def _covered(asked: _Scope | None, given: Sequence[_Scope]) -> bool:
    """Tell whether several scopes together allow what one asks."""
    if asked is None:
        return False
    allowed: set[str] = set()
    for scope in given:
        if (
            scope.context == asked.context
            and scope.type in {"*", asked.type}
            and scope.narrowed in {"", asked.narrowed}
        ):
            allowed |= scope.letters
    return asked.letters <= allowed


def _read(text: str) -> _Scope | None:
    context, slash, rest = text.partition("/")
    plain, _, narrowed = rest.partition("?")
    type_, dot, word = plain.rpartition(".")
    letters = frozenset(_FIRST_FORM.get(word, word))
    if context not in _CONTEXTS or not (slash and dot and type_ and letters):
        return None
    return _Scope(context, type_, letters, narrowed) if letters <= _LETTERS else None
