"""What a witness is sent: a checkpoint, and the proof that it continues the last it knows."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from fhir_bridge.errors import MalformedCheckpoint
from fhir_bridge.ledger.tree import HASH_BYTES

SUBMISSION_BYTES_MAX = 64 * 1024
"""A note with its signatures and 63 hashes is far shorter."""

_HASHES_MAX = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A checkpoint on its way to a witness. Nothing of it is verified."""

    old: int
    """Size of the checkpoint that the witness cosigned last; 0 for none."""
    proof: tuple[bytes, ...]
    """Consistency proof from `old` to the checkpoint: hashes of 32 bytes."""
    note: str
    """The signed checkpoint."""

    def __str__(self) -> str:
        """Write the body of an ``add-checkpoint`` request."""
        hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in self.proof)
        return f"old {self.old}\n{hashes}\n{self.note}"

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """
        Read the body of an ``add-checkpoint`` request.

        Args:
            body: Untrusted.

        Raises:
            MalformedCheckpoint: Not exactly what `str` writes.
        """
        if len(body) > SUBMISSION_BYTES_MAX:
            raise MalformedCheckpoint("a submission to a witness has at most 64 KiB")
        try:
            head, gap, note = body.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise MalformedCheckpoint("a submission to a witness is text in UTF-8") from error
        first, *lines = head.split("\n")
        old = _OLD.match(first)
        if old is None or not gap or len(lines) > _HASHES_MAX:
            raise MalformedCheckpoint(
                "a submission to a witness is 'old SIZE', at most 63 hashes, an empty line and a"
                " signed checkpoint"
            )
        return cls(old=int(old[1]), proof=tuple(map(_hash, lines)), note=note)


def _hash(line: str) -> bytes:
    try:
        value = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedCheckpoint("a line of the proof is not base64") from error
    if len(value) != HASH_BYTES or base64.b64encode(value).decode() != line:
        raise MalformedCheckpoint("a line of the proof is not a hash of 32 bytes")
    return value
