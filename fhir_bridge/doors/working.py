"""
A worker: it carries what was asked for, until it is told to stop.

Told to stop, it takes nothing more and waits for what it carries. What has not
ended by then is left as a crash would leave it: another worker, or the next
one, goes on with it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fhir_bridge import spans
from fhir_bridge.doors.stopping import Stopping
from fhir_bridge.engine import Round
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.logs import configure, mute_libraries
from fhir_bridge.settings import environment

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge
    from fhir_bridge.webhooks import Webhooks

_WEBHOOK_SECONDS = 1.0
_LOOK_SECONDS = 5.0
_REPOSITORY_SECONDS = 10.0
_WATCH_SECONDS = 5.0
_HEARTBEAT_SECONDS = 15.0
"""How often it looks whether the log has been silent for a minute."""


def work(bridge: Bridge, *, say: Callable[[str], None]) -> int:
    """
    Carry transfers until SIGTERM or SIGINT.

    Args:
        bridge: Opened; closed by the caller, unless the process ends here.
        say: Shows a line to the operator.

    Returns:
        The exit code.

    Raises:
        SettingsError: Something must be mended before a worker can start.
        StoreUnavailable: The database does not answer, or can be written no more.
    """
    configure(sys.stderr)
    mute_libraries()
    spans.configure(environment())
    stopping = Stopping()
    worker = Worker(bridge)
    worker.on_broken(stopping.stop)
    worker.start()
    stopping.listen()
    settings = bridge.settings
    where = "PostgreSQL" if settings.database else str(settings.store)
    say(
        f"Working: {settings.engine.transfers} transfers at once, store {where}, log"
        f" {bridge.store.log}. Stop with SIGTERM."
    )
    stopping.wait()
    worker.stop(say)
    spans.stop()
    say("Stopped.")
    return 0


class Worker:
    """One worker in this process, by itself or beside the API."""

    def __init__(self, bridge: Bridge) -> None:
        """Prepare; nothing is taken yet."""
        self._bridge = bridge
        self._broken = False
        self._tell_broken: Callable[[], None] = threading.Event().set
        watch = Round(name="store", seconds=_WATCH_SECONDS, act=self._watch)
        self._webhooks = _webhooks(bridge)
        self.rounds = [*rounds_of(bridge, self._webhooks), watch]
        """What it does again and again beside its transfers."""
        self._engine = bridge.engine(self.rounds)
        self._started = False

    def deliveries(self) -> Mapping[tuple[str, str], int]:
        """Return how many requests to each webhook target ended how."""
        return {} if self._webhooks is None else self._webhooks.deliveries

    def on_broken(self, tell: Callable[[], None]) -> None:
        """Have somebody told when the store takes no more: then nothing may run on."""
        self._tell_broken = tell

    def start(self) -> None:
        """
        Take what was asked for, from now on.

        Raises:
            SettingsError: Something must be mended before a worker can start.
            StoreUnavailable: The database does not answer.
        """
        self._engine.migrate()
        self._engine.start()
        self._started = True

    def knock(self) -> None:
        """Look for something to carry now."""
        self._engine.knock()

    def stop(self, say: Callable[[str], None]) -> None:
        """
        Take nothing more, and wait for what is carried; ends the process when it does not end.

        Raises:
            StoreUnavailable: The store had failed.
        """
        if not self._started:
            return
        if not self._engine.stop(self._bridge.settings.engine.drain_seconds):
            say("Stopped; what had not ended is gone on with by the next worker.")
            _leave()
        if self._broken:
            raise StoreUnavailable("the store failed to write and takes no more: mend its disk")

    def _watch(self) -> None:
        if self._bridge.store.stopped:
            self._broken = True
            self._tell_broken()


def _webhooks(bridge: Bridge) -> Webhooks | None:
    if not bridge.settings.webhooks:
        return None
    from fhir_bridge.webhooks import Webhooks

    return Webhooks(bridge.settings.webhooks, bridge.store, bridge.clock)


def rounds_of(bridge: Bridge, webhooks: Webhooks | None = None) -> list[Round]:
    """Return what a worker does beside its transfers, by the settings."""
    heartbeat = bridge.store.heartbeat
    rounds = [Round(name="heartbeat", seconds=_HEARTBEAT_SECONDS, act=heartbeat)]
    if webhooks is not None:
        rounds.append(Round(name="webhooks", seconds=_WEBHOOK_SECONDS, act=webhooks.deliver_due))
    if bridge.settings.watches:
        rounds.append(Round(name="watch", seconds=_LOOK_SECONDS, act=bridge.watch))
    if bridge.settings.audit_repository:
        send = bridge.repository.send
        rounds.append(Round(name="repository", seconds=_REPOSITORY_SECONDS, act=send))
    return rounds


def _leave() -> Any:
    """End the process although threads still carry something: they must not send on."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
