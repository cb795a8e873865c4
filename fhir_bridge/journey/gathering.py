"""
Gather *all* records of the kinds asked, and everything that they refer to.

`$everything` is asked first where the server has it, because it is fastest, and
is trusted for nothing: counts of each search and the closure over references
decide what is complete. What cannot be had is a named gap, never a silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fhir_bridge.errors import BadRecord, UnfilteredAnswer
from fhir_bridge.fhir_server import SearchAnswer
from fhir_bridge.journey.examining import Edge, Examined, Examiner, names_another
from fhir_bridge.journey.missing import (
    foreign_links,
    foreign_patient,
    is_partly,
    linked_charts,
    not_found,
    partly,
    shortfall,
)
from fhir_bridge.journey.parties import Parties, Provider
from fhir_bridge.kinds import RECORD_TYPES, Sort
from fhir_bridge.manifest import Gap
from fhir_bridge.records import Kind, RecordRef, Resource

ROUNDS_MAX = 40
"""Closure rounds. A specimen's chain of parents is a handful; more is a loop of our own."""

_IN_PARALLEL = 4
_PROVENANCE_TARGETS = 200
"""References in one search for Provenance; longer requests are refused by some servers."""
_MEMBERS = {
    "DiagnosticReport.result",
    "DiagnosticReport.imagingStudy",
    "Observation.hasMember",
    "Observation.derivedFrom",
    "DiagnosticReport.media.link",
}
_ABOUT = {"DocumentReference.context.related", "Media.partOf"}


@dataclass(slots=True, kw_only=True)
class Found:
    """Everything found at the source; content stays in memory."""

    patient: Resource
    examined: dict[RecordRef, Examined] = field(default_factory=dict[RecordRef, Examined])
    """Records of the kinds asked and what they refer to, by reference."""
    kinds: dict[RecordRef, Kind] = field(default_factory=dict[RecordRef, Kind])
    unclassified: set[RecordRef] = field(default_factory=set[RecordRef])
    excluded: set[RecordRef] = field(default_factory=set[RecordRef])
    foreign: set[RecordRef] = field(default_factory=set[RecordRef])
    """Reached by a reference, and about another patient: never travel."""
    gaps: list[Gap] = field(default_factory=list[Gap])
    asked: list[tuple[str, dict[str, str]]] = field(
        default_factory=list[tuple[str, dict[str, str]]]
    )
    """Searches that were made, for the log."""


def gather(parties: Parties, patient: Resource, kinds: Sequence[Kind]) -> Found:
    """
    Find every record of the kinds asked, and what these refer to.

    Raises:
        UnfilteredAnswer: A search for this patient returned another. Nothing
            of the answer may be used.
        SourceUnreachable: Try again later; nothing has been changed.
    """
    found = Found(patient=patient)
    pool = _pool(parties, found, kinds)
    examine = Examiner(parties, patient.ref)
    records = [examine(resource) for resource in pool.values() if resource.type in RECORD_TYPES]
    # $everything follows a wrong reference into another chart: such a record is
    # no record of this patient, and is named only when one of his refers to it.
    ours = [one for one in records if not one.about_another]
    start = _sort_by_kind(found, ours, kinds)
    _close(parties.source, examine, found, pool, start)
    _inherit_kinds(found, kinds)
    _inherit_from_subject_matter(found, kinds)
    _add_provenance(parties.source, examine, found, pool)
    for ref, one in found.examined.items():
        if ref not in found.excluded and ref not in found.foreign:
            found.gaps += foreign_links(ref, one)
    found.gaps += linked_charts(found.patient, parties.source.server.base)
    return found


def _pool(parties: Parties, found: Found, kinds: Sequence[Kind]) -> dict[RecordRef, Resource]:
    """Read what may belong to the record, by the fastest way that the counts confirm."""
    provider, patient = parties.source, found.patient
    pool: dict[RecordRef, Resource] = {}
    queries = [
        (search.type, search.params(patient.ref)) for search in parties.kinds.searches(kinds)
    ]
    missing = queries
    if provider.server.capabilities().everything:
        types = sorted({type_ for type_, _ in queries} | set(parties.closure.supporting_types))
        found.asked.append((f"Patient/{patient.id}/$everything", {"_type": ",".join(types)}))
        answer = provider.server.everything(patient.id, types)
        for resource in answer.resources:
            if resource.type in types:
                pool[resource.ref] = resource
        short = _short_of(provider, queries, pool, patient.ref)
        missing = list(queries) if answer.shortfall else short
    found.asked += missing
    for (type_, _), answer in zip(missing, _ask(provider, missing), strict=True):
        _refuse_unfiltered(answer, type_, patient, provider.server.base)
        pool.update((resource.ref, resource) for resource in answer.resources)
        found.gaps += shortfall(type_, patient, answer)
    pool = {ref: one for ref, one in pool.items() if not _is_our_copy(one, provider)}
    return _whole(provider, found, pool)


