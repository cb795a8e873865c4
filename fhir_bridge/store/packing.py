"""What one commit adds to a log, as bytes that another process can write down."""

from __future__ import annotations

import msgspec

from fhir_bridge.ledger import Frontier, decode_entry
from fhir_bridge.store.growth import Drafted, Growth, Head


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    event_id: str
    leaf: bytes
    salt: bytes
    body: bytes | None


class _Commit(msgspec.Struct, frozen=True):
    log: str
    entries: list[_Entry]
    at: str
    behind: bool
    vkey: str


_decoder = msgspec.msgpack.Decoder(_Commit)


def pack(head: Head, growth: Growth) -> bytes:
    """
    Pack a commit.

    Args:
        head: Of the log before it.
        growth: What it adds; its note is left out.
    """
    entries = [_Entry(one.event_id, one.leaf, one.salt, one.body) for one in growth.drafted]
    commit = _Commit(head.log, entries, growth.at, growth.behind, growth.vkey)
    return msgspec.msgpack.encode(commit)


def unpack(packed: bytes) -> tuple[str, Growth]:
    """
    Unpack a commit: the log's name, and what it adds without note and frontier.

    Args:
        packed: What `pack` gave; its leaves must be compared with what was signed.

    Raises:
        AlteredLog: A leaf is no entry.
    """
    commit = _decoder.decode(packed)
    drafted = [
        Drafted(
            entry=decode_entry(one.leaf),
            event_id=one.event_id,
            leaf=one.leaf,
            salt=one.salt,
            body=one.body,
        )
        for one in commit.entries
    ]
    growth = Growth(
        drafted=drafted,
        frontier=Frontier(),
        note="",
        at=commit.at,
        behind=commit.behind,
        vkey=commit.vkey,
    )
    return commit.log, growth
