"""
Sealing: what must be kept, but not be readable in the database or a backup of it.

AES-256-GCM under one key beside the database. What a sealed text is for is part
of the seal, so that one cannot be put in another's place.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_bridge.errors import SettingsError, Tampered

KEY_BYTES = 32
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Seal:
    """The key that seals."""

    key: bytes = field(repr=False)
    """32 random bytes."""
    _cipher: AESGCM = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the key's length: a truncated file must not seal."""
        if len(self.key) != KEY_BYTES:
            raise SettingsError(
                f"seal.key does not hold {KEY_BYTES} bytes: put it back from a backup"
            )
        object.__setattr__(self, "_cipher", AESGCM(self.key))

    def close(self, purpose: str, content: bytes) -> bytes:
        """
        Seal content.

        Args:
            purpose: What it is for, e.g. ``request/<transfer>``; needed to open it.
            content: Anything.
        """
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """
        Return what was sealed.

        Raises:
            Tampered: It was altered, moved, or sealed under another key.
        """
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise Tampered(
                "something sealed in the store does not open: seal.key is not the one it was"
                " sealed with, or the row was altered"
            ) from error

    def mac(self, purpose: str, content: bytes) -> bytes:
        """Return 32 bytes that only the holder of the key can compute."""
        return hmac.digest(self.key, purpose.encode() + b"\0" + content, "sha256")
