"""
Writes: one request or a whole transaction, checked first and then done at once.

Everything that can go wrong is found before the first change, so that
a transaction that fails leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fhir_bridge.records import Json
from fhir_bridge.sandbox import links
from fhir_bridge.sandbox.holdings import Holdings, Version
from fhir_bridge.sandbox.outcomes import Problem
from fhir_bridge.sandbox.parameters import TYPES, local
from fhir_bridge.sandbox.profile import Profile
from fhir_bridge.sandbox.searching import Query, matches

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")

Refusal = Callable[[str], Problem | None]
"""Says whether something forbids a write to ``Type/id``."""


@dataclass(slots=True, kw_only=True)
class Write:
    """One write that a client asks for, and what was decided about it."""

    method: str
    type: str
    id: str | None = None
    query: str = ""
    """Search of a conditional update or delete."""
    content: Json | None = None
    if_match: str = ""
    if_none_match: str = ""
    if_none_exist: str = ""
    full_url: str = ""
    snapshot_mode: str = ""
    place: str = ""
    """Where in the Bundle, for the OperationOutcome."""
    ref: str = ""
    """Decided: ``Type/id`` at this server."""
    found: bool = False
    """Decided: a conditional create found it, and nothing is written."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a write."""

    ref: str
    status: int
    version: Version | None


