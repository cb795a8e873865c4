"""
Public keys as an outside auditor holds them: one line with name, id and key.

Keys are screened when they are loaded. With a public key of low order anyone
can sign, and a key in a second spelling has a second key id; the usual
libraries accept both. Source: https://c2sp.org/signed-note, "Verifier keys".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fhir_bridge.errors import SettingsError

KEY_ID_BYTES = 4

_KEY_BYTES = 32

_NAME = re.compile(r"[^\s+\x00-\x20\x7f]{1,255}\Z")

_P = 2**255 - 19
"""The prime of Curve25519 (RFC 8032 section 5.1)."""

_LOW_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""The y coordinates of the eight points whose order divides 8; each x has the same y."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """
    An Ed25519 public key with its name.

    Raises:
        SettingsError: The name or the key cannot be one; a key of low order or
            in a second spelling is refused here and nowhere else.
    """

    KIND: ClassVar[bytes]
    """The byte that the specifications assign to what the key's signatures are over."""

    name: str
    public: bytes = field(repr=False)
    """32 bytes, as RFC 8032 section 5.1.2 encodes them."""
    key_id: bytes = field(init=False, repr=False, compare=False)
    """The four bytes that a signature line names the key by."""

    def __post_init__(self) -> None:
        """Screen the name and the key."""
        if not is_key_name(self.name):
            raise SettingsError("the name of a log's key is empty or holds a space or a plus sign")
        if len(self.public) != _KEY_BYTES:
            raise SettingsError("a log's public key has 32 bytes")
        y = int.from_bytes(self.public, "little") & ((1 << 255) - 1)
        if y >= _P:
            raise SettingsError("the log's public key is not in its one written form")
        if y in _LOW_ORDER_Y:
            raise SettingsError("the log's public key is of low order: anyone can sign for it")
        named = self.name.encode() + b"\n" + self.KIND + self.public
        object.__setattr__(self, "key_id", hashlib.sha256(named).digest()[:KEY_ID_BYTES])

    def __str__(self) -> str:
        """Write the key as one line that other tools read: name, id, key."""
        encoded = base64.b64encode(self.KIND + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a key from its line.

        Raises:
            SettingsError: Not exactly the line that `str` writes.
        """
        name, _, rest = text.partition("+")
        _, _, encoded = rest.partition("+")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise SettingsError("the log's public key is not base64") from error
        key = cls(name, raw[1:])
        if str(key) != text:
            raise SettingsError("the log's public key is not an Ed25519 key in its written form")
        return key

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """
        Say whether a signature by this key is right.

        Args:
            message: What is said to be signed.
            signature: Untrusted.
        """
        try:
            _loaded(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def is_key_name(name: str) -> bool:
    """Say whether a key may bear this name."""
    return _NAME.match(name) is not None


@lru_cache(maxsize=256)
def _loaded(public: bytes) -> Ed25519PublicKey:
    """Load a key once: it signs thousands of checkpoints."""
    return Ed25519PublicKey.from_public_bytes(public)
