"""
Settle what was asked: which patient, which organisations, and whether it is a known transfer.

Only the patient is read here, never a record: without knowing who the patient
is, no consent can be looked for.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fhir_bridge.codes import mapping
from fhir_bridge.errors import PatientUnclear, PatientUnknown, RecipientUnknown, Refused
from fhir_bridge.fhir_server import Absent, FhirServer
from fhir_bridge.journey.matching import escaped
from fhir_bridge.journey.parties import Parties, Provider
from fhir_bridge.patient import links
from fhir_bridge.records import Json, RecordRef, Resource
from fhir_bridge.references import Local, target
from fhir_bridge.sensitivity import is_test_data
from fhir_bridge.settings import organisation
from fhir_bridge.transfer import Order, Party, Requested, TransferId, referral_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Who is meant, before the store knows of a transfer."""

    order: Order
    patient: Resource
    key: str
    custodian: Party
    recipient: Party
    requester: Party

    def requested(self, id_: TransferId, attempt: int) -> Requested:
        """Give the settled request its transfer."""
        return Requested(
            id=id_,
            attempt=attempt,
            key=self.key,
            order=self.order,
            patient=self.patient.ref,
            custodian=self.custodian,
            recipient=self.recipient,
            requester=self.requester,
        )


def settle(order: Order, parties: Parties, *, new: bool = False) -> Settled:
    """
    Find the patient and the organisations of an order.

    Args:
        order: What was asked.
        parties: Both providers.
        new: Ask again although the same referral was made before.

    Raises:
        PatientUnknown: The source does not hold the patient.
        PatientUnclear: Several patients carry the identifier, or the chart was
            merged into another.
        RecipientUnknown: No organisation is named that may receive the records.
        Refused: A server known only by its address, and the patient is real.
    """
    patient = patient_at(parties.source.server, order.patient)
    content = patient.content()
    _refuse_merged(patient, content)
    _refuse_real_data(parties, content)
    custodian = _custodian(order, parties.source, content)
    recipient = _recipient(order, parties.destination)
    requester = _named(order.requester, parties.source) if order.requester else custodian
    return Settled(
        order=order,
        patient=patient,
        custodian=custodian,
        recipient=recipient,
        requester=requester,
        key=referral_key(
            source_identity=parties.source.identity,
            destination_identity=parties.destination.identity,
            patient=patient.ref,
            custodian=custodian,
            recipient=recipient,
            order=order,
            salt=uuid.uuid4().hex if new else "",
        ),
    )


def check_parties(order: Order, parties: Parties) -> None:
    """
    Refuse at once what is wrong whoever the patient is; no server is asked.

    Raises:
        RecipientUnknown: No organisation is named that may send or receive the records.
    """
    _recipient(order, parties.destination)
    for named in (order.custodian, order.requester):
        if named:
            _named(named, parties.source)


def patient_at(server: FhirServer, asked: str) -> Resource:
    """
    Read the patient that somebody names.

    Args:
        server: The first provider's.
        asked: ``Patient/1``, ``1`` or ``system|value``.

    Raises:
        PatientUnknown: There is none.
        PatientUnclear: There are several.
    """
    if "|" in asked:
        system, _, value = asked.partition("|")
        identifier = f"{escaped(system)}|{escaped(value)}"
        answer = server.search("Patient", {"identifier": identifier}, post=True)
        patients = [one for one in answer.resources if one.type == "Patient"]
        if answer.shortfall:
            raise PatientUnclear(
                "the first provider's server counts more patients for this identifier than it"
                " shows: name one of them by its reference, --patient Patient/ID"
            )
        if len(patients) > 1:
            raise PatientUnclear(
                f"{len(patients)} patients at the first provider carry this identifier: name one"
                " of them by its reference, --patient Patient/ID"
            )
        if not patients:
            raise PatientUnknown("no patient at the first provider carries this identifier")
        return patients[0]
    ref = RecordRef(asked if asked.startswith("Patient/") else f"Patient/{asked}")
    try:
        return server.read(ref)
    except Absent as error:
        gone = "was deleted at" if error.gone else "is not at"
        raise PatientUnknown(
            f"{ref} {gone} the first provider: check the reference, or give the patient as"
            " --patient 'SYSTEM|VALUE'"
        ) from error


def _refuse_merged(patient: Resource, content: Json) -> None:
    if replaced_by := links(content).replaced_by:
        raise PatientUnclear(
            f"the chart {patient.ref} was merged into {replaced_by[0]}: ask for that one"
        )


def _refuse_real_data(parties: Parties, patient: Json) -> None:
    """A bare URL is for trying out: on this machine, or with invented patients."""
    test_data = is_test_data(patient)
    for provider in (parties.source, parties.destination):
        if provider.sandbox and not test_data:
            raise Refused(
                f"{provider.name} is a public sandbox: it takes only patients labelled HTEST"
            )
    bare = [one for one in (parties.source, parties.destination) if not one.registered]
    on_this_machine = parties.source.loopback and parties.destination.loopback
    if bare and not on_this_machine and not test_data:
        raise Refused(
            f"{bare[0].name} is not a server of fhir-bridge.toml, and the patient is not labelled"
            " HTEST: register the server with the organisation behind it"
        )


def _custodian(order: Order, source: Provider, patient: Json) -> Party:
    if order.custodian:
        return _named(order.custodian, source)
    if len(source.organisations) == 1:
        return source.organisations[0]
    managing = patient.get("managingOrganization")
    party = _organisation_of(managing, source.server) if isinstance(managing, dict) else None
    if party is None:
        raise RecipientUnknown(
            "which organisation is responsible for the records is not known: name it with"
            " --custodian 'SYSTEM|VALUE'"
        )
    return _allowed(party, source)


def _recipient(order: Order, destination: Provider) -> Party:
    if order.recipient:
        return _named(order.recipient, destination)
    if len(destination.organisations) == 1:
        return destination.organisations[0]
    raise RecipientUnknown(
        f"which organisation receives the records at {destination.name} is not known: name it"
        " with --recipient 'SYSTEM|VALUE'"
    )


def _named(text: str, provider: Provider) -> Party:
    asked = organisation(text)
    return _allowed(Party(system=asked.system, value=asked.value, name=asked.value), provider)


def _allowed(party: Party, provider: Provider) -> Party:
    """An alias settles its organisations; a caller, or a chart, only chooses among them."""
    for one in provider.organisations:
        if one.identifier == party.identifier:
            return one
    if provider.registered:
        raise RecipientUnknown(
            f"this organisation is not one of {provider.name}: add it to its organisations in"
            " fhir-bridge.toml, or name one that is listed there"
        )
    return party


def _organisation_of(managing: Json, server: FhirServer) -> Party | None:
    name = managing.get("display")
    rows = [managing.get("identifier")]
    reference = managing.get("reference")
    where = target(reference, server.base) if isinstance(reference, str) else None
    if isinstance(where, Local):
        try:
            content = server.read(where.ref).content()
        except Absent:
            return None
        rows, name = content.get("identifier") or [], content.get("name")
    for row in rows:
        if isinstance(row, dict) and row.get("system") and row.get("value"):
            shown = name if isinstance(name, str) else str(row["value"])
            return Party(system=str(row["system"]), value=str(row["value"]), name=shown)
    return None


def is_public_sandbox(base: str) -> bool:
    """
    Tell whether anyone may write to a server, so that it takes invented patients only.

    Args:
        base: In its one written form: another spelling of the host must not open it.
    """
    return any(
        f"{base}/".startswith(f"{one}/") for one in mapping("public-sandboxes.json")["bases"]
    )
