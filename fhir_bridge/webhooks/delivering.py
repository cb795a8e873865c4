"""
Everything that is due, to every target; called again and again by whoever serves.

A target that is away is left alone as a whole, so that it does not get
hundreds of requests when it comes back, and no other target waits for it. A
message that its target refuses waits by itself, and only its own transfer's
later messages wait with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.settings import WebhookSettings, environment
from fhir_bridge.transfer import State
from fhir_bridge.webhooks.messages import message_id, test_message, written
from fhir_bridge.webhooks.outbox import Happened, Message, Outbox, Standing
from fhir_bridge.webhooks.sending import Ending, Sender, Sent
from fhir_bridge.webhooks.signing import keys

_MINUTE, _HOUR = 60, 3600
DELAYS_SECONDS = (
    *(5, 30, 2 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR),
)
"""Waits before a message is sent again; after the last refusal it is dead. Two days in all."""

_AWAY_SECONDS_MAX = 1 * _HOUR
"""A target that was away is asked again at least so often: when it is back, it is told."""

_AGE_MAX = timedelta(days=7)
"""A message that its target was never there to take is dead after so long."""

_FIRST_HEARS = timedelta(hours=1)
"""A target that is new is told what happened in the last hour."""

_REFUSALS_MAX = 5
_REFUSED_SECONDS = 1 * _MINUTE
"""A target that refuses one message after the other is left alone so long."""

_AT_ONCE = 50
_ROUND_SECONDS_MAX = 20.0
_TARGETS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Tried:
    """What a test message to a target led to."""

    taken: bool
    reason: str
    """A status, or one word."""


@dataclass(slots=True)
class Round:
    """What one call did."""

    taken: int = 0
    failed: int = 0
    dead: int = 0


@dataclass(slots=True)
class _Progress:
    round: Round = field(default_factory=Round)
    failures: int = 0
    """How often in a row the target was away."""
    refusals: int = 0
    """Messages refused in a row, in this round."""


class Webhooks:
    """Delivers to the targets of the settings."""

    def __init__(
        self, targets: Sequence[WebhookSettings], outbox: Outbox, clock: Clock | None = None
    ) -> None:
        """
        Check the targets; nothing is sent.

        Args:
            targets: Of the settings.
            outbox: Keeps the messages.
            clock: Tells the time.

        Raises:
            SettingsError: A target wants to be told of a state that there is
                not, or its secret or certificates cannot be read.
        """
        for target in targets:
            check_target(target)
        self._targets = {target.name: target for target in targets}
        self._outbox = outbox
        self._clock = clock or Clock()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    @property
    def deliveries(self) -> dict[tuple[str, str], int]:
        """Return how many requests to each target ended how, since the process began."""
        with self._lock:
            return dict(self._counted)

    def deliver_due(self, now: datetime | None = None) -> Round:
        """
        Send everything that is due; a slow target holds up nobody else.

        Args:
            now: The time of day; None for the clock's.

        Raises:
            StoreUnavailable: The outbox cannot be read or written.
        """
        moment = now or self._clock.now()
        targets = list(self._targets.values())
        if not targets:
            return Round()
        with ThreadPoolExecutor(min(len(targets), _TARGETS_AT_ONCE)) as threads:
            futures = [threads.submit(self._serve, target, moment) for target in targets]
        rounds = [future.result() for future in futures]
        return Round(
            taken=sum(one.taken for one in rounds),
            failed=sum(one.failed for one in rounds),
            dead=sum(one.dead for one in rounds),
        )

    def test(self, name: str) -> Tried:
        """
        Send a target one message that says nothing, now.

        Raises:
            SettingsError: There is no such target, or its secret is missing.
        """
        if name not in self._targets:
            known = ", ".join(sorted(self._targets)) or "none"
            raise SettingsError(f"{name} is not a target of webhooks (known: {known})")
        at = self._clock.now()
        with Sender(self._targets[name], self._clock) as sender:
            sent = sender.send(f"evt_test_{int(at.timestamp())}", test_message(timestamp(at)))
        return Tried(sent.ending is Ending.TAKEN, sent.reason)

    def _serve(self, target: WebhookSettings, now: datetime) -> Round:
        """Serve one target, unless another process does."""
        progress = _Progress()
        if not self._outbox.outbox_has_work(target.name, now):
            return progress.round
        with self._outbox.alone(f"webhook/{target.name}") as alone:
            if not alone:
                return progress.round
            self._outbox.outbox_feed(target.name, self._writes(target), since=now - _FIRST_HEARS)
            standing = self._outbox.outbox_standing(target.name)
            if _may_be_asked(standing, now):
                progress.failures = standing.failures
                self._send_all(target, now, progress)
        return progress.round

    def _writes(self, target: WebhookSettings) -> Callable[[Happened], bytes | None]:
        def message(happened: Happened) -> bytes | None:
            if target.events and happened.state not in target.events:
                return None
            if target.tenant and happened.tenant != target.tenant:
                return None
            return written(happened, self._outbox.outbox_counts)

        return message

    def _send_all(self, target: WebhookSettings, now: datetime, progress: _Progress) -> None:
        try:
            sender = Sender(target, self._clock)
        except SettingsError:  # its secret went missing while we ran; doctor says so
            self._count(target.name, "unset")
            return
        with sender:
            for message in self._due(target.name, now):
                sent = sender.send(message_id(message.number, message.transfer), message.body)
                self._count(target.name, sent.ending)
                if not self._noted(target.name, message, sent, now, progress):
                    return

    def _count(self, target: str, ending: str) -> None:
        with self._lock:
            self._counted[target, ending] += 1

    def _due(self, target: str, now: datetime) -> Iterator[Message]:
        """Go on as long as delivering lets later messages become due, but not for ever."""
        ends = self._clock.monotonic() + _ROUND_SECONDS_MAX
        while messages := self._outbox.outbox_due(target, now, _AT_ONCE):
            for message in messages:
                if self._clock.monotonic() > ends:
                    return
                yield message

    def _noted(
        self, target: str, message: Message, sent: Sent, now: datetime, progress: _Progress
    ) -> bool:
        """Write down what became of a message; tell whether the target may get another."""
        if sent.ending is Ending.TAKEN:
            self._outbox.outbox_delivered(target, message.number)
            progress.round.taken += 1
            progress.failures = progress.refusals = 0
            return True
        progress.round.failed += 1
        if sent.ending is Ending.GONE:
            self._outbox.outbox_disable(target)
            return False
        quiet = _quiet_seconds(sent, progress)
        attempts = message.attempts + (sent.ending is Ending.REFUSED)
        delay = quiet or DELAYS_SECONDS[min(attempts, len(DELAYS_SECONDS)) - 1]
        dead = sent.reason if _is_dead(message, attempts, now) else None
        progress.round.dead += dead is not None
        self._outbox.outbox_failed(
            target,
            message.number,
            due=now + timedelta(seconds=delay),
            attempts=attempts,
            dead=dead,
            failures=progress.failures,
            quiet_until=None if quiet is None else now + timedelta(seconds=quiet),
        )
        return quiet is None


def check_target(target: WebhookSettings) -> None:
    """
    Check that a target can be served; nothing is sent.

    Raises:
        SettingsError: It wants to be told of a state that there is not, or its
            secret or certificates cannot be read.
    """
    keys(target.secret.read(environment()), f"webhooks.{target.name}")
    target.trusted()
    if unknown := sorted(set(target.events) - set(State)):
        raise SettingsError(
            f"webhooks.{target.name}.events: {unknown[0]} is not one of {', '.join(State)}"
        )


def _may_be_asked(standing: Standing, now: datetime) -> bool:
    if standing.disabled is not None:
        return False
    return standing.quiet_until is None or standing.quiet_until <= timestamp(now)


def _quiet_seconds(sent: Sent, progress: _Progress) -> float | None:
    """Leave a target alone as long as it asks, at least as long as we would, never for days."""
    if sent.ending is Ending.REFUSED:
        progress.failures = 0
        progress.refusals += 1
        return _REFUSED_SECONDS if progress.refusals >= _REFUSALS_MAX else None
    progress.failures += 1
    ours = DELAYS_SECONDS[min(progress.failures, len(DELAYS_SECONDS)) - 1]
    return min(max(ours, sent.wait_seconds or 0.0), _AWAY_SECONDS_MAX)


def _is_dead(message: Message, attempts: int, now: datetime) -> bool:
    return attempts > len(DELAYS_SECONDS) or message.since <= timestamp(now - _AGE_MAX)
