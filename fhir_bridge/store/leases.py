"""
Leases: one writer for each patient at each destination.

A lease that a database holds ends with the connection to it. Whoever lost one
must sign no further intent: an append of an intent asks first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.store.appending import Appended
from fhir_bridge.store.database import Lease, Opened
from fhir_bridge.store.transfers import Transfers

WAIT_SECONDS_MAX = 900.0
"""As long as the command line waits for servers in all."""


class Leases(Transfers):
    """Who may write where."""

    def __init__(self, opened: Opened) -> None:
        """Start without a lease."""
        super().__init__(opened)
        self._held = threading.local()

    def append(self, *entries: NewEntry, event_id: str) -> Appended:
        """
        Write acts down (`Log.append`); an intent only while this thread's leases are held.

        Args:
            entries: At least one, of one transfer.
            event_id: A UUID that names this append.

        Raises:
            StoreUnavailable: Nothing may leave.
        """
        self._check_leases(entries)
        return super().append(*entries, event_id=event_id)

    async def append_soon(self, *entries: NewEntry, event_id: str) -> Appended:
        """
        Write acts down (`Log.append_soon`); an intent only while this thread's leases are held.

        Args:
            entries: At least one, of one transfer.
            event_id: A UUID that names this append.

        Raises:
            StoreUnavailable: Nothing may leave.
        """
        self._check_leases(entries)
        return await super().append_soon(*entries, event_id=event_id)

    def _check_leases(self, entries: Sequence[NewEntry]) -> None:
        if any(new.type is Event.DISCLOSURE_INTENT for new in entries):
            for lease in self._leases():
                lease.check()

    def _leases(self) -> list[Lease]:
        """Return the leases of this thread."""
        if not hasattr(self._held, "leases"):
            self._held.leases = []
        leases: list[Lease] = self._held.leases
        return leases

    @contextmanager
    def lease(
        self,
        destination: str,
        patient: str,
        *,
        wait_seconds: float = WAIT_SECONDS_MAX,
        on_wait: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """
        Be the only one that writes a patient's records at a destination.

        Args:
            destination: Identity of the destination.
            patient: Identity of the source and reference of the patient.
            wait_seconds: How long to wait for another writer.
            on_wait: Called once when there is another writer.

        Raises:
            StoreUnavailable: The other writer did not end in time.
        """
        # A name from the key: the folder's listing does not tell who was transferred.
        name = self._seal.mac("lease", f"{destination}\0{patient}".encode()).hex()[:32]
        with self._database.lease(
            name,
            self._clock,
            wait_seconds=wait_seconds,
            busy="another transfer is writing this patient's records to this destination",
            on_wait=on_wait,
        ) as lease:
            mine = self._leases()
            mine.append(lease)
            try:
                yield
            finally:
                mine.remove(lease)

    @contextmanager
    def alone(self, task: str) -> Iterator[bool]:
        """
        Be the only one that does something now; False when another is.

        Args:
            task: What is done, e.g. that messages are sent to one target.

        Raises:
            StoreUnavailable: The database cannot be asked.
        """

        def taken() -> None:
            raise _Taken

        name = self._seal.mac("lease", f"task\0{task}".encode()).hex()[:32]
        lease = self._database.lease(
            name, self._clock, wait_seconds=0, busy="another does it", on_wait=taken
        )
        with ExitStack() as stack:
            alone = True
            try:
                stack.enter_context(lease)
            except _Taken:
                alone = False
            yield alone


class _Taken(Exception):
    """Another holds the lease."""
