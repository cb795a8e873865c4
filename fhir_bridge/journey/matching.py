"""
Find the patient at the second provider. The patient is never guessed.

Asking is itself a disclosure: it happens only after consent, is announced in
the log first, and never puts an identifier into a URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_bridge.errors import PatientUnclear
from fhir_bridge.fhir_server import Absent, FhirServer
from fhir_bridge.journey.parties import Parties
from fhir_bridge.journey.recording import searches_for_patient
from fhir_bridge.patient import (
    Choice,
    Match,
    Outcome,
    Verdict,
    choose,
    identifiers_for_asking,
    same_person,
)
from fhir_bridge.records import Json, RecordRef, Resource
from fhir_bridge.references import copy_id
from fhir_bridge.transfer import Requested

CREATE, MATCH = "create", "match"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The patient at the second provider."""

    ref: RecordRef
    create: bool
    """True when there is none, the operator allows to create one, and it must be sent first."""
    how: str
    by_person: bool = False
    """Data differ, and a person answers for it."""
    """Why it is the same person, in words."""


def match(requested: Requested, parties: Parties, patient: Resource) -> Matched:
    """
    Find the one patient at the destination who is the patient of this transfer.

    Raises:
        PatientUnclear: None, several, or one whose data disagree. The message
            names the elements, never their values, and what a person decides.
        DestinationUnreachable: Try again later.
    """
    asked = requested.order.at_destination
    content = patient.content()
    if asked not in {MATCH, CREATE}:
        return _given(requested, parties, content, asked)
    own = RecordRef(f"Patient/{copy_id(parties.source.identity, patient.ref)}")
    candidates = _candidates(parties, patient, content)
    if not candidates and (there := _made_before(parties, own)) is not None:
        return _ours(parties, content, there)
    if asked == CREATE:
        return _created(parties, content, candidates, own)
    choice = choose(
        content,
        [one.content() for one in candidates],
        never={patient.id} if parties.same_base else (),
        own_systems=_own_systems(parties),
    )
    if choice.outcome is Outcome.ONE and choice.ref is not None:
        return Matched(
            ref=choice.ref, create=False, how="matched by identifier, family name and birth date"
        )
    raise PatientUnclear(_undecided(parties, choice))


