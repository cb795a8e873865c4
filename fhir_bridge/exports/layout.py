"""
The layout of an export: which files it has, and the signed list of them.

``checkpoint``, ``tile/**`` and ``tile/entries/**`` are a tiled log as
https://c2sp.org/tlog-tiles lays it out; the rest is ours. Which files must be
there follows from the manifest's first lines, so one that is missing or added
is found before any is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger.tiles import bodies_tile, entries_tile, hash_tile, hash_tiles, widths

MANIFEST = "manifest"
CHECKPOINT = "checkpoint"
POLICY = "policy"
HOWTO = "HOWTO.txt"
SCRIPT = "verify.sh"

MANIFEST_BYTES_MAX = 64 * 1024 * 1024
"""For a log of some millions of entries."""

_FIRST_LINE = "fhir-bridge/audit-export/v1"
_HEAD = re.compile(
    rf"{_FIRST_LINE}\nlog ([^\s]{{1,255}})\nsize (0|[1-9][0-9]{{0,18}})\nbodies (yes|no)\n"
    r"transfer (-|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  ([!-~]{1,255})\n")
_CHECKPOINT = re.compile(r"checkpoints/([1-9][0-9]{0,18})\Z")
_TIMESTAMP = re.compile(r"timestamps/([1-9][0-9]{0,18})\.tsr\Z")
_RECEIPT = re.compile(r"receipts/(0|[1-9][0-9]{0,18})\.tlog-proof\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an export holds."""

    log: str
    size: int
    """Entries of the log at the export's checkpoint."""
    bodies: bool
    """What entries commit to is there, as far as it was not erased."""
    transfer: str | None = None
    """The UUID of the one transfer whose entries are there, as receipts; None: the whole log."""
    files: Mapping[str, str]
    """SHA-256 in hexadecimal, by name."""

    def __str__(self) -> str:
        """Write the manifest; its lines of files are as sha256sum reads them."""
        lines = "".join(f"{self.files[name]}  {name}\n" for name in sorted(self.files))
        return (
            f"{_FIRST_LINE}\nlog {self.log}\nsize {self.size}\n"
            f"bodies {'yes' if self.bodies else 'no'}\ntransfer {self.transfer or '-'}\n{lines}"
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a manifest.

        Raises:
            Found: Not exactly what `str` writes.
        """
        head = _HEAD.match(text)
        if head is None:
            raise Found(Reason.MANIFEST_MALFORMED)
        found = _LINE.findall(text, head.end())
        manifest = cls(
            log=head[1],
            size=int(head[2]),
            bodies=head[3] == "yes",
            transfer=None if head[4] == "-" else head[4],
            files={name: digest for digest, name in found},
        )
        if str(manifest) != text:
            raise Found(Reason.MANIFEST_MALFORMED)
        return manifest

    @property
    def sizes(self) -> list[int]:
        """Return the sizes of the checkpoints that were published on the way, smallest first."""
        return sorted(int(found[1]) for found in map(_CHECKPOINT.match, self.files) if found)

    @property
    def receipts(self) -> list[int]:
        """Return the indexes of the entries that are there as receipts."""
        return sorted(int(found[1]) for found in map(_RECEIPT.match, self.files) if found)

    def check(self) -> None:
        """
        Check that the files listed are those that such an export has.

        Raises:
            Found: One is missing, or there is one that no export has.
        """
        needed = set(self._needed())
        for name in sorted(needed - self.files.keys()):
            raise Found(Reason.FILE_MISSING, file=name)
        for name in self.files.keys() - needed:
            if name != POLICY and not self._may_have(name):
                raise Found(Reason.FILE_ADDED, file=name)

    def _needed(self) -> Iterator[str]:
        yield from (CHECKPOINT, HOWTO, SCRIPT)
        if self.transfer is None:
            yield from whole_log(self.size, bodies=self.bodies)

    def _may_have(self, name: str) -> bool:
        if self.transfer is not None:
            found = _RECEIPT.match(name)
            return found is not None and int(found[1]) < self.size
        found = _CHECKPOINT.match(name) or _TIMESTAMP.match(name)
        return found is not None and int(found[1]) <= self.size


def whole_log(size: int, *, bodies: bool) -> Iterator[str]:
    """Name the files that hold a log of a size."""
    for level, n, width in hash_tiles(size):
        yield hash_tile(level, n, width)
    for n, width in widths(size):
        yield entries_tile(n, width)
        if bodies:
            yield bodies_tile(n, width)


def checkpoint_file(size: int) -> str:
    """Name the file of a checkpoint that was published on the way."""
    return f"checkpoints/{size}"


def receipt_file(index: int) -> str:
    """Name the file of an entry's receipt."""
    return f"receipts/{index}.tlog-proof"
