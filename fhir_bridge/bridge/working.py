"""
What a worker does in a turn: carry the transfer, and write down what became of it.

A wait is a row and not a thread: the transfer is given to the workers again when
its time has come, and meanwhile holds up nobody else's. Whatever goes wrong, the
turn ends with a sentence in the transfer's row: done, later, or resting until a
person has looked.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import structlog

from fhir_bridge import spans
from fhir_bridge.audit import Act
from fhir_bridge.bridge.quarantine import Quarantine
from fhir_bridge.bridge.transfers import Transfers
from fhir_bridge.engine import Limits, Place, Round, SealedJson, Turn
from fhir_bridge.errors import (
    BridgeError,
    Busy,
    Refused,
    StoreUnavailable,
    Throttled,
    Unreachable,
)
from fhir_bridge.journey.signing import trace_of
from fhir_bridge.ledger import Event, event_id
from fhir_bridge.logs import Log
from fhir_bridge.store import Store, TransferRow
from fhir_bridge.transfer import ENDED, State

if TYPE_CHECKING:
    from fhir_bridge.engine.durable import Engine

WORKER = "svc:fhir-bridge"
"""The actor of a turn that nobody asked for by name."""

_BACKOFF_SECONDS, _BACKOFF_SECONDS_MAX = 5.0, 900.0
_BUSY_SECONDS, _BUSY_SECONDS_MAX = 1.0, 30.0
_STORE_SECONDS = 5.0
_DEATHS_BEFORE_ALONE = 2
"""One worker may be killed for any reason; the second is a suspicion."""

_TROUBLE_CHARACTERS_MAX = 500


class Working(Transfers):
    """Carries turns; what `Turns` of the engine asks for."""

    _quarantine = Quarantine()
    _begun: ClassVar[dict[str, TransferRow]] = {}
    """Turns that this process began and could not end, because the store was away."""

    def engine(self, rounds: Sequence[Round] = ()) -> Engine:
        """
        Return a worker for this bridge's transfers; it is not started.

        Args:
            rounds: What else it does again and again.
        """
        from fhir_bridge.engine.durable import Engine

        said = self._settings.engine
        worker = self.acting(WORKER)
        worker._lease_seconds = 0.0  # noqa: SLF001 - it is one of us
        worker._tell = lambda _: None  # noqa: SLF001 - nobody watches, and a log may not hold it
        return Engine(
            Place(self._settings.store, self._settings.database),
            worker,
            SealedJson(self._store.seal_name, {self._store.seal_name: _Sealer(self._store)}),
            limits=Limits(
                at_once=said.transfers,
                at_once_to_destination=said.per_destination,
            ),
            clock=self._clock,
            rounds=rounds,
        )

    def due(self) -> list[Turn]:
        """Return the turns whose time has come."""
        return [Turn(f"{one.transfer}.{one.run}", one.destination) for one in self._store.turns()]

    def carry_turn(self, name: str) -> float | None:
        """
        Carry a transfer as far as it goes now, and write down what became of it.

        Args:
            name: The transfer and how often it was given to the workers.

        Returns:
            None, or seconds after which to try again, because the store could
            not be read or written.
        """
        try:
            row = self._turn(name)
            if row is not None:
                with self._quarantine.entered(alone=row.deaths >= _DEATHS_BEFORE_ALONE):
                    self._begin(name, row)
        except StoreUnavailable:
            return _STORE_SECONDS
        return None

    def lost(self, name: str) -> None:
        """Let a transfer rest whose turn broke the engine."""
        row = self._turn(name)
        if row is not None:
            trouble = "its turn broke the engine: see the workers' logs, then retry it"
            self._store.park(row.id, reason="fault", trouble=trouble)

    def _begin(self, name: str, row: TransferRow) -> None:
        # A store that was away is no death: the turn is the one that was begun before.
        begun = self._begun.get(name) or self._store.begin_turn(row)
        if begun is None:
            return
        self._begun[name] = begun
        if begun.deaths >= self._settings.engine.deaths:
            trouble = (
                f"{begun.deaths} workers died while they carried it: look at the workers' memory"
                " and logs, then retry it"
            )
            self._store.park(row.id, reason="worker-died", trouble=trouble)
        else:
            self._carry_row(begun)
        self._store.end_turn(begun)
        del self._begun[name]

    def _turn(self, name: str) -> TransferRow | None:
        """Return the transfer of a turn; None when it is over, or was given away again."""
        transfer, _, run = name.rpartition(".")
        row = self._store.read_transfer(transfer)
        at_rest = State(row.state) in ENDED | {State.PARKED}
        return None if at_rest or row.run != int(run) else row

    def _carry_row(self, row: TransferRow) -> None:
        trace = row.trace or trace_of(row.id, row.attempt)
        with spans.begun(spans.Kind.TRANSFER, trace) as span:
            span.say(fhir_bridge__transfer=row.id, fhir_bridge__attempt=row.attempt)
            span.say(fhir_bridge__state=self._carried_row(row))

    def _carried_row(self, row: TransferRow) -> str:
        """Carry a transfer; return its state after that."""
        started = self._clock.monotonic()
        try:
            self.acting(row.actor or WORKER, trace=row.trace).carry(row.id)
        except BridgeError as error:
            self._note(row, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the worker
            self._note_fault(row, error)
        state = self._store.read_transfer(row.id).state
        seconds = round(self._clock.monotonic() - started, 3)
        structlog.get_logger().info(
            Log.TURN_ENDED, transfer=row.id, state=str(state), seconds=seconds
        )
        return str(state)

    def _note(self, row: TransferRow, error: BridgeError) -> None:
        """Write down what an error means for the transfer."""
        if isinstance(error, StoreUnavailable) and not isinstance(error, Busy):
            raise error
        if State(self._carrying(row.id).state) in ENDED:
            return  # the journey wrote it down itself
        if isinstance(error, Unreachable):
            self._wait(row, error)
        elif isinstance(error, Refused) and not self._announced(self._carrying(row.id)):
            self._refuse(row, error)
        else:
            self._store.park(row.id, reason=_code(error), trouble=_trouble(error))

    def _wait(self, row: TransferRow, error: Unreachable) -> None:
        since = row.trouble_since
        hours = self._settings.engine.give_up_hours
        if since and self._clock.now() - datetime.fromisoformat(since) > timedelta(hours=hours):
            trouble = f"no success for {hours:g} hours; last: {_trouble(error)}"
            self._store.park(row.id, reason="gave-up", trouble=trouble)
            return
        self._store.wait(
            row, _seconds(row.waits, error), reason=_code(error), trouble=_trouble(error)
        )

    def _refuse(self, row: TransferRow, error: Refused) -> None:
        """Sign that a rule ended it before its journey began: nothing was asked or sent."""
        row = self._carrying(row.id)
        id_ = event_id(row.id, str(Event.TRANSFER_CLOSED), row.attempt, State.REFUSED)
        act = Act(details={"state": State.REFUSED, "issue": error.issue})
        entry = self.office.entry(row, Event.TRANSFER_CLOSED, act, id_=id_)
        self._store.end_refused(row.id, entry, event_id=id_, trouble=_trouble(error))

    def _note_fault(self, row: TransferRow, error: Exception) -> None:
        """Let a transfer rest that met a fault of ours, under a number that the log has too."""
        number = uuid.uuid4().hex[:12]
        structlog.get_logger().error(
            Log.TURN_FAULT, transfer=row.id, code=number, error=type(error).__name__.lower()
        )
        trouble = f"a fault of the bridge (number {number} in the workers' log): please report it"
        self._store.park(row.id, reason="fault", trouble=trouble)


class _Sealer:
    """The store's seal, for the engine."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self, purpose: str, content: bytes) -> bytes:
        return self._store.sealed(purpose, content)

    def open(self, purpose: str, sealed: bytes) -> bytes:
        return self._store.unsealed(purpose, sealed)


def _seconds(waits: int, error: Unreachable) -> float:
    """Return how long to wait: as asked, or a little longer each time, and never all at once."""
    first, most = _BACKOFF_SECONDS, _BACKOFF_SECONDS_MAX
    if isinstance(error, Busy):
        first, most = _BUSY_SECONDS, _BUSY_SECONDS_MAX
    backoff: float = min(first * 2 ** min(waits, 16), most) * random.uniform(0.8, 1.2)  # noqa: S311
    return max(backoff, error.wait_seconds) if isinstance(error, Throttled) else backoff


def _code(error: BridgeError) -> str:
    """Name an error by its class: ``DestinationUnreachable`` is ``destination-unreachable``."""
    name = type(error).__name__.lstrip("_")
    for own in type(error).__mro__:
        if own.__module__ == BridgeError.__module__:
            name = own.__name__
            break
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).strip("-")


def _trouble(error: BridgeError) -> str:
    return str(error)[:_TROUBLE_CHARACTERS_MAX]