def shown(
    requested: Requested, parties: Parties, patient: Resource
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """
    Say what the second provider is shown of the patient, before it is.

    Returns:
        Systems of the identifiers, and the requests without their values; no
        requests when the patient was given, because then one resource is read.
    """
    if requested.order.at_destination not in {MATCH, CREATE}:
        return (), ()
    own = RecordRef(f"Patient/{copy_id(parties.source.identity, patient.ref)}")
    rows = identifiers_for_asking(patient.content(), own_systems=_own_systems(parties))
    systems = tuple(dict.fromkeys(system for system, _ in rows))
    return systems, searches_for_patient(systems, own)


def _made_before(parties: Parties, own: RecordRef) -> Resource | None:
    """Return the chart that an earlier transfer created there; None when none did."""
    server = parties.destination.server
    there = server.read_many([own]).get(own)
    if there is None and (
        own in server.gone or parties.store.pairing(parties.destination.identity, own) is not None
    ):
        raise PatientUnclear(
            f"{own}, which an earlier transfer created at {parties.destination.name}, was deleted"
            " there → a person decides: ask its operator to put it back, or name the patient with"
            " --at-destination ID"
        )
    return there


def _ours(parties: Parties, content: Json, there: Resource) -> Matched:
    """Take a chart of ours only while it still is this patient's."""
    compared = same_person(content, there.content())
    if compared.verdict is Verdict.AGREE:
        return Matched(ref=there.ref, create=False, how="created by an earlier transfer")
    raise PatientUnclear(
        f"{there.ref}, which an earlier transfer created at {parties.destination.name}, is no"
        f" longer confirmed to be this patient; differing or missing:{_elements(compared)} → a"
        " person decides: correct the chart, or name the patient with --at-destination ID"
    )


def _created(
    parties: Parties, content: Json, candidates: Sequence[Resource], own: RecordRef
) -> Matched:
    others = [one for one in candidates if one.ref != own]
    if candidates and not others:
        return _ours(parties, content, candidates[0])
    if others:
        ref = others[0].ref
        raise PatientUnclear(
            f"{ref} at {parties.destination.name} may be this patient, so none is created: run"
            f" again with --at-destination {ref.partition('/')[2]}"
        )
    return Matched(ref=own, create=True, how="created, because no patient was found")


_WHY = {
    Outcome.NONE: "no patient there carries one of the identifiers",
    Outcome.SEVERAL: "several patients there carry one of the identifiers",
    Outcome.DISAGREES: "the one found differs in",
    Outcome.INSUFFICIENT: "the one found cannot be compared for want of",
    Outcome.ONE: "",
}


def _undecided(parties: Parties, choice: Choice) -> str:
    elements = _elements(choice.match) if choice.match else ""
    refs = f" ({', '.join(choice.candidates)})" if choice.candidates else ""
    return (
        f"the patient was not matched at {parties.destination.name}: {_WHY[choice.outcome]}"
        f"{elements}{refs} → a person decides: run again with --at-destination ID when you know"
        " who it is, or --at-destination create when this patient is new there"
    )


def _elements(match: Match) -> str:
    return " " + ", ".join((*match.differing, *match.missing))


def _given(requested: Requested, parties: Parties, content: Json, asked: str) -> Matched:
    ref = RecordRef(asked if asked.startswith("Patient/") else f"Patient/{asked}")
    where = parties.destination.name
    if parties.same_base and ref == requested.patient:
        raise PatientUnclear(
            "at one and the same server the patient of the source cannot be the patient of the"
            " destination: name another, or --at-destination create"
        )
    try:
        there = parties.destination.server.read(ref)
    except Absent as error:
        raise PatientUnclear(f"{ref} is not at {where}: check the id") from error
    compared = same_person(content, there.content())
    if compared.verdict is Verdict.AGREE:
        return Matched(ref=ref, create=False, how="given, and family name and birth date agree")
    if requested.order.override:
        return Matched(
            ref=ref, create=False, how="given, and confirmed by a person", by_person=True
        )
    raise PatientUnclear(
        f"{ref} at {where} is not confirmed to be this patient; differing or missing:"
        f"{_elements(compared)} → a person decides: correct the id, or confirm it with --override"
        " NAME, which is signed"
    )


def _candidates(parties: Parties, patient: Resource, content: Json) -> list[Resource]:
    """Ask by each identifier until one finds somebody."""
    server: FhirServer = parties.destination.server
    for system, value in identifiers_for_asking(content, own_systems=_own_systems(parties)):
        asked = f"{escaped(system)}|{escaped(value)}"
        answer = server.search("Patient", {"identifier": asked}, post=True)
        if answer.shortfall:
            raise PatientUnclear(
                f"{parties.destination.name} counts more patients for an identifier than it shows,"
                " so it cannot be told who is meant → a person decides: run again with"
                " --at-destination ID"
            )
        found = [one for one in answer.resources if one.type == "Patient"]
        if parties.same_base:
            found = [one for one in found if one.ref != patient.ref]
        if found:
            return found
    return []


def _own_systems(parties: Parties) -> tuple[str, ...]:
    """Our copy identifiers prove where a chart came from, not who somebody is."""
    return (f"{parties.source.identity}/Patient", f"{parties.destination.identity}/Patient")


def escaped(text: str) -> str:
    """
    Escape what separates values in a search.

    Source:
        https://hl7.org/fhir/R4/search.html#escaping
    """
    for char in ("\\", "$", ",", "|"):
        text = text.replace(char, "\\" + char)
    return text
