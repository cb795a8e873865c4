"""A log of any length, made while it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta

import msgspec

from fhir_bridge.ledger import (
    Checkpoint,
    Frontier,
    Subtrees,
    decode_entry,
    leaf_hash,
    subtrees_of,
    timestamp,
)
from tests.simulators.written_log import BEGAN, KEY, LOG, commitment, ordinary, transfer_of

ENTRIES_PER_CHECKPOINT = 100

_BODY = b'{"resourceType":"AuditEvent","id":"%d","text":"' + b"x" * 2950 + b'"}'
"""As long as an AuditEvent of a disclosure."""

_sha256 = hashlib.sha256
_encoder = msgspec.json.Encoder(order="sorted")


class LongLog:
    """A log of any length, made while it is read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._patterns = [decode_entry(ordinary(idx)) for idx in range(11)]
        self._notes: dict[int, str] = {}

    def leaves(self, log: str, first: int, end: int) -> Iterator[bytes]:
        assert log == LOG
        frontier = Frontier()
        for idx in range(first, end):
            leaf = self.leaf(idx)
            frontier = frontier.appended(leaf_hash(leaf))
            if frontier.size % ENTRIES_PER_CHECKPOINT == 0 or frontier.size == self.size:
                self._sign(frontier)
            yield leaf

    def leaf(self, idx: int) -> bytes:
        if idx == 0:
            return ordinary(0)
        number, seq = divmod(idx - 1, 10)
        pattern = self._patterns[seq + 1]
        named = _sha256(b"%d" % number).hexdigest()
        entry = msgspec.structs.replace(
            pattern,
            idx=idx,
            t=timestamp(BEGAN + timedelta(milliseconds=500 * idx)),
            transfer=f"urn:uuid:{transfer_of(number)}",
            subject=f"hmac-sha256:{named}",
            trace=named[:32],
            body=commitment(*_opened(idx)),
        )
        return _encoder.encode(entry)

    def _sign(self, frontier: Frontier) -> None:
        text = str(Checkpoint(origin=LOG, size=frontier.size, root=frontier.root()))
        self._notes[frontier.size] = KEY.sign(text)

    def notes(self, log: str) -> Iterator[tuple[int, str]]:
        if not self._notes:
            for _ in self.leaves(log, 0, self.size):
                pass
        yield from list(self._notes.items())

    def opened(self, log: str, first: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        assert log == LOG
        for idx in range(max(first, 1), end):
            yield idx, *_opened(idx)

    def last_cosigned(self, log: str, witness: str | None = None) -> int | None:
        assert (log, witness) == (LOG, None)

    def subtrees(self, log: str) -> Subtrees:
        return subtrees_of([leaf_hash(leaf) for leaf in self.leaves(log, 0, self.size)])


def _opened(idx: int) -> tuple[bytes, bytes]:
    return _sha256(b"%d" % idx).digest(), _BODY % idx
