"""
Whether a ServiceRequest at a watched server asks for a second opinion, and whose.

It is data from outside: it may name another patient's chart elsewhere, another
recipient, or be one of our own, written for a former transfer. Whatever is not
clear triggers nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fhir_bridge.bundles import reason_system
from fhir_bridge.fhir_server import Absent, FhirServer
from fhir_bridge.journey.parties import Provider
from fhir_bridge.records import Json, RecordRef, Resource
from fhir_bridge.references import Local, copy_id, target

SYSTEM, CODE = "http://snomed.info/sct", "77406008"
"""What is asked for: a confirmatory medical consultation, also called second opinion."""

_ORGANISATION = "Organization"
_QUESTION_CHARS_MAX = 4_000


class Passed(StrEnum):
    """Why a ServiceRequest triggers nothing."""

    OTHER = "other"
    """It does not ask for a second opinion, or not now."""
    OURS = "ours"
    """The bridge wrote it."""
    NO_PATIENT = "no-patient"
    """It names no patient of this server."""
    OTHER_RECIPIENT = "other-recipient"
    """It names organisations, and none of them stands behind the destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a ServiceRequest asks of us."""

    patient: RecordRef
    reasons: tuple[str, ...]
    question: str


def wish(
    request: Resource, source: Provider, destination: Provider, identities: AbstractSet[str]
) -> Wish | Passed:
    """
    Return what a ServiceRequest asks for.

    Args:
        request: As just read; from outside.
        source: Where it was found.
        destination: Where records would go.
        identities: Of all servers that the bridge knows: copies are named after them.

    Raises:
        SourceUnreachable: A performer that it names cannot be read now.
    """
    content = request.content()
    if not _asks(content):
        return Passed.OTHER
    if _is_ours(request, content, identities):
        return Passed.OURS
    patient = _local(content.get("subject"), source.server.base, "Patient")
    if patient is None:
        return Passed.NO_PATIENT
    if not _is_for(content, source.server, destination):
        return Passed.OTHER_RECIPIENT
    return Wish(patient=patient, reasons=_reasons(content), question=_question(content))


def _asks(content: Json) -> bool:
    """Look at it ourselves: a server may not have filtered as it was asked."""
    wanted = any(one.get("system") == SYSTEM and one.get("code") == CODE for one in _what(content))
    return (
        wanted
        and content.get("status") == "active"
        and content.get("intent") == "order"
        and not content.get("doNotPerform")
    )


def _what(content: Json) -> Iterator[Mapping[str, Any]]:
    yield from _rows(_object(content.get("code")).get("coding"))


def _is_ours(request: Resource, content: Json, identities: AbstractSet[str]) -> bool:
    """Know what was written for a transfer, and copies, by the names that they were given."""
    for row in _rows(content.get("identifier")):
        base, _, last = str(row.get("system", "")).rpartition("/")
        if last == "second-opinion":
            return True
        given = RecordRef(f"{request.type}/{row.get('value')}")
        if last == request.type and (base in identities or copy_id(base, given) == request.id):
            return True
    return False


def _is_for(content: Json, server: FhirServer, destination: Provider) -> bool:
    """Tell whether it goes to the destination; where it names no organisation, it does."""
    known = {(one.system, one.value) for one in destination.organisations}
    named = [one for one in _rows(content.get("performer")) if _is_organisation(one, server.base)]
    return not named or any(known & _identifiers(one, server) for one in named)


def _is_organisation(reference: Mapping[str, Any], base: str) -> bool:
    if reference.get("type", _ORGANISATION) != _ORGANISATION:
        return False
    return "identifier" in reference or _local(reference, base, _ORGANISATION) is not None


def _identifiers(reference: Mapping[str, Any], server: FhirServer) -> set[tuple[str, str]]:
    """Return the identifiers of an organisation, as the reference or its own record says."""
    rows = [_object(reference.get("identifier"))]
    at = _local(reference, server.base, _ORGANISATION)
    if at is not None:
        try:
            rows += _rows(server.read(at).content().get("identifier"))
        except Absent:
            return set()
    return {(str(row.get("system")), str(row.get("value"))) for row in rows if "value" in row}


def _reasons(content: Json) -> tuple[str, ...]:
    """Return the reasons that are ours; others are the records' own matter."""
    system, known = reason_system()
    codings = (
        coding
        for concept in _rows(content.get("reasonCode"))
        for coding in _rows(concept.get("coding"))
    )
    codes = [str(one.get("code")) for one in codings if one.get("system") == system]
    return tuple(dict.fromkeys(code for code in codes if code in known))


def _question(content: Json) -> str:
    texts = (str(one.get("text", "")).strip() for one in _rows(content.get("note")))
    return "\n".join(filter(None, texts))[:_QUESTION_CHARS_MAX]


def _local(reference: Any, base: str, type_: str) -> RecordRef | None:
    """Return the resource of this server that a reference names, if it is of this type."""
    text = _object(reference).get("reference")
    found = target(text if isinstance(text, str) else None, base)
    if isinstance(found, Local) and found.ref.startswith(f"{type_}/"):
        return found.ref
    return None


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
