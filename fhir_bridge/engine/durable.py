"""
The only module that imports DBOS (`dbos`, MIT), which hands out turns and remembers them.

DBOS does not by itself move a dead worker's turns to a live one: a lock held by
each worker tells who is dead (`liveness`), and DBOS is asked to take back what
that worker had. A turn is therefore carried at least once; what it does must
bear that, and does: a transfer goes on from what the store and the destination
hold.
"""

from __future__ import annotations

import re
import socket
import threading
import uuid
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from os import getpid
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, Serializer, _workflow_commands
from dbos._migration import get_migration_versions, get_sqlite_migration_versions

from fhir_bridge.clock import Clock
from fhir_bridge.engine.places import Place
from fhir_bridge.engine.rounds import Round, Rounds
from fhir_bridge.engine.sealing import SealedJson
from fhir_bridge.engine.turns import Limits, Turn, Turns
from fhir_bridge.errors import SettingsError, StoreUnavailable
from fhir_bridge.logs import Log
from fhir_bridge.settings import environment

APPLICATION = "fhir-bridge"
QUEUE, WORKFLOW = "transfers", "turn"
ABI = "turn-1"
"""
What the rows of running turns were written by, whatever version of the bridge runs.

A worker takes back only turns of its own ABI. It changes when a running turn of
the former code cannot be gone on with by the new one; a smaller change asks
`DBOS.patch` and keeps it.
"""

