"""
Cursors: where a page ended, in a form that means nothing to the caller.

A cursor is sealed together with the search it belongs to, so it can be neither
read, nor altered, nor carried over to another search or organisation.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec

from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.errors import Tampered
from fhir_bridge.store import Store

T = TypeVar("T")


def write(store: Store, place: Any, search: Any) -> str:
    """
    Write a cursor.

    Args:
        store: Seals it.
        place: Where the page ended.
        search: What was searched for, the organisation included.
    """
    sealed = store.sealed(_purpose(search), msgspec.json.encode(place))
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def read(store: Store, cursor: str | None, search: Any, into: type[T]) -> T | None:
    """
    Return where a page ended; None for the first page.

    Raises:
        Answered: The cursor is none of ours, or of another search.
    """
    if cursor is None:
        return None
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(store.unsealed(_purpose(search), sealed), type=into)
    except (binascii.Error, ValueError, Tampered) as error:
        raise Answered(Problem.CURSOR_INVALID) from error


def _purpose(search: Any) -> str:
    return f"cursor/{msgspec.json.encode(search).decode()}"
