"""Who wrote something: a person, an organisation, or a person for an organisation."""

from __future__ import annotations

from typing import Any

from fhir_bridge.consent.answers import Truth
from fhir_bridge.consent.parties import Lookup
from fhir_bridge.consent.terms import Code, identifiers_of
from fhir_bridge.records import Json

_PERSONS = {"Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Device"}
_PARTS = ("practitioner", "organization")


class Author:
    """One reference to an author, with everything that names the same one."""

    def __init__(self, lookup: Lookup, reference: Json, container: Json) -> None:
        """
        Follow the reference, and through a PractitionerRole to both its sides.

        Args:
            lookup: What references lead to.
            reference: A Reference element.
            container: The resource that holds it.
        """
        self._lookup = lookup
        found = lookup.find(reference.get("reference"), container)
        self._own = self._names(reference, found)
        self._parts: list[frozenset[Code]] = []
        self.clear = found is not None
        """Everything that the reference leads to could be read."""
        self.is_person = found is not None and str(found.get("resourceType")) in _PERSONS
        if found is not None and found.get("resourceType") == "PractitionerRole":
            self._follow(found)

    def same(self, other: Author) -> Truth:
        """
        Tell whether another author is this one.

        Returns:
            For a role, both its sides must fit; the person alone, who may have
            written it elsewhere, cannot be told.
        """
        known = other._own.union(*other._parts)
        if not self._own.isdisjoint(known):
            return Truth.YES
        fits = [not part.isdisjoint(known) for part in self._parts]
        if not fits or not fits[0]:
            return Truth.NO
        return Truth.YES if all(fits) else Truth.CANNOT_TELL

    def _follow(self, role: Json) -> None:
        for name in _PARTS:
            part = role.get(name)
            if isinstance(part, dict):
                found = self._lookup.find(part.get("reference"), role)
                self._parts.append(self._names(part, found))
                self.clear &= found is not None

    def _names(self, reference: Json, found: Json | None) -> frozenset[Code]:
        """Return the reference and every identifier, as pairs that can be compared."""
        named = self._lookup.ref(reference.get("reference"))
        own: frozenset[Code] = frozenset({("", named[0])}) if named else frozenset()
        return own | _identifiers(reference) | _identifiers(found)


def _identifiers(holder: Any) -> frozenset[Code]:
    return identifiers_of(holder.get("identifier")) if isinstance(holder, dict) else frozenset()
