"""
Signed notes: a text and the Ed25519 signatures under it (https://c2sp.org/signed-note).

Keys are screened when they are loaded. With a public key of low order anyone
can sign, and a key in a second spelling has a second key id; the usual
libraries accept both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fhir_bridge.errors import AlteredLog, MalformedCheckpoint, SettingsError

_ED25519 = b"\x01"
"""The signature type that the specification assigns."""

_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_SIGNATURE_MARK = "\N{EM DASH} "
_NOTE_CHARS_MAX = 256 * 1024
_SIGNATURES_MAX = 64
"""The specification asks for at least 16."""

_NAME = re.compile(r"[^\s+\x00-\x20\x7f]{1,255}\Z")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")

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
class VerifierKey:
    """
    A public key with its name, as an outside auditor holds it.

    Raises:
        SettingsError: The name or the key cannot be one; a key of low order or
            in a second spelling is refused here and nowhere else.
    """

    name: str
    public: bytes = field(repr=False)
    """32 bytes, as RFC 8032 section 5.1.2 encodes them."""

    def __post_init__(self) -> None:
        """Screen the name and the key."""
        if not _NAME.match(self.name):
            raise SettingsError("the name of a log's key is empty or holds a space or a plus sign")
        if len(self.public) != _KEY_BYTES:
            raise SettingsError("a log's public key has 32 bytes")
        y = int.from_bytes(self.public, "little") & ((1 << 255) - 1)
        if y >= _P:
            raise SettingsError("the log's public key is not in its one written form")
        if y in _LOW_ORDER_Y:
            raise SettingsError("the log's public key is of low order: anyone can sign for it")

    @property
    def key_id(self) -> bytes:
        """Return the four bytes that a signature line names the key by."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public
        return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        """Write the key as one line that other tools read: name, id, key."""
        encoded = base64.b64encode(_ED25519 + self.public).decode()
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

    def open(self, note: str) -> str:
        """
        Return the text of a note that this key signed.

        Args:
            note: Text, empty line, signature lines. Untrusted.

        Raises:
            MalformedCheckpoint: Not written as a signed note.
            AlteredLog: This key did not sign the text. Signatures by other keys
                are ignored, as the specification demands; nothing in the note
                may then be believed.
        """
        text, lines = _split(note)
        mine = [sig for name, key_id, sig in _signatures(lines) if self._is_by_me(name, key_id)]
        if not mine:
            raise AlteredLog(f"a checkpoint is not signed by the key {self.name}")
        for signature in mine:
            self._verify(signature, text)
        return text

    def _is_by_me(self, name: str, key_id: bytes) -> bool:
        return name == self.name and key_id == self.key_id

    def _verify(self, signature: bytes, text: str) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature as error:
            raise AlteredLog(
                f"a checkpoint's signature by the key {self.name} is not right"
            ) from error


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its name. The interface stays open to keys held elsewhere."""

    name: str
    private: Ed25519PrivateKey = field(repr=False)
    verifier: VerifierKey = field(init=False)
    """The public half."""

    def __post_init__(self) -> None:
        """Work the public half out once."""
        public = self.private.public_key().public_bytes_raw()
        object.__setattr__(self, "verifier", VerifierKey(self.name, public))

    def sign(self, text: str) -> str:
        """
        Return the text as a signed note.

        Args:
            text: Ends with a newline; holds no other control character.
        """
        assert text.endswith("\n"), "a note's text ends with a newline"
        assert not _CONTROL.search(text), "a note holds no control characters"
        signed = self.verifier.key_id + self.private.sign(text.encode())
        return f"{text}\n{_SIGNATURE_MARK}{self.name} {base64.b64encode(signed).decode()}\n"


def _split(note: str) -> tuple[str, list[str]]:
    """Part a note into its text and its signature lines."""
    if len(note) > _NOTE_CHARS_MAX or _CONTROL.search(note):
        raise MalformedCheckpoint("a signed note is too long or holds control characters")
    text, gap, signatures = note.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise MalformedCheckpoint("a signed note has no signatures after an empty line")
    lines = signatures[:-1].split("\n")
    if len(lines) > _SIGNATURES_MAX:
        raise MalformedCheckpoint(f"a signed note has more than {_SIGNATURES_MAX} signatures")
    return text + "\n", lines


def _signatures(lines: list[str]) -> Iterator[tuple[str, bytes, bytes]]:
    """Read each signature line into key name, key id and signature."""
    for line in lines:
        name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
        if not line.startswith(_SIGNATURE_MARK) or not _NAME.match(name):
            raise MalformedCheckpoint("a signature line does not name a key")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise MalformedCheckpoint("a signature is not base64") from error
        if len(raw) <= _KEY_ID_BYTES or base64.b64encode(raw).decode() != encoded:
            raise MalformedCheckpoint("a signature is not in its one written form")
        yield name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:]
