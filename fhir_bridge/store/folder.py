"""
The store's folder: who may read it, its keys, and the locks between processes.

A lock is `flock` on an open file: the kernel lets it go when a process dies,
however it dies, so a crash never leaves a transfer locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fhir_bridge.clock import Clock
from fhir_bridge.errors import Busy, SettingsError, StoreUnavailable

_OTHERS = 0o077
_POLL_SECONDS = 0.1
_OPENING_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that holds one store."""

    path: Path

    @classmethod
    def prepare(cls, path: Path) -> Folder:
        """
        Make the folder when it is missing.

        Raises:
            SettingsError: It cannot be made, or others may look into it.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            refuse_others(path, path.stat())
        except OSError as error:
            raise _unusable(path, error) from error
        return cls(path)

    def prepare_database(self) -> None:
        """
        Make SQLite's file when it is missing.

        Raises:
            SettingsError: It cannot be made, or others may look into it.
        """
        try:
            # SQLite gives its other files the rights that this one has.
            os.close(os.open(self.database, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
            refuse_others(self.database, self.database.stat())
        except OSError as error:
            raise _unusable(self.path, error) from error

    @property
    def database(self) -> Path:
        """Return the path of the SQLite database."""
        return self.path / "store.db"

    @property
    def log_key(self) -> Path:
        """Return the path of the key that signs the log."""
        return self.path / "log.key"

    @property
    def log_key_new(self) -> Path:
        """Return where the log's key lies until its first entry is written."""
        return self.path / "log.key.new"

    @property
    def seal_key(self) -> Path:
        """Return the path of the key that seals requests."""
        return self.path / "seal.key"

    @property
    def witness_key(self) -> Path:
        """Return the path of the key that cosigns other bridges' logs."""
        return self.path / "witness.key"

    def read_private(self, path: Path) -> bytes | None:
        """
        Return a key file's content; None when there is none.

        Raises:
            SettingsError: Others may read it, or it is a link.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SettingsError(
                f"the key {path} cannot be read ({errno_name(error)}): it must be a file"
                " of the account that runs the bridge"
            ) from error
        with os.fdopen(descriptor, "rb") as file:
            refuse_others(path, os.fstat(descriptor))
            return file.read()

    def write_private(self, path: Path, content: bytes) -> None:
        """
        Write a key file; it is there whole and on the disk, or not at all.

        Raises:
            StoreUnavailable: It could not be written.
        """
        draft = path.with_suffix(path.suffix + ".draft")
        try:
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            self.rename(draft, path)
        except OSError as error:
            raise StoreUnavailable(
                f"the key {path} could not be written ({errno_name(error)})"
            ) from error

    def rename(self, old: Path, new: Path) -> None:
        """Give a file its name, durably."""
        old.replace(new)
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def destroy(self, path: Path) -> None:
        """
        Overwrite a key file and remove it; one that is not there is destroyed already.

        Raises:
            StoreUnavailable: The disk failed.
        """
        try:
            with path.open("r+b") as file:
                size = os.fstat(file.fileno()).st_size
                file.write(os.urandom(max(size, 1)))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            self._sync()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnavailable(
                f"the key {path} could not be destroyed ({errno_name(error)})"
            ) from error

    @contextmanager
    def locked(
        self,
        name: str,
        clock: Clock,
        *,
        wait_seconds: float,
        busy: str,
        on_wait: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """
        Hold a lock among all processes and threads that use this store.

        Args:
            name: File name below ``locks``; says nothing about a patient.
            clock: To wait by.
            wait_seconds: How long to wait for another holder.
            busy: What the other holder does, for the message.
            on_wait: Called once when there is another holder.

        Raises:
            StoreUnavailable: Another holder kept it for longer.
        """
        folder = self.path / "locks"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{folder} cannot be written ({errno_name(error)})") from error
        try:
            if not _taken(descriptor):
                if on_wait is not None:
                    on_wait()
                _wait_for(descriptor, clock, wait_seconds, busy)
            yield
        finally:
            os.close(descriptor)


def locked_for_opening(folder: Folder, clock: Clock) -> AbstractContextManager[None]:
    """
    Be the only one that sets the store up or changes its keys.

    Raises:
        StoreUnavailable: Another process does it for too long.
    """
    return folder.locked(
        "opening",
        clock,
        wait_seconds=_OPENING_SECONDS_MAX,
        busy="another process is setting up this store",
    )


def refuse_others(path: Path, status: os.stat_result) -> None:
    """
    Refuse a file that accounts other than its owner may use.

    Raises:
        SettingsError: Says which command makes it right.
    """
    if stat.S_IMODE(status.st_mode) & _OTHERS:
        right = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise SettingsError(f"{path} is open to other accounts: run chmod {right} {path}")


def errno_name(error: OSError) -> str:
    """Name what the system said, without its text."""
    return errno.errorcode.get(error.errno or 0, "unknown")


def _unusable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(
        f"the store {path} cannot be used ({errno_name(error)}): name another folder with --store"
    )


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(descriptor: int, clock: Clock, wait_seconds: float, busy: str) -> None:
    deadline = clock.monotonic() + wait_seconds
    while not _taken(descriptor):
        if clock.monotonic() >= deadline:
            raise Busy(f"{busy}; waited {wait_seconds:g} seconds: ask again when it has ended")
        clock.sleep(_POLL_SECONDS)
