"""
Keys of the API: shown once, kept as a digest.

A key is ``fbk_<name>_<secret>``: twelve hexadecimal digits that may be logged,
and 256 random bits that may not. The prefix lets a scanner of repositories
find a key that was leaked.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_bridge.doors.api.roles import OF_AN_ORGANISATION, Role
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.settings import organisation
from fhir_bridge.store import ApiKeyRow

DAYS = 90
"""How long a key lives when nobody says otherwise."""
DAYS_MAX = 366

_SHOWN = re.compile(r"fbk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})\Z")
_LABEL_MAX = 60


@dataclass(frozen=True, slots=True)
class Shown:
    """A key as a caller shows it."""

    id: str
    digest: bytes


def read(text: str) -> Shown | None:
    """Return the parts of a key; None when it is not written as one."""
    found = _SHOWN.match(text)
    return None if found is None else Shown(found[1], _digest(found[2]))


def make(
    *, roles: Sequence[Role], tenant: str, label: str, days: int, now: datetime
) -> tuple[str, ApiKeyRow]:
    """
    Make a key.

    Args:
        roles: At least one.
        tenant: The organisation it acts for, ``system|value``; empty for none.
        label: What the operator calls it.
        days: How long it lives.
        now: The time.

    Returns:
        The key, to be shown once, and what is kept of it.

    Raises:
        SettingsError: A role needs an organisation, or something is out of bounds.
    """
    if tenant:
        organisation(tenant)
    elif needing := OF_AN_ORGANISATION.intersection(roles):
        raise SettingsError(
            f"a key for {', '.join(sorted(needing))} acts for one organisation: name it with"
            " --organisation 'SYSTEM|VALUE'"
        )
    if not 1 <= days <= DAYS_MAX:
        raise SettingsError(f"a key lives 1 to {DAYS_MAX} days")
    if len(label) > _LABEL_MAX or not label.isprintable():
        raise SettingsError(f"a label has at most {_LABEL_MAX} printable characters")
    id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = ApiKeyRow(
        id=id_,
        tenant=tenant,
        roles=tuple(sorted(set(roles))),
        label=label,
        created=timestamp(now),
        expires=timestamp(now + timedelta(days=days)),
        revoked=None,
        digest=_digest(secret),
    )
    return f"fbk_{id_}_{secret}", row


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
