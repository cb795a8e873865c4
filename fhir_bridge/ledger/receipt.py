"""
A receipt: one entry with the proof that it is in the log (https://c2sp.org/tlog-proof).

What the format leaves to the application holds the entry itself, and, when it
is opened, what the entry commits to. Nothing of it is believed by itself: the
entry must hash to the leaf that the proof is about, and what is opened must
match the entry's commitment.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from fhir_bridge.errors import MalformedReceipt
from fhir_bridge.ledger.entry import LEAF_BYTES_MAX
from fhir_bridge.ledger.tree import HASH_BYTES

SALT_BYTES = 32

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_OURS = "fhir-bridge/receipt/v1"
_CHARS_MAX = 32 * 1024 * 1024
_HASHES_MAX = 64
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})\Z")
_PARTS = ("entry", "salt", "body", "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One entry, opened or not, and its proof. Nothing of it is verified."""

    index: int
    proof: tuple[bytes, ...]
    """The inclusion proof: hashes of 32 bytes, from the leaf's sibling up."""
    note: str
    """The signed checkpoint, with the witnesses' signatures."""
    entry: bytes
    """The leaf."""
    salt: bytes | None = None
    """32 bytes; there when `body` is."""
    body: bytes | None = None
    """What the entry commits to; None when it was erased, or is not shown."""
    policy: str | None = None
    """A policy that a root key is said to have signed."""

    def __str__(self) -> str:
        """Write the receipt as a tlog-proof."""
        extra = base64.b64encode(self._extra().encode()).decode()
        hashes = "".join(f"{_b64(one)}\n" for one in self.proof)
        return f"{_FIRST_LINE}\nextra {extra}\nindex {self.index}\n{hashes}\n{self.note}"

    def _extra(self) -> str:
        """Write what the format leaves to us: one part a line."""
        policy = None if self.policy is None else self.policy.encode()
        values = zip(_PARTS, (self.entry, self.salt, self.body, policy), strict=True)
        lines = [f"{name} {_b64(value)}\n" for name, value in values if value is not None]
        return f"{_OURS}\n{''.join(lines)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a receipt.

        Args:
            text: Untrusted.

        Raises:
            MalformedReceipt: Not a tlog-proof, or not one that `str` writes.
        """
        if len(text) > _CHARS_MAX:
            raise MalformedReceipt("a receipt is longer than any that the bridge writes")
        head, gap, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        if first != _FIRST_LINE or not gap:
            raise MalformedReceipt("this is not a receipt: it does not begin as one")
        if len(lines) < len(("extra", "index")) or not lines[0].startswith("extra "):
            raise MalformedReceipt("the receipt does not hold its entry")
        index = _INDEX.match(lines[1])
        if index is None:
            raise MalformedReceipt("the receipt does not say its entry's index")
        parts = _read_extra(lines[0].removeprefix("extra "))
        salt, body = parts.get("salt"), parts.get("body")
        if not 0 < len(parts.get("entry", b"")) <= LEAF_BYTES_MAX:
            raise MalformedReceipt("the receipt does not hold its entry")
        if (salt is None) != (body is None) or (salt is not None and len(salt) != SALT_BYTES):
            raise MalformedReceipt("the receipt does not open its entry as it must")
        return cls(
            index=int(index[1]),
            proof=_hashes(lines[2:]),
            note=note,
            entry=parts["entry"],
            salt=salt,
            body=body,
            policy=_text(parts.get("policy")),
        )


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise MalformedReceipt("the receipt's policy is not text") from error


def _read_extra(encoded: str) -> dict[str, bytes]:
    try:
        first, *lines, last = _unb64(encoded).decode().split("\n")
    except (UnicodeDecodeError, ValueError) as error:
        raise MalformedReceipt("what the receipt holds cannot be read") from error
    named = [line.partition(" ") for line in lines]
    names = [name for name, _, _ in named]
    if first != _OURS or last or names != [name for name in _PARTS if name in names]:
        raise MalformedReceipt("what the receipt holds is not in its one written form")
    return {name: _unb64(value) for name, _, value in named}


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    hashes = tuple(map(_unb64, lines))
    if len(hashes) > _HASHES_MAX or any(len(one) != HASH_BYTES for one in hashes):
        raise MalformedReceipt("the receipt's proof is not a list of hashes")
    return hashes


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _unb64(text: str) -> bytes:
    """Read base64 in its one written form."""
    try:
        value = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedReceipt("a line of the receipt is not base64") from error
    if _b64(value) != text:
        raise MalformedReceipt("a line of the receipt is not in its one written form")
    return value