def _whole(
    provider: Provider, found: Found, pool: dict[RecordRef, Resource]
) -> dict[RecordRef, Resource]:
    """Read again what was not given in full; what never is must not pass for the record."""
    given_partly = [ref for ref, one in pool.items() if is_partly(one)]
    if not given_partly:
        return pool
    read = provider.server.read_many(given_partly)
    whole = {ref: one for ref, one in read.items() if one is not None and not is_partly(one)}
    found.gaps += [partly(ref) for ref in given_partly if ref not in whole]
    return {ref: one for ref, one in pool.items() if ref not in given_partly} | whole


def _ask(provider: Provider, queries: Sequence[tuple[str, dict[str, str]]]) -> list[SearchAnswer]:
    def ask(query: tuple[str, dict[str, str]]) -> SearchAnswer:
        return provider.server.search(query[0], query[1])

    if len(queries) < 2:  # noqa: PLR2004 - a pool for one request only costs
        return [ask(query) for query in queries]
    with ThreadPoolExecutor(_IN_PARALLEL) as threads:
        return list(threads.map(ask, queries))


def _short_of(
    provider: Provider,
    queries: Sequence[tuple[str, dict[str, str]]],
    pool: dict[RecordRef, Resource],
    patient: RecordRef,
) -> list[tuple[str, dict[str, str]]]:
    """
    Return the searches whose count is not what `$everything` brought.

    It may bring another patient's record too, which must not stand in for one
    of this patient that it left out.
    """
    counts = provider.server.counts(queries)
    have: dict[str, int] = {}
    for ref, one in pool.items():
        if patient.encode() in one.raw:
            type_ = ref.partition("/")[0]
            have[type_] = have.get(type_, 0) + 1
    return [
        query
        for query, count in zip(queries, counts, strict=True)
        if count is None or count != have.get(query[0], 0)
    ]


def _refuse_unfiltered(answer: SearchAnswer, type_: str, patient: Resource, base: str) -> None:
    for resource in answer.resources:
        if resource.type == type_ and names_another(resource.content(), patient.ref, base):
            raise UnfilteredAnswer(
                f"a search for {patient.ref} returned a {type_} of another patient: this server"
                " does not filter by patient, so nothing of it can be sent. Ask its operator"
            )


def _is_our_copy(resource: Resource, provider: Provider) -> bool:
    """Tell whether a resource is a copy that a transfer made at this very server."""
    if b'"identifier"' not in resource.raw or provider.identity.encode() not in resource.raw:
        return False
    system = f"{provider.identity}/{resource.type}"
    identifiers = resource.content().get("identifier")
    rows = identifiers if isinstance(identifiers, list) else [identifiers]
    return any(isinstance(row, dict) and row.get("system") == system for row in rows)


def _sort_by_kind(
    found: Found, records: Iterable[Examined], kinds: Sequence[Kind]
) -> list[RecordRef]:
    """Keep the records of the kinds asked; name those that cannot be told."""
    start: list[RecordRef] = []
    for one in records:
        ref = one.resource.ref
        found.examined[ref] = one
        if one.classified.kind is not None:
            if one.classified.kind in kinds:
                found.kinds[ref] = one.classified.kind
                start.append(ref)
            else:
                found.excluded.add(ref)
        elif one.classified.sort is Sort.UNCLASSIFIED:
            found.unclassified.add(ref)
        else:
            found.excluded.add(ref)
    return start


