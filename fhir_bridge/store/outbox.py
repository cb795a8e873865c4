"""
Messages to other programs, kept until they are taken.

They are written from the numbered events of transfers, target by target, in
the order of the numbers; where a target stands among them is kept in the same
commit. A message leaves when its target has taken it, or lies dead until a
person sends it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, exists, func, insert, select, update

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.manifest import Decision, Outcome
from fhir_bridge.store import schema
from fhir_bridge.store.events import EventRow, Events

_TARGET = schema.webhook_target
_MESSAGE = schema.webhook_message
_EVENT = schema.transfer_event
_ARRIVED = (Outcome.IDENTICAL, Outcome.NORMALISED, Outcome.THEIRS)
_FED_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message that waits, or lies dead."""

    number: int
    """Of the event that it tells of."""
    transfer: str
    since: str
    """When the state was reached, or when a person sent it again."""
    body: bytes
    due: str
    attempts: int
    """How often its target refused it."""
    dead: str | None
    """Why nobody sends it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """How it stands with one target."""

    target: str
    position: int
    """Number of the last event that a message was considered for."""
    failures: int = 0
    """How often in a row it was away."""
    quiet_until: str | None = None
    disabled: str | None = None
    """Since when it wants nothing more."""
    delivered: str | None = None
    """When it took a message last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCounts:
    """How many messages of one target there are."""

    waiting: int
    dead: int
    oldest: str | None
    """Since when the oldest one waits."""


@dataclass(frozen=True, slots=True)
class LineCounts:
    """How many records were released, and of how many it is known that they arrived."""

    released: int
    verified: int


