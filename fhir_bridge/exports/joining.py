"""Joining chunks into one log: what no chunk can judge by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from fhir_bridge.exports.archive import Archive
from fhir_bridge.exports.chunks import CHUNK, Chunk, Numbers
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.exports.report import Facts
from fhir_bridge.ledger import Event, Frontier, Policy, node_hash
from fhir_bridge.ledger.tiles import WIDTH, hash_tile, subtree_root, widths
from fhir_bridge.ledger.tree import HASH_BYTES

_NAMED_MAX = 20


class Joined:
    """The chunks of a log so far, oldest first."""

    def __init__(self) -> None:
        """Begin with no chunk."""
        self._whole = Frontier()
        self._roots_of_chunks: list[bytes] = []
        self._t = ""
        self._transfers: dict[bytes, Numbers] = {}
        self.roots: dict[int, bytes] = {0: Frontier().root()}
        """Roots of the tree, by size."""
        self.times: dict[int, str] = {}
        """Time of the last entry, by size."""
        self.keys: list[tuple[int, str]] = []
        """Entries from which another key signs, and the key."""
        self.ends: list[tuple[int, Event]] = []
        self.continues = False
        """The log continues a former year's, where a transfer may have begun."""
        self.facts = Facts()

    def add(self, chunk: Chunk) -> None:
        """
        Add the next chunk.

        Raises:
            Found: It does not continue those before.
        """
        if chunk.t_first < self._t:
            raise Found(Reason.TIME_GOES_BACK, idx=chunk.first)
        self._t = chunk.t_last
        for size, peaks in chunk.peaks.items():
            self.roots[size] = _folded([*self._whole.peaks, *peaks])
        if chunk.count == CHUNK:
            (root,) = chunk.peaks[chunk.first + CHUNK]
            self._whole = self._whole.appended(root)
            self._roots_of_chunks.append(root)
        self.times |= chunk.times
        self.keys += chunk.keys
        self.ends += chunk.ends
        self.continues |= chunk.continues
        for transfer, numbers in chunk.transfers.items():
            self._continue(transfer, numbers, chunk.first)
        self._count(chunk)

    def _continue(self, transfer: bytes, numbers: Numbers, first: int) -> None:
        known = self._transfers.get(transfer)
        if known is None:
            self._transfers[transfer] = numbers
            return
        if numbers.first != known.next:
            raise Found(Reason.NUMBER_MISSING, idx=first, found=numbers.first, expected=known.next)
        known.next = numbers.next
        known.intents += numbers.intents
        known.results += numbers.results

    def _count(self, chunk: Chunk) -> None:
        facts = self.facts
        facts.entries = chunk.first + chunk.count
        facts.bodies_opened += chunk.committed - chunk.erased
        facts.bodies_erased += chunk.erased
        room = _NAMED_MAX - len(facts.bodies_erased_first)
        facts.bodies_erased_first += chunk.erased_first[:room]

    def check_high_tiles(self, archive: Archive) -> None:
        """
        Compare the hashes above the chunks.

        Args:
            archive: The export.

        Raises:
            Found: They are not those of the entries.
        """
        level, hashes = 2, self._roots_of_chunks
        while hashes:
            above: list[bytes] = []
            for n, width in widths(len(hashes)):
                tile = hashes[n * WIDTH : n * WIDTH + width]
                name = hash_tile(level, n, width)
                if archive.read(name, WIDTH * HASH_BYTES) != b"".join(tile):
                    raise Found(Reason.HASHES_ALTERED, file=name)
                if width == WIDTH:
                    above.append(subtree_root(tile))
            level, hashes = level + 1, above

    def check_ends(self, *, size: int) -> None:
        """
        Check that the log opens with its first entry and closes, if at all, with its last.

        Raises:
            Found: It does not.
        """
        opened = [idx for idx, event in self.ends if event == Event.LOG_OPENED]
        if opened != ([0] if size else []):
            raise Found(Reason.ENDS_WRONG, idx=next((idx for idx in opened if idx), 0))
        for idx, event in self.ends:
            if event == Event.LOG_CLOSED and idx != size - 1:
                raise Found(Reason.ENDS_WRONG, idx=idx)

    def check_first_numbers(self) -> None:
        """
        Check that each transfer begins with its first entry.

        Raises:
            Found: The first entries of a transfer are missing.
        """
        if self.continues:
            return
        for transfer, numbers in self._transfers.items():
            if numbers.first != 0:
                raise Found(
                    Reason.TRANSFER_BEHEADED,
                    transfer=uuid.UUID(bytes=transfer),
                    found=numbers.first,
                )

    def count_transfers(self) -> None:
        """Count the transfers, and name those whose intent has no result."""
        facts = self.facts
        facts.transfers = len(self._transfers)
        for transfer, numbers in self._transfers.items():
            if numbers.intents > numbers.results:
                facts.unanswered_count += 1
                if len(facts.unanswered) < _NAMED_MAX:
                    facts.unanswered.append(str(uuid.UUID(bytes=transfer)))

    def check_keys(self, log: str, policy: Policy, signed: set[int], *, size: int) -> int | None:
        """
        Check that the log says itself where it passed to another key.

        Args:
            log: Its name.
            policy: What the root says of it.
            signed: Sizes of the checkpoints that were checked.
            size: Of the log.

        Returns:
            The entry that names a key which the policy does not list; None when there is none.

        Raises:
            Found: The log and the policy differ.
        """
        named = {key: idx for idx, key in reversed(self.keys)}
        for epoch in policy.epochs:
            if epoch.key.name != log or not 0 < epoch.first <= size:
                continue
            idx = named.get(str(epoch.key), size)
            if idx >= epoch.first:
                raise Found(Reason.KEY_UNANNOUNCED, idx=epoch.first - 1)
            if epoch.first not in signed:
                raise Found(Reason.HANDOVER_UNSIGNED, size=epoch.first)
        listed = {str(epoch.key) for epoch in policy.epochs if epoch.key.name == log}
        return min((idx for idx, key in self.keys if key not in listed), default=None)


def _folded(peaks: list[bytes]) -> bytes:
    *others, root = peaks
    for peak in reversed(others):
        root = node_hash(peak, root)
    return root


def chunks_of(size: int) -> Iterator[tuple[int, int]]:
    """Give first index and number of entries of each chunk of a log."""
    for first in range(0, size, CHUNK):
        yield first, min(CHUNK, size - first)
