"""
Take references out of a copy so that nothing tells that they were there.

A reference to something withheld goes whole, and with it what cannot stand
without it: the entry that has to have a link, the extension that held it, the
list that is empty now. Where FHIR requires the reference on the resource
itself, or where its absence would change what the rest says, nothing is left
to send and the element is reported as broken.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.codes import mapping
from fhir_bridge.records import Json
from fhir_bridge.references.places import (
    Place,
    element,
    in_extension,
    is_resource,
    marked_places,
    path,
)

Cut = tuple[Place, str, int | None, Any]
"""Where something was taken out: its parent, its name, its index, and what it was."""

_ALONE_IS_NOTHING = frozenset({"id", "url"})


def breaks_minimum(content: Json, paths: Iterable[str]) -> tuple[str, ...]:
    """
    Tell what becomes invalid when references are taken out of a resource.

    Args:
        content: The resource; it is not changed.
        paths: Places of the references, as `walk` names them.

    Returns:
        Elements that must not be missing; empty when the rest can be sent.
    """
    wanted = set(paths)
    spare: Json = lossless.decode_own(lossless.encode(content))
    places = [place for place in marked_places(spare) if path(place) in wanted]
    return take_out(places, [])


def take_out(places: Iterable[Place], cuts: list[Cut]) -> tuple[str, ...]:
    """
    Take places out of their resource, with what cannot stand without them.

    Args:
        places: Last in the document first.
        cuts: Receives what was taken out, in order.

    Returns:
        Elements that must not be missing.
    """
    broken: list[str] = []
    gone: set[int] = set()
    for place in places:
        if not _is_inside(place, gone):
            fault = _take_out_one(place, cuts, gone)
            if fault is not None:
                broken.append(fault)
    return tuple(broken)


def _is_inside(place: Place, gone: set[int]) -> bool:
    current: Any = place
    while current is not None:
        if id(current[0]) in gone:
            return True
        current = current[1]
    return False


def _take_out_one(place: Place, cuts: list[Cut], gone: set[int]) -> str | None:
    """Climb from a reference to the outermost element that cannot stay without it."""
    while not _must_stay(place):
        last_of_its_kind = _cut(place, cuts)
        gone.add(id(place[0]))
        parent: Place = place[1]
        if in_extension(parent):
            place = parent
        elif last_of_its_kind and element(place) in _required():
            if is_resource(parent):
                return element(place)
            place = parent
        elif is_resource(parent) or not _is_bare(parent[0]):
            return None
        else:
            place = parent
    return element(place) if place[2] != "modifierExtension" else path(place)


def _must_stay(place: Place) -> bool:
    """Without a modifier, or a limit of a consent, the rest would say something else."""
    return place[2] == "modifierExtension" or element(place) in _meaning()


def _cut(place: Place, cuts: list[Cut]) -> bool:
    """Take one element out; say whether none of its name is left."""
    node, parent, name, index = place
    siblings = parent[0][name]
    if index is not None:
        cuts.append((parent, name, index, node))
        if name.startswith("_"):
            siblings[index] = None  # these stand beside the values of a list, by number
        else:
            del siblings[index]
        if any(one is not None for one in siblings):
            return False
    cuts.append((parent, name, None, parent[0].pop(name)))
    return True


def _is_bare(node: Json) -> bool:
    return node.keys() <= _ALONE_IS_NOTHING


@cache
def _required() -> frozenset[str]:
    return frozenset(mapping("minimum.json")["required"])


@cache
def _meaning() -> frozenset[str]:
    return frozenset(mapping("minimum.json")["meaning"])