class Outbox(Events):
    """The messages, and how it stands with each target."""

    def outbox_has_work(self, target: str, now: datetime) -> bool:
        """Tell cheaply whether there may be something to write or to send."""
        position = select(_TARGET.c.position).where(_TARGET.c.target == target).scalar_subquery()
        with self._database.reading() as connection:
            newest = connection.execute(select(func.max(_EVENT.c.number))).scalar_one() or 0
            known = connection.execute(select(position)).scalar_one()
            due = select(exists().where(*_waiting(target), _MESSAGE.c.due <= timestamp(now)))
            return known is None or newest > known or bool(connection.execute(due).scalar_one())

    def outbox_feed(
        self, target: str, written: Callable[[EventRow], bytes | None], *, since: datetime
    ) -> int:
        """
        Write a message for each event that came since the last call, in one commit.

        Args:
            target: Its name.
            written: Gives the message of an event; None when the target is not told.
            since: From when on a target hears that was never seen before.

        Returns:
            How many messages were written.
        """
        row = self._settled(target, since)
        events = self.events(row.position, limit=_FED_AT_ONCE)
        if not events:
            return 0
        messages = [
            {
                "target": target,
                "number": event.number,
                "transfer": event.transfer,
                "since": event.at,
                "body": body,
                "due": event.at,
                "attempts": 0,
            }
            for event in events
            if (body := written(event)) is not None
        ]
        numbers = [one["number"] for one in messages]
        with self._database.writing() as connection:
            connection.execute(
                delete(_MESSAGE).where(_MESSAGE.c.target == target, _MESSAGE.c.number.in_(numbers))
            )
            if messages:
                connection.execute(insert(_MESSAGE), messages)
            connection.execute(_of(target), {"position": events[-1].number})
        return len(messages)

    def outbox_standing(self, target: str) -> TargetRow:
        """Return how it stands with a target; one that was never seen has had nothing yet."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_TARGET).where(_TARGET.c.target == target))
            found = rows.one_or_none()
        return TargetRow(target=target, position=0) if found is None else _target(found)

    def outbox_due(self, target: str, now: datetime, limit: int) -> list[MessageRow]:
        """
        Return what may be sent now: of each transfer its oldest waiting message at most.

        Args:
            target: Its name.
            now: The time of day.
            limit: How many at most.
        """
        earlier = _MESSAGE.alias()
        first = ~exists().where(
            earlier.c.target == target,
            earlier.c.dead.is_(None),
            earlier.c.transfer == _MESSAGE.c.transfer,
            earlier.c.number < _MESSAGE.c.number,
        )
        rows = (
            select(_MESSAGE)
            .where(*_waiting(target), first, _MESSAGE.c.due <= timestamp(now))
            .order_by(_MESSAGE.c.due, _MESSAGE.c.number)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [_message(row) for row in connection.execute(rows)]

    def outbox_delivered(self, target: str, number: int) -> None:
        """Forget a message that its target has taken; the target is there."""
        now = timestamp(self._clock.now())
        with self._database.writing() as connection:
            connection.execute(delete(_MESSAGE).where(*_one(target, number)))
            connection.execute(_of(target), {"failures": 0, "quiet_until": None, "delivered": now})

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
        """
        Keep a message for later, or put it aside as dead.

        Args:
            target: Its name.
            number: Of the message.
            due: When it is to be sent again.
            attempts: How often the target refused it by now.
            dead: Why it is not sent again; None when it is.
            failures: How often in a row the target was away.
            quiet_until: Until when it is left alone.
        """
        quiet = None if quiet_until is None else timestamp(quiet_until)
        later = {"due": timestamp(due), "attempts": attempts, "dead": dead}
        with self._database.writing() as connection:
            connection.execute(update(_MESSAGE).where(*_one(target, number)), later)
            connection.execute(_of(target), {"failures": failures, "quiet_until": quiet})

    def outbox_disable(self, target: str) -> None:
        """Send nothing more to a target until `outbox_replay`; its messages are kept."""
        with self._database.writing() as connection:
            connection.execute(_of(target), {"disabled": timestamp(self._clock.now())})

    def outbox_replay(self, target: str, *, after: int | None = None) -> int:
        """
        Send again what lies dead, in its order; a target that wanted nothing more is asked again.

        Args:
            target: Its name.
            after: Also send again what happened after the event of this number.

        Returns:
            How many messages came back to life.

        Raises:
            SettingsError: Nothing was ever written for this target.
        """
        now = timestamp(self._clock.now())
        with self._database.writing() as connection:
            awake: dict[str, Any] = {"disabled": None, "quiet_until": None, "failures": 0}
            if after is not None:
                awake["position"] = after
            if not connection.execute(_of(target), awake).rowcount:
                raise SettingsError(f"nothing was ever written for a webhook named {target}")
            dead = (_MESSAGE.c.target == target, _MESSAGE.c.dead.is_not(None))
            again = {"dead": None, "attempts": 0, "due": now, "since": now}
            return connection.execute(update(_MESSAGE).where(*dead), again).rowcount

    def outbox_of(self, target: str) -> TargetCounts:
        """Count a target's messages."""
        waiting = select(func.count(), func.min(_MESSAGE.c.since)).where(*_waiting(target))
        dead = select(func.count()).where(_MESSAGE.c.target == target, _MESSAGE.c.dead.is_not(None))
        with self._database.reading() as connection:
            count, oldest = connection.execute(waiting).one()
            lost = connection.execute(dead).scalar_one()
        return TargetCounts(waiting=count, dead=lost, oldest=oldest)

    def outbox_dead(self, target: str, limit: int = 100) -> list[MessageRow]:
        """Return a target's dead messages, oldest first."""
        rows = (
            select(_MESSAGE)
            .where(_MESSAGE.c.target == target, _MESSAGE.c.dead.is_not(None))
            .order_by(_MESSAGE.c.number)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [_message(row) for row in connection.execute(rows)]

    def outbox_counts(self, transfer: str) -> LineCounts:
        """Count the lines of a transfer's last manifest that were released, and that arrived."""
        line, row = schema.line, schema.transfer
        lines = (
            select(line.c.outcome, func.count())
            .join(row, (row.c.id == line.c.transfer) & (row.c.manifest == line.c.number))
            .where(row.c.id == transfer, line.c.decision == Decision.RELEASED)
            .group_by(line.c.outcome)
        )
        with self._database.reading() as connection:
            found = {row[0]: row[1] for row in connection.execute(lines)}
        return LineCounts(
            released=sum(found.values()), verified=sum(found.get(one, 0) for one in _ARRIVED)
        )

    def _settled(self, target: str, since: datetime) -> TargetRow:
        """Return a target's row; make it where it is missing."""
        before = select(func.coalesce(func.max(_EVENT.c.number), 0)).where(
            _EVENT.c.at < timestamp(since)
        )
        same = select(_TARGET).where(_TARGET.c.target == target)
        with self._database.writing() as connection:
            found = connection.execute(same).one_or_none()
            if found is None:
                new = {"target": target, "position": connection.execute(before).scalar_one()}
                connection.execute(insert(_TARGET), new | {"failures": 0})
                found = connection.execute(same).one()
        return _target(found)


def _of(target: str) -> Any:
    return update(_TARGET).where(_TARGET.c.target == target)


def _one(target: str, number: int) -> tuple[ColumnElement[bool], ...]:
    return _MESSAGE.c.target == target, _MESSAGE.c.number == number


def _waiting(target: str) -> tuple[ColumnElement[bool], ...]:
    return _MESSAGE.c.target == target, _MESSAGE.c.dead.is_(None)


def _message(row: Row[Any]) -> MessageRow:
    found = row._asdict()
    found.pop("target")
    return MessageRow(**found | {"body": bytes(row.body)})


def _target(row: Row[Any]) -> TargetRow:
    return TargetRow(**row._asdict())
