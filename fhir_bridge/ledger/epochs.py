"""
Which key signs a log at which size, as the log's own entries say.

A log names its first key where it is opened and each further one where the key
is changed. The checkpoint that covers the change is signed by both keys: the
old one vouches for the new, and from the next size on signs nothing.
"""

from __future__ import annotations

from fhir_bridge.errors import AlteredLog, SettingsError
from fhir_bridge.ledger.entry import Entry, Event
from fhir_bridge.ledger.keys import PublicKey
from fhir_bridge.ledger.note import VerifierKey
from fhir_bridge.ledger.policy import Epoch


class Epochs:
    """The keys of one log, read entry by entry."""

    def __init__(self, log: str, *, unnamed: PublicKey | None = None) -> None:
        """
        Start before the first entry.

        Args:
            log: The log's name.
            unnamed: The key of a log whose first entry names none, as the
                oldest logs do.
        """
        self._log = log
        self._unnamed = unnamed
        self._epochs: list[Epoch] = []

    def read(self, entry: Entry) -> None:
        """
        Take the next entry of the log into account.

        Raises:
            AlteredLog: It begins a key that cannot be, or begins where none begins.
        """
        if entry.idx == 0:
            self._epochs.append(Epoch(key=self._first(entry)))
        elif entry.type is Event.KEY_ROTATED:
            *_, last = self._epochs
            self._epochs[-1] = Epoch(key=last.key, first=last.first, end=entry.idx + 2)
            self._epochs.append(Epoch(key=self._named(entry), first=entry.idx + 1))

    def signers(self, size: int) -> tuple[VerifierKey, ...]:
        """Return the keys that must all have signed the checkpoint of a size."""
        return tuple(epoch.key for epoch in self._epochs if epoch.covers(size))

    @property
    def log(self) -> str:
        """Return the log's name."""
        return self._log

    @property
    def all(self) -> tuple[Epoch, ...]:
        """Return the keys with their sizes, oldest first."""
        return tuple(self._epochs)

    def _first(self, entry: Entry) -> VerifierKey:
        if entry.type is not Event.LOG_OPENED:
            raise AlteredLog("entry 0 does not open the log")
        if entry.vkey is None and self._unnamed is not None:
            return VerifierKey(self._log, self._unnamed.public)
        return self._named(entry)

    def _named(self, entry: Entry) -> VerifierKey:
        try:
            key = VerifierKey.parse(entry.vkey or "")
        except SettingsError as error:
            raise AlteredLog(f"entry {entry.idx} begins a key that is none: {error}") from error
        if key.name != self._log:
            raise AlteredLog(f"entry {entry.idx} begins a key of another log")
        return key
