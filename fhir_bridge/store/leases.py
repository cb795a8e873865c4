"""Leases: one writer for each patient at each destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fhir_bridge.store.database import Part

WAIT_SECONDS_MAX = 900.0
"""As long as the command line waits for servers in all."""


class Leases(Part):
    """Who may write where."""

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
        with self._opened.folder.locked(
            name,
            self._clock,
            wait_seconds=wait_seconds,
            busy="another transfer is writing this patient's records to this destination",
            on_wait=on_wait,
        ):
            yield
