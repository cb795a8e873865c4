"""
Find references at the destination that lead nowhere.

Servers check some references when they store a resource and let others pass in
silence. HAPI 8.8.0 (2026-11) accepts a missing imagingStudy, a missing target
in an extension, in Attachment.url, of ``#id``, behind its own absolute base and
a version that never was. So every reference is walked here, by whatever
element it stands in.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from fhir_bridge.records import Json, RecordRef
from fhir_bridge.references.places import survey
from fhir_bridge.references.targets import Contained, Local, Malformed, Target, Urn, target


@dataclass(frozen=True, slots=True)
class Suspect:
    """A reference that may lead nowhere."""

    ref: RecordRef
    """The resource that refers."""
    path: str
    to: RecordRef | None
    """What to ask the server for; None when it dangles for certain."""


def dangling(
    contents: Iterable[tuple[RecordRef, Json]], base: str, known: Container[RecordRef]
) -> list[Suspect]:
    """
    Walk resources of one server and list what they refer to and is not known.

    Args:
        contents: Resources as read from the server.
        base: The server's base.
        known: What is known to be there.

    Returns:
        Suspects in the order of the resources. Addresses of other servers are
        none; neither are logical references and ``urn:`` in an attachment,
        which are names.
    """
    found: list[Suspect] = []
    for ref, content in contents:
        inside = _contained_ids(content)
        surveyed = survey(content)
        for one in surveyed.references:
            where = target(one.reference, base)
            if isinstance(where, Urn) or _leads_nowhere(where, inside, known):
                found.append(Suspect(ref, one.path, _to_ask(where)))
        for shown in surveyed.attachments:
            where = target(shown.url, base)
            if _leads_nowhere(where, inside, known):
                found.append(Suspect(ref, shown.path, _to_ask(where)))
    return found


def _leads_nowhere(where: Target, inside: set[str], known: Container[RecordRef]) -> bool:
    if isinstance(where, Local):
        return where.version is not None or where.ref not in known
    if isinstance(where, Contained):
        return where.id not in inside
    return isinstance(where, Malformed)


def _to_ask(where: Target) -> RecordRef | None:
    """A version cannot be asked for among others; none is ever written, so it dangles."""
    return where.ref if isinstance(where, Local) and where.version is None else None


def _contained_ids(content: Json) -> set[str]:
    contained = content.get("contained")
    ids = {""}
    for one in contained if isinstance(contained, list) else []:
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            ids.add(one["id"])
    return ids
