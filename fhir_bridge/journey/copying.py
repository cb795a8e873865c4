"""
Make the copies: every released resource under its id at the destination.

A copy differs from what was received in exactly the ways that
`references.rewrite` may make and `references.undo` takes back. What the
destination already has of its own (organisations, practitioners, records that
came from there) is referred to and left alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir_bridge import lossless
from fhir_bridge.fhir_server import Write
from fhir_bridge.journey.attaching import Attached, Attachments, binary_json
from fhir_bridge.journey.deciding import Decisions
from fhir_bridge.journey.gathering import Found
from fhir_bridge.journey.matching import Matched, escaped
from fhir_bridge.journey.parties import Parties, Provider
from fhir_bridge.manifest import Decision
from fhir_bridge.records import Json, RecordRef, Resource
from fhir_bridge.references import Plan, copy_id, rewrite, strongly_connected_order

SHARED = frozenset({"Organization", "Practitioner", "PractitionerRole", "Location", "Endpoint"})
"""Types that several patients' transfers share: sent first and by themselves."""

_MATCHED_BY_IDENTIFIER = ("Organization", "Practitioner")
_IDENTIFIERS_IN_ONE_SEARCH = 50


@dataclass(slots=True, kw_only=True)
class Copies:
    """What is to be at the destination when the transfer is done."""

    plan: Plan
    theirs: dict[RecordRef, RecordRef]
    """Source reference to what the destination has of its own."""
    of: dict[RecordRef, RecordRef]
    """Source reference (resource or attachment) to the copy's reference."""
    bodies: dict[RecordRef, bytes] = field(default_factory=dict[RecordRef, bytes])
    """Copy reference to the JSON that is sent."""
    edges: dict[RecordRef, tuple[RecordRef, ...]] = field(
        default_factory=dict[RecordRef, tuple[RecordRef, ...]]
    )
    severed: dict[RecordRef, tuple[str, ...]] = field(
        default_factory=dict[RecordRef, tuple[str, ...]]
    )
    """Source reference to the paths whose reference was replaced or removed."""

    def writes(
        self,
        refs: Iterable[RecordRef],
        if_match: Mapping[RecordRef, str],
        new: Container[RecordRef] = (),
    ) -> list[Write]:
        """
        Order copies so that what is referred to comes before what refers to it.

        Args:
            refs: Copies to send.
            if_match: Version that an existing copy must still have.
            new: Copies that nobody looked for.
        """
        wanted = set(refs)
        edges = {
            ref: [to for to in self.edges.get(ref, ()) if to in wanted] for ref in sorted(wanted)
        }
        return [
            Write(
                ref=ref,
                body=self.bodies[ref],
                group=number,
                if_match=if_match.get(ref),
                new=ref in new,
                shared=ref.partition("/")[0] in SHARED,
            )
            for number, group in enumerate(strongly_connected_order(edges))
            for ref in group
        ]


def theirs(parties: Parties, found: Found, decisions: Decisions) -> dict[RecordRef, RecordRef]:
    """
    Find what the destination already has of its own.

    Returns:
        Source reference to destination reference: records that came from the
        destination in the first place, and organisations and practitioners
        there with the same identifier.
    """
    result: dict[RecordRef, RecordRef] = {}
    by_type: dict[str, dict[tuple[str, str], RecordRef]] = {}
    for ref in sorted(decisions.of):
        if not decisions.released(ref):
            continue
        resource = found.examined[ref].resource
        if home := _came_from(resource, parties.destination):
            result[ref] = home
        elif resource.type in _MATCHED_BY_IDENTIFIER:
            for identifier in identifiers_of(resource.content()):
                by_type.setdefault(resource.type, {})[identifier] = ref
    for type_, wanted in by_type.items():
        result.update(_matched(parties, type_, wanted))
    return result


