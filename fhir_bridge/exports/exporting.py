"""
Making exports and receipts from what the store hands out.

What is written is compared with what was signed before it gets its name: a log
that was altered in its database is never exported as if it were whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Protocol, Self

from fhir_bridge.errors import AlteredLog, SettingsError
from fhir_bridge.exports import layout
from fhir_bridge.exports.chunks import BODIES_BYTES_MAX, LENGTH_BYTES
from fhir_bridge.exports.drafts import Draft, drafted
from fhir_bridge.exports.layout import Manifest
from fhir_bridge.ledger import (
    Checkpoint,
    Entry,
    Frontier,
    Note,
    Receipt,
    Subtrees,
    decode_entry,
    inclusion_proof,
    is_included,
    leaf_hash,
    transfer_urn,
)
from fhir_bridge.ledger.tiles import (
    WIDTH,
    bodies_tile,
    entries_tile,
    hash_tile,
    pack_entries,
    subtree_root,
)


class Source(Protocol):
    """What the store hands out of a log; nothing of it is verified."""

    def leaves(self, log: str, first: int, end: int) -> Iterator[bytes]:
        """Return entries, oldest first."""

    def notes(self, log: str) -> Iterator[tuple[int, str]]:
        """Return each checkpoint's size and signed note, oldest first."""

    def opened(self, log: str, first: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Return index, salt and bytes of what entries commit to; the erased is left out."""

    def last_cosigned(self, log: str, witness: str | None = None) -> int | None:
        """Return the size of the last checkpoint that a witness signed."""

    def subtrees(self, log: str) -> Subtrees:
        """Give the complete subtrees of a log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be exported."""

    log: str
    bodies: bool = True
    """With what entries commit to, as far as it was not erased."""
    transfer: str | None = None
    """UUID of a transfer: only its entries, as receipts."""
    policy: str | None = None
    """The note in which the root key signed the policy."""
    per_checkpoint: int = 100
    """
    Of the checkpoints that only the log signed, one for so many entries goes
    along: a log with one for each entry would else be a million files.
    """


def export_log(
    source: Source,
    path: Path,
    order: Order,
    *,
    sign: Callable[[str], str],
    announce: Callable[[Checkpoint], object] = lambda _: None,
) -> Checkpoint:
    """
    Write an export.

    Args:
        source: Of the log's bytes.
        path: A zip file when it ends so, else a folder. Must not exist.
        order: What goes along.
        sign: Signs the list of files with the log's key.
        announce: Called with the export's checkpoint before the export has a
            name: who hands a log out signs that first.

    Returns:
        The checkpoint that the export is of.

    Raises:
        SettingsError: The path cannot be written to, or there is no such log or transfer.
        StoreUnavailable: It could not be written.
        AlteredLog: The log is not what was signed; nothing was exported.
    """
    with drafted(path) as draft:
        note, checkpoint = newest(source, order.log)
        announce(checkpoint)
        draft.add(layout.CHECKPOINT, note.encode())
        if order.transfer is None:
            _Whole(source, draft, order, checkpoint).write()
        else:
            _write_transfer(draft, order, Prover(source, order.log, note, checkpoint))
        if order.policy is not None:
            draft.add(layout.POLICY, order.policy.encode())
        for name in (layout.HOWTO, layout.SCRIPT):
            draft.add(name, resources.files("fhir_bridge.exports").joinpath(name).read_bytes())
        manifest = Manifest(
            log=order.log,
            size=checkpoint.size,
            bodies=order.bodies,
            transfer=order.transfer,
            files=draft.digests,
        )
        draft.add(layout.MANIFEST, sign(str(manifest)).encode())
    return checkpoint


def newest(source: Source, log: str) -> tuple[str, Checkpoint]:
    """
    Return a log's newest checkpoint, as a note and as what it says.

    Raises:
        SettingsError: The log has none.
    """
    last = deque(source.notes(log), maxlen=1)
    if not last:
        raise SettingsError(f"log {log} has no checkpoint yet")
    ((_, note),) = last
    return note, Checkpoint.parse(Note.parse(note).text)


class _Whole:
    """Writes a whole log, tile by tile."""

    def __init__(self, source: Source, draft: Draft, order: Order, checkpoint: Checkpoint) -> None:
        self._source = source
        self._draft = draft
        self._order = order
        self._checkpoint = checkpoint
        self._levels: list[list[bytes]] = []
        self._counts: list[int] = []
        self._whole = Frontier()

    def write(self) -> None:
        log, size = self._order.log, self._checkpoint.size
        leaves = self._source.leaves(log, 0, size)
        bodies = _Bodies(self._source.opened(log, 0, size)) if self._order.bodies else None
        n = 0
        while bundle := list(islice(leaves, WIDTH)):
            self._draft.add(entries_tile(n, len(bundle)), pack_entries(bundle))
            for leaf in bundle:
                self._hash(0, leaf_hash(leaf))
            if bodies is not None:
                self._draft.add(bodies_tile(n, len(bundle)), bodies.packed(n, len(bundle)))
            n += 1
        self._end()
        for at, note in self._published():
            self._draft.add(layout.checkpoint_file(at), note.encode())

    def _hash(self, level: int, one: bytes) -> None:
        """Add a hash to a level; a whole tile is written, and is a hash of the level above."""
        if level == len(self._levels):
            self._levels.append([])
            self._counts.append(0)
        if level == 0:
            self._whole = self._whole.appended(one)
        tile = self._levels[level]
        tile.append(one)
        if len(tile) == WIDTH:
            self._write_tile(level)
            self._hash(level + 1, subtree_root(tile))
            tile.clear()

    def _write_tile(self, level: int) -> None:
        tile = self._levels[level]
        name = hash_tile(level, self._counts[level], len(tile))
        self._draft.add(name, b"".join(tile))
        self._counts[level] += 1

    def _end(self) -> None:
        for level, tile in enumerate(self._levels):
            if tile:
                self._write_tile(level)
        size, root = self._whole.size, self._whole.root()
        if (size, root) != (self._checkpoint.size, self._checkpoint.root):
            raise AlteredLog(
                f"the {size} entries do not lead to the checkpoint signed over"
                f" {self._checkpoint.size}: run audit verify-db; nothing was exported"
            )

    def _published(self) -> Iterator[tuple[int, str]]:
        """Choose the checkpoints that go along: all with several signatures, and some others."""
        passed, size = 0, self._checkpoint.size
        for at, note in self._source.notes(self._order.log):
            if not 0 < at <= size:
                continue
            several = len(Note.parse(note).signatures) > 1
            if several or at == size or at // self._order.per_checkpoint > passed:
                passed = at // self._order.per_checkpoint
                yield at, note


class _Bodies:
    """What entries commit to, oldest first; not every entry has something."""

    def __init__(self, opened: Iterator[tuple[int, bytes, bytes]]) -> None:
        self._opened = opened
        self._next = next(opened, None)

    def packed(self, n: int, width: int) -> bytes:
        """Write what a bundle's entries commit to: each after its length, nothing as length 0."""
        parts = []
        for idx in range(n * WIDTH, n * WIDTH + width):
            part = b""
            if self._next is not None and self._next[0] == idx:
                part = self._next[1] + self._next[2]
                self._next = next(self._opened, None)
            parts += [len(part).to_bytes(LENGTH_BYTES, "big"), part]
        packed = b"".join(parts)
        if len(packed) > BODIES_BYTES_MAX:
            raise SettingsError(
                f"what entries {n * WIDTH} and on commit to is too large: export without bodies"
            )
        return packed


def _write_transfer(draft: Draft, order: Order, prover: Prover) -> None:
    indexes = [entry.idx for entry in prover.entries(str(order.transfer))]
    if not indexes:
        raise SettingsError(f"log {order.log} has no entry of transfer {order.transfer}")
    for idx in indexes:
        receipt = prover.receipt(idx, body=order.bodies)
        draft.add(layout.receipt_file(idx), str(receipt).encode())


class Prover:
    """Proves entries of a log by one of its checkpoints."""

    def __init__(self, source: Source, log: str, note: str, checkpoint: Checkpoint) -> None:
        """Take a checkpoint of the log, as a note and as what it says."""
        self._source = source
        self._log = log
        self._note = note
        self._checkpoint = checkpoint
        self._subtrees = source.subtrees(log)

    @classmethod
    def of(cls, source: Source, log: str, idx: int) -> Self:
        """
        Take the last checkpoint that a witness signed, when it covers an entry, else the newest.

        Raises:
            SettingsError: The log has no such entry.
        """
        witnessed, chosen = source.last_cosigned(log), None
        for size, note in source.notes(log):
            chosen = note
            if size == witnessed and idx < size:
                break
        if chosen is None:
            raise SettingsError(f"log {log} has no checkpoint yet")
        checkpoint = Checkpoint.parse(Note.parse(chosen).text)
        if not 0 <= idx < checkpoint.size:
            raise SettingsError(f"log {log} has no entry {idx}: it has {checkpoint.size}")
        return cls(source, log, chosen, checkpoint)

    def entries(self, transfer: str) -> Iterator[Entry]:
        """
        Return a transfer's entries, oldest first.

        Args:
            transfer: Its UUID.
        """
        urn = transfer_urn(transfer)
        for leaf in self._source.leaves(self._log, 0, self._checkpoint.size):
            if urn.encode() in leaf:
                entry = decode_entry(leaf)
                if entry.transfer == urn:
                    yield entry

    def receipt(self, idx: int, *, body: bool, policy: str | None = None) -> Receipt:
        """
        Prove one entry.

        Args:
            idx: Its index; covered by the checkpoint.
            body: Open what it commits to, as far as it was not erased.
            policy: The note in which the root key signed the policy.

        Raises:
            AlteredLog: The log is not what was signed.
        """
        size, root = self._checkpoint.size, self._checkpoint.root
        (entry,) = self._source.leaves(self._log, idx, idx + 1)
        opened = next(self._source.opened(self._log, idx, idx + 1), None) if body else None
        proof = inclusion_proof(idx, size, self._subtrees)
        if not is_included(leaf_hash(entry), idx, proof, size=size, root=root):
            raise AlteredLog(f"entry {idx} is not in the log that was signed: run audit verify-db")
        return Receipt(
            index=idx,
            proof=tuple(proof),
            note=self._note,
            entry=entry,
            salt=None if opened is None else opened[1],
            body=None if opened is None else opened[2],
            policy=policy,
        )
