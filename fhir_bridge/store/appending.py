"""
Appends that share a commit.

Whoever comes first holds the sequencer and writes for all that came meanwhile;
then it passes the sequencer on to the first who waits. A disk forces one commit
at a time, so what arrives during one goes into the next, and nobody sleeps.
First come, first written: the entries of one transfer keep their order.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from fhir_bridge.errors import BridgeError, StoreUnavailable
from fhir_bridge.ledger import Checkpoint, Entry
from fhir_bridge.store.drafting import Act

_ENTRIES_MAX = 2048
"""In one commit; so that nobody waits for a commit without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What the log says of an append, now on the disk."""

    first: int
    """Index of the first of the entries."""
    entries: tuple[Entry, ...]
    checkpoint: Checkpoint
    """Covers them."""
    note: str
    """The checkpoint with its signature."""


class Request:
    """One append that somebody waits for."""

    __slots__ = ("_gate", "acts", "error", "event_id", "leads", "outcome")

    def __init__(self, acts: Sequence[Act], event_id: str) -> None:
        """
        Ask for acts to be written.

        Args:
            acts: At least one, of one transfer.
            event_id: As it is filed.
        """
        self.acts = acts
        self.event_id = event_id
        self.outcome: Appended | None = None
        self.error: Exception | None = None
        self.leads = False
        self._gate = threading.Lock()
        self._gate.acquire()

    @property
    def urn(self) -> str | None:
        """Return what its transfer is called in the log."""
        return self.acts[0].entry.transfer

    @property
    def settled(self) -> bool:
        """Return whether it was written or refused."""
        return self.outcome is not None or self.error is not None

    def wake(self) -> None:
        """Let whoever waits go on: it is settled, or is to write for all that wait."""
        self._gate.release()

    def wait(self) -> None:
        """Wait until it is settled, or is to write for all that wait."""
        self._gate.acquire()

    def result(self) -> Appended:
        """
        Return what became of it.

        Raises:
            BridgeError: Why it was not written; each waiter gets an error of his own.
        """
        if self.error is not None:
            if isinstance(self.error, BridgeError):
                raise type(self.error)(*self.error.args) from self.error
            raise self.error
        assert self.outcome is not None, "an append that was settled has an outcome"
        return self.outcome


class Awaited(Request):
    """An append that a coroutine waits for; another thread writes for it."""

    __slots__ = ("_lead", "_loop", "future")

    def __init__(
        self, acts: Sequence[Act], event_id: str, lead: Callable[[Request], object]
    ) -> None:
        """
        Ask for acts to be written.

        Args:
            acts: At least one, of one transfer.
            event_id: As it is filed.
            lead: Has another thread write for all that wait.
        """
        super().__init__(acts, event_id)
        self._lead = lead
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Appended] = self._loop.create_future()

    def wake(self) -> None:
        """Let whoever waits go on, or have another thread write for all that wait."""
        if self.settled:
            wake_all([self])
        else:
            self._lead(self)

    def finish(self) -> None:
        """Give the coroutine its result; in the loop's own thread."""
        if self.future.done():  # it was cancelled, and the entry stands all the same
            return
        try:
            self.future.set_result(self.result())
        except BridgeError as error:
            self.future.set_exception(error)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that the coroutine runs in."""
        return self._loop


def wake_all(requests: Iterable[Request]) -> None:
    """Let all go on whose requests were settled; each loop is told once."""
    awaited: dict[asyncio.AbstractEventLoop, list[Awaited]] = {}
    for one in requests:
        if isinstance(one, Awaited):
            awaited.setdefault(one.loop, []).append(one)
        else:
            one.wake()
    for loop, mine in awaited.items():
        with suppress(RuntimeError):  # a loop that was closed has nobody who waits
            loop.call_soon_threadsafe(_finish, mine)


def _finish(requests: Sequence[Awaited]) -> None:
    for one in requests:
        one.finish()


class Sequencer:
    """Who writes next, and for whom."""

    def __init__(self, commit: Callable[[Callable[[], Sequence[Request]]], None]) -> None:
        """
        Take requests from now on.

        Args:
            commit: Writes, in one commit, what it is given by its argument, and
                gives each its outcome or its own error; raises what hinders
                them all. It asks as late as it can, when the log is its own;
                asked again, the argument gives the same ones.
        """
        self._commit = commit
        self._batch: list[Request] = []
        self._mutex = threading.Lock()
        self._waiting: deque[Request] = deque()
        self._is_led = False
        self._writer: ThreadPoolExecutor | None = None

    def append(self, request: Request) -> Appended:
        """
        Have an append written, with whatever else waits.

        Raises:
            BridgeError: It was not written.
        """
        if not self._leads(request):
            self._wait(request)
        if not request.settled:
            self._lead(request)
        return request.result()

    async def append_soon(self, acts: Sequence[Act], event_id: str) -> Appended:
        """
        Have an append written while this coroutine waits.

        Args:
            acts: As of `Request`.
            event_id: As of `Request`.

        Raises:
            BridgeError: It was not written.
        """
        request = Awaited(acts, event_id, self._lead_elsewhere)
        if self._leads(request):
            self._lead_elsewhere(request)
        return await request.future

    def close(self) -> None:
        """End the thread that writes for coroutines."""
        if self._writer is not None:
            self._writer.shutdown()

    def _leads(self, request: Request) -> bool:
        """Queue a request; say whether it is to write for all that wait."""
        with self._mutex:
            self._waiting.append(request)
            request.leads = not self._is_led
            self._is_led = True
            return request.leads

    def _wait(self, request: Request) -> None:
        try:
            request.wait()
        except BaseException:
            # Who is interrupted here must not be waited for by those behind.
            with self._mutex:
                if request in self._waiting:
                    self._waiting.remove(request)
            if request.leads:
                self._pass_on()
            raise

    def _lead_elsewhere(self, request: Request) -> None:
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="fhir-bridge-log")
        self._writer.submit(self._lead, request)

    def _lead(self, request: Request) -> None:
        try:
            self._commit(self._take)
        except BaseException as error:
            self._release(error)
            if not isinstance(error, BridgeError):
                raise
        finally:
            done, self._batch = self._batch, []
            self._pass_on()
            wake_all(one for one in done if one is not request or isinstance(one, Awaited))

    def _take(self) -> Sequence[Request]:
        """Take what waits, the first ones first."""
        if self._batch:
            return self._batch
        entries = 0
        with self._mutex:
            while self._waiting and entries < _ENTRIES_MAX:
                one = self._waiting.popleft()
                self._batch.append(one)
                entries += len(one.acts)
        return self._batch

    def _release(self, error: BaseException) -> None:
        """Let nobody wait for a disk that failed: all that came meanwhile get the error too."""
        with self._mutex:
            self._batch += self._waiting
            self._waiting.clear()
        known = error if isinstance(error, BridgeError) else None
        for one in self._batch:
            # What was written in a commit that failed was not.
            one.outcome = None
            one.error = known or StoreUnavailable("writing was interrupted: ask again")

    def _pass_on(self) -> None:
        """Let the first who waits write for the rest."""
        with self._mutex:
            if not self._waiting:
                self._is_led = False
                return
            heir = self._waiting[0]
            heir.leads = True
        heir.wake()