def copy(
    parties: Parties,
    found: Found,
    decisions: Decisions,
    attached: Attachments,
    matched: Matched,
    known: Mapping[RecordRef, RecordRef],
) -> Copies:
    """Write the copy of everything released, its attachments included."""
    of = {found.patient.ref: matched.ref}
    for ref in decisions.of:
        if decisions.released(ref) and ref not in known:
            of[ref] = _copy_ref(parties.source, ref)
    urls: dict[str, str | None] = {}
    for url, one in attached.by_url.items():
        of[one.ref] = _attachment_ref(parties.source, one)
        urls[url] = of[one.ref]
    plan = Plan(
        base=parties.source.server.base,
        identity=parties.source.identity,
        copies={**of, **known},
        removed=frozenset(_never_named(found, decisions)),
        urls=urls,
        removed_identifiers=frozenset(_never_named_identifiers(found, decisions)),
    )
    copies = Copies(plan=plan, theirs=dict(known), of=of)
    for ref in sorted(decisions.of):
        if decisions.released(ref) and ref not in known:
            _add(copies, ref, found.examined[ref].resource.content())
    for one in attached.by_url.values():
        if one.binary is not None:
            _add(copies, one.ref, one.binary.content())
        else:
            there = of[one.ref]
            copies.bodies[there] = binary_json(one, there.partition("/")[2])
    return copies


def _add(copies: Copies, ref: RecordRef, content: Json) -> None:
    there = copies.of[ref]
    rewritten = rewrite(content, copies.plan, to=there)
    copies.bodies[there] = lossless.encode(rewritten.content)
    copies.edges[there] = tuple(sorted(rewritten.refers_to))
    if rewritten.listed:
        copies.severed[ref] = rewritten.listed


def _never_named(found: Found, decisions: Decisions) -> Iterable[RecordRef]:
    """References that no copy may show: what was found and does not travel."""
    yield from found.foreign
    for edges in decisions.removed.values():
        yield from (edge.to for edge in edges)


def _never_named_identifiers(found: Found, decisions: Decisions) -> Iterable[tuple[str, str]]:
    """Identifiers of what does not travel: a logical reference would name it as well."""
    for ref, decided in decisions.of.items():
        if decided.decision not in {Decision.RELEASED, Decision.EXCLUDED}:
            yield from identifiers_of(found.examined[ref].resource.content())


def _copy_ref(source: Provider, ref: RecordRef) -> RecordRef:
    return RecordRef(f"{ref.partition('/')[0]}/{copy_id(source.identity, ref)}")


def _attachment_ref(source: Provider, one: Attached) -> RecordRef:
    return RecordRef(f"Binary/{copy_id(source.identity, one.ref)}")


def _came_from(resource: Resource, destination: Provider) -> RecordRef | None:
    """Return the original at the destination, when this is a copy of one."""
    if destination.identity.encode() not in resource.raw:
        return None
    system = f"{destination.identity}/{resource.type}"
    for identifier_system, value in identifiers_of(resource.content()):
        if identifier_system == system:
            return RecordRef(f"{resource.type}/{value}")
    return None


def _matched(
    parties: Parties, type_: str, wanted: Mapping[tuple[str, str], RecordRef]
) -> dict[RecordRef, RecordRef]:
    """Find organisations or practitioners by identifier; only one match counts."""
    candidates: dict[RecordRef, set[RecordRef]] = {}
    identifiers = sorted(wanted)
    for at in range(0, len(identifiers), _IDENTIFIERS_IN_ONE_SEARCH):
        part = identifiers[at : at + _IDENTIFIERS_IN_ONE_SEARCH]
        asked = ",".join(f"{escaped(system)}|{escaped(value)}" for system, value in part)
        answer = parties.destination.server.search(type_, {"identifier": asked}, post=True)
        for there in answer.resources:
            for identifier in identifiers_of(there.content()):
                if identifier in wanted:
                    candidates.setdefault(wanted[identifier], set()).add(there.ref)
    return {
        ref: next(iter(found))
        for ref, found in candidates.items()
        if len(found) == 1 and next(iter(found)) != _copy_ref(parties.source, ref)
    }


def identifiers_of(content: Json) -> Sequence[tuple[str, str]]:
    """Return system and value of a resource's identifiers."""
    rows = content.get("identifier")
    return [
        (row["system"], row["value"])
        for row in (rows if isinstance(rows, list) else [rows])
        if isinstance(row, dict)
        and isinstance(row.get("system"), str)
        and isinstance(row.get("value"), str)
    ]
