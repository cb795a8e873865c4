"""Who calls, and what each role may do: as little as its work needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller was let in for."""

    INTEGRATOR = "integrator"
    """Triggers its organisation's transfers and follows them."""
    RECORDS_OFFICER = "records-officer"
    """Decides about held lines and sees everything about its organisation's disclosures."""
    AUDITOR = "auditor"
    """Sees decisions and proofs of its organisation; changes nothing."""
    AUDITOR_BODIES = "auditor-bodies"
    """Besides an auditor's: reads the AuditEvents, which name patients."""
    ADMINISTRATOR = "administrator"
    """Registers servers. Sees no transfer and no log."""
    MONITOR = "monitor"
    """Reads the metrics."""


OF_AN_ORGANISATION = frozenset(
    {Role.INTEGRATOR, Role.RECORDS_OFFICER, Role.AUDITOR, Role.AUDITOR_BODIES}
)
"""Roles that see transfers: their caller acts for one organisation."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, once it is known."""

    id: str
    """Names the caller in the log."""
    tenant: str
    """Identifier of the organisation it acts for, ``system|value``; empty for none."""
    roles: frozenset[Role]

    @property
    def actor(self) -> str:
        """Return the caller as the log names actors."""
        return f"key:{self.id}"

    def sees(self, tenant: str) -> bool:
        """Return whether something of that organisation is this caller's to see."""
        return bool(self.tenant) and self.tenant == tenant

    def is_any(self, *roles: Role) -> bool:
        """Return whether the caller has one of these roles."""
        return not self.roles.isdisjoint(roles)
