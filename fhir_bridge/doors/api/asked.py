"""What a caller may ask for: the bodies of requests, and the orders they become."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fhir_bridge import lossless
from fhir_bridge.bundles import reason_codes
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.roles import Caller
from fhir_bridge.records import Kind
from fhir_bridge.settings import Settings
from fhir_bridge.store import Store
from fhir_bridge.transfer import Basis, Order

ALIAS = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$"

Alias = Annotated[str, Meta(pattern=ALIAS, description="Alias of a registered server")]
Identifier = Annotated[
    str,
    Meta(
        pattern=r"^[^|\x00-\x20]{1,255}\|[^|\x00-\x1f]{1,255}$",
        description="An organisation's identifier, SYSTEM|VALUE",
    ),
]
Words = Annotated[
    str, Meta(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")
]


class PatientAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The patient at the source: system and value, or reference."""

    system: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^|\s]+$")] | None = None
    value: (
        Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^|\x00-\x1f]+$")] | None
    ) = None
    reference: Annotated[str, Meta(pattern=r"^Patient/[A-Za-z0-9.\-]{1,64}$")] | None = None

    def text(self) -> str:
        """
        Return the patient as an order names it.

        Raises:
            Answered: Neither the one nor the other, or both.
        """
        if self.reference is not None and self.system is None and self.value is None:
            return self.reference
        if self.reference is None and self.system is not None and self.value is not None:
            return f"{self.system}|{self.value}"
        raise Answered(Problem.BODY_INVALID, expression="patient")


class ReferralAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a second opinion is asked for."""

    reasons: Annotated[
        list[Annotated[str, Meta(pattern=r"^[a-z][a-z\-]{0,63}$")]], Meta(max_length=16)
    ] = []
    question: Annotated[str, Meta(max_length=2000)] = ""


class TransferAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One patient's record from one provider to another."""

    source: Alias
    destination: Alias
    patient: PatientAsked
    at_destination: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9.\-]{1,64}$",
            description="The patient there: match, create, or a given id",
        ),
    ] = "match"
    recipient: Identifier | None = None
    requester: Identifier | None = None
    referral: ReferralAsked = msgspec.field(default_factory=ReferralAsked)
    kinds: Annotated[
        list[Literal["laboratory", "pathology", "imaging"]], Meta(min_length=1, max_length=3)
    ] = msgspec.field(default_factory=lambda: ["laboratory", "pathology", "imaging"])
    purpose: Literal["TREAT", "PATRQT", "COC"] = "TREAT"
    basis: Literal["consent", "treatment"] = "consent"
    basis_reason: Annotated[str, Meta(max_length=400)] = ""
    consent: (
        Annotated[dict[str, Any], Meta(description="A signed FHIR Consent that the source lacks")]
        | None
    ) = None
    new: Annotated[bool, Meta(description="Ask again although the same was asked before")] = False


class DecisionAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A person's decision about held lines; it is signed."""

    refs: Annotated[list[Annotated[str, Meta(max_length=400)]], Meta(min_length=1, max_length=500)]
    by: Annotated[Words, Meta(description="Who decides")]
    reason: Words


class AcceptanceAsked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A person accepts a gap of delivery, so that the doctor is told; it is signed."""

    gap: Annotated[str, Meta(min_length=1, max_length=400)]
    by: Words
    reason: Words


def order_of(asked: TransferAsked, caller: Caller) -> Order:
    """
    Return the order that a request makes.

    The caller's organisation is the custodian: nobody discloses another's
    records, whatever the request says.

    Raises:
        Answered: A reason or the patient is not written as it must be.
    """
    if not set(asked.referral.reasons) <= set(reason_codes()):
        raise Answered(Problem.REASON_UNKNOWN, expression="referral.reasons")
    if asked.basis == "treatment" and not asked.basis_reason.strip():
        raise Answered(Problem.BODY_INVALID, expression="basis_reason")
    consent = asked.consent
    if consent is not None and consent.get("resourceType") != "Consent":
        raise Answered(Problem.BODY_INVALID, expression="consent")
    return Order(
        source=asked.source,
        destination=asked.destination,
        patient=asked.patient.text(),
        at_destination=asked.at_destination,
        custodian=caller.tenant,
        recipient=asked.recipient,
        requester=asked.requester,
        purpose=asked.purpose,
        kinds=tuple(sorted({Kind(kind) for kind in asked.kinds})),
        reasons=tuple(asked.referral.reasons),
        question=asked.referral.question,
        basis=Basis(asked.basis),
        basis_reason=asked.basis_reason,
        consent="" if consent is None else lossless.encode(consent).decode(),
    )


def check_servers(order: Order, settings: Settings, store: Store) -> None:
    """
    Refuse a server that nobody registered: a caller names no addresses.

    Raises:
        Answered: Source or destination is no alias.
    """
    for member, alias in (("source", order.source), ("destination", order.destination)):
        if alias not in settings.servers and store.registered_server(alias) is None:
            raise Answered(Problem.SERVER_UNKNOWN, expression=member)
