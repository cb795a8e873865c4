"""
What a reference points to, as far as its text tells.

Only what lies under the base that a record came from is local. Nothing here
asks a server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urlsplit

from fhir_bridge.records import RecordRef

_RELATIVE = re.compile(
    r"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?\Z"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Local:
    """A resource of the same server."""

    ref: RecordRef
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Contained:
    """A resource inside the one that refers to it."""

    id: str
    """Empty when the container itself is meant."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """An address outside this server's base."""

    url: str


@dataclass(frozen=True, slots=True)
class Logical:
    """No address: an identifier or a display says what is meant."""


@dataclass(frozen=True, slots=True)
class Urn:
    """A name without an address, e.g. ``urn:uuid:…``."""

    urn: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not a form that FHIR allows for a literal reference, or no resource of this server."""

    text: str


Target = Local | Contained | Foreign | Logical | Urn | Malformed


def target(reference: str | None, base: str) -> Target:
    """
    Return what a reference points to.

    Args:
        reference: Reference.reference or Attachment.url as received.
        base: Base of the server that the record came from.

    Returns:
        `Local` also for an absolute address of the server's own base, in any
        spelling of it: letter case of scheme and host, default port, http or
        https, doubled slashes, percent signs.

    Source:
        https://hl7.org/fhir/R4/references.html#literal
    """
    if not reference:
        return Logical()
    if reference[0] == "#":
        return Contained(reference[1:])
    if found := _RELATIVE.match(reference):
        return Local(RecordRef(found[1]), found[2])
    return _absolute(reference, base)


def _absolute(reference: str, base: str) -> Target:
    scheme = _SCHEME.match(reference)
    if scheme is None:
        return Malformed(reference)
    if scheme[0].lower() == "urn:":
        return Urn(reference)
    below = _below(reference, base)
    if below is None:
        return Foreign(reference)
    found = _RELATIVE.match(below)
    return Local(RecordRef(found[1]), found[2]) if found else Malformed(reference)


def _below(url: str, base: str) -> str | None:
    """Return what follows the base in a URL; None when the URL lies elsewhere."""
    here, there = _split(base), _split(url)
    if here is None or there is None or _origin(here) != _origin(there):
        return None
    prefix, path = _path(here), _path(there)
    if ".." in path.split("/") or not path.startswith(f"{prefix}/"):
        return None
    rest = path[len(prefix) + 1 :]
    return f"{rest}?{there.query}" if there.query else rest


@lru_cache(maxsize=64)
def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        known = parts.port != 0 and parts.scheme in _DEFAULT_PORTS
    except ValueError:  # no URL: a port that is no number, half a bracket
        return None
    return parts if known else None


def _origin(parts: SplitResult) -> tuple[str, int | None]:
    """Return host and port; a default port counts as none, whichever scheme it belongs to."""
    port = None if parts.port in _DEFAULT_PORTS.values() else parts.port
    return (parts.hostname or "").rstrip("."), port


def _path(parts: SplitResult) -> str:
    return re.sub("/{2,}", "/", unquote(parts.path)).rstrip("/")
