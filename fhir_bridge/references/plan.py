"""
Where everything that a record may name is at the destination, or that it is not there.

A plan is made once for a transfer. What a reference becomes depends on its text
alone, so it is worked out once for each text.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fhir_bridge.records import RecordRef
from fhir_bridge.references.targets import (
    Foreign,
    Local,
    Malformed,
    Target,
    Urn,
    target,
)
from fhir_bridge.references.urls import without_secrets

NAMESPACE = uuid.UUID("5bd2a1c3-3a4e-5c1f-9d8e-6f0c7f2b9a41")
"""Ids of copies are made in it. Changing it would copy every record a second time."""

_NAMED = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}")
_URI_SYSTEM = "urn:ietf:rfc:3986"


def copy_id(source_identity: str, ref: RecordRef) -> str:
    """
    Return the id of a record's copy, the same at every attempt.

    Args:
        source_identity: Identity of the source, configured or its base.
        ref: The record there.

    Source:
        RFC 9562 section 5.5 (UUID version 5); the name is our own rule.
    """
    return str(uuid.uuid5(NAMESPACE, f"{source_identity}/{ref}"))


def copy_ref(source_identity: str, ref: RecordRef, *, attachment: bool = False) -> RecordRef:
    """
    Return what a record's copy is at a destination, the same at every attempt.

    Args:
        source_identity: Identity of the source, configured or its base.
        ref: The record there.
        attachment: It is bytes, whose copy is always a Binary.
    """
    type_ = "Binary" if attachment else ref.partition("/")[0]
    return RecordRef(f"{type_}/{copy_id(source_identity, ref)}")


class Verb(Enum):
    """What is done with an address."""

    KEEP = 0
    POINT = 1
    """It becomes the reference of the copy."""
    UNVERSION = 2
    """The same, and the version it named is left out: the copy has versions of its own."""
    NAME = 3
    """It becomes an identifier: what it pointed to is not at the destination."""
    REMOVE = 4
    """It must not be named."""
    REWORD = 5
    """It becomes another address: absolute, or without its secret."""


Resolved = tuple[Verb, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where everything a record may name is, or is not, at the destination."""

    base: str
    """Base of the source."""
    identity: str
    """Identity of the source; logical references are named after it."""
    copies: Mapping[RecordRef, RecordRef]
    """Reference at the source to the copy, or to what the destination has of its own."""
    removed: frozenset[RecordRef] = frozenset()
    """What no copy may name."""
    urls: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """Attachment URL as received to the copy; None when its bytes could not be had."""
    removed_identifiers: frozenset[tuple[str, str]] = frozenset()
    """Identifiers (system, value) of what no copy may name, for logical references."""
    _references: dict[str, Resolved] = field(
        default_factory=dict[str, Resolved], init=False, repr=False, compare=False
    )

    def reference(self, text: str) -> Resolved:
        """Return what becomes of Reference.reference."""
        resolved = self._references.get(text)
        if resolved is None:
            resolved = self._references[text] = self._reference(text)
        return resolved

    def address(self, url: str) -> Resolved:
        """Return what becomes of Attachment.url; it is never left pointing to nothing."""
        where = target(url, self.base)
        if self._is_removed(where):
            return Verb.REMOVE, None
        to = self.urls.get(url) or (
            self.copies.get(where.ref) if isinstance(where, Local) else None
        )
        if to is not None:
            return Verb.POINT, to
        if isinstance(where, Local):
            return Verb.REWORD, f"{self.base}/{where.ref}"
        if isinstance(where, Malformed) and "://" not in url:
            return Verb.REWORD, f"{self.base}/{url.strip()}"
        return _reworded(url)

    def _reference(self, text: str) -> Resolved:
        where = target(text, self.base)
        if isinstance(where, Foreign):
            return _reworded(text)
        if self._is_removed(where):
            return Verb.REMOVE, None
        if not isinstance(where, Local):
            return self._name(where, text)
        to = self.copies.get(where.ref)
        if to is None:
            type_, _, id_ = where.ref.partition("/")
            return Verb.NAME, {"system": f"{self.identity}/{type_}", "value": id_}
        return (Verb.UNVERSION if where.version else Verb.POINT), to

    def _is_removed(self, where: Target) -> bool:
        """Tell whether an address names what may not be named, well written or not."""
        if isinstance(where, Local):
            return where.ref in self.removed
        if isinstance(where, Malformed):
            return any(named in self.removed for named in _NAMED.findall(where.text))
        return False

    def _name(self, where: Target, text: str) -> Resolved:
        """Servers refuse a name in place of an address, or resolve it as a search of theirs."""
        if isinstance(where, Urn):
            return Verb.NAME, {"system": _URI_SYSTEM, "value": text}
        if isinstance(where, Malformed):
            return Verb.NAME, {"system": self.identity, "value": text}
        return Verb.KEEP, None


def _reworded(url: str) -> Resolved:
    clean = without_secrets(url)
    return (Verb.KEEP, None) if clean == url else (Verb.REWORD, clean)
