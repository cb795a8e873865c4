"""Writing an export: beside its name, and there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fhir_bridge.errors import SettingsError, StoreUnavailable

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same export is the same zip file, whenever it is written."""


class Draft:
    """An export that is not whole yet."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        """Begin with no file; use `drafted`."""
        self._path = path
        self._zip = archive
        self.digests: dict[str, str] = {}
        """SHA-256 of each file in hexadecimal, by name."""

    def add(self, name: str, content: bytes) -> None:
        """Add a file; its name is one that an export has."""
        self.digests[name] = hashlib.sha256(content).hexdigest()
        if self._zip is not None:
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o100600 << 16
            self._zip.writestr(member, content)
            return
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)


@contextmanager
def drafted(path: Path) -> Iterator[Draft]:
    """
    Give a draft that becomes the export when the block ends well.

    Args:
        path: A zip file when it ends so, else a folder. Must not exist.

    Raises:
        SettingsError: Something is there already, or its folder is not.
        StoreUnavailable: It could not be written; nothing is left of it.
    """
    if path.exists() or path.is_symlink():
        raise SettingsError(f"{path} is there already: name a new folder or zip file")
    if not path.parent.is_dir():
        raise SettingsError(f"{path.parent} is not a folder")
    beside = path.with_name(f".export-{os.getpid()}-{threading.get_ident()}.draft")
    try:
        with _opened(beside, zipped=path.suffix == ".zip") as draft:
            yield draft
        beside.rename(path)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        raise StoreUnavailable(f"{path} could not be written ({name})") from error
    finally:
        _remove(beside)


@contextmanager
def _opened(path: Path, *, zipped: bool) -> Iterator[Draft]:
    if not zipped:
        path.mkdir(mode=0o700)
        yield Draft(path, None)
        return
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            yield Draft(path, archive)
        file.flush()
        os.fsync(descriptor)


def _remove(path: Path) -> None:
    """Leave no draft behind."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
