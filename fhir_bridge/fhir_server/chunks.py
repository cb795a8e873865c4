"""
What is sent together: under the limits, referenced before referring, cycles whole.

One transaction up to the limits is the fastest way by far (HAPI 8.8.0: twice
the speed of chunks, seen 2026-11), so a chunk is as large as the server takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from fhir_bridge.errors import DestinationRefused
from fhir_bridge.records import RecordRef

ALONE_FROM_BYTES = 1_400_000
"""A longer body, which is 1 MiB of attachment, goes by itself: no transaction waits for it."""

_LONG_BYTES = 1_000_000
_ENTRY_BYTES = 200
"""What a transaction adds around each resource."""

_REFERENCE = re.compile(rb'"reference":"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})')


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One resource that is to be at the destination."""

    ref: RecordRef
    """Where: type and id at the destination."""
    body: bytes
    """JSON; or bytes as they are, with `raw_content_type`."""
    group: int = 0
    """Ascending: referenced before referring. What refers in a circle shares a group."""
    if_match: str | None = None
    """Only over this version; None for what was not there."""
    new: bool = False
    """Nobody looked: only if nothing is or was there; by `Capabilities.create_only`."""
    if_none_exist: str | None = None
    """``identifier=system|value``, for servers that give out ids themselves."""
    shared: bool = False
    """Other transfers may write it too (organisations, practitioners, endpoints)."""
    raw_content_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of one write."""

    ref: RecordRef
    status: str
    """
    ``created``, ``updated``, ``unchanged``, ``refused``, or ``found``: it is or
    was there, and nobody looked before.
    """
    version: str | None = None
    error: DestinationRefused | None = None

    @property
    def stored(self) -> bool:
        """Tell whether this run stored it."""
        return self.error is None and self.status != "found"


BeforeSend = Callable[[Sequence[Write]], None]
"""Asked immediately before each request that carries records; when it raises, nothing is sent."""

AfterSend = Callable[[Sequence[Stored]], None]


@dataclass(slots=True)
class Room:
    """What a destination takes in one transaction, as far as it was learnt."""

    entries: int
    size_bytes: int

    def holds(self, chunk: Chunk) -> bool:
        """Tell whether a chunk can be sent as it is."""
        fits = len(chunk.writes) <= self.entries and chunk.size_bytes <= self.size_bytes
        return fits or len(chunk.writes) == 1

    def was_too_small(self, chunk: Chunk) -> None:
        """
        Learn from a chunk that was too large.

        No server says which limit it meant. A long one is taken for too long,
        until it is no longer long.
        """
        if chunk.size_bytes > _LONG_BYTES:
            self.size_bytes = chunk.size_bytes // 2
        else:
            self.entries = max(1, len(chunk.writes) // 2)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Writes that go in one request."""

    writes: tuple[Write, ...]
    tries: int = 0
    """How often it was sent without success."""
    level: int = 0
    """Chunks of one level do not refer to each other."""

    @property
    def alone(self) -> bool:
        """Return whether it is one write that must not be inside a transaction."""
        return len(self.writes) == 1 and _goes_alone(self.writes[0])

    @property
    def new(self) -> bool:
        """Return whether a write in it is for what nobody looked for."""
        return any(one.new for one in self.writes)

    @property
    def shared(self) -> bool:
        """Return whether other transfers may write it too; they go by themselves."""
        return self.writes[0].shared

    @property
    def size_bytes(self) -> int:
        """Return about how long it is as a transaction."""
        return sum(len(one.body) + _ENTRY_BYTES for one in self.writes)

    def halves(self) -> list[Chunk]:
        """Split, between two groups where that can be; one write stays one."""
        if len(self.writes) == 1:
            return [self]
        at = self._middle()
        return [Chunk(self.writes[:at]), Chunk(self.writes[at:])]

    def without(self, refs: Iterable[RecordRef]) -> list[Chunk]:
        """Return what is left to send, as one chunk or none."""
        gone = set(refs)
        rest = tuple(one for one in self.writes if one.ref not in gone)
        return [Chunk(rest, self.tries, self.level)] if rest else []

    def again(self) -> Chunk:
        """Return it for another try."""
        return Chunk(self.writes, self.tries + 1, self.level)

    def _middle(self) -> int:
        half = len(self.writes) // 2
        borders = [
            at
            for at in range(1, len(self.writes))
            if self.writes[at].group != self.writes[at - 1].group
        ]
        return min(borders, key=lambda at: abs(at - half)) if borders else half


