"""What the sender needs of whoever keeps the messages; the store has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol


class Happened(Protocol):
    """A transfer reached a state."""

    @property
    def number(self) -> int:
        """Of all events; a later one has a greater number."""
        ...

    @property
    def transfer(self) -> str:
        """The transfer's id."""
        ...

    @property
    def at(self) -> str:
        """When, in UTC, as in the log."""
        ...

    @property
    def state(self) -> str:
        """A word of `transfer.State`."""
        ...

    @property
    def attempt(self) -> int:
        """Of the transfer, from 1."""
        ...

    @property
    def tenant(self) -> str:
        """The organisation that answers for the records, ``system|value``."""
        ...


class Message(Protocol):
    """A message that waits to be sent."""

    @property
    def number(self) -> int:
        """Of the event that it tells of."""
        ...

    @property
    def transfer(self) -> str:
        """The transfer's id."""
        ...

    @property
    def since(self) -> str:
        """Since when it waits, in UTC, as in the log."""
        ...

    @property
    def body(self) -> bytes:
        """What is sent; the same each time."""
        ...

    @property
    def attempts(self) -> int:
        """How often its target refused it."""
        ...


class Standing(Protocol):
    """How it stands with one target."""

    @property
    def disabled(self) -> str | None:
        """Since when the target wants nothing more (410)."""
        ...

    @property
    def quiet_until(self) -> str | None:
        """Until when it is left alone."""
        ...

    @property
    def failures(self) -> int:
        """How often in a row it could not be reached."""
        ...


class Counts(Protocol):
    """How many records were released, and of how many it is known that they arrived."""

    @property
    def released(self) -> int:
        """Lines."""
        ...

    @property
    def verified(self) -> int:
        """Lines."""
        ...


class Outbox(Protocol):
    """Keeps messages until they are delivered. Each method is one durable commit."""

    def outbox_has_work(self, target: str, now: datetime) -> bool:
        """Tell cheaply whether there may be something to write or to send."""
        ...

    def alone(self, task: str) -> AbstractContextManager[bool]:
        """Be the only one that does something now; False when another is."""
        ...

    def outbox_feed(
        self, target: str, written: Callable[[Happened], bytes | None], *, since: datetime
    ) -> int:
        """Write a message for each new event; a target seen first hears from `since` on."""
        ...

    def outbox_standing(self, target: str) -> Standing:
        """Return how it stands with a target."""
        ...

    def outbox_due(self, target: str, now: datetime, limit: int) -> Sequence[Message]:
        """Return what may be sent now: of each transfer its oldest message at most."""
        ...

    def outbox_delivered(self, target: str, number: int) -> None:
        """Forget a message that its target has taken."""
        ...

    def outbox_failed(  # noqa: PLR0913 - what is known of one failure
        self,
        target: str,
        number: int,
        *,
        due: datetime,
        attempts: int,
        dead: str | None,
        failures: int,
        quiet_until: datetime | None,
    ) -> None:
        """Keep a message for later, or put it aside as dead."""
        ...

    def outbox_disable(self, target: str) -> None:
        """Send nothing more to a target until somebody says so."""
        ...

    def outbox_counts(self, transfer: str) -> Counts:
        """Count a transfer's lines."""
        ...
