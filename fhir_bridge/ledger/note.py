"""Signed notes: a text and the signatures under it (https://c2sp.org/signed-note)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.errors import AlteredLog, MalformedCheckpoint
from fhir_bridge.ledger.keys import KEY_ID_BYTES, PublicKey, is_key_name

NOTE_CHARS_MAX = 256 * 1024
"""Of a note that nobody expects to be longer."""

_SIGNATURE_MARK = "\N{EM DASH} "
_SIGNATURES_MAX = 64
"""The specification asks for at least 16."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    """Of the key."""
    key_id: bytes
    """4 bytes."""
    value: bytes
    """What the key's kind says: under a log's own key, 64 bytes of Ed25519."""


@dataclass(frozen=True, slots=True)
class Note:
    """A signed note that was read, and that nobody has verified yet."""

    text: str
    """Ends with a newline."""
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, note: str, *, chars_max: int = NOTE_CHARS_MAX) -> Self:
        """
        Read a note.

        Args:
            note: Text, empty line, signature lines. Untrusted.
            chars_max: What is longer is refused unread.

        Raises:
            MalformedCheckpoint: Not written as a signed note.
        """
        if len(note) > chars_max or _CONTROL.search(note):
            raise MalformedCheckpoint("a signed note is too long or holds control characters")
        text, gap, signatures = note.rpartition("\n\n")
        if not gap or not signatures.endswith("\n"):
            raise MalformedCheckpoint("a signed note has no signatures after an empty line")
        lines = signatures[:-1].split("\n")
        if len(lines) > _SIGNATURES_MAX:
            raise MalformedCheckpoint(f"a signed note has more than {_SIGNATURES_MAX} signatures")
        return cls(text + "\n", tuple(map(_signature, lines)))

    def by(self, key: PublicKey) -> tuple[bytes, ...]:
        """Return the signatures that bear a key's name and id; nothing about them is verified."""
        return tuple(
            one.value
            for one in self.signatures
            if one.key_id == key.key_id and one.name == key.name
        )


@dataclass(frozen=True, slots=True)
class VerifierKey(PublicKey):
    """The public half of a key that signs notes."""

    KIND: ClassVar[bytes] = b"\x01"

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
        return self.open_read(Note.parse(note))

    def open_read(self, note: Note) -> str:
        """
        Return the text of a note that was read and that this key signed.

        Raises:
            AlteredLog: As of `open`.
        """
        mine = note.by(self)
        if not mine:
            raise AlteredLog(f"a checkpoint is not signed by the key {self.name}")
        text = note.text.encode()
        if not all(self.has_signed(text, signature) for signature in mine):
            raise AlteredLog(f"a checkpoint's signature by the key {self.name} is not right")
        return note.text


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
        return f"{text}\n{self.line(text)}"

    def line(self, text: str) -> str:
        """
        Return the signature line alone, to stand below others.

        Args:
            text: As of `sign`.
        """
        assert text.endswith("\n"), "a note's text ends with a newline"
        assert not _CONTROL.search(text), "a note holds no control characters"
        return signature_line(self.verifier, self.private.sign(text.encode()))


def signature_line(key: PublicKey, value: bytes) -> str:
    """Write the line that says which key a signature is by; ended by a newline."""
    encoded = base64.b64encode(key.key_id + value).decode()
    return f"{_SIGNATURE_MARK}{key.name} {encoded}\n"


def _signature(line: str) -> Signature:
    """Read a signature line."""
    name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    if not line.startswith(_SIGNATURE_MARK) or not is_key_name(name):
        raise MalformedCheckpoint("a signature line does not name a key")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedCheckpoint("a signature is not base64") from error
    if len(raw) <= KEY_ID_BYTES or base64.b64encode(raw).decode() != encoded:
        raise MalformedCheckpoint("a signature is not in its one written form")
    return Signature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])