def in_order(writes: Iterable[Write]) -> list[Write]:
    """Put shared resources first, by themselves, and referenced before referring."""
    return sorted(writes, key=lambda one: (not one.shared, one.group))


def chunks(writes: Sequence[Write], room: Room) -> Iterator[Chunk]:
    """
    Cut what is in order into transactions.

    Args:
        writes: From `in_order`.
        room: Of one transaction.

    Returns:
        Chunks in order. A group that exceeds the limits by itself is cut all the same.
    """
    now: list[Write] = []
    size = 0
    for group in _groups(writes):
        added = sum(len(one.body) + _ENTRY_BYTES for one in group)
        begins = now and now[-1].shared != group[0].shared
        full = len(now) + len(group) > room.entries or size + added > room.size_bytes
        if now and (begins or full or _goes_alone(group[0])):
            yield Chunk(tuple(now))
            now, size = [], 0
        if _goes_alone(group[0]):
            yield Chunk(tuple(group))
            continue
        now += group
        size += added
        while len(now) > room.entries:
            yield Chunk(tuple(now[: room.entries]))
            now = now[room.entries :]
            size = sum(len(one.body) + _ENTRY_BYTES for one in now)
    if now:
        yield Chunk(tuple(now))


def singles(writes: Sequence[Write]) -> Iterator[Chunk]:
    """Cut into single writes, with the level at which each can go beside others."""
    levels: dict[RecordRef, int] = {}
    known = {one.ref for one in writes}
    rows: list[Chunk] = []
    for one in writes:
        names = {RecordRef(name.decode()) for name in _REFERENCE.findall(one.body)}
        below = [levels[ref] for ref in (names & known) if ref in levels]
        levels[one.ref] = 1 + max(below, default=-1)
        rows.append(Chunk((one,), level=levels[one.ref]))
    return iter(sorted(rows, key=lambda chunk: chunk.level))


def if_match(one: Write, create_only: str | None) -> str | None:
    """Return the version that a write expects, as a server wants it said."""
    return create_only if one.new else one.if_match


def transaction(chunk: Chunk, base: str, create_only: str | None = None) -> bytes:
    """
    Write a transaction of PUTs.

    Put together from bytes: the resources are written once already, and
    reading them again would cost as much as everything else here.

    Args:
        chunk: What is sent.
        base: Of the server.
        create_only: What it is told for what is `new`.
    """
    entries = b",".join(_entry(one, base, if_match(one, create_only)) for one in chunk.writes)
    return b'{"resourceType":"Bundle","type":"transaction","entry":[' + entries + b"]}"


def _entry(one: Write, base: str, version: str | None) -> bytes:
    ref = one.ref.encode()
    match = b',"ifMatch":"W/\\"' + version.encode() + b'\\""' if version else b""
    return (
        b'{"fullUrl":"'
        + base.encode()
        + b"/"
        + ref
        + b'","resource":'
        + one.body
        + b',"request":{"method":"PUT","url":"'
        + ref
        + b'"'
        + match
        + b"}}"
    )


def _groups(writes: Sequence[Write]) -> Iterator[list[Write]]:
    now: list[Write] = []
    for one in writes:
        if now and (
            one.group != now[0].group
            or one.shared != now[0].shared
            or _goes_alone(one)
            or _goes_alone(now[0])
        ):
            yield now
            now = []
        now.append(one)
    if now:
        yield now


def _goes_alone(one: Write) -> bool:
    return one.raw_content_type is not None or len(one.body) > ALONE_FROM_BYTES
