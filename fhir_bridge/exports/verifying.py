"""
Verifying an export, by someone who holds only a root key or a policy.

Nothing is taken on trust: not the list of files before its signature is right,
not the hashes beside the entries, not the policy inside. The first thing that
is wrong ends it. What cannot be seen from here is said too: without a witness
and without a checkpoint of his own, no auditor can find that a whole older log
was put in the place of a newer one.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from fhir_bridge.errors import AlteredLog, Tampered
from fhir_bridge.exports import layout
from fhir_bridge.exports.archive import Archive, open_archive
from fhir_bridge.exports.checkpoints import (
    Signed,
    check_checkpoint,
    parse_checkpoint,
    read_file,
    read_note,
)
from fhir_bridge.exports.chunks import BODIES_BYTES_MAX, CHUNK, Job, check_chunk
from fhir_bridge.exports.joining import Joined, chunks_of
from fhir_bridge.exports.layout import Manifest
from fhir_bridge.exports.reasons import Found, Reason, Verdict, verdict_of
from fhir_bridge.exports.report import Facts, Finding, Report
from fhir_bridge.exports.single import check_transfer, limits
from fhir_bridge.exports.trust import Trust, read_pin
from fhir_bridge.ledger import Checkpoint, Note, Policy, timestamp
from fhir_bridge.ledger.note import NOTE_CHARS_MAX
from fhir_bridge.ledger.policy import NO_QUORUM
from fhir_bridge.ledger.tiles import WIDTH, bodies_tile, widths

NEWEST = "the newest checkpoint"

_SKEW_SECONDS = 300
"""How far the bridge's clock may be ahead of a witness's."""

_NOTES_AT_ONCE = 500
_FILE_BYTES_MAX = 1024 * 1024
"""Of a file that nobody computes with."""

_TIME_MAX = 253_402_300_799
"""The last second that has a year of four digits."""

_Workers = Callable[[Callable[[Archive, Any], Any], Sequence[Any]], Iterable[Any]]
"""Runs a check over each of some tasks; the results come in their order."""


def verify_export(
    path: Path, trust: Trust, *, since: str | None = None, bodies: bool = False, processes: int = 1
) -> Report:
    """
    Verify an export.

    Args:
        path: A folder or a zip file. Untrusted.
        trust: From outside the export.
        since: A checkpoint that the auditor kept from before, as text.
        bodies: Compare also what the entries commit to.
        processes: How many may work side by side; a short log needs one.

    Returns:
        What was found; nothing is raised for whatever lies at `path`.
    """
    verification = _Verification(path, trust, since=since, bodies=bodies, processes=processes)
    try:
        limits = list(verification.run())
    except Found as found:
        return Report(findings=(Finding.of(found),), facts=verification.facts)
    return Report(findings=tuple(limits), facts=verification.facts)


class _Verification:
    """One pass over an export."""

    def __init__(
        self, path: Path, trust: Trust, *, since: str | None, bodies: bool, processes: int
    ) -> None:
        self._path = path
        self._trust = trust
        self._since = since
        self._bodies = bodies
        self._processes = processes
        self.facts = Facts()

    def run(self) -> Iterator[Finding]:
        archive = open_archive(self._path)
        listed = _read_manifest(archive)
        note, newest = parse_checkpoint(read_note(archive, layout.CHECKPOINT, NEWEST), NEWEST)
        offered = _offered_policy(archive) if self._trust.policy is None else None
        policy = self._trust.policy_for(newest.origin, offered)
        self.facts.log = newest.origin
        signed = check_checkpoint(note, newest, policy, NEWEST)
        manifest = _check_manifest(listed, newest, policy)
        _check_names(archive, manifest)
        _check_loose_files(archive, manifest)
        pin = None if self._since is None else read_pin(self._since, newest.origin)
        if pin is not None and pin.size > newest.size:
            raise Found(Reason.ROLLED_BACK, size=newest.size, pinned=pin.size)
        if manifest.transfer is not None:
            self.facts, limits = check_transfer(archive, manifest, policy, newest, pin)
            yield from limits
        else:
            whole = _Whole(archive, manifest, policy, signed, pin)
            try:
                yield from whole.check(self._path, bodies=self._bodies, processes=self._processes)
            except Found as found:
                if verdict_of(found.reason) is Verdict.TAMPERED:
                    # Which file it is says more than what is wrong with what is in it.
                    _check_files(archive, manifest, bodies=self._bodies)
                raise
            self.facts = whole.facts
        if self._bodies and not manifest.bodies:
            yield Finding.limit(Reason.BODIES_LEFT_OUT)


def _read_manifest(archive: Archive) -> Note:
    raw = archive.read(layout.MANIFEST, layout.MANIFEST_BYTES_MAX)
    try:
        return Note.parse(raw.decode(), chars_max=layout.MANIFEST_BYTES_MAX)
    except (UnicodeDecodeError, Tampered) as error:
        raise Found(Reason.MANIFEST_MALFORMED) from error


def _offered_policy(archive: Archive) -> str | None:
    """Return the policy that the export brings; the caller believes nothing of it."""
    try:
        return archive.read(layout.POLICY, NOTE_CHARS_MAX).decode()
    except UnicodeDecodeError as error:
        raise Found(Reason.POLICY_MALFORMED, detail="it is not text") from error
    except Found as found:
        if found.reason == Reason.FILE_MISSING:
            return None
        raise


def _check_manifest(listed: Note, newest: Checkpoint, policy: Policy) -> Manifest:
    """
    Check who signed the list of files.

    The key of the export's own size, or one of another year: a closed log's
    keys are destroyed, and its export is signed by the key in use today.
    """
    keys = [
        epoch.key
        for epoch in policy.epochs
        if epoch.key.name != newest.origin or epoch.covers(newest.size)
    ]
    known = [key for key in keys if listed.by(key)]
    if not known:
        raise Found(Reason.MANIFEST_UNSIGNED, log=newest.origin)
    try:
        for key in known:
            key.open_read(listed)
    except AlteredLog as error:
        raise Found(Reason.MANIFEST_FORGED) from error
    manifest = Manifest.parse(listed.text)
    if (manifest.log, manifest.size) != (newest.origin, newest.size):
        raise Found(
            Reason.MANIFEST_OF_OTHER,
            listed=f"{manifest.log} at {manifest.size}",
            signed=f"{newest.origin} at {newest.size}",
        )
    manifest.check()
    return manifest


def _check_names(archive: Archive, manifest: Manifest) -> None:
    """Compare the files that are there with those that must be."""
    missing = {layout.MANIFEST, *manifest.files}
    for name in archive.names():
        if name not in missing:
            raise Found(Reason.FILE_ADDED, file=name)
        missing.remove(name)
    if missing:
        raise Found(Reason.FILE_MISSING, file=min(missing))


def _check_loose_files(archive: Archive, manifest: Manifest) -> None:
    """Compare the files that no later step reads."""
    for name, digest in manifest.files.items():
        if not name.startswith(("tile/", "bodies/", "checkpoints/", "receipts/")):
            read_file(archive, name, _FILE_BYTES_MAX, digest)


def _check_files(archive: Archive, manifest: Manifest, *, bodies: bool) -> None:
    """Compare every file that was looked at with the list."""
    for name, digest in manifest.files.items():
        if bodies or not name.startswith("bodies/"):
            read_file(archive, name, BODIES_BYTES_MAX, digest)


@dataclass(frozen=True, slots=True)
class _Notes:
    """Checkpoints to be checked side by side with others."""

    policy: str
    """As text: it travels to another process."""
    digests: dict[str, str]
    """SHA-256 of their files in hexadecimal, by name."""
    sizes: tuple[int, ...]
    log: str


def check_notes(archive: Archive, notes: _Notes) -> list[Signed]:
    """
    Check checkpoints that were published on the way.

    Raises:
        Found: The first thing that is wrong with one.
    """
    policy, signed = _policy(notes.policy), []
    for size in notes.sizes:
        name = layout.checkpoint_file(size)
        what = f"the checkpoint of size {size}"
        note, checkpoint = parse_checkpoint(
            read_note(archive, name, what, notes.digests[name]), what
        )
        if (checkpoint.origin, checkpoint.size) != (notes.log, size):
            raise Found(Reason.CHECKPOINT_MALFORMED, what=what)
        signed.append(check_checkpoint(note, checkpoint, policy, what))
    return signed


class _Whole:
    """The export of a whole log, of which the list of files is known to be the bridge's."""

    def __init__(
        self,
        archive: Archive,
        manifest: Manifest,
        policy: Policy,
        newest: Signed,
        pin: Checkpoint | None,
    ) -> None:
        self._archive = archive
        self._manifest = manifest
        self._policy = policy
        self._newest = newest
        self._pin = pin
        self._joined = Joined()
        self.facts = self._joined.facts

    def check(self, path: Path, *, bodies: bool, processes: int) -> Iterator[Finding]:
        """Check everything; give what limits the proof."""
        bodies = bodies and self._manifest.bodies
        few = self._manifest.size <= CHUNK
        with _workers(path, self._archive, 1 if few else processes) as workers:
            # The long tasks first, so that the short ones fill what is left.
            chunks = workers(check_chunk, list(self._chunk_jobs(bodies=bodies)))
            published = workers(check_notes, list(self._note_jobs()))
            for chunk in chunks:
                self._joined.add(chunk)
            signed = [one for several in published for one in several]
        signed.append(self._newest)
        joined = self._joined
        joined.check_high_tiles(self._archive)
        self._check_roots(signed)
        joined.check_ends(size=self._manifest.size)
        joined.check_first_numbers()
        joined.count_transfers()
        self._check_witnessed_times(signed)
        outdated = joined.check_keys(
            self._manifest.log, self._policy, {one.size for one in signed}, size=self._manifest.size
        )
        self._conclude(signed, bodies=bodies)
        if outdated is not None:
            yield Finding.limit(Reason.POLICY_OUTDATED, idx=outdated)
        yield from limits(self.facts, self._policy)
        if self.facts.bodies_erased:
            yield Finding.limit(Reason.BODIES_ERASED, count=self.facts.bodies_erased)

    def _chunk_jobs(self, *, bodies: bool) -> Iterator[Job]:
        files = self._manifest.files
        pinned = [] if self._pin is None else [self._pin.size]
        sizes = sorted({*self._manifest.sizes, *pinned, self._manifest.size})
        for first, count in chunks_of(self._manifest.size):
            names = [bodies_tile(first // WIDTH + n, width) for n, width in widths(count) if bodies]
            yield Job(
                log=self._manifest.log,
                first=first,
                count=count,
                sizes=tuple(size for size in sizes if first < size <= first + count),
                bodies=bodies,
                digests={name: files[name] for name in names},
            )

    def _note_jobs(self) -> Iterator[_Notes]:
        files, sizes = self._manifest.files, self._manifest.sizes
        for at in range(0, len(sizes), _NOTES_AT_ONCE):
            some = tuple(sizes[at : at + _NOTES_AT_ONCE])
            names = map(layout.checkpoint_file, some)
            yield _Notes(
                policy=str(self._policy),
                digests={name: files[name] for name in names},
                sizes=some,
                log=self._manifest.log,
            )

    def _check_roots(self, signed: Iterable[Signed]) -> None:
        """Compare what the entries lead to with what was signed, and with what was kept."""
        roots = self._joined.roots
        for one in sorted(signed, key=lambda one: one.size):
            if roots[one.size] != one.root:
                raise Found(Reason.ROOT_MISMATCH, size=one.size)
        if self._pin is not None and roots[self._pin.size] != self._pin.root:
            raise Found(Reason.HISTORY_REWRITTEN, pinned=self._pin.size)

    def _check_witnessed_times(self, signed: Iterable[Signed]) -> None:
        """Check that no entry is dated after a witness saw it."""
        for one in signed:
            latest = min(one.witnessed.values(), default=_TIME_MAX) + _SKEW_SECONDS
            moment = datetime.fromtimestamp(min(latest, _TIME_MAX), UTC)
            if one.size and self._joined.times[one.size] > timestamp(moment):
                raise Found(Reason.TIME_AFTER_WITNESS, idx=one.size - 1)

    def _conclude(self, signed: Iterable[Signed], *, bodies: bool) -> None:
        facts = self.facts
        facts.log = self._manifest.log
        facts.root = self._newest.root
        facts.checkpoints = len({one.size for one in signed})
        facts.pinned = 0 if self._pin is None else self._pin.size
        facts.bodies_checked = bodies
        if not bodies:
            facts.bodies_opened = 0
        if self._policy.quorum != NO_QUORUM:
            facts.witnessed = max((one.size for one in signed if one.is_met), default=0)


@lru_cache(maxsize=1)
def _policy(text: str) -> Policy:
    return Policy.parse(text)


@contextmanager
def _workers(path: Path, archive: Archive, processes: int) -> Iterator[_Workers]:
    """Give what runs checks: here, or in processes of their own."""
    if processes == 1:
        yield lambda check, tasks: (check(archive, task) for task in tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=_context()) as pool:
        try:
            yield lambda check, tasks: pool.map(partial(_elsewhere, check, path), tasks)
        finally:
            pool.shutdown(cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    """Fork where that is safe: a new interpreter takes as long as many thousand entries."""
    alone = threading.active_count() == 1
    return multiprocessing.get_context("fork" if sys.platform == "linux" and alone else "spawn")


@lru_cache(maxsize=1)
def _archive(path: Path) -> Archive:
    """Open an export once in each process."""
    return open_archive(path)


def _elsewhere(check: Callable[[Archive, Any], Any], path: Path, task: Any) -> Any:
    return check(_archive(path), task)
