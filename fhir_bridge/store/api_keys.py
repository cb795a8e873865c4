"""Who may call the API by key: a digest of each key, never the key."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_KEY = schema.api_key


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow:
    """One key of the API."""

    id: str
    """Names the key in the log and in lists; no secret."""
    tenant: str
    """Identifier of the organisation it acts for, ``system|value``; empty for the operator."""
    roles: tuple[str, ...]
    label: str
    """What the operator calls it."""
    created: str
    """UTC, as in the log."""
    expires: str
    revoked: str | None
    digest: bytes = field(repr=False)
    """SHA-256 of the key's secret part: 256 random bits, so no slower hash is needed."""


class ApiKeys(Part):
    """The keys of the API."""

    def add_api_key(self, row: ApiKeyRow) -> None:
        """Keep a new key."""
        columns = {
            "id": row.id,
            "tenant": row.tenant,
            "roles": " ".join(row.roles),
            "label": row.label,
            "created": row.created,
            "expires": row.expires,
            "revoked": row.revoked,
            "digest": row.digest,
        }
        with self._database.writing() as connection:
            connection.execute(insert(_KEY), columns)

    def api_key(self, id_: str, digest: bytes) -> ApiKeyRow | None:
        """
        Return a key that a caller showed; None when it is not one of ours.

        Args:
            id_: The key's name; from outside.
            digest: SHA-256 of the secret that was shown; compared in constant time.
        """
        with self._database.reading() as connection:
            found = connection.execute(select(_KEY).where(_KEY.c.id == id_)).one_or_none()
        if found is None or not hmac.compare_digest(bytes(found.digest), digest):
            return None
        return _api_key(found)

    def api_keys(self) -> tuple[ApiKeyRow, ...]:
        """Return all keys, oldest first; revoked and expired ones too."""
        rows = select(_KEY).order_by(_KEY.c.created, _KEY.c.id)
        with self._database.reading() as connection:
            return tuple(map(_api_key, connection.execute(rows)))

    def count_api_keys(self) -> int:
        """Return how many keys there are that were not revoked."""
        rows = select(func.count()).select_from(_KEY).where(_KEY.c.revoked.is_(None))
        with self._database.reading() as connection:
            return connection.execute(rows).scalar_one()

    def revoke_api_key(self, id_: str) -> None:
        """
        Let a key open nothing from now on; revoked twice changes nothing.

        Raises:
            SettingsError: There is no such key.
        """
        now = timestamp(self._clock.now())
        with self._database.writing() as connection:
            known = connection.execute(select(_KEY.c.id).where(_KEY.c.id == id_)).one_or_none()
            connection.execute(
                update(_KEY).where(_KEY.c.id == id_, _KEY.c.revoked.is_(None)), {"revoked": now}
            )
        if known is None:
            raise SettingsError("there is no such key: see fhir-bridge keys list")


def _api_key(row: Row[Any]) -> ApiKeyRow:
    columns = row._asdict()
    return ApiKeyRow(**columns | {"roles": tuple(row.roles.split()), "digest": bytes(row.digest)})
