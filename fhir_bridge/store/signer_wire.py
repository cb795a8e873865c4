"""What the bridge and its signer process say to each other, over a socket of this machine."""

from __future__ import annotations

import socket
import struct

import msgspec

_LENGTH = struct.Struct(">I")
_BYTES_MAX = 64 * 1024 * 1024


class AskKey(msgspec.Struct, tag="key", frozen=True):
    """Which key signs now?"""


class AskSign(msgspec.Struct, tag="sign", frozen=True, kw_only=True):
    """Sign a log that grew."""

    log: str
    size: int
    """Before."""
    peaks: bytes
    hashes: list[bytes]
    root: bytes
    confirmed: tuple[str, int]
    packed: bytes
    changes_key: bool


class AskList(msgspec.Struct, tag="list", frozen=True):
    """Sign a list of an export's files."""

    log: str
    text: str


class AskUnwritten(msgspec.Struct, tag="unwritten", frozen=True):
    """What was signed that the database does not have?"""

    confirmed: tuple[str, int]


class AskPrepare(msgspec.Struct, tag="prepare", frozen=True):
    """Make the key that is to follow."""


class Key(msgspec.Struct, tag="is", frozen=True):
    """A public key."""

    public: bytes


class Note(msgspec.Struct, tag="note", frozen=True):
    """A signed note."""

    note: str


class Ahead(msgspec.Struct, tag="ahead", frozen=True):
    """Something else was signed and must be written first: note and content, oldest first."""

    commits: list[tuple[str, bytes]]


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """Nothing is signed, for this reason."""

    sentence: str


Ask = AskKey | AskSign | AskList | AskUnwritten | AskPrepare
Answer = Key | Note | Ahead | Refused

_encoder = msgspec.msgpack.Encoder()
_asks: msgspec.msgpack.Decoder[Ask] = msgspec.msgpack.Decoder(Ask)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def send(connection: socket.socket, message: Ask | Answer) -> None:
    """
    Send a message.

    Raises:
        OSError: The other side is gone.
    """
    encoded = _encoder.encode(message)
    connection.sendall(_LENGTH.pack(len(encoded)) + encoded)


def read_ask(connection: socket.socket) -> Ask | None:
    """
    Read what is asked; None when the other side has left.

    Raises:
        OSError: The connection broke.
        msgspec.DecodeError: It is no message.
    """
    raw = _read(connection)
    return None if raw is None else _asks.decode(raw)


def read_answer(connection: socket.socket) -> Answer:
    """
    Read the answer.

    Raises:
        OSError: There is none.
    """
    raw = _read(connection)
    if raw is None:
        raise ConnectionResetError
    return _answers.decode(raw)


def _read(connection: socket.socket) -> bytes | None:
    head = _exactly(connection, _LENGTH.size)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _BYTES_MAX:
        raise ConnectionResetError
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes; none at all when the other side has left before the first."""
    found = bytearray()
    while len(found) < count:
        more = connection.recv(min(count - len(found), 1 << 20))
        if not more:
            if found:
                raise ConnectionResetError
            return b""
        found += more
    return bytes(found)
