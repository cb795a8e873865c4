"""
Parse each resource once, and keep what later steps ask of it.

Content is not kept beside the bytes: what a decision needs (references, marks of
attachments, labels, kind, digest) is learnt here in one pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from fhir_bridge.journey.parties import Parties
from fhir_bridge.kinds import Classified, classify
from fhir_bridge.records import Json, RecordRef, Resource, Sha256, digest
from fhir_bridge.references import Follow, Foreign, FoundAttachment, Local, survey, target
from fhir_bridge.references import Found as Reference
from fhir_bridge.sensitivity import OwnLabels

_SUBJECT = ("subject", "patient", "beneficiary")


@dataclass(frozen=True, slots=True)
class Edge:
    """One reference from a resource to another at the same server."""

    path: str
    element: str
    to: RecordRef
    follow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One attachment that a resource shows, without its bytes."""

    path: str
    url: str | None
    content_type: str | None
    hash: str | None
    marks: tuple[str, ...]
    """What tells that two attachments are one: URL, hash, SHA-256 of inline bytes."""


@dataclass(slots=True, kw_only=True)
class Examined:
    """What was learnt from one resource in the single time it is parsed here."""

    resource: Resource
    digest: Sha256
    edges: tuple[Edge, ...]
    attachments: tuple[Shown, ...]
    labels: OwnLabels
    classified: Classified
    foreign_links: tuple[str, ...]
    """Paths of what belongs to the record and lies at another server."""
    about_another: bool
    """Its subject is not our patient."""
    status: str


def names_another(content: Json, patient: RecordRef, base: str) -> bool:
    """
    Tell whether a resource says that it is about someone who is not our patient.

    A patient of another server is someone else, also under the same id.
    """
    for name in _SUBJECT:
        holder = content.get(name)
        reference = holder.get("reference") if isinstance(holder, dict) else None
        if isinstance(reference, str) and "Patient/" in reference:
            where = target(reference, base)
            return not (isinstance(where, Local) and where.ref == patient)
    return False


class Examiner:
    """Parses a resource once and keeps what later steps ask."""

    def __init__(self, parties: Parties, patient: RecordRef) -> None:
        """Take what the rules need: the base, the policy and the books."""
        self._base = parties.source.server.base
        self._closure = parties.closure
        self._book = parties.sensitivity
        self._kinds = parties.kinds
        self._patient = patient

    def __call__(self, resource: Resource) -> Examined:
        """Examine one resource."""
        content = resource.content()
        surveyed = survey(content)
        edges, foreign = self._edges(surveyed.references)
        status = content.get("status")
        return Examined(
            resource=resource,
            digest=digest(content),
            edges=edges,
            attachments=tuple(_shown(one) for one in surveyed.attachments),
            labels=self._book.own(content),
            classified=classify(content, self._kinds),
            foreign_links=foreign,
            about_another=names_another(content, self._patient, self._base),
            status=status if isinstance(status, str) else "",
        )

    def _is_part(self, element: str, url: str) -> bool:
        """Tell whether a reference to another server names what we would have gathered here."""
        type_ = url.partition("/_history/")[0].rstrip("/").rpartition("/")[0].rpartition("/")[2]
        return self._closure.decision(element, type_) is Follow.FOLLOW

    def _edges(self, references: Sequence[Reference]) -> tuple[tuple[Edge, ...], tuple[str, ...]]:
        edges: list[Edge] = []
        foreign: list[str] = []
        for one in references:
            if one.reference is None:
                continue
            where = target(one.reference, self._base)
            if isinstance(where, Local):
                type_ = where.ref.partition("/")[0]
                follow = self._closure.decision(one.element, type_) is Follow.FOLLOW
                edges.append(Edge(one.path, one.element, where.ref, follow))
            elif isinstance(where, Foreign) and self._is_part(one.element, where.url):
                foreign.append(one.path)
        return tuple(edges), tuple(foreign)


def _shown(one: FoundAttachment) -> Shown:
    marks = [f"url:{one.url}"] if one.url else []
    data, hash_ = one.holder.get("data"), one.holder.get("hash")
    if isinstance(data, str):
        marks.append("data:" + hashlib.sha256("".join(data.split()).encode()).hexdigest())
    if isinstance(hash_, str):
        marks.append("hash:" + hash_)
    return Shown(
        path=one.path,
        url=one.url,
        content_type=one.content_type,
        hash=hash_ if isinstance(hash_, str) else None,
        marks=tuple(marks),
    )