_SCHEMA = "dbos"
_GIVEN_UP = ["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_OVER = ["SUCCESS", "CANCELLED", *_GIVEN_UP]
_RECOVERIES_MAX = 1000
"""Far beyond what the store allows, which counts for itself whose worker died."""

# DBOS looks once a second for workflows that it is to delay or to end after a time; there are
# none. It is a fifth of what an idle worker does, and there is no public setting.
_workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = 5.0  # noqa: SLF001

_LISTED_MAX = 1000
_LOST_SECONDS, _PURGE_SECONDS, _MACHINE_SECONDS = 5.0, 3600.0, 20.0


class _Serializer(Serializer):
    """Sealed JSON, as DBOS wants it."""

    def __init__(self, sealed: SealedJson) -> None:
        self._sealed = sealed

    def serialize(self, data: Any) -> str:
        return self._sealed.serialize(data)

    def deserialize(self, serialized_data: str) -> Any:
        return self._sealed.deserialize(serialized_data)

    def name(self) -> str:
        return self._sealed.name()


class Engine:
    """One worker of the bridge; there is one in a process."""

    def __init__(
        self,
        place: Place,
        turns: Turns,
        sealed: SealedJson,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        rounds: Sequence[Round] = (),
    ) -> None:
        """
        Prepare; nothing is opened.

        Args:
            place: Where the engine's tables are.
            turns: What there is to carry.
            sealed: Writes what the tables hold.
            limits: How much at once.
            clock: Tells the time.
            rounds: What else this worker does again and again.
        """
        self._place = place
        self._turns = turns
        self._serializer = _Serializer(sealed)
        self._limits = limits or Limits()
        self._clock = clock or Clock()
        self._extra = tuple(rounds)
        self._known: set[str] = set()
        self._suspects: set[str] = set()
        self._unstarted: dict[str, float] = {}
        self._stalled: set[str] = set()
        self._told: set[str] = set()
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self._open = ExitStack()
        self.name = (
            f"{re.sub(r'[^A-Za-z0-9-]', '-', socket.gethostname())}-{getpid()}-"
            + (uuid.uuid4().hex[:8])
        )
        """Of this worker; never used again."""

    @property
    def running(self) -> int:
        """Return how many turns this worker carries now."""
        return len(self._running)

    def migrate(self) -> None:
        """
        Bring the engine's tables to this version; nothing may run on older ones.

        Raises:
            SettingsError: They are of a newer version, or the place is none.
            StoreUnavailable: They could not be changed.
        """
        self._place.prepare()
        with self._place.alone(self._clock):
            found, newest = self._versions()
            if found > newest:
                raise SettingsError(
                    "the engine's tables were written by a newer fhir-bridge: install that version"
                    " or newer"
                )
            if found < newest:
                try:
                    DBOS.migrate(self._place.url, schema=_SCHEMA)
                except sa.exc.SQLAlchemyError as error:
                    raise StoreUnavailable("the engine's tables could not be made") from error

    def _versions(self) -> tuple[int, int]:
        """Return the version of the tables, and the newest that this DBOS knows."""
        url = sa.make_url(self._place.url)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, hide_parameters=True)
        try:
            if self._place.database:
                return get_migration_versions(engine, _SCHEMA, use_listen_notify=True)
            return get_sqlite_migration_versions(engine)
        except sa.exc.SQLAlchemyError as error:
            raise StoreUnavailable("the engine's tables cannot be read") from error
        finally:
            engine.dispose()

    def start(self) -> None:
        """
        Take turns, from now on.

        Raises:
            SettingsError: Another machine uses the place, or its locks do not hold.
            StoreUnavailable: It does not answer.
        """
        _refuse_services()
        machine = self._place.machine(self._clock)
        if machine is not None:
            self._open.enter_context(machine)
        self._live = self._place.liveness()
        self._open.callback(self._live.close)
        self._live.hold(self.name)  # before the first turn is taken
        self._launch()
        rounds = [
            Round(name="sweep", seconds=self._limits.poll_seconds, act=self.sweep),
            Round(name="reap", seconds=self._limits.reap_seconds, act=self.reap),
            Round(name="unstarted", seconds=_LOST_SECONDS, act=self.hand_back),
            Round(name="lost", seconds=_LOST_SECONDS, act=self.tell_lost),
            Round(name="purge", seconds=_PURGE_SECONDS, act=self.purge),
        ]
        if machine is not None:
            rounds.append(Round(name="machine", seconds=_MACHINE_SECONDS, act=machine.confirm))
        self._rounds = Rounds(rounds, self._clock)
        # Each of the others in a thread of its own: a slow one must not keep turns waiting.
        self._beside = [Rounds([one], self._clock) for one in self._extra]
        for one in (self._rounds, *self._beside):
            one.start()
        structlog.get_logger().info(Log.WORKER_STARTED)

    def _launch(self) -> None:
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": self._place.url,
                "dbos_system_schema": _SCHEMA,
                "executor_id": self.name,
                "application_version": ABI,
                "serializer": self._serializer,
                "run_migrations": False,
                "enable_otlp": False,
                # Nobody waits for DBOS's events; by default it would wake 100 times a second.
                "notification_coalesce_sec": 1.0,
                "log_level": "CRITICAL",  # its lines could hold what ours may not
                "max_executor_threads": self._limits.at_once + 4,
                "db_engine_kwargs": {"hide_parameters": True, **self._place.connecting},
            }
        )

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_RECOVERIES_MAX)
        def turn(name: str) -> None:
            self._turn(name)

        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._limits.at_once,
            partition_concurrency=self._limits.at_once_to_destination,
            polling_interval_sec=self._limits.poll_seconds,
            on_conflict="always_update",
        )

    def stop(self, drain_seconds: int) -> bool:
        """
        Take no more turns, and wait for those that run.

        Args:
            drain_seconds: For how long.

        Returns:
            Whether all have ended. What has not is taken over when this process
            ends, by another worker or the next one.
        """
        for one in (self._rounds, *self._beside):
            one.stop()
        DBOS.destroy(workflow_completion_timeout_sec=drain_seconds, destroy_registry=True)
        self._open.close()
        structlog.get_logger().info(Log.WORKER_STOPPED, count=self.running)
        return not self._running

    def knock(self) -> None:
        """Look for new turns now: somebody has just asked for one."""
        self._rounds.wake()

    def _turn(self, name: str) -> None:
        """
        Carry a turn; what became of it is not here but where it was written down.

        Nothing is written down here between: on a full disk the engine could not.
        """
        with self._lock:
            self._running.add(name)
        try:
            while (seconds := self._turns.carry_turn(name)) is not None:
                self._clock.sleep(seconds)
        finally:
            with self._lock:
                self._running.discard(name)

    def sweep(self) -> None:
        """Hand out the turns whose time has come."""
        due = list(self._turns.due())
        for turn in due:
            if turn.name not in self._known:
                self._submit(turn)
        self._known = {turn.name for turn in due}

    def _submit(self, turn: Turn) -> None:
        """Put a turn into its destination's line; one that is there already stays as it is."""
        DBOS.enqueue_workflow_with_options(
            {
                "workflow_name": WORKFLOW,
                "queue_name": QUEUE,
                "workflow_id": turn.name,
                "queue_partition_key": turn.destination,
            },
            turn.name,
        )

    def reap(self) -> int:
        """
        Take back the turns of dead workers.

        Where a server that starts again frees every lock, live workers take
        theirs again: there only who is found dead twice in a row is.

        Returns:
            How many turns were taken back.
        """
        self._live.confirm()
        self._expel_stalled()
        before, self._suspects, taken = self._suspects, set(), 0
        for worker in self._busy():
            if worker == self.name or not self._live.take(worker):
                continue
            try:
                if self._live.certain or worker in before:
                    taken += self._recover(worker)
                    structlog.get_logger().warning(Log.WORKER_DIED, count=taken)
                else:
                    self._suspects.add(worker)
            finally:
                self._live.release(worker)
        return taken

    def hand_back(self) -> int:
        """
        Hand out again what DBOS gave to this worker and could not start, or not end.

        It says so only in its own log when the database fails it; the turn would be
        this worker's for as long as it lives.

        Returns:
            How many turns were handed back.
        """
        now = self._clock.monotonic()
        mine = {one.workflow_id for one in self._listed(status="PENDING", executor_id=self.name)}
        with self._lock:
            idle = mine - self._running
        self._unstarted = {name: self._unstarted.get(name, now) for name in idle}
        late = now - self._limits.unstarted_seconds
        lost = sorted(name for name, since in self._unstarted.items() if since <= late)
        for name in lost:
            DBOS.resume_workflow(name, queue_name=QUEUE)
            del self._unstarted[name]
        return len(lost)

    def _expel_stalled(self) -> None:
        """
        Take the locks from who holds them and does nothing: stopped, or on a machine that is.

        Its turns would keep their places at the destination for as long as it
        sleeps. Found twice in a row, because after a server's own sleep
        everybody is found once.
        """
        before, self._stalled = self._stalled, self._live.stalled(self._limits.stalled_seconds)
        for process in sorted(before & self._stalled):
            self._live.expel(process)
            structlog.get_logger().warning(Log.WORKER_STALLED)

    def _busy(self) -> Iterable[str]:
        found = self._listed(status="PENDING")
        return sorted({one.executor_id for one in found if one.executor_id})

    def _recover(self, worker: str) -> int:
        """Ask DBOS to hand out a dead worker's turns again."""
        # Not public. What is (below) does the same, one turn after the other.
        recover = getattr(DBOS, "_recover_pending_workflows", None)
        if recover is not None:
            return len(recover([worker]))
        turns = self._listed(status="PENDING", executor_id=worker)
        for turn in turns:
            DBOS.resume_workflow(turn.workflow_id, queue_name=QUEUE)
        return len(turns)

    def tell_lost(self) -> None:
        """Write down the turns that were given up; told twice, it is the same."""
        given_up = [one.workflow_id for one in self._listed(status=_GIVEN_UP, sort_desc=True)]
        for name in given_up:
            if name not in self._told:
                self._turns.lost(name)
        self._told = set(given_up)

    def purge(self) -> int:
        """Forget turns that are long over."""
        before = self._clock.now() - timedelta(seconds=self._limits.kept_seconds)
        over = self._listed(status=_OVER, completed_before=before.isoformat())
        if over:
            DBOS.delete_workflows([one.workflow_id for one in over])
        return len(over)

    def _listed(self, **wanted: Any) -> list[Any]:
        # By name and not by queue: what was given up is in no queue any more.
        return list(
            DBOS.list_workflows(
                name=WORKFLOW, load_input=False, load_output=False, limit=_LISTED_MAX, **wanted
            )
        )


def _refuse_services() -> None:
    """Refuse an environment that would make DBOS speak to a service of its makers."""
    if names := sorted(name for name in environment() if name.startswith(("DBOS__", "DBOS_"))):
        raise SettingsError(
            f"the environment variable {names[0]} would change the engine behind the settings'"
            " back: unset it"
        )
