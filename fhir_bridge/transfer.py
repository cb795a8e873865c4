"""
A transfer, and the states it goes through. Pure: no server, no clock.

    Requested -> Permitted -> Gathered -> Matched -> Announced -> Delivered -> Verified -> Closed
        |                        |                                                |
        +-> Refused              +-> (lines held for release)                     +-> Incomplete

At every boundary a person may have cancelled it (Cancelled); where no worker
can bring it further by itself it is parked until a person retries it (Parked).

Each state is a type that holds the evidence for having reached it, so a step
out of order does not pass the type checker. Content is in memory only; an
interrupted transfer is carried again from its request, and what was done before
is found at the destination and in the log, not assumed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from fhir_bridge import lossless
from fhir_bridge.errors import SettingsError
from fhir_bridge.manifest import Gap, Manifest
from fhir_bridge.records import Kind, RecordRef

TransferId = NewType("TransferId", str)
"""A random UUID: it says nothing about the patient."""


class State(StrEnum):
    """Where a transfer stands, in the words of the sentence."""

    REQUESTED = "requested"
    PERMITTED = "permitted"
    GATHERED = "gathered"
    MATCHED = "matched"
    ANNOUNCED = "announced"
    DELIVERED = "delivered"
    VERIFIED = "verified"
    CLOSED = "closed"
    HELD = "held"
    INCOMPLETE = "incomplete"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    PARKED = "parked"


ENDED = frozenset({State.CLOSED, State.HELD, State.INCOMPLETE, State.REFUSED, State.CANCELLED})
"""Asked for again from one of these, a transfer begins a new attempt."""


def check_words(said: Mapping[str, str]) -> None:
    """
    Refuse words of a person that cannot be signed, sent or shown as they are.

    Args:
        said: By what it is, e.g. ``--question``. Line breaks and tabs may stand.

    Raises:
        SettingsError: Names the one with a control character, and not its value.
    """
    for what, text in said.items():
        if any(unicodedata.category(char) in {"Cc", "Cs"} and char not in "\n\t" for char in text):
            raise SettingsError(f"{what} holds a control character: write it without")


class Basis(StrEnum):
    """Why the law lets the records go."""

    CONSENT = "consent"
    TREATMENT = "treatment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What someone asked the bridge to do, as they said it.

    It names the patient and may hold a clinical question, so it is kept only
    sealed.
    """

    source: str
    """Alias or base URL."""
    destination: str
    patient: str
    """``Patient/1``, ``1`` or ``system|value``, at the source."""
    at_destination: str = "match"
    """``match``, ``create`` or the patient's id at the destination."""
    custodian: str | None = None
    """``system|value``; None takes the alias's or the patient's own."""
    recipient: str | None = None
    requester: str | None = None
    purpose: str = "TREAT"
    kinds: tuple[Kind, ...] = tuple(Kind)
    reasons: tuple[str, ...] = ()
    question: str = ""
    basis: Basis = Basis.CONSENT
    basis_reason: str = ""
    override: str = ""
    """Who says that the given patient is the right one although data differ; signed."""
    preview: bool = False
    """Only say what would go: such a transfer never sends anything, not when resumed either."""
    consent: str = ""
    """A Consent brought by the operator, as JSON text; empty when none."""
    new: bool = False
    """A new transfer although the same referral was made before."""

    def check(self) -> None:
        """
        Refuse words that cannot be signed, sent or shown as they are.

        Raises:
            SettingsError: Names the option, and not its value.
        """
        check_words(
            {
                "--question": self.question,
                "--reason-for-basis": self.basis_reason,
                "--override": self.override,
                "--patient": self.patient,
                "--at-destination": self.at_destination,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organisation in this transfer, with the server it stands behind."""

    system: str
    value: str
    name: str

    @property
    def identifier(self) -> str:
        """Return ``system|value``."""
        return f"{self.system}|{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """The patient is known at the source, and so is who sends to whom."""

    id: TransferId
    attempt: int
    """1, and one more each time a closed transfer is asked for again."""
    key: str
    order: Order
    patient: RecordRef
    custodian: Party
    recipient: Party
    requester: Party


def referral_key(  # noqa: PLR0913 - the key is made of exactly these
    *,
    source_identity: str,
    destination_identity: str,
    patient: RecordRef,
    custodian: Party,
    recipient: Party,
    order: Order,
    salt: str = "",
) -> str:
    """
    Return what makes two requests the same transfer.

    Args:
        source_identity: Identity of the first provider's server.
        destination_identity: Identity of the second provider's server.
        patient: The patient at the source.
        custodian: Who is responsible for the records.
        recipient: Who receives them.
        order: Its kinds, reasons and question count, not how it was phrased.
        salt: Not empty when the operator asked for a new transfer.

    Returns:
        64 hexadecimal digits. The ids of what the bridge authors come from it,
        so the same referral asked again makes the same resources.
    """
    parts = [
        source_identity,
        destination_identity,
        patient,
        custodian.identifier,
        recipient.identifier,
        sorted(order.kinds),
        sorted(order.reasons),
        order.question,
        salt,
    ]
    return hashlib.sha256(lossless.canonical(parts)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a transfer stands when the bridge can do no more by itself."""

    request: Requested
    state: State
    manifest: Manifest
    gaps: tuple[Gap, ...]
    images: tuple[Gap, ...]
    """One line per study whose pixels were not transferred; empty when there is none."""
    authored: tuple[RecordRef, ...] = ()
