"""A checkpoint: the log at one size, in the three lines of https://c2sp.org/tlog-checkpoint."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Self

from fhir_bridge.errors import MalformedCheckpoint
from fhir_bridge.ledger.tree import HASH_BYTES

SIZE_MAX = 2**63 - 1
"""What the other implementations and our database hold a size in."""

_LINES = 3
_TEXT_CHARS_MAX = 1024
"""An origin is a host and a year. The bound also keeps `int` from huge numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The log at one size: its origin, its number of entries, its root."""

    origin: str
    size: int
    root: bytes
    """32 bytes."""

    def __str__(self) -> str:
        """Write the checkpoint as three lines, each ended by a newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a checkpoint.

        Args:
            text: The text of a note, without its signatures. Untrusted.
                Extension lines are refused: no monitor could check them.

        Raises:
            MalformedCheckpoint: The text is not exactly what `str` writes, so
                that two different texts never mean the same checkpoint.
        """
        lines = text.split("\n")
        if len(text) > _TEXT_CHARS_MAX or len(lines) != _LINES + 1:
            raise MalformedCheckpoint("a checkpoint has three short lines; this has not")
        origin, size, root, _ = lines
        try:
            checkpoint = cls(
                origin=origin, size=int(size), root=base64.b64decode(root, validate=True)
            )
        except (ValueError, binascii.Error) as error:
            raise MalformedCheckpoint("the checkpoint's size or root cannot be read") from error
        if not origin or not 0 <= checkpoint.size <= SIZE_MAX or len(checkpoint.root) != HASH_BYTES:
            raise MalformedCheckpoint("the checkpoint's origin, size or root is out of range")
        if str(checkpoint) != text:
            raise MalformedCheckpoint("the checkpoint is not in its one written form")
        return checkpoint
