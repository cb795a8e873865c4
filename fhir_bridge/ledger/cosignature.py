"""
Cosignatures: what a witness says about a checkpoint, and when (https://c2sp.org/tlog-cosignature).

A witness signs no two checkpoints of a log that contradict each other. Its
signature is over the time and the checkpoint's text, so it is also an outside
word on how late an entry can be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger.keys import PublicKey
from fhir_bridge.ledger.note import Note, signature_line

_TIME_BYTES = 8
_SIGNATURE_BYTES = 64
_TIME_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class WitnessKey(PublicKey):
    """The public half of a key that cosigns checkpoints."""

    KIND: ClassVar[bytes] = b"\x04"

    def cosigned(self, note: Note) -> int | None:
        """
        Return when this witness cosigned a checkpoint; None when it did not.

        Args:
            note: Untrusted.

        Returns:
            Seconds since 1970; the first, when it did more than once.

        Raises:
            AlteredLog: A signature bears this witness's name and id and is not right.
        """
        times = []
        for value in note.by(self):
            time = int.from_bytes(value[:_TIME_BYTES], "big")
            signature = value[_TIME_BYTES:]
            if (
                len(signature) != _SIGNATURE_BYTES
                or time > _TIME_MAX
                or not self.has_signed(_message(note.text, time), signature)
            ):
                raise AlteredLog(f"a checkpoint's signature by the witness {self.name} is wrong")
            times.append(time)
        return min(times, default=None)


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's private key with its name."""

    name: str
    private: Ed25519PrivateKey = field(repr=False)
    verifier: WitnessKey = field(init=False)
    """The public half."""

    def __post_init__(self) -> None:
        """Work the public half out once."""
        public = self.private.public_key().public_bytes_raw()
        object.__setattr__(self, "verifier", WitnessKey(self.name, public))

    def cosign(self, text: str, time: int) -> str:
        """
        Return the signature line under a checkpoint.

        Args:
            text: The checkpoint's. The caller has verified that it continues
                the last one he cosigned, and has stored it.
            time: Now, in seconds since 1970.
        """
        assert 0 <= time <= _TIME_MAX, "the time fits its field"
        signature = self.private.sign(_message(text, time))
        return signature_line(self.verifier, time.to_bytes(_TIME_BYTES, "big") + signature)


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
