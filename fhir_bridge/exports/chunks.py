"""
Checking one chunk of a log's entries by itself: 65,536 of them, one tile of level 1.

A chunk needs nothing of the others, so chunks are checked side by side and
memory stays the same however long the log is. What joins them (hashes, times,
numbers within transfers) goes back with the chunk.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fhir_bridge.errors import AlteredLog
from fhir_bridge.exports.archive import Archive
from fhir_bridge.exports.checkpoints import read_file
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import LEAF_BYTES_MAX, Entry, Event
from fhir_bridge.ledger.reading import AlteredEntry, read_entries
from fhir_bridge.ledger.receipt import SALT_BYTES
from fhir_bridge.ledger.tiles import (
    WIDTH,
    bodies_tile,
    entries_tile,
    hash_tile,
    unpack_entries,
    widths,
)
from fhir_bridge.ledger.tree import HASH_BYTES

CHUNK = WIDTH * WIDTH
"""Entries in a whole chunk."""

CHUNK_HEIGHT = 16

BODIES_BYTES_MAX = 64 * 1024 * 1024
"""Of one file: what 256 entries commit to."""

_BUNDLE_BYTES_MAX = WIDTH * (2 + LEAF_BYTES_MAX)
LENGTH_BYTES = 4
"""Before each salt and body, which are one after the other; 0 for none."""
_NAMED_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A chunk to be checked."""

    log: str
    first: int
    """Index of its first entry; a multiple of `CHUNK`."""
    count: int
    sizes: tuple[int, ...]
    """Sizes of checkpoints that end within it, smallest first."""
    bodies: bool
    digests: Mapping[str, str]
    """SHA-256 of its files in hexadecimal, from the manifest."""


@dataclass(slots=True)
class Numbers:
    """What a chunk holds of one transfer."""

    first: int
    """Number of its first entry here."""
    next: int
    """The number that must follow."""
    intents: int = 0
    results: int = 0


@dataclass(slots=True, kw_only=True)
class Chunk:
    """What a chunk was found to hold."""

    first: int
    count: int
    t_first: str = ""
    t_last: str = ""
    peaks: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    """By size of the tree: roots of the complete subtrees of this chunk, the largest first."""
    times: dict[int, str] = field(default_factory=dict)
    """By size of the tree: time of its last entry."""
    transfers: dict[bytes, Numbers] = field(default_factory=dict)
    """By the transfer's UUID in 16 bytes."""
    keys: list[tuple[int, str]] = field(default_factory=list)
    """Entries from which another key signs, and the key."""
    ends: list[tuple[int, Event]] = field(default_factory=list)
    """Entries that open or close the log."""
    continues: bool = False
    """The log continues a former year's."""
    committed: int = 0
    """Entries that commit to something."""
    erased: int = 0
    erased_first: list[int] = field(default_factory=list)
    """Indexes of the first that were erased."""


def check_chunk(archive: Archive, job: Job) -> Chunk:
    """
    Check a chunk.

    Raises:
        Found: The first thing that is wrong in it.
    """
    return _Checking(archive, job).run()


