"""Reading what anybody may have made: nothing is followed, nothing is read without a bound."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.exports.archive import _check_member, _is_safe, open_archive, read_plain
from fhir_bridge.exports.reasons import Found, Reason


def raised(act: Callable[[], object]) -> Reason:
    with pytest.raises(Found) as caught:
        act()
    return caught.value.reason


def end_of_zip(
    directory_bytes: int, *, comment_bytes: int = 0, mark: bytes = b"PK\x05\x06"
) -> bytes:
    return struct.pack("<4s4H2LH", mark, 0, 0, 0, 0, directory_bytes, 0, comment_bytes)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (end_of_zip(33_554_433), Reason.TOO_LARGE),
        (end_of_zip(33_554_432), Reason.NOT_AN_EXPORT),
        (end_of_zip(0, comment_bytes=1), Reason.NOT_AN_EXPORT),
        (end_of_zip(0, mark=b"PK\x05\x07"), Reason.NOT_AN_EXPORT),
        (b"PK", Reason.NOT_AN_EXPORT),
    ],
)
def test_a_zip_files_end_is_judged_before_its_table_of_contents_is_read(
    end: bytes, reason: Reason, tmp_path: Path
) -> None:
    path = tmp_path / "one.zip"
    path.write_bytes(end)

    assert raised(lambda: open_archive(path)) == reason


def test_folders_are_walked_twelve_deep_and_no_deeper(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcdefghijkl")
    deep.mkdir(parents=True)
    (deep / "file").touch()
    assert list(open_archive(tmp_path).names()) == ["a/b/c/d/e/f/g/h/i/j/k/l/file"]
    (deep / "m").mkdir()

    with pytest.raises(Found) as caught:
        list(open_archive(tmp_path).names())
    assert (caught.value.reason, caught.value.details) == (
        Reason.FILE_ADDED,
        {"file": "a/b/c/d/e/f/g/h/i/j/k/l/m/"},
    )


@pytest.mark.parametrize("name", ["a", "a/b", "a/", "a/b.c/", "..a", "a.."])
def test_a_name_that_stays_within_the_export_is_safe(name: str) -> None:
    assert _is_safe(name) is True


@pytest.mark.parametrize(
    "name", ["", "/", "/a", "a//b", ".", "./a", "a/.", "..", "../a", "a/..", "a\\b", "C:a", "a\0"]
)
def test_a_name_that_may_lead_out_of_it_is_not(name: str) -> None:
    assert _is_safe(name) is False


def member(**changes: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("tile/0/000")
    info.file_size = info.compress_size = 7
    for name, value in changes.items():
        setattr(info, name, value)
    return info


@pytest.mark.parametrize(
    "changes", [{}, {"external_attr": (stat.S_IFREG | 0o600) << 16}, {"flag_bits": 0x800}]
)
def test_a_member_that_is_stored_as_it_is_is_read(changes: dict[str, Any]) -> None:
    _check_member(member(**changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"external_attr": (stat.S_IFLNK | 0o777) << 16}, Reason.NOT_A_FILE),
        ({"external_attr": (stat.S_IFDIR | 0o700) << 16}, Reason.NOT_A_FILE),
        ({"compress_type": zipfile.ZIP_DEFLATED}, Reason.PACKED),
        ({"compress_size": 6}, Reason.PACKED),
        ({"flag_bits": 0x1}, Reason.PACKED),
        ({"flag_bits": 0x801}, Reason.PACKED),
    ],
)
def test_a_member_that_is_packed_or_no_file_is_refused(
    changes: dict[str, Any], reason: Reason
) -> None:
    assert raised(lambda: _check_member(member(**changes))) == reason


def test_a_file_is_read_up_to_its_bound_and_none_beyond_it(tmp_path: Path) -> None:
    (tmp_path / "seven").write_bytes(b"1234567")
    (tmp_path / "link").symlink_to("seven")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    archive = open_archive(tmp_path)

    assert archive.read("seven", 7) == read_plain(tmp_path / "link", 7) == b"1234567"
    assert raised(lambda: archive.read("seven", 6)) == Reason.TOO_LARGE
    for name, reason in (
        ("link", Reason.NOT_A_FILE),
        ("folder", Reason.NOT_A_FILE),
        ("pipe", Reason.NOT_A_FILE),
        ("nothing", Reason.FILE_MISSING),
        ("seven/eight", Reason.FILE_MISSING),
        ("n" * 300, Reason.UNREADABLE),
    ):
        assert raised(lambda name=name: archive.read(name, 7)) == reason  # type: ignore[misc]


def test_a_member_of_a_zip_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("seven", b"1234567")
        file.writestr("folder/", b"")
    archive = open_archive(path)

    assert list(archive.names()) == ["seven"]
    assert archive.read("seven", 7) == b"1234567"
    assert raised(lambda: archive.read("seven", 6)) == Reason.TOO_LARGE
    assert raised(lambda: archive.read("nothing", 6)) == Reason.FILE_MISSING


def test_a_link_is_refused_where_the_names_are_read(tmp_path: Path) -> None:
    (tmp_path / "seven").touch()
    (tmp_path / "link").symlink_to("seven")

    assert raised(lambda: list(open_archive(tmp_path).names())) == Reason.NOT_A_FILE


def test_what_was_opened_is_closed(tmp_path: Path) -> None:
    (tmp_path / "seven").write_bytes(b"1234567")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(5):
        read_plain(tmp_path / "seven", 7)

    assert len(list(Path("/dev/fd").iterdir())) == before


def test_why_a_file_cannot_be_read_is_said_in_the_systems_word(tmp_path: Path) -> None:
    with pytest.raises(Found) as caught:
        open_archive(tmp_path).read("n" * 300, 7)

    assert caught.value.details == {"what": "n" * 300, "detail": "ENAMETOOLONG"}
