"""
What this process saw signed last, and whose signatures it believes.

Before the bridge signs, it checks that the head is the one it, or the key it
holds, signed last: a log that was rolled back or altered under it is not signed
on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from fhir_bridge.errors import AlteredLog, StoreUnavailable
from fhir_bridge.ledger import Checkpoint, Frontier, Note
from fhir_bridge.ledger.epochs import Epochs
from fhir_bridge.store import growth
from fhir_bridge.store.database import Opened
from fhir_bridge.store.history import read_epochs


@dataclass(frozen=True, slots=True)
class Signed:
    """What was signed: a checkpoint of a year's log."""

    year: int
    checkpoint: Checkpoint

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Signed:
        """Take up a checkpoint; its log's name ends with the year."""
        return cls(int(checkpoint.origin[-4:]), checkpoint)

    def __lt__(self, other: Signed) -> bool:
        """Say whether it is the earlier one."""
        return (self.year, self.checkpoint.size) < (other.year, other.checkpoint.size)


class Trust:
    """What this process saw signed last; nothing older is signed on."""

    def __init__(self, opened: Opened) -> None:
        """Start with nothing seen."""
        self._keys = opened.keys
        self.signed: Signed | None = None
        self._history: Mapping[str, Epochs] = {}

    @property
    def log(self) -> str:
        """Return the name of the log that was signed last."""
        assert self.signed is not None, "a log has a first checkpoint"
        return self.signed.checkpoint.origin

    def remember(self, seen: Signed | None) -> None:
        """Remember, after the commit, what was signed last; None is nothing new."""
        if seen is not None and (self.signed is None or seen > self.signed):
            self.signed = seen

    def open(self, log: str, note: str | None) -> Checkpoint:
        """Return a checkpoint whose signature is right."""
        if note is None:
            raise AlteredLog("a checkpoint of the log is missing: run audit verify-db")
        return Checkpoint.parse(self._keys.verifier(log).open(note))

    def open_earlier(
        self, connection: Connection, log: str, note: str | None, newest: Signed | None
    ) -> Checkpoint:
        """
        Return a checkpoint that the key in use at its time has signed.

        The keys of those times are gone; which they were follows from entries
        that the key in use vouches for.

        Args:
            connection: Reads the log.
            log: The checkpoint's.
            note: The checkpoint as it is kept.
            newest: What this transaction signed last, if anything.
        """
        try:
            return self.open(log, note)
        except AlteredLog:
            if note is None:
                raise
            said = Checkpoint.parse(Note.parse(note).text)
            signers = self._epochs(connection, log, newest or self.signed).signers(said.size)
            if signers in {(), (self._keys.verifier(log),)}:
                raise
            for key in signers:
                key.open(note)
            return said

    def _epochs(self, connection: Connection, log: str, signed: Signed | None) -> Epochs:
        assert signed is not None, "a log has a first checkpoint"
        newest = signed.checkpoint
        key = self._keys.verifier(newest.origin)
        known = self._history.get(newest.origin)
        if known is None or known.all[-1].key != key:
            self._history = read_epochs(connection, newest, key)
        if log not in self._history:
            raise AlteredLog("a checkpoint is of a log that the store does not have")
        return self._history[log]

    def follow(self, head: growth.Head) -> None:
        """Take up the key that another process has changed to, and what that key signed."""
        if not self._is_current(head) and self._keys.take_up(head.log, head.vkey):
            self.remember(Signed.of(self.open(head.log, head.note)))

    def _is_current(self, head: growth.Head) -> bool:
        return head.vkey in {"", str(self._keys.verifier(head.log))}

    def frontier(self, head: growth.Head) -> Frontier:
        """Return the tree to grow from, when it is the one that was signed last."""
        self.follow(head)
        frontier = Frontier.of(head.size, head.frontier)
        if frontier is None:
            raise AlteredLog("the log's head was altered: run audit verify-db")
        found = Signed(
            head.year, Checkpoint(origin=head.log, size=frontier.size, root=frontier.root())
        )
        if self.signed is not None and found < self.signed:
            raise AlteredLog("the log is shorter than it was: it was set back under the bridge")
        if found != self.signed and found.checkpoint != self.open(head.log, head.note):
            raise AlteredLog("the log's head is not what was signed last: run audit verify-db")
        if not self._is_current(head):
            raise StoreUnavailable(
                "the log's key was changed, and no key file here has it: copy log.key from the"
                " machine that changed it"
            )
        return frontier

    def take_up(self, head: growth.Head) -> None:
        """Start from a head that was read, when the key signed it."""
        self.frontier(head)
        self.remember(Signed.of(self.open(head.log, head.note)))
