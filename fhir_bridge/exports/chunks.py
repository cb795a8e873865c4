"""
Checking one chunk of a log's entries by itself: 65,536 of them, one tile of level 1.

A chunk needs nothing of the others, so chunks are checked side by side and
memory stays the same however long the log is. What joins them (hashes, times,
numbers within transfers) goes back with the chunk.

The files are not compared with the manifest here: what is in them follows from
the tree's root and the entries' commitments, byte for byte. Only a body that is
not there leaves its file open, so that file is compared.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from fhir_bridge.errors import AlteredLog
from fhir_bridge.exports.archive import Archive
from fhir_bridge.exports.checkpoints import has_digest
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import LEAF_BYTES_MAX, Event
from fhir_bridge.ledger.reading import AlteredEntry, Columns, read_columns
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
    """SHA-256 of its files of bodies in hexadecimal, from the manifest."""


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
    """By the transfer's UUID in 16 bytes: there may be many."""
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
        self._transfers: dict[bytes, Numbers] = {}
        self._sizes = deque(job.sizes)
        self._t = b""
        self._log = job.log.encode()

    def run(self) -> Chunk:
        chunk, first = self._chunk, self._job.first // WIDTH
        for n, width in widths(self._job.count):
            self._bundle(first + n, width)
        for uuid, numbers in self._transfers.items():
            chunk.transfers[bytes.fromhex(uuid.decode().replace("-", ""))] = numbers
        levels = _levels(b"".join(self._hashes))
        self._compare_level_1(levels)
        for size in self._job.sizes:
            chunk.peaks[size] = _peaks(levels, size - self._job.first)
        end = self._job.first + self._job.count
        chunk.peaks[end] = _peaks(levels, self._job.count)
        return chunk

    def _bundle(self, n: int, width: int) -> None:
        name = entries_tile(n, width)
        raw = self._archive.read(name, _BUNDLE_BYTES_MAX)
        try:
            leaves = unpack_entries(raw, width)
            entries = read_columns(leaves)
        except AlteredEntry as error:
            raise Found(
                Reason.ENTRY_ALTERED, idx=n * WIDTH + error.position, detail=error
            ) from error
        except AlteredLog as error:
            raise Found(Reason.ENTRY_ALTERED, idx=n * WIDTH, detail=error) from error
        self._check_places(entries, range(n * WIDTH, n * WIDTH + width))
        self._check_numbers(entries, n * WIDTH)
        self._note(entries, n * WIDTH)
        hashes = _leaf_hashes(leaves)
        self._compare(hash_tile(0, n, width), hashes)
        self._hashes.append(hashes)
        if self._job.bodies:
            self._bodies(n, width, entries.digest)

    def _check_places(self, entries: Columns, places: range) -> None:
        """Check that each entry stands where it says, and none before its time."""
        if entries.idx != list(places):
            idx = next(one for one, found in zip(places, entries.idx, strict=True) if one != found)
            raise Found(Reason.ENTRY_MOVED, idx=idx, found=entries.idx[idx - places.start])
        if entries.log.count(self._log) != len(places):
            idx = next(
                one for one, log in zip(places, entries.log, strict=True) if log != self._log
            )
            raise Found(Reason.ENTRY_OF_OTHER_LOG, idx=idx)
        times = [self._t, *entries.t]
        if times != sorted(times):
            at = next(at for at, (one, after) in enumerate(pairwise(times)) if after < one)
            raise Found(Reason.TIME_GOES_BACK, idx=places[at])
        chunk = self._chunk
        chunk.t_first = chunk.t_first or times[1].decode()
        chunk.t_last = times[-1].decode()
        self._t = times[-1]
        while self._sizes and self._sizes[0] <= places.stop:
            size = self._sizes.popleft()
            chunk.times[size] = times[size - places.start].decode()

    def _check_numbers(self, entries: Columns, first: int) -> None:
        """Check that the entries of each transfer follow each other."""
        uuids = entries.transfer
        begins = [at for at, (one, after) in enumerate(pairwise(uuids), 1) if one != after]
        for at, end in pairwise([0, *begins, len(uuids)]):
            if uuids[at]:
                self._check_run(entries, uuids[at], range(at, end), first)

    def _check_run(self, entries: Columns, uuid: bytes, run: range, first: int) -> None:
        """Check entries of one transfer that stand together."""
        numbers = self._transfers.get(uuid)
        if numbers is None:
            start = entries.seq[run.start] or 0
            numbers = self._transfers[uuid] = Numbers(first=start, next=start)
        seqs, closes = entries.seq[run.start : run.stop], entries.entries[run.start : run.stop]
        expected = range(numbers.next, numbers.next + len(run))
        if seqs != list(expected):
            at = next(
                at for at, (one, seq) in enumerate(zip(expected, seqs, strict=True)) if one != seq
            )
            raise Found(
                Reason.NUMBER_MISSING,
                idx=first + run[at],
                found=seqs[at],
                expected=expected[at],
            )
        if any(closes):
            self._check_counts(closes, expected, first + run.start)
        numbers.next = expected.stop
        events = entries.type[run.start : run.stop]
        numbers.intents += events.count(_INTENT)
        numbers.results += events.count(_RESULT)

    def _check_counts(self, closes: Sequence[int | None], numbers: range, first: int) -> None:
        """Check that an entry which closes its transfer counts itself and those before it."""
        for at, count in enumerate(closes):
            if count is not None and count != numbers[at] + 1:
                raise Found(
                    Reason.COUNT_WRONG, idx=first + at, found=count, expected=numbers[at] + 1
                )

    def _note(self, entries: Columns, first: int) -> None:
        """Note what only the whole log can judge."""
        chunk = self._chunk
        chunk.committed += len(entries.digest) - entries.digest.count(b"")
        if any(entries.vkey):
            named = enumerate(entries.vkey, start=first)
            chunk.keys += [(idx, key.decode()) for idx, key in named if key]
        if not _ENDS.isdisjoint(entries.type):
            told = enumerate(entries.type, start=first)
            chunk.ends += [(idx, Event(one.decode())) for idx, one in told if one in _ENDS]
        if first == 0:
            chunk.continues = bool(entries.checkpoint[0])

    def _compare(self, name: str, hashes: bytes) -> None:
        if self._archive.read(name, WIDTH * HASH_BYTES) != hashes:
            raise Found(Reason.HASHES_ALTERED, file=name)

    def _compare_level_1(self, levels: Sequence[bytes]) -> None:
        whole = self._job.count // WIDTH
        if whole:
            self._compare(hash_tile(1, self._job.first // CHUNK, whole), levels[8])

    def _bodies(self, n: int, width: int, commitments: Sequence[bytes]) -> None:
        """Compare what entries committed to: salt and stored bytes, one after the other."""
        name = bodies_tile(n, width)
        raw, at, whole = self._archive.read(name, BODIES_BYTES_MAX), 0, True
        for idx, commitment in enumerate(commitments, start=n * WIDTH):
            first = at + LENGTH_BYTES
            at = first + int.from_bytes(raw[at:first], "big")
            if at == first:
                if commitment:
                    self._erased(idx)
                    whole = False
            elif not commitment:
                raise Found(Reason.BODY_ADDED, idx=idx)
            elif at - first < SALT_BYTES or commitment != _digest(raw[first:at]):
                raise Found(Reason.BODY_ALTERED, idx=idx)
        if at != len(raw) or not (whole or has_digest(raw, self._job.digests[name])):
            raise Found(Reason.FILE_ALTERED, file=name)

    def _erased(self, idx: int) -> None:
        self._chunk.erased += 1
        if len(self._chunk.erased_first) < _NAMED_MAX:
            self._chunk.erased_first.append(idx)


_INTENT, _RESULT = Event.DISCLOSURE_INTENT.encode(), Event.DISCLOSURE_RESULT.encode()
_ENDS = frozenset({Event.LOG_OPENED.encode(), Event.LOG_CLOSED.encode()})

_sha256 = hashlib.sha256


def _digest(opened: bytes) -> bytes:
    """Return SHA-256 in base64, without its padding."""
    return b2a_base64(_sha256(opened).digest(), newline=False)[:-1]


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
