"""Everyone who takes part in a transfer, and what is in hand while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from zoneinfo import ZoneInfo

from fhir_bridge.clock import Clock
from fhir_bridge.fhir_server import FhirServer
from fhir_bridge.kinds import KindBook
from fhir_bridge.references import ClosurePolicy
from fhir_bridge.sensitivity import SensitivityBook
from fhir_bridge.store import Store
from fhir_bridge.transfer import Party


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider's server and what the operator has settled about it."""

    server: FhirServer
    name: str
    """Alias, else host: what the log calls it."""
    identity: str
    """What copies of its records are named after."""
    organisations: tuple[Party, ...] = ()
    timezone: ZoneInfo | None = None
    allow_treatment: bool = False
    registered: bool = True
    loopback: bool = False
    sandbox: bool = False
    """A public sandbox: takes only patients and records labelled HTEST."""


class Step(StrEnum):
    """What a listener is told; the words of the sentence."""

    CONSENT = "consent"
    GATHERED = "gathered"
    DECIDED = "decided"
    PATIENT = "patient"
    DISCLOSURE = "disclosure"
    DELIVERED = "delivered"
    READ_BACK = "read back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One finished step, told in numbers and references."""

    step: Step
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRules:
    """What the operator accepts as a consent."""

    accepted_policies: frozenset[str] = frozenset()
    waive_paper: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Both providers, the store, the rules in force and the clock."""

    source: Provider
    destination: Provider
    store: Store
    clock: Clock
    sensitivity: SensitivityBook
    kinds: KindBook
    closure: ClosurePolicy
    consent_rules: ConsentRules
    actor: str
    """Who asked: ``cli:<account>`` or ``key:<id>``."""
    tell: Callable[[Progress], None]
    """Called after each step, for someone who watches."""
    before_leaving: Callable[[], None] = lambda: None
    """Called when an intent is signed and before the bytes leave; raises where they may not."""
    lease_seconds: float = 900.0
    """How long to wait for another who writes this patient's records there."""
    trace: str | None = None
    """The trace of who asked, 32 hexadecimal digits: ties the log to theirs."""

    def traced(self, request_id: str) -> Parties:
        """Return the same parties, whose servers are sent this id with each request."""
        return replace(
            self,
            source=replace(self.source, server=self.source.server.traced(request_id)),
            destination=replace(
                self.destination, server=self.destination.server.traced(request_id)
            ),
        )

    @property
    def same_base(self) -> bool:
        """Return whether both ends are one server, as in a public sandbox."""
        return self.source.server.base == self.destination.server.base
