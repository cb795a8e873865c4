"""What of the record cannot be had from the first provider: each thing a gap with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fhir_bridge.fhir_server import SearchAnswer
from fhir_bridge.journey.examining import Examined
from fhir_bridge.manifest import Gap
from fhir_bridge.patient import links
from fhir_bridge.records import RecordRef, Resource
from fhir_bridge.references import Local, target


def is_partly(resource: Resource) -> bool:
    """Tell whether a server says that it left elements out."""
    if b"SUBSETTED" not in resource.raw:
        return False
    meta = resource.content().get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    rows = tags if isinstance(tags, list) else []
    return any(isinstance(row, dict) and row.get("code") == "SUBSETTED" for row in rows)


def partly(ref: RecordRef) -> Gap:
    """Name a resource that is given only in part, also when it is read by itself."""
    return _at_source(
        ref, "subsetted", "the first provider's server gives it only in part → ask its operator"
    )


def not_found(ref: RecordRef, by: tuple[RecordRef, str], *, in_part: bool) -> Gap:
    """Name what a record refers to and the first provider does not have, or not in full."""
    what = "gives it only in part" if in_part else "does not have it"
    return _at_source(
        ref,
        "subsetted" if in_part else "not-found",
        f"the first provider {what}; {by[0]} refers to it ({by[1]}) → ask the first provider",
        by[0],
    )


def foreign_patient(ref: RecordRef, by: tuple[RecordRef, str]) -> Gap:
    """Name another patient's resource: it never travels, and neither does what names it."""
    return _at_source(
        ref,
        "foreign-patient",
        f"it is about another patient; {by[0]} refers to it ({by[1]}) and is held"
        " → ask the first provider to correct it",
        by[0],
    )


def shortfall(type_: str, patient: Resource, answer: SearchAnswer) -> Iterator[Gap]:
    """Name a search that did not give what it counts."""
    if answer.shortfall:
        yield _at_source(
            f"{type_}?patient={patient.id}",
            answer.shortfall,
            f"the first provider's server did not give every {type_} that it counts"
            f" ({answer.matches} of {answer.total}) → ask its operator",
        )


def foreign_links(ref: RecordRef, one: Examined) -> Iterator[Gap]:
    """Name by its place what lies at another server, where it is never asked for."""
    for path in one.foreign_links:
        yield _at_source(
            f"{ref}#{path}",
            "foreign-link",
            "what it refers to lies at another server, which is not registered → ask that provider",
            ref,
        )


def linked_charts(patient: Resource, base: str) -> Iterable[Gap]:
    """Name other charts of the same person: they are never read by themselves."""
    linked = links(patient.content())
    for number, reference in enumerate((*linked.replaces, *linked.seealso)):
        where = target(reference, base)
        yield _at_source(
            where.ref if isinstance(where, Local) else f"{patient.ref}#link[{number}]",
            "linked-chart",
            "another chart of this patient (Patient.link), which was not read → ask the first"
            " provider whether it holds records, and transfer it by itself",
        )


def _at_source(ref: str, reason: str, sentence: str, referrer: RecordRef | None = None) -> Gap:
    return Gap(ref=ref, reason=reason, sentence=sentence, at="source", referrer=referrer)
