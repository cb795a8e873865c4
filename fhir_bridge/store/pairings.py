"""
Pairings: what we put at a destination, and how it was when we last verified it.

Only what equals that may be written over. The digest is kept under a key and a
salt of its own, so that the table does not tell what a result was.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import bindparam, delete, insert, select

from fhir_bridge.ledger import timestamp
from fhir_bridge.records import RecordRef, Sha256
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part
from fhir_bridge.store.seal import Seal

_SALT_BYTES = 16
_REFS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPairing:
    """A copy as it was verified just now."""

    ref: RecordRef
    """At the destination."""
    source: str
    """Identity of the source and reference, ``<identity>/Observation/1``."""
    digest: Sha256
    """Digest of what was read back at the destination."""
    etag: str | None
    since: str | None = None
    """When it was first verified there; None for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A copy as it was verified last."""

    ref: RecordRef
    source: str
    etag: str | None
    since: str
    """When it was first verified there, as in the log; empty when that was not kept."""
    salt: bytes = field(repr=False)
    mac: str = field(repr=False)
    seal: Seal = field(repr=False)

    def matches(self, digest: Sha256) -> bool:
        """Return whether the copy is still what was verified."""
        return hmac.compare_digest(self.mac, _mac(self.seal, self.salt, digest))


class Pairings(Part):
    """Copies at destinations."""

    def remember_pairings(self, destination: str, pairings: Iterable[NewPairing]) -> None:
        """
        Keep how copies were when they were verified.

        Args:
            destination: Identity of the destination.
            pairings: Each replaces what was kept of the same copy.
        """
        rows, now = [], timestamp(self._clock.now())
        for pairing in pairings:
            salt = os.urandom(_SALT_BYTES)
            rows.append(
                {
                    "destination": destination,
                    "ref": pairing.ref,
                    "source": pairing.source,
                    "salt": salt,
                    "mac": _mac(self._seal, salt, pairing.digest),
                    "etag": pairing.etag,
                    "since": now if pairing.since is None else pairing.since,
                }
            )
        if not rows:
            return
        table = schema.pairing
        former = delete(table).where(
            table.c.destination == destination, table.c.ref == bindparam("copy")
        )
        with self._database.writing() as connection:
            connection.execute(former, [{"copy": row["ref"]} for row in rows])
            connection.execute(insert(table), rows)

    def pairings(self, destination: str, refs: Sequence[RecordRef]) -> dict[RecordRef, Pairing]:
        """
        Return what is known of copies; what we never verified is left out.

        Args:
            destination: Identity of the destination.
            refs: References there.
        """
        table = schema.pairing
        columns = tuple(column for column in table.c if column.name != "destination")
        wanted = select(*columns).where(table.c.destination == destination)
        found: dict[RecordRef, Pairing] = {}
        with self._database.reading() as connection:
            for start in range(0, len(refs), _REFS_AT_ONCE):
                some = wanted.where(table.c.ref.in_(refs[start : start + _REFS_AT_ONCE]))
                for row in connection.execute(some):
                    found[row.ref] = Pairing(**row._asdict(), seal=self._seal)
        return found

    def pairing(self, destination: str, ref: RecordRef) -> Pairing | None:
        """Return what is known of one copy; None when we never verified it."""
        return self.pairings(destination, [ref]).get(ref)


def _mac(seal: Seal, salt: bytes, digest: Sha256) -> str:
    return seal.mac("pairing", salt + digest.encode()).hex()
