"""
Reading an export that anybody may have made: a folder, or a zip file that is not compressed.

Nothing is unpacked and no name is followed out of the export: only files that
are really there, of a size that was allowed before they are opened.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fhir_bridge.exports.reasons import Found, Reason

_DIRECTORY_BYTES_MAX = 32 * 1024 * 1024
"""Of a zip file's table of contents: some hundred thousand files."""

_END = struct.Struct("<4s4H2LH")
_DEPTH_MAX = 12

_BROKEN = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)
"""What the library raises for a zip file whose records lie."""


class Archive(Protocol):
    """An export's files."""

    def names(self) -> Iterator[str]:
        """
        Give the name of each file, as an export writes it.

        Raises:
            Found: There is something that no export holds.
        """

    def read(self, name: str, bytes_max: int) -> bytes:
        """
        Return a file's content.

        Args:
            name: Of a file that an export may hold.
            bytes_max: What is larger is refused unread.

        Raises:
            Found: It is missing, not a file, too large or cannot be read.
        """


def open_archive(path: Path) -> Archive:
    """
    Open an export.

    Raises:
        Found: It cannot be one.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Found(Reason.UNREADABLE, what=path, detail=_name(error)) from error
    if stat.S_ISDIR(mode):
        return _Folder(path)
    if stat.S_ISREG(mode):
        return _Zip(path)
    raise Found(Reason.NOT_AN_EXPORT, what=path)


class _Folder:
    """A folder with files in folders."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> Iterator[str]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            if folder.count("/") > _DEPTH_MAX:
                raise Found(Reason.FILE_ADDED, file=folder)
            for entry in self._listed(folder):
                name = f"{folder}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield name
                else:
                    raise Found(Reason.NOT_A_FILE, file=name)

    def _listed(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._path / folder) as entries:
                yield from entries
        except OSError as error:
            raise Found(Reason.UNREADABLE, what=folder, detail=_name(error)) from error

    def read(self, name: str, bytes_max: int) -> bytes:
        return _read(f"{self._path}/{name}", name, bytes_max, os.O_NOFOLLOW)


class _Zip:
    """A zip file whose members are stored, so that none is larger than it looks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _check_end(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise Found(Reason.NOT_AN_EXPORT, what=path) from error

    def names(self) -> Iterator[str]:
        seen: set[str] = set()
        for member in self._zip.infolist():
            name = member.orig_filename
            if not _is_safe(name):
                raise Found(Reason.UNSAFE_NAME, file=name)
            if name in seen:
                raise Found(Reason.NAMED_TWICE, file=name)
            seen.add(name)
            if not name.endswith("/"):
                _check_member(member)
                yield name
            elif member.file_size:
                raise Found(Reason.NOT_A_FILE, file=name)

    def read(self, name: str, bytes_max: int) -> bytes:
        try:
            member = self._zip.getinfo(name)
        except KeyError as error:
            raise Found(Reason.FILE_MISSING, file=name) from error
        _check_member(member)
        if member.file_size > bytes_max:
            raise Found(Reason.TOO_LARGE, file=name)
        try:
            return self._zip.read(member)
        except _BROKEN as error:
            raise Found(Reason.FILE_ALTERED, file=name) from error


def read_plain(path: Path, bytes_max: int) -> bytes:
    """
    Return the content of a file that was named by whoever asked.

    Args:
        path: May be a link: it was not named by the input.
        bytes_max: What is larger is refused unread.

    Raises:
        Found: It is missing, not a file, too large or cannot be read.
    """
    return _read(path, str(path), bytes_max, 0)


def _read(path: Path | str, name: str, bytes_max: int, flags: int) -> bytes:
    try:
        # Not blocking: a pipe with a file's name must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise Found(Reason.NOT_A_FILE, file=name)
            if state.st_size > bytes_max:
                raise Found(Reason.TOO_LARGE, file=name)
            return os.read(descriptor, state.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _not_read(name, error) from error


def _check_end(path: Path) -> None:
    """Read a zip file's last bytes before its table of contents is taken into memory."""
    try:
        with path.open("rb") as file:
            file.seek(-_END.size, os.SEEK_END)
            mark, *_, directory_bytes, _, comment_bytes = _END.unpack(file.read(_END.size))
    except (OSError, struct.error) as error:
        raise Found(Reason.NOT_AN_EXPORT, what=path) from error
    if mark != b"PK\x05\x06" or comment_bytes:
        raise Found(Reason.NOT_AN_EXPORT, what=path)
    if directory_bytes > _DIRECTORY_BYTES_MAX:
        raise Found(Reason.TOO_LARGE, file=path)


def _check_member(member: zipfile.ZipInfo) -> None:
    """Refuse what is not stored as it is; what is, is never larger than the zip file."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise Found(Reason.NOT_A_FILE, file=member.filename)
    if (
        member.compress_type != zipfile.ZIP_STORED
        or member.compress_size != member.file_size
        or member.flag_bits & 0x1
    ):
        raise Found(Reason.PACKED, file=member.filename)


def _is_safe(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    return (
        "\\" not in name and "\0" not in name and ":" not in name and not {"", ".", ".."} & {*parts}
    )


def _not_read(name: str, error: OSError) -> Found:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return Found(Reason.FILE_MISSING, file=name)
    if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO}:
        return Found(Reason.NOT_A_FILE, file=name)
    return Found(Reason.UNREADABLE, what=name, detail=_name(error))


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "unknown")
