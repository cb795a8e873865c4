"""References in resources that are being written: which must exist, and where they lead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhir_bridge.records import Json

_UNCHECKED = frozenset({"extension", "modifierExtension", "imagingStudy"})
"""HAPI 8.8.0 (2026-07) looks only at elements that a search parameter covers."""

_ADDRESSES = frozenset({"url", "valueUri", "valueUrl"})
"""Elements besides Reference.reference in which a transaction's urn:uuid is replaced."""


def checked(content: Json) -> Iterator[tuple[str, str]]:
    """
    Go through the references that must lead somewhere.

    Returns:
        Path such as ``Observation.subject`` and the reference as written;
        references into the resource itself (``#``) are left out.
    """
    for name, value in content.items():
        if isinstance(value, dict | list) and name not in _UNCHECKED:
            yield from _checked(value, f"{content['resourceType']}.{name}")


def _checked(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _checked(item, path)
        return
    if not isinstance(value, dict):
        return
    reference = value.get("reference")
    if isinstance(reference, str) and not reference.startswith("#"):
        yield path, reference
    for name, below in value.items():
        if isinstance(below, dict | list) and name not in _UNCHECKED:
            yield from _checked(below, f"{path}.{name}")


def redirect(value: Any, moved: Mapping[str, str]) -> Any:
    """
    Return a copy in which references and addresses lead to where things were stored.

    Args:
        value: A resource or a part of it.
        moved: From what a bundle wrote (``urn:uuid:…``, an absolute fullUrl or
            a conditional reference) to ``Type/id``.

    Source:
        https://hl7.org/fhir/R4/http.html#trules
    """
    if isinstance(value, list):
        return [redirect(item, moved) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {name: redirect(below, moved) for name, below in value.items()}
    for name in ("reference", *_ADDRESSES):
        written = copy.get(name)
        if isinstance(written, str) and written in moved:
            copy[name] = moved[written]
    return copy