class Writer:
    """Does writes to one sandbox's holdings."""

    def __init__(self, holdings: Holdings, base: str, profile: Profile, name: str) -> None:
        """Keep what a write needs to know."""
        self._holdings = holdings
        self._base = base
        self._profile = profile
        self._name = name
        self._made = 0
        self.refusal: Refusal = lambda _ref: None

    def write(self, writes: Sequence[Write]) -> list[Written]:
        """
        Do all of the writes, or none of them.

        Raises:
            Problem: One of them cannot be done; nothing was changed.
        """
        for one in writes:
            self._at_place(one, self._identify)
        self._no_double(writes)
        moved = self._moved(writes)
        coming = {one.ref for one in writes if one.method != "DELETE"}
        for one in writes:
            self._at_place(one, lambda one: self._check(one, moved, coming))
        return [self._do(one) for one in writes]

    def _at_place(self, one: Write, step: Callable[[Write], None]) -> None:
        try:
            step(one)
        except Problem as problem:
            raise problem.at(one.place) if one.place else problem from None

    def _identify(self, one: Write) -> None:
        """Decide where a write goes."""
        if one.type not in TYPES:
            raise Problem(404, "not-supported", f"HAPI-0302: Unknown resource type '{one.type}'")
        if one.method != "DELETE":
            self._fits(one)
        if one.if_none_exist or one.query:
            self._identify_by_search(one)
        elif one.id:
            one.ref = f"{one.type}/{one.id}"
        if not one.ref:
            one.ref = f"{one.type}/{self._new_id(one)}"

    def _fits(self, one: Write) -> None:
        content = one.content
        if content is None or content.get("resourceType") != one.type:
            raise Problem(400, "invalid", "HAPI-0449: the body is not a resource of this type")
        if one.method == "PUT" and one.id and content.get("id") != one.id:
            raise Problem(400, "invalid", "HAPI-0419/0420: the id in the body is not the URL's")

    def _identify_by_search(self, one: Write) -> None:
        creates = one.method == "POST"
        allowed = self._profile.conditional_create if creates else self._profile.conditional_update
        if not allowed:
            raise Problem(412, "not-supported", "conditional writes are not supported")
        asked = one.if_none_exist if creates else one.query
        found = self._search(one.type, asked)
        if len(found) > 1:
            raise Problem(412, "multiple-matches", "HAPI-0958: more than one resource matches")
        if found:
            one.ref = f"{one.type}/{found[0]}"
            one.found = creates

    def _search(self, type_: str, asked: str) -> list[str]:
        pairs = parse_qsl(asked.partition("?")[2] or asked, keep_blank_values=True)
        query = Query.of(type_, pairs, self._profile, strict=True)
        if not query.filters:
            raise Problem(412, "invalid", "a conditional write needs a search parameter")
        return matches(self._holdings, query)

    def _new_id(self, one: Write) -> str:
        given = (one.content or {}).get("id")
        if one.method == "PUT" and isinstance(given, str):
            return given
        self._made += 1
        return f"{self._name}-{self._made}"

    def _no_double(self, writes: Sequence[Write]) -> None:
        refs = [one.ref for one in writes if not one.found]
        if len(set(refs)) != len(refs):
            raise Problem(400, "invalid", "HAPI-0535: the Bundle holds the same resource twice")

    def _moved(self, writes: Sequence[Write]) -> dict[str, str]:
        """Return where each fullUrl of a bundle ended up, when that is somewhere else."""
        moved: dict[str, str] = {}
        for one in writes:
            if one.full_url and not one.full_url.endswith(f"/{one.ref}"):
                moved[one.full_url] = one.ref
                if one.method == "POST" and "://" in one.full_url:
                    moved["/".join(one.full_url.split("/")[-2:])] = one.ref
        return moved

    def _check(self, one: Write, moved: Mapping[str, str], coming: set[str]) -> None:
        """Refuse what must not be written."""
        if problem := self.refusal(one.ref):
            raise problem
        if one.found or one.method == "DELETE":
            return
        self._check_versions(one)
        if one.method == "PUT":
            self._check_new_id(one)
        content = one.content or {}
        written = list(links.checked(content))
        redirected = {**moved, **self._conditional_references(written)}
        if redirected:
            content = links.redirect(content, redirected)
            written = list(links.checked(content))
        if self._profile.merges_labels and "SECURITY" not in one.snapshot_mode:
            content = self._with_old_labels(one.ref, content)
        one.content = content
        if self._profile.integrity:
            self._check_references(written, coming)

    def _check_versions(self, one: Write) -> None:
        current = self._holdings.current(one.ref)
        here = current is not None and current.raw is not None
        if one.if_none_match == "*" and here:
            raise Problem(412, "conflict", "the resource exists already")
        if current is None and self._profile.if_match == "creates":
            return
        asked = one.if_match if self._profile.if_match != "ignored" else ""
        if asked and (not current or asked.removeprefix("W/").strip('"') != str(current.number)):
            raise Problem(
                self._profile.stale_status, "conflict", "HAPI-0550: HAPI-0989: version conflict"
            )

    def _check_new_id(self, one: Write) -> None:
        if self._holdings.current(one.ref):
            return
        if not _ID.match(one.ref.partition("/")[2]):
            raise Problem(400, "invalid", "HAPI-0521: this is not an id that FHIR allows")
        if not self._profile.update_create and not one.query:
            raise Problem(405, "not-supported", "a client may not choose the id here")
        if one.ref.partition("/")[2].isdigit() and not self._profile.numeric_ids:
            raise Problem(400, "invalid", "HAPI-0960: client ids must hold a letter")

    def _conditional_references(self, written: Iterable[tuple[str, str]]) -> dict[str, str]:
        moved: dict[str, str] = {}
        for _, reference in written:
            type_, _, asked = reference.partition("?")
            if asked and type_ in TYPES:
                found = self._search(type_, asked)
                if len(found) != 1:
                    raise Problem(404, "not-found", f"HAPI-1091: no single {type_} matches")
                moved[reference] = f"{type_}/{found[0]}"
        return moved

    def _check_references(self, written: Iterable[tuple[str, str]], coming: set[str]) -> None:
        for path, reference in written:
            if reference.startswith("urn:"):
                raise Problem(400, "invalid", f"HAPI-0505: no entry for the urn at {path}")
            there = local(reference, "")
            if there and there not in coming and not self._holdings.exists(there):
                text = f"HAPI-1094: Resource {there} not found, specified in path: {path}"
                raise Problem(400, "processing", text)

    def _with_old_labels(self, ref: str, content: Json) -> Json:
        if not self._holdings.exists(ref):
            return content
        old = self._holdings[ref].get("meta", {})  # type: ignore[index]
        meta = dict(content.get("meta") or {})
        for name in ("tag", "security"):
            labels = [*meta.get(name, ())]
            labels += [label for label in old.get(name, ()) if label not in labels]
            if labels:
                meta[name] = labels
        return {**content, "meta": meta}

    def _do(self, one: Write) -> Written:
        if one.found:
            return Written(one.ref, 200, self._holdings.current(one.ref))
        if one.method == "DELETE":
            return Written(one.ref, 204, self._holdings.delete(one.ref))
        created = not self._holdings.exists(one.ref)
        version, _ = self._holdings.put(one.ref, one.content or {})
        return Written(one.ref, 201 if created else 200, version)
