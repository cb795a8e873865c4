"""
Acts on their way into the log: checked and committed to first, placed last.

Everything that does not depend on an entry's place is done before the log is
held: a member that is not as it must be, or a leaf that would be too long, is
refused there and holds up nobody.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from fhir_bridge import lossless
from fhir_bridge.ledger import (
    Body,
    Entry,
    Event,
    NewEntry,
    Place,
    encode_entry,
    transfer_urn,
)
from fhir_bridge.store.growth import Drafted
from fhir_bridge.store.seal import Seal

_SALT_BYTES = 32
_LONGEST = 2**53 - 1
_SOME_TIME = "2000-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Act:
    """An act that the log can take: checked, not placed yet."""

    entry: Entry
    """With the longest index and number that it can get."""
    salt: bytes = field(default=b"", repr=False)
    content: bytes | None = field(default=None, repr=False)
    """What it commits to."""

    @classmethod
    def of(cls, new: NewEntry, log: str) -> Act:
        """
        Check an act.

        Args:
            new: The act.
            log: The log's name now; by the time that it is placed another year may have begun.

        Raises:
            SettingsError: A member is not written as the log demands, or all are too long.
        """
        salt, content, commitment = b"", None, None
        if (opened := _content(new)) is not None:
            content, type_ = opened
            salt = os.urandom(_SALT_BYTES)
            digest = base64.b64encode(hashlib.sha256(salt + content).digest()).decode()
            commitment = Body(alg="sha256-salted", digest=digest, type=type_)
        seq = None if new.transfer is None else _LONGEST
        place = Place(log=log, idx=_LONGEST, t=_SOME_TIME, seq=seq)
        entry = new.at(place, commitment)
        if new.type is Event.TRANSFER_CLOSED:
            entry = replace(entry, entries=_LONGEST)
        encode_entry(entry)
        return cls(entry, salt, content)

    def placed(self, place: Place, event_id: str, seal: Seal) -> Drafted:
        """
        Give the act its place.

        Args:
            place: Where it stands.
            event_id: What it is filed as.
            seal: To keep what it commits to.
        """
        # What differs from the draft was never outside these bounds, so it needs no second check.
        entry = replace(self.entry, log=place.log, idx=place.idx, t=place.t, seq=place.seq)
        if entry.type is Event.TRANSFER_CLOSED and place.seq is not None:
            entry = replace(entry, entries=place.seq + 1)
        body = None
        if self.content is not None:
            body = seal.close(f"body/{place.idx}", self.content)
        leaf = encode_entry(entry)
        return Drafted(entry=entry, event_id=event_id, leaf=leaf, salt=self.salt, body=body)


def is_same(entry: Entry, act: Act) -> bool:
    """Say whether an entry of the log is what an act asks to be written."""
    asked = act.entry
    return (entry.type, entry.transfer, entry.step, entry.attempt) == (
        asked.type,
        asked.transfer,
        asked.step,
        asked.attempt,
    )


def urn_of(new: NewEntry) -> str | None:
    """Return what an act's transfer is called in the log."""
    return None if new.transfer is None else transfer_urn(new.transfer)


def _content(new: NewEntry) -> tuple[bytes, Literal["AuditEvent", "Statement"]] | None:
    """Return the bytes that an entry commits to, and what they are."""
    if new.audit_event is not None:
        return new.audit_event, "AuditEvent"
    if new.statement is not None:
        return lossless.canonical(dict(new.statement)), "Statement"
    return None
