"""
Ask the patient's consent: find every Consent, weigh them, and ask again before each send.

A Consent is read whole and at once; what cannot be read cannot permit. The
whole search runs again immediately before each request that carries records,
because a refusal filed in between has another id than the permit.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.consent import Ask, Decision, RecordFacts, Standing, weigh
from fhir_bridge.consent import Party as ConsentParty
from fhir_bridge.errors import BadRecord, ConsentRefused, SettingsError
from fhir_bridge.fhir_server import Absent, FhirServer
from fhir_bridge.journey.attaching import ATTACHMENT_BYTES_MAX, hash_verdict
from fhir_bridge.journey.parties import Parties
from fhir_bridge.records import Json, RecordRef, Resource, digest
from fhir_bridge.references import Local, attachments, target
from fhir_bridge.transfer import Basis, Party, Requested

CLOCK_SKEW_SECONDS_MAX = 300
"""Beyond this a consent's period cannot be told from our clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consented:
    """The consents in force for this transfer, weighed, and what they were weighed from."""

    standing: Standing
    consents: tuple[Resource, ...]
    seen: tuple[tuple[RecordRef, str, str], ...]
    """For each Consent found: reference, version, digest v1. Equal means unchanged."""
    basis: Basis
    brought: Json | None

    def decide(self, facts: RecordFacts) -> Decision:
        """Decide about one record, under the basis of this transfer."""
        if self.basis is Basis.TREATMENT:
            return self.standing.decide_treatment(facts)
        return self.standing.decide(facts)


class NothingPermitted(ConsentRefused):
    """Every Consent was read and weighed, and none lets anything go."""

    def __init__(self, sentence: str, weighed: Consented) -> None:
        """Keep what was weighed, for the log."""
        super().__init__(sentence)
        self.weighed = weighed


def consented(requested: Requested, parties: Parties, patient: Resource) -> Consented:
    """
    Weigh every Consent of the patient.

    Raises:
        ConsentRefused: No Consent lets anything go, or not all could be read.
            No record has been read.
        SettingsError: Treatment is not allowed as basis for this server, or
            the Consent that was brought is not one.
    """
    server = parties.source.server
    _check_basis(requested, parties)
    found = _find(parties, patient)
    _check_clock(server)
    resolver = _Resolver(server)
    brought = _brought(requested.order.consent)
    standing = weigh(
        [one.content() for one in found],
        _ask(requested, parties, patient),
        resolver.resolve,
        brought=[brought] if brought else [],
        source_paper=resolver.paper_is_whole,
    )
    result = Consented(
        standing=standing,
        consents=tuple(found),
        seen=_seen(found),
        basis=requested.order.basis,
        brought=brought,
    )
    permits = standing.may_release_something(treatment=result.basis is Basis.TREATMENT)
    if not permits:
        raise NothingPermitted(_why(standing, requested), result)
    return result


def unchanged(consent: Consented, parties: Parties, patient: Resource) -> bool:
    """Search again, and tell whether every Consent is as it was weighed."""
    return _seen(_find(parties, patient)) == consent.seen


def _seen(found: Sequence[Resource]) -> tuple[tuple[RecordRef, str, str], ...]:
    return tuple(sorted((one.ref, one.version or "", digest(one.content())) for one in found))


def _find(parties: Parties, patient: Resource) -> list[Resource]:
    answer = parties.source.server.search("Consent", {"patient": patient.id})
    if answer.shortfall:
        raise ConsentRefused(
            "the first provider's server did not give every Consent that it counts, and one of"
            " them may refuse: nothing is sent. Ask its operator"
        )
    return sorted(answer.resources, key=lambda one: one.ref)


def _check_basis(requested: Requested, parties: Parties) -> None:
    if requested.order.basis is Basis.CONSENT:
        return
    if not requested.order.basis_reason.strip():
        raise SettingsError("--basis treatment needs --reason-for-basis TEXT, which is signed")
    if not parties.source.allow_treatment:
        raise SettingsError(
            f"treatment is not allowed as basis for {parties.source.name}: set allow_treatment ="
            " true for it in fhir-bridge.toml if the law lets you"
        )