class _Checking:
    def __init__(self, archive: Archive, job: Job) -> None:
        self._archive = archive
        self._job = job
        self._chunk = Chunk(first=job.first, count=job.count)
        self._hashes: list[bytes] = []

    def run(self) -> Chunk:
        chunk, first = self._chunk, self._job.first // WIDTH
        for n, width in widths(self._job.count):
            self._bundle(first + n, width)
        levels = _levels(b"".join(self._hashes))
        self._compare_level_1(levels)
        for size in self._job.sizes:
            chunk.peaks[size] = _peaks(levels, size - self._job.first)
        end = self._job.first + self._job.count
        chunk.peaks[end] = _peaks(levels, self._job.count)
        return chunk

    def _bundle(self, n: int, width: int) -> None:
        name = entries_tile(n, width)
        raw = self._read(name, _BUNDLE_BYTES_MAX)
        try:
            leaves = unpack_entries(raw, width)
            entries = read_entries(leaves)
        except AlteredEntry as error:
            raise Found(
                Reason.ENTRY_ALTERED, idx=n * WIDTH + error.position, detail=error
            ) from error
        except AlteredLog as error:
            raise Found(Reason.ENTRY_ALTERED, idx=n * WIDTH, detail=error) from error
        self._check_places(entries, n * WIDTH)
        self._note(entries)
        hashes = _leaf_hashes(leaves)
        self._compare(hash_tile(0, n, width), hashes)
        self._hashes.append(hashes)
        if self._job.bodies:
            self._bodies(n, width, entries)

    def _read(self, name: str, bytes_max: int) -> bytes:
        return read_file(self._archive, name, bytes_max, self._job.digests[name])

    def _check_places(self, entries: Sequence[Entry], first: int) -> None:
        """Check that each entry stands where it says, and none before its time."""
        found = [entry.idx for entry in entries]
        if found != list(range(first, first + len(entries))):
            idx = next(at for at, one in enumerate(found, start=first) if at != one)
            raise Found(Reason.ENTRY_MOVED, idx=idx, found=found[idx - first])
        if {entry.log for entry in entries} != {self._job.log}:
            idx = next(entry.idx for entry in entries if entry.log != self._job.log)
            raise Found(Reason.ENTRY_OF_OTHER_LOG, idx=idx)
        times = [entry.t for entry in entries]
        if times != sorted(times) or times[0] < self._chunk.t_last:
            before = [self._chunk.t_last, *times]
            idx = next(at for at, t in enumerate(times) if t < before[at])
            raise Found(Reason.TIME_GOES_BACK, idx=first + idx)
        self._chunk.t_first = self._chunk.t_first or times[0]
        self._chunk.t_last = times[-1]
        for size in self._job.sizes:
            if first < size <= first + len(entries):
                self._chunk.times[size] = times[size - 1 - first]

    def _note(self, entries: Sequence[Entry]) -> None:
        """Note what only the whole log can judge, and check what a transfer shows here."""
        for entry in entries:
            if entry.transfer is not None:
                self._number(entry, entry.transfer)
            if entry.vkey is not None:
                self._chunk.keys.append((entry.idx, entry.vkey))
            if entry.type in _ENDS:
                self._chunk.ends.append((entry.idx, entry.type))
                self._chunk.continues |= entry.checkpoint is not None
            if entry.body is not None:
                self._chunk.committed += 1

    def _number(self, entry: Entry, urn: str) -> None:
        seq = entry.seq or 0
        transfer = uuid.UUID(urn).bytes
        numbers = self._chunk.transfers.get(transfer)
        if numbers is None:
            numbers = self._chunk.transfers[transfer] = Numbers(first=seq, next=seq)
        if seq != numbers.next:
            raise Found(Reason.NUMBER_MISSING, idx=entry.idx, found=seq, expected=numbers.next)
        numbers.next = seq + 1
        if entry.type == Event.DISCLOSURE_INTENT:
            numbers.intents += 1
        elif entry.type == Event.DISCLOSURE_RESULT:
            numbers.results += 1
        if entry.entries is not None and entry.entries != numbers.next:
            raise Found(
                Reason.COUNT_WRONG, idx=entry.idx, found=entry.entries, expected=numbers.next
            )

    def _compare(self, name: str, hashes: bytes) -> None:
        if self._read(name, WIDTH * HASH_BYTES) != hashes:
            raise Found(Reason.HASHES_ALTERED, file=name)

    def _compare_level_1(self, levels: Sequence[bytes]) -> None:
        whole = self._job.count // WIDTH
        if whole:
            self._compare(hash_tile(1, self._job.first // CHUNK, whole), levels[8])

    def _bodies(self, n: int, width: int, entries: Sequence[Entry]) -> None:
        name = bodies_tile(n, width)
        raw, at = self._read(name, BODIES_BYTES_MAX), 0
        for entry in entries:
            first = at + LENGTH_BYTES
            at = first + int.from_bytes(raw[at:first], "big")
            self._body(entry, raw[first:at])
        if at != len(raw):
            raise Found(Reason.FILE_ALTERED, file=name)

    def _body(self, entry: Entry, opened: bytes) -> None:
        """Compare what an entry committed to: salt and stored bytes, one after the other."""
        if entry.body is None:
            if opened:
                raise Found(Reason.BODY_ADDED, idx=entry.idx)
        elif not opened:
            self._chunk.erased += 1
            if len(self._chunk.erased_first) < _NAMED_MAX:
                self._chunk.erased_first.append(entry.idx)
        elif len(opened) < SALT_BYTES or _digest(opened) != entry.body.digest:
            raise Found(Reason.BODY_ALTERED, idx=entry.idx)


_ENDS = frozenset({Event.LOG_OPENED, Event.LOG_CLOSED})

_sha256 = hashlib.sha256


def _digest(opened: bytes) -> str:
    return base64.b64encode(_sha256(opened).digest()).decode()


def _leaf_hashes(leaves: Sequence[bytes]) -> bytes:
    """Hash entries one after the other: `leaf_hash`, without a call for each."""
    return b"".join([_sha256(b"\x00" + leaf).digest() for leaf in leaves])


def _levels(hashes: bytes) -> list[bytes]:
    """Hash a chunk upwards: `node_hash`, without a call for each; whole pairs only."""
    levels = [hashes]
    for _ in range(CHUNK_HEIGHT):
        below, pair = levels[-1], 2 * HASH_BYTES
        levels.append(
            b"".join(
                [
                    _sha256(b"\x01" + below[at : at + pair]).digest()
                    for at in range(0, len(below) - pair + 1, pair)
                ]
            )
        )
    return levels


def _peaks(levels: Sequence[bytes], count: int) -> tuple[bytes, ...]:
    """Return the roots of the complete subtrees of a chunk's first entries."""
    peaks = []
    for height in reversed(range(CHUNK_HEIGHT + 1)):
        if count >> height & 1:
            at = ((count >> height) - 1) * HASH_BYTES
            peaks.append(levels[height][at : at + HASH_BYTES])
    return tuple(peaks)
