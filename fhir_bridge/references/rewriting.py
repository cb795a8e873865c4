"""
Write a record as the copy that the second provider gets, and take it back.

A copy differs from what was received in listed ways only: its id, references
and attachment URLs by the plan, our identifier, what every server sets for
itself, passwords in URLs, and what must not be named. Everything done is kept
in order, so that `undo` gives the record back exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.codes import mapping
from fhir_bridge.errors import BadRecord
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.references.places import (
    Place,
    is_attachment,
    is_reference,
    marked_places,
    path,
    steps,
)
from fhir_bridge.references.plan import Plan, Verb
from fhir_bridge.references.removal import take_out
from fhir_bridge.references.urls import without_secrets

REDACTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "REDACTED",
}
"""Label of a copy from which a reference was taken out (HL7 v3-ObservationValue)."""

_SERVER_META = ("versionId", "lastUpdated", "source")
_ABSENT = object()
_SET = -1
_HOLDS_RESOURCES = frozenset({"Bundle", "Parameters"})

Change = tuple[Place, str, int | None, Any]
"""Element, name of the member, index of what was taken out (`_SET`: replaced), value before."""


@dataclass(slots=True)
class Rewritten:
    """A copy and what makes it different from the record."""

    content: Json
    refers_to: set[RecordRef] = field(default_factory=set[RecordRef])
    """What the copy refers to at the destination, Binaries included."""
    severed: tuple[str, ...] = ()
    """Places whose address became a name, or lost a secret."""
    removed: tuple[str, ...] = ()
    """Places that were taken out."""
    unversioned: tuple[str, ...] = ()
    """Places that named a version; the copy names the resource."""
    broken: tuple[str, ...] = ()
    """Elements that have to be there and are gone: the copy must not be sent."""
    journal: list[Change] = field(default_factory=list[Change], repr=False)
    """What was done, in order; for `undo`."""

    @property
    def listed(self) -> tuple[str, ...]:
        """Return every place that the manifest has to name."""
        return (*self.severed, *self.removed, *self.unversioned)


def rewrite(content: Json, plan: Plan, *, to: RecordRef) -> Rewritten:
    """
    Turn a record into its copy.

    Args:
        content: The record, parsed for this call: it becomes the copy.
        plan: Where everything is at the destination.
        to: Reference of the copy.

    Raises:
        BadRecord: It is a Bundle or Parameters: a reference inside means
            something by the place where it stands, so it cannot be rewritten.
        MalformedJson: A list inside a list.
    """
    type_ = str(content.get("resourceType"))
    if type_ in _HOLDS_RESOURCES:
        raise BadRecord(f"{type_}/{content.get('id')} holds resources of its own: it is not copied")
    work = _Work(content, plan)
    work.visit(marked_places(content))
    work.list_places()
    work.take_out()
    work.mark_as_copy(type_, to)
    return work.result


class _Work:
    """One rewriting, last in the document first."""

    def __init__(self, content: Json, plan: Plan) -> None:
        self.result = Rewritten(content)
        self.plan = plan
        self.severed: list[Place] = []
        self.unversioned: list[Place] = []
        self.removed: list[Place] = []

    def visit(self, places: list[Place]) -> None:
        """Map every address."""
        forbidden = self.plan.removed_identifiers
        for place in places:
            node = place[0]
            text = node.get("reference")
            if type(text) is str and is_reference(place):
                self._reference(place, text)
            elif "url" in node:
                self._address(place, node)
            elif node.get("resourceType") == "Endpoint":
                self._endpoint(place, node)
            if forbidden and is_reference(place):
                self._named(place, node)

    def _reference(self, place: Place, text: str) -> None:
        verb, given = self.plan.reference(text)
        if verb is Verb.POINT:
            self.result.journal.append((place, "reference", _SET, text))
            place[0]["reference"] = given
            self.result.refers_to.add(given)
        elif verb is Verb.NAME:
            self.severed.append(place)
            self._set(place, "reference", _ABSENT)
            if "identifier" not in place[0]:
                self._set(place, "identifier", dict(given))
        else:
            self._apply(place, "reference", verb, given)

    def _address(self, place: Place, node: Json) -> None:
        """Map the URL of an attachment; take secrets out of any other."""
        if not is_attachment(place):
            for name in ("valueUrl", "valueUri"):
                self._clean(place, node.get(name), name)
        elif type(url := node["url"]) is str:
            self._apply(place, "url", *self.plan.address(url))

    def _apply(self, place: Place, name: str, verb: Verb, given: Any) -> None:
        if verb is Verb.REMOVE:
            self.removed.append(place)
        elif verb is Verb.REWORD:
            self._set(place, name, given)
            self.severed.append(place)
        elif verb is not Verb.KEEP:
            self._set(place, name, given)
            self.result.refers_to.add(given)
            if verb is Verb.UNVERSION:
                self.unversioned.append(place)

    def _endpoint(self, place: Place, node: Json) -> None:
        """Take out what an endpoint tells only those who may sign in there."""
        for name in ("header", "_header"):
            if name in node:
                self._set(place, name, _ABSENT)
                self.severed.append(_below(place, name))
        self._clean(place, node.get("address"), "address")

    def _clean(self, place: Place, url: Any, name: str) -> None:
        if type(url) is str and (clean := without_secrets(url)) != url:
            self._set(place, name, clean)
            self.severed.append(_below(place, name))

    def _named(self, place: Place, node: Json) -> None:
        """A logical reference may name what must not be named, too."""
        identifier = node.get("identifier")
        if isinstance(identifier, dict):
            name = (identifier.get("system"), identifier.get("value"))
            if name in self.plan.removed_identifiers:
                self.removed.append(place)

    def _set(self, place: Place, name: str, value: Any) -> None:
        node = place[0]
        self.result.journal.append((place, name, _SET, node.get(name, _ABSENT)))
        if value is _ABSENT:
            del node[name]
        else:
            node[name] = value

    def list_places(self) -> None:
        """Name places as they are in the record, before anything is taken out."""
        for name in ("severed", "removed", "unversioned"):
            if places := getattr(self, name):
                setattr(self.result, name, tuple(sorted({path(place) for place in places})))

    def take_out(self) -> None:
        """Take out what may not be named."""
        if self.removed:
            self.result.broken = take_out(self.removed, self.result.journal)

    def mark_as_copy(self, type_: str, to: RecordRef) -> None:
        """Write what every copy carries."""
        content = self.result.content
        root: Place = (content, None, "", None)
        source_id = content.get("id")
        self._set(root, "id", to.partition("/")[2])
        self._set_meta(root)
        identifiers = content.get("identifier", [])
        if type_ in _identified_types() and isinstance(identifiers, list):
            system = f"{self.plan.identity}/{type_}"
            own = {"use": "secondary", "system": system, "value": source_id}
            self._set(root, "identifier", [*identifiers, own])

    def _set_meta(self, root: Place) -> None:
        meta = root[0].get("meta")
        if not isinstance(meta, dict):
            meta = {}
        kept = {name: value for name, value in meta.items() if name not in _SERVER_META}
        labels = kept.get("security") or []
        if self.result.removed and REDACTED not in labels:
            kept["security"] = [*labels, dict(REDACTED)]
        if (kept or None) != root[0].get("meta"):
            self._set(root, "meta", kept or _ABSENT)


def _below(place: Place, name: str) -> Place:
    return (place[0], place, name, None)


@cache
def _identified_types() -> frozenset[str]:
    return frozenset(mapping("identifier-elements.json")["types"])


def undo(copy: Json, rewritten: Rewritten) -> Json:
    """
    Turn a copy back into the record that it was made from.

    Args:
        copy: The copy as read back, or as written; it becomes the record.
        rewritten: What `rewrite` returned for it.

    Returns:
        The record. It equals the original when the copy is what was written.
    """
    for place, name, index, before in reversed(rewritten.journal):
        _put_back(_at(copy, place), name, index, before)
    return copy


def _put_back(node: Json, name: str, index: int | None, before: Any) -> None:
    if before is _ABSENT:
        del node[name]
    elif index is None or index == _SET:
        node[name] = _spare(before)
    elif name.startswith("_"):
        node[name][index] = _spare(before)
    else:
        node[name].insert(index, _spare(before))


def _at(content: Json, place: Place) -> Json:
    node: Any = content
    for name, index in steps(place):
        node = node[name] if index is None else node[name][index]
    found: Json = node
    return found


def _spare(value: Any) -> Any:
    """Copy a value, so that what is undone shares nothing with the journal."""
    return lossless.decode_own(lossless.encode(value))