def _check_clock(server: FhirServer) -> None:
    skew = server.clock_skew_seconds()
    if skew is not None and abs(skew) > CLOCK_SKEW_SECONDS_MAX:
        raise ConsentRefused(
            f"this machine's clock and the first provider's differ by {abs(skew):.0f} seconds, so"
            " it cannot be told whether a consent is in force: set the clock"
        )


def _ask(requested: Requested, parties: Parties, patient: Resource) -> Ask:
    content = patient.content()
    return Ask(
        patient=patient.ref,
        patient_identifiers=_identifiers(content),
        custodian=_party(requested.custodian),
        recipient=_party(requested.recipient),
        purpose=requested.order.purpose,
        now=parties.clock.now(),
        timezone=parties.source.timezone,
        accepted_policies=parties.consent_rules.accepted_policies,
        waive_paper=parties.consent_rules.waive_paper,
        birth_date=content.get("birthDate"),
    )


def _party(party: Party) -> ConsentParty:
    return ConsentParty(
        identifiers=frozenset({(party.system, party.value)}), references=frozenset()
    )


def _identifiers(content: Json) -> frozenset[tuple[str, str]]:
    rows = content.get("identifier")
    return frozenset(
        (row["system"], row["value"])
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
        and isinstance(row.get("system"), str)
        and isinstance(row.get("value"), str)
    )


def _brought(text: str) -> Json | None:
    if not text:
        return None
    content: Any = lossless.decode(text.encode())
    if not isinstance(content, dict) or content.get("resourceType") != "Consent":
        raise SettingsError("--consent FILE must hold one FHIR Consent as JSON")
    return content


def _why(standing: Standing, requested: Requested) -> str:
    who = f"{requested.custodian.name} send records to {requested.recipient.name}"
    lines = [f"no active Consent of this patient lets {who}."]
    lines += [f"{state.ref} {state.sentence}." for state in standing.consents if not state.counts]
    lines += [f"{state.ref} {state.sentence}." for state in standing.consents if state.counts]
    way = f"Ask the patient for a consent that names {requested.recipient.name}"
    if requested.order.basis is Basis.CONSENT:
        way += ", or, if the law lets you send for treatment, run again with --basis treatment"
    lines.append(f"{way}.")
    lines.append("No record was read.")
    return "\n  ".join(lines)


class _Resolver:
    """Reads what a Consent refers to: organisations, representatives, the signed paper."""

    def __init__(self, server: FhirServer) -> None:
        self._server = server
        self._known: dict[str, Json | None] = {}

    def resolve(self, reference: str) -> Json | None:
        """Return the resource behind a reference; None when it cannot be had."""
        if reference not in self._known:
            where = target(reference, self._server.base)
            self._known[reference] = self._read(where.ref) if isinstance(where, Local) else None
        return self._known[reference]

    def _read(self, ref: RecordRef) -> Json | None:
        try:
            return self._server.read(ref).content()
        except (Absent, BadRecord):
            return None

    def paper_is_whole(self, consent: Json) -> bool | None:
        """Tell whether the signed paper is there and is what its hash says."""
        holder: Json | None = None
        if isinstance(consent.get("sourceAttachment"), dict):
            holder = consent
        elif isinstance(reference := consent.get("sourceReference"), dict):
            text = reference.get("reference")
            holder = self.resolve(text) if isinstance(text, str) else None
        if holder is None:
            return None
        papers = [
            self._paper(one.holder, one.url)
            for one in attachments(holder)
            if one.url or one.has_data
        ]
        if not papers or None in papers:
            return None
        return all(papers)

    def _paper(self, attachment: Json, url: str | None) -> bool | None:
        """Tell whether one paper is what its hash promises; None when it cannot be read."""
        data, promised = attachment.get("data"), attachment.get("hash")
        raw = _decoded(data) if isinstance(data, str) else self._fetched(url or "")
        if raw is None:
            return None
        return promised is None or hash_verdict(str(promised), raw) != "differs"

    def _fetched(self, url: str) -> bytes | None:
        try:
            return self._server.attachment(url, None, bytes_max=ATTACHMENT_BYTES_MAX).data
        except (Absent, BadRecord):
            return None


def _decoded(data: str) -> bytes | None:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except ValueError:
        return None
