"""
What signs the log, wherever its private key is: in a file, in another process, in hardware.

A key file is the plain case (`keyring`). A signer process (`remote`) holds the
key and its own memory of the log, so that not even this program can have two
histories signed. Hardware fits in by the same methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.ledger import Checkpoint, Frontier, VerifierKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """A log that is about to grow by one commit."""

    before: Frontier
    hashes: Sequence[bytes]
    """Of the leaves that are added, 32 bytes each."""
    checkpoint: Checkpoint
    """Of the log with them."""
    confirmed: tuple[str, int]
    """Log and size that the database has for sure."""
    pack: Callable[[], bytes]
    """Gives all that is about to be written, so that somebody else can write it."""
    changes_key: bool = False
    """The key that was prepared signs too, and from then on alone."""


class Unwritten(StoreUnavailable):
    """The signer has signed what the database does not have: it must be written first."""

    def __init__(self, commits: Sequence[tuple[str, bytes]]) -> None:
        """Keep the commits, oldest first: each one's note, and what `Growing.pack` gave."""
        super().__init__("the signer is ahead of the log: ask again")
        self.commits = commits


class LogKeys(ABC):
    """What signs the log; under each year's name the same key."""

    def close(self) -> None:  # noqa: B027 - a key file has nothing to close
        """Let go of whatever holds the key."""

    @abstractmethod
    def verifier(self, log: str) -> VerifierKey:
        """Return the public half of what signs a log."""

    @abstractmethod
    def sign(self, growing: Growing) -> str:
        """
        Return a checkpoint as a signed note.

        Raises:
            Unwritten: Something else must be written first.
            AlteredLog: What holds the key remembers another log.
            StoreUnavailable: It does not answer.
        """

    def unwritten(self, log: str, size: int) -> Sequence[tuple[str, bytes]]:  # noqa: ARG002
        """
        Return what was signed that the database does not have; a key file remembers nothing.

        Args:
            log: The newest log that the database has.
            size: Of it there.
        """
        return ()

    @abstractmethod
    def sign_list(self, log: str, text: str) -> str:
        """Return a list of an export's files as a signed note."""

    @abstractmethod
    def prepare(self, log: str) -> VerifierKey:
        """
        Make the key that is to follow.

        Raises:
            StoreUnavailable: It could not be kept.
        """

    @abstractmethod
    def change(self, log: str) -> None:
        """Sign with the prepared key alone, now that the log says so; destroy the other."""

    @abstractmethod
    def take_up(self, log: str, vkey: str) -> bool:
        """
        Hold the key that signs a log now; say whether it is here.

        Args:
            log: The log's name.
            vkey: The key's line, as the log's head says; empty where an old log says none.

        Raises:
            SettingsError: The key cannot be read.
        """

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Say whether there is a key, and nothing that a crash left beside it."""

    @property
    @abstractmethod
    def is_here(self) -> bool:
        """Say whether there is a key under its own name."""

    @abstractmethod
    def begin(self) -> bool:
        """
        Make the key of a log that has no entry yet, or take up the one that waits.

        Returns:
            False where a key is there that signed a log already.
        """

    @abstractmethod
    def settle(self, log: str) -> None:
        """End what a crash interrupted in beginning the log or in changing its key."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Say where the key is, for a message."""