def _close(
    provider: Provider,
    examine: Examiner,
    found: Found,
    pool: dict[RecordRef, Resource],
    start: Sequence[RecordRef],
) -> None:
    """Follow references round by round until nothing new is reached."""
    reached: set[RecordRef] = set(start)
    frontier = list(start)
    absent: set[RecordRef] = set()
    for _ in range(ROUNDS_MAX):
        wanted: dict[RecordRef, tuple[RecordRef, str]] = {}
        for ref in frontier:
            for edge in found.examined[ref].edges:
                if _leads_on(edge, found.patient.ref) and edge.to not in reached:
                    wanted.setdefault(edge.to, (ref, edge.path))
        wanted = {ref: by for ref, by in wanted.items() if ref not in absent}
        if not wanted:
            return
        _read_missing(provider, found, pool, wanted, absent)
        frontier = [ref for ref in wanted if ref in pool and ref not in absent]
        for ref in frontier:
            reached.add(ref)
            found.excluded.discard(ref)
            one = found.examined.get(ref) or examine(pool[ref])
            found.examined[ref] = one
            if one.about_another:
                _set_aside(found, ref, wanted[ref])
        frontier = [ref for ref in frontier if ref not in found.foreign]
    raise BadRecord(f"references of {found.patient.ref} are nested more than {ROUNDS_MAX} deep")


def _leads_on(edge: Edge, patient: RecordRef) -> bool:
    """Tell whether a reference is followed; one to another patient is, to be named as a gap."""
    if edge.to.startswith("Patient/"):
        return edge.to != patient
    return edge.follow


def _read_missing(
    provider: Provider,
    found: Found,
    pool: dict[RecordRef, Resource],
    wanted: dict[RecordRef, tuple[RecordRef, str]],
    absent: set[RecordRef],
) -> None:
    for ref, referrer in wanted.items():
        if ref.startswith("Patient/"):
            _set_aside(found, ref, referrer)
            absent.add(ref)
    missing = [ref for ref in wanted if ref not in pool and ref not in absent]
    if not missing:
        return
    for ref, resource in provider.server.read_many(missing).items():
        if resource is not None and not is_partly(resource):
            pool[ref] = resource
            continue
        absent.add(ref)
        found.gaps.append(not_found(ref, wanted[ref], in_part=resource is not None))


def _set_aside(found: Found, ref: RecordRef, by: tuple[RecordRef, str]) -> None:
    """Another patient's resource: never travels, and neither does what names it."""
    found.foreign.add(ref)
    found.gaps.append(foreign_patient(ref, by))


def _inherit_kinds(found: Found, kinds: Sequence[Kind]) -> None:
    """A result without a known category is of the kind of the report that lists it."""
    frontier = list(found.kinds)
    while frontier:
        ref = frontier.pop()
        for edge in found.examined[ref].edges:
            if edge.element not in _MEMBERS or edge.to in found.kinds:
                continue
            member = found.examined.get(edge.to)
            if member is None or edge.to in found.foreign:
                continue
            kind = member.classified.kind or found.kinds[ref]
            if kind in kinds and member.resource.type in RECORD_TYPES:
                found.kinds[edge.to] = kind
                found.unclassified.discard(edge.to)
                found.excluded.discard(edge.to)
                frontier.append(edge.to)


def _inherit_from_subject_matter(found: Found, kinds: Sequence[Kind]) -> None:
    """A document that says nothing of its kind is of the kind of the report it is about."""
    for ref in sorted(found.unclassified):
        about = [
            found.kinds[edge.to]
            for edge in found.examined[ref].edges
            if edge.element in _ABOUT and edge.to in found.kinds
        ]
        if about and about[0] in kinds:
            found.kinds[ref] = about[0]
            found.unclassified.discard(ref)


def _add_provenance(
    provider: Provider, examine: Examiner, found: Found, pool: dict[RecordRef, Resource]
) -> None:
    """Who made a record belongs to it, but nothing refers from the record to its Provenance."""
    here = [ref for ref in pool if ref.startswith("Provenance/")]
    if "target" in provider.server.capabilities().search_params.get("Provenance", frozenset()):
        targets = sorted(found.kinds)
        queries = [
            ("Provenance", {"target": ",".join(targets[at : at + _PROVENANCE_TARGETS])})
            for at in range(0, len(targets), _PROVENANCE_TARGETS)
        ]
        for answer in _ask(provider, queries):
            pool.update((one.ref, one) for one in answer.resources)
        here = [ref for ref in pool if ref.startswith("Provenance/")]
    known = set(found.examined)
    start = []
    for ref in here:
        one = examine(pool[ref])
        if any(e.element == "Provenance.target" and e.to in known for e in one.edges):
            found.examined[ref] = one
            start.append(ref)
    _close(provider, examine, found, pool, start)
