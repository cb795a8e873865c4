"""Whether a reference in a Consent names a certain organisation, or the patient."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from fhir_bridge.consent.answers import Truth, either
from fhir_bridge.consent.asking import Ask, Party
from fhir_bridge.consent.terms import Code, identifier, identifiers_of
from fhir_bridge.records import Json, RecordRef

Resolve = Callable[[str], Json | None]

_LOCAL = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?\Z")
_DEPTH_MAX = 4
"""A group of a care team of a group: deeper, or round in a circle, nobody can tell."""

_NEVER_AN_ORGANISATION = {"Patient", "RelatedPerson"}


class Lookup:
    """What references lead to; each is asked for once."""

    def __init__(self, resolve: Resolve) -> None:
        """Keep how the source is read."""
        self._resolve = resolve
        self._seen: dict[str, Json | None] = {}

    def find(self, reference: Any, container: Any) -> Json | None:
        """
        Return the resource behind the text of a reference; None when it cannot be had.

        Args:
            reference: As received.
            container: The resource that holds the reference; ``#x`` is looked
                for in it and nowhere else.
        """
        if not isinstance(reference, str):
            return None
        if reference.startswith("#"):
            return _contained(reference[1:], container)
        if reference not in self._seen:
            found = self._resolve(reference)
            self._seen[reference] = found if isinstance(found, dict) else None
        return self._seen[reference]

    def ref(self, reference: Any) -> tuple[RecordRef, str | None] | None:
        """
        Return the record at the source that a reference names, with its version.

        Returns:
            None for a contained, logical or foreign one, or none at all.
        """
        if not isinstance(reference, str) or reference.startswith("#"):
            return None
        local = _LOCAL.match(reference)
        if local:
            return RecordRef(local[1]), local[2]
        found = self.find(reference, None)
        if found is None:
            return None
        return RecordRef(f"{found.get('resourceType')}/{found.get('id')}"), None


class Naming:
    """Tells whether a reference names one organisation."""

    def __init__(self, party: Party, lookup: Lookup) -> None:
        """Keep what is known of the organisation, its identifiers in one spelling."""
        self._identifiers = frozenset(identifier(*pair) for pair in party.identifiers)
        self._systems = frozenset(system for system, _ in self._identifiers)
        self._references = party.references
        self._lookup = lookup

    def names(self, reference: Any, container: Any, depth: int = 0) -> Truth:
        """
        Tell whether a Reference names the organisation.

        Args:
            reference: A Reference element in any shape.
            container: The resource that holds it.
            depth: How many groups and roles lead here.

        Returns:
            CANNOT_TELL when it leads nowhere, has a display only, or shares no
            identifier system with the organisation.
        """
        if not isinstance(reference, dict) or depth > _DEPTH_MAX:
            return Truth.CANNOT_TELL
        said = (
            [self._by_reference(reference["reference"], container, depth)]
            if ("reference" in reference)
            else []
        )
        if "identifier" in reference:
            said.append(self._compare(identifiers_of(reference["identifier"])))
        told = {truth for truth in said if truth is not Truth.CANNOT_TELL}
        return told.pop() if len(told) == 1 else Truth.CANNOT_TELL

    def _by_reference(self, text: Any, container: Any, depth: int) -> Truth:
        if isinstance(text, str) and text in self._references:
            return Truth.YES
        found = self._lookup.find(text, container)
        if found is None:
            return Truth.CANNOT_TELL
        return self._is(found, container if _is_contained(text) else found, depth)

    def _is(self, resource: Json, container: Any, depth: int) -> Truth:
        match resource.get("resourceType"):
            case "Organization":
                return self._organisation(resource, container, depth)
            case "PractitionerRole":
                return self._both(resource, ("practitioner", "organization"), container, depth)
            case "Group":
                return either(*self._members(resource, "member", ("entity",), container, depth))
            case "CareTeam":
                team = either(
                    *self._members(
                        resource, "participant", ("member", "onBehalfOf"), container, depth
                    )
                )
                return _doubt(team, doubtful=resource.get("status") != "active")
            case str(type_) if type_ in _NEVER_AN_ORGANISATION:
                return Truth.NO
            case _:
                return self._somebody(resource)

    def _organisation(self, resource: Json, container: Any, depth: int) -> Truth:
        truth = self._compare(identifiers_of(resource.get("identifier")))
        if truth is Truth.NO and "partOf" in resource:
            whole = self.names(resource["partOf"], container, depth + 1)
            return _doubt(whole, doubtful=True)  # a department is not its hospital, nor a stranger
        return truth

    def _somebody(self, resource: Json) -> Truth:
        """A person or device that is not the recipient may still work there."""
        same = self._compare(identifiers_of(resource.get("identifier"))) is Truth.YES
        return Truth.YES if same else Truth.CANNOT_TELL

    def _both(self, holder: Json, names: tuple[str, ...], container: Any, depth: int) -> Truth:
        said = [self.names(holder[name], container, depth + 1) for name in names if name in holder]
        return min(said, default=Truth.CANNOT_TELL)

    def _members(
        self, group: Json, element: str, names: tuple[str, ...], container: Any, depth: int
    ) -> Iterator[Truth]:
        rows = group.get(element)
        if not isinstance(rows, list) or not rows:
            yield Truth.CANNOT_TELL  # described, not listed: anybody may belong to it
            return
        for row in rows:
            holder = row if isinstance(row, dict) else {}
            past = holder.get("inactive") is True or "period" in holder
            yield _doubt(self._both(holder, names, container, depth), doubtful=past)

    def _compare(self, found: frozenset[Code]) -> Truth:
        if found & self._identifiers:
            return Truth.YES
        comparable = any(system in self._systems for system, _ in found)
        return Truth.NO if comparable else Truth.CANNOT_TELL


def is_patient(reference: Any, container: Any, ask: Ask, lookup: Lookup) -> bool:
    """Tell whether a Reference certainly names the patient."""
    if not isinstance(reference, dict):
        return False
    text = reference.get("reference")
    if _is_contained(text):
        found = lookup.find(text, container) or {}
        same_type = found.get("resourceType") == "Patient"
        return same_type and _shares(found.get("identifier"), ask)
    if text is not None:
        named = lookup.ref(text)
        return named is not None and named[0] == ask.patient
    return _shares(reference.get("identifier"), ask)


def _shares(identifiers: Any, ask: Ask) -> bool:
    known = frozenset(identifier(*pair) for pair in ask.patient_identifiers)
    return bool(identifiers_of(identifiers) & known)


def _doubt(truth: Truth, *, doubtful: bool) -> Truth:
    return min(truth, Truth.CANNOT_TELL) if doubtful else truth


def _is_contained(text: Any) -> bool:
    return isinstance(text, str) and text.startswith("#")


def _contained(id_: str, container: Any) -> Json | None:
    rows = container.get("contained") if isinstance(container, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("id") == id_:
            return row
    return None
