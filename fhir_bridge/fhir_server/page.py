"""One page of a search, as a server sent it: what is in it, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fhir_bridge import lossless
from fhir_bridge.errors import MalformedJson
from fhir_bridge.records import RecordRef, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One searchset Bundle."""

    matches: tuple[Resource, ...]
    included: tuple[Resource, ...]
    total: int | None
    next: str | None
    asked: frozenset[str] | None
    """Parameters that the server says it used; None when it does not say."""
    unreadable: int
    """Entries that hold no resource that FHIR allows."""


def read(body: bytes, type_: str | None) -> Page:
    """
    Read one page.

    Args:
        body: The answer.
        type_: What was searched, for servers that do not mark what matches;
            None when everything is a match.

    Raises:
        MalformedJson: Not a Bundle of resources.
    """
    content = lossless.decode(body)
    if not isinstance(content, dict) or content.get("resourceType") != "Bundle":
        raise MalformedJson("the answer to a search is not a Bundle")
    matches: list[Resource] = []
    included: list[Resource] = []
    unreadable = 0
    for mode, resource in _entries(content):
        if resource is None:
            unreadable += 1
            continue
        is_match = mode == "match" or (mode is None and type_ in {None, resource.type})
        (matches if is_match or type_ is None else included).append(resource)
    total = content.get("total")
    return Page(
        matches=tuple(matches),
        included=tuple(included),
        total=total if isinstance(total, int) else None,
        next=_link(content, "next"),
        asked=_asked(_link(content, "self")),
        unreadable=unreadable,
    )


def same(ref: RecordRef, content: Any) -> Resource:
    """
    Return the resource that was asked for.

    Raises:
        MalformedJson: It is another one, or none.
    """
    resource = Resource.of(content)
    if resource.ref != ref:
        raise MalformedJson(f"the server sent another resource when asked for {ref}")
    return resource


def _entries(content: dict[str, Any]) -> Iterator[tuple[str | None, Resource | None]]:
    rows = content.get("entry", [])
    if not isinstance(rows, list):
        raise MalformedJson("the entries of a Bundle are not a list")
    for row in rows:
        resource = row.get("resource") if isinstance(row, dict) else None
        search = row.get("search") if isinstance(row, dict) else None
        mode = search.get("mode") if isinstance(search, dict) else None
        if mode != "outcome" and _type(resource) != "OperationOutcome":
            yield mode, _resource(resource)


def _type(content: Any) -> Any:
    return content.get("resourceType") if isinstance(content, dict) else None


def _resource(content: Any) -> Resource | None:
    try:
        return Resource.of(content)
    except MalformedJson:
        return None


def _link(content: dict[str, Any], relation: str) -> str | None:
    rows = content.get("link")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("relation") == relation:
            url = row.get("url")
            return url if isinstance(url, str) and url else None
    return None


def _asked(self_link: str | None) -> frozenset[str] | None:
    if self_link is None:
        return None
    try:
        query = urlsplit(self_link).query
    except ValueError:
        return None
    return frozenset(name.partition(":")[0] for name, _ in parse_qsl(query, keep_blank_values=True))
