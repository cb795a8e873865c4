"""
Where references and attachments stand in a resource.

Every element is visited, extensions and contained resources included: a
reference that is overlooked dangles at the destination, or names a record that
the patient keeps back. Canonical and plain uri elements are not references and
are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_bridge.errors import MalformedJson
from fhir_bridge.records import Json

Place = tuple[Json, Any, str, int | None]
"""An element, the place it hangs from, its name there, its index when it repeats."""

_ATTACHMENT_NAMES = frozenset(
    {"presentedForm", "attachment", "content", "photo", "image", "form", "document"}
)
_EXTENSIONS = frozenset({"extension", "modifierExtension"})


@dataclass(frozen=True, slots=True)
class Found:
    """One Reference element."""

    path: str
    """Where it stands, e.g. ``result[0]`` or ``contained[1].subject``."""
    element: str
    """What it is, e.g. ``DiagnosticReport.result`` or ``Extension.valueReference``."""
    holder: Json
    """The Reference itself; changing it changes the resource."""
    reference: str | None
    """None for a logical reference, which has only an identifier."""


@dataclass(frozen=True, slots=True)
class FoundAttachment:
    """One Attachment element."""

    path: str
    element: str
    holder: Json
    url: str | None
    has_data: bool
    content_type: str | None


@dataclass(frozen=True, slots=True)
class Survey:
    """Every reference and every attachment of a resource, in document order."""

    references: list[Found]
    attachments: list[FoundAttachment]


def survey(content: Json) -> Survey:
    """
    Find every Reference and every Attachment of a resource in one pass.

    Args:
        content: A resource as received. Its shape is not trusted.

    Raises:
        MalformedJson: A list inside a list: what stands in it could not be seen
            by everyone who reads the record.

    Source:
        https://hl7.org/fhir/R4/references.html,
        https://hl7.org/fhir/R4/datatypes.html#Attachment
    """
    found = Survey([], [])
    for place in reversed(marked_places(content)):
        if is_reference(place):
            reference = place[0].get("reference")
            found.references.append(Found(path(place), element(place), place[0], reference))
        elif is_attachment(place):
            found.attachments.append(_attachment(place))
    return found


def _attachment(place: Place) -> FoundAttachment:
    holder = place[0]
    return FoundAttachment(
        path=path(place),
        element=element(place),
        holder=holder,
        url=_text(holder.get("url")),
        has_data=isinstance(holder.get("data"), str),
        content_type=_text(holder.get("contentType")),
    )


def walk(content: Json) -> Iterator[Found]:
    """Find every Reference of a resource, as `survey` does."""
    yield from survey(content).references


def attachments(content: Json) -> Iterator[FoundAttachment]:
    """Find every Attachment of a resource, as `survey` does."""
    yield from survey(content).attachments


def marked_places(content: Json) -> list[Place]:  # noqa: C901 - a call per list costs a quarter
    """
    Return the places that may be a reference, an attachment or a resource.

    Returns:
        Last in the document first, and the outer one before what it holds: the
        order in which elements can be taken out without moving the others.

    Raises:
        MalformedJson: A list inside a list.
    """
    marked: list[Place] = []
    stack: list[Place] = [(content, None, "", None)]
    while stack:
        place = stack.pop()
        node = place[0]
        if (
            "reference" in node
            or "url" in node
            or "identifier" in node
            or "contentType" in node
            or "data" in node
            or "resourceType" in node
        ):
            marked.append(place)
        for name, value in node.items():
            kind = type(value)
            if kind is dict:
                stack.append((value, place, name, None))
            elif kind is list:
                for index, item in enumerate(value):
                    if type(item) is dict:
                        stack.append((item, place, name, index))
                    elif type(item) is list:
                        raise _nested(place, name)
    return marked


def _nested(place: Place, name: str) -> MalformedJson:
    return MalformedJson(
        f"{element(place)}.{name} holds a list inside a list, which FHIR does not have"
    )


def is_reference(place: Place) -> bool:
    """
    Tell whether a place is a Reference, with a reference or an identifier.

    An element that holds nothing but an identifier is taken for one: to look at
    one too many does no harm, to overlook one does.

    Source:
        https://hl7.org/fhir/R4/references.html#Reference. Expression and
        Immunization.education have a uri of the same name.
    """
    node, _, name, _ = place
    if "resourceType" in node or name.lower().endswith(_NAMES_WITH_URI):
        return False
    if isinstance(node.get("reference"), str):
        return True
    return isinstance(node.get("identifier"), dict) and node.keys() <= _REFERENCE_MEMBERS


_NAMES_WITH_URI = ("expression", "criteria", "education")
_REFERENCE_MEMBERS = frozenset(
    {"id", "extension", "_reference", "type", "_type", "identifier", "display", "_display"}
)


def is_attachment(place: Place) -> bool:
    """Tell whether a place is an Attachment."""
    node, _, name, _ = place
    if not (name in _ATTACHMENT_NAMES or name.endswith("Attachment")):
        return False
    return "resourceType" not in node and bool(_ATTACHMENT_MEMBERS & node.keys())


_ATTACHMENT_MEMBERS = frozenset({"url", "contentType", "data"})


def in_extension(place: Place) -> bool:
    """Tell whether a place is an extension."""
    return place[2] in _EXTENSIONS


def is_resource(place: Place) -> bool:
    """Tell whether a place is a resource: the one looked at, or one contained in it."""
    return place[1] is None or "resourceType" in place[0]


def path(place: Place) -> str:
    """Return where a place stands, e.g. ``result[0]``; empty for the resource itself."""
    steps: list[str] = []
    while place[1] is not None:
        _, parent, name, index = place
        steps.append(name if index is None else f"{name}[{index}]")
        place = parent
    return ".".join(reversed(steps))


def element(place: Place) -> str:
    """
    Return what a place is, e.g. ``DiagnosticReport.result``.

    Returns:
        The path of the definition: contained resources and extensions start
        anew, and what nests in itself is named once
        (``Consent.provision.data.reference`` at every depth).
    """
    names: list[str] = []
    while True:
        node, parent, name, _ = place
        if is_resource(place):
            names.append(str(node.get("resourceType")))
            break
        if name in _EXTENSIONS:
            names.append("Extension")
            break
        if not (names and names[-1] == name):
            names.append(name)
        place = parent
    return ".".join(reversed(names))


def steps(place: Place) -> list[tuple[str, int | None]]:
    """Return the way to a place from the resource, to walk it in another copy."""
    way: list[tuple[str, int | None]] = []
    while place[1] is not None:
        _, parent, name, index = place
        way.append((name, index))
        place = parent
    return way[::-1]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
