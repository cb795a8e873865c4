"""
Triggers that were sent twice: the same key from the same caller makes one transfer.

The transfer's id is settled when the key is first seen, in one commit. So a
process that dies between that commit and the transfer's own leaves nothing
undecided: whoever asks again gets the same id, and makes that transfer.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, insert, select, update

from fhir_bridge.ledger import timestamp
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_TRIGGER = schema.trigger

IN_FLIGHT_SECONDS_MAX = 30.0
"""Longer than a trigger takes: whoever held it has died, and another may go on with it."""


class Claimed(StrEnum):
    """What a key is found to be."""

    NEW = "new"
    """Make the transfer."""
    SAME = "same"
    """It was made."""
    OTHER = "other"
    """The key stands for something else that was asked."""
    IN_FLIGHT = "in-flight"
    """Another request is making it now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A key of a caller, and the transfer it stands for."""

    found: Claimed
    transfer: str


class Triggers(Part):
    """Which key stands for which transfer. Keys and bodies are kept as sealed digests only."""

    def claim_trigger(self, caller: str, key: str, body: bytes) -> Claim:
        """
        Find what a key stands for; one that is new stands for a transfer from now on.

        Args:
            caller: Who asks; keys of two callers never meet.
            key: What the caller sent; from outside.
            body: What is asked.
        """
        name = self._seal.mac("trigger", f"{caller}\0{key}".encode()).hex()
        asked = self._seal.mac("trigger-body", body).hex()
        now = self._clock.now()
        row = select(_TRIGGER).where(_TRIGGER.c.name == name)
        with self._database.writing() as connection:
            found = connection.execute(row).one_or_none()
            if found is None:
                transfer = str(uuid.uuid4())
                new = {"name": name, "asked": asked, "transfer": transfer, "done": 0}
                connection.execute(insert(_TRIGGER), new | {"at": timestamp(now)})
                return Claim(Claimed.NEW, transfer)
            made = select(schema.transfer.c.id).where(schema.transfer.c.id == found.transfer)
            done = bool(found.done) or connection.execute(made).one_or_none() is not None
            state = _state(found.asked == asked, done=done, at=found.at, now=now)
            if state is Claimed.NEW:
                connection.execute(
                    update(_TRIGGER).where(_TRIGGER.c.name == name), {"at": timestamp(now)}
                )
        return Claim(state, found.transfer)

    def settle_trigger(self, transfer: str) -> None:
        """
        Write down that a key stands for something that is done.

        A transfer that was made says so by itself; this is for what makes none.
        """
        with self._database.writing() as connection:
            connection.execute(update(_TRIGGER).where(_TRIGGER.c.transfer == transfer), {"done": 1})

    def release_trigger(self, transfer: str) -> None:
        """Forget a key whose transfer could not be made, so that it may be asked again."""
        with self._database.writing() as connection:
            connection.execute(
                delete(_TRIGGER).where(
                    _TRIGGER.c.transfer == transfer,
                    _TRIGGER.c.done == 0,
                    _TRIGGER.c.transfer.not_in(select(schema.transfer.c.id)),
                )
            )


def _state(same: bool, *, done: bool, at: str, now: datetime) -> Claimed:  # noqa: FBT001
    if not same:
        return Claimed.OTHER
    if done:
        return Claimed.SAME
    held = now - datetime.fromisoformat(at)
    # A clock that was set back must not hold a key for ever.
    if timedelta(0) <= held < timedelta(seconds=IN_FLIGHT_SECONDS_MAX):
        return Claimed.IN_FLIGHT
    return Claimed.NEW
