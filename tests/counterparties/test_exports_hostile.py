"""Exports that someone made to harm or to mislead: each ends with a sentence, none is followed."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_bridge.exports import Trust, Verdict, verify_export
from fhir_bridge.exports.layout import Manifest
from fhir_bridge.ledger import Note
from tests.simulators.written_log import KEY, ROOT, STRANGER, WrittenLog, signed_again

BY_KEY = Trust.of(str(KEY.verifier), None)


def found(path: Path) -> tuple[str, str]:
    """The reason that ended a verification, and its sentence."""
    report = verify_export(path, BY_KEY, bodies=True)
    assert report.verdict in {Verdict.TAMPERED, Verdict.UNUSABLE}, report.findings
    (finding,) = report.findings
    return str(finding.reason), finding.sentence


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return WrittenLog.of(300).export(tmp_path / "export", per_checkpoint=100)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return WrittenLog.of(300).export(tmp_path / "export.zip", per_checkpoint=100)


FILES = [
    "checkpoint",
    "manifest",
    "HOWTO.txt",
    "verify.sh",
    "tile/0/000",
    "tile/0/001.p/44",
    "tile/1/000.p/1",
    "tile/entries/000",
    "bodies/001.p/44",
    "checkpoints/100",
]


@pytest.fixture
def thorough(tmp_path: Path) -> Path:
    """An export whose every file a test may spoil."""
    return WrittenLog.of(300, every=100).export(tmp_path / "thorough")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, thorough: Path) -> None:
    (thorough / name).unlink()

    assert found(thorough) == (
        "file-missing",
        f"File {name} is missing: the export is not complete.",
    )


@pytest.mark.parametrize("name", [name for name in FILES if name not in {"checkpoint", "manifest"}])
def test_a_changed_file_is_named(name: str, thorough: Path) -> None:
    with (thorough / name).open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))

    reason, sentence = found(thorough)
    assert reason == "file-altered"
    assert name in sentence


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_found(name: str, thorough: Path) -> None:
    content = (thorough / name).read_bytes()
    (thorough / name).write_bytes(content[:-1])

    assert found(thorough)[0] in {"file-altered", "manifest-malformed", "checkpoint-malformed"}


def test_two_files_that_were_swapped_are_found(thorough: Path) -> None:
    one, two = thorough / "tile/entries/000", thorough / "tile/entries/001.p/44"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)

    assert found(thorough)[0] == "file-altered"


@pytest.mark.parametrize("name", ["more", "tile/more", "checkpoints/7", "bodies/001.p/45", "a\nb"])
def test_an_added_file_is_named(name: str, export: Path) -> None:
    (export / name).write_bytes(b"x")

    reason, sentence = found(export)
    assert reason == "file-added"
    assert name.replace("\n", "?") in sentence


def test_folders_without_end_are_not_walked(export: Path) -> None:
    path = export
    for _ in range(60):
        path /= "deep"
        path.mkdir()

    assert found(export)[0] == "file-added"


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file_is_not_followed(
    name: str, thorough: Path, tmp_path: Path
) -> None:
    (thorough / name).rename(tmp_path / "elsewhere")
    (thorough / name).symlink_to(tmp_path / "elsewhere")

    reason, sentence = found(thorough)
    assert reason == "not-a-file"
    assert name in sentence


def test_a_link_in_the_place_of_a_folder_is_not_followed(thorough: Path, tmp_path: Path) -> None:
    (thorough / "tile").rename(tmp_path / "elsewhere")
    (thorough / "tile").symlink_to(tmp_path / "elsewhere")

    assert found(thorough)[0] == "not-a-file"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_pipe, Path.mkdir], ids=["pipe", "folder"])
@pytest.mark.parametrize("name", ["checkpoint", "manifest", "HOWTO.txt", "tile/0/000"])
def test_what_is_no_file_is_not_read(
    name: str, make: Callable[[Path], None], thorough: Path
) -> None:
    (thorough / name).unlink()
    make(thorough / name)

    assert found(thorough)[0] in {"not-a-file", "file-missing"}


def test_a_file_larger_than_any_is_not_read(export: Path) -> None:
    for name, size in (("manifest", 65 << 20), ("checkpoint", 300 << 10), ("tile/0/000", 8193)):
        content = (export / name).read_bytes()
        os.truncate(export / name, size)
        assert found(export)[0] == "too-large"
        (export / name).write_bytes(content)


def test_a_file_that_cannot_be_opened_is_named(export: Path) -> None:
    (export / "checkpoint").unlink()
    (export / "checkpoint").symlink_to("checkpoint")
    assert found(export)[0] == "not-a-file"


def test_what_is_neither_folder_nor_zip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"x" * 100)
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "end").write_bytes(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 46, 9, 0))
    os.mkfifo(tmp_path / "pipe")

    assert found(tmp_path / "empty")[0] == "file-missing"
    for name in ("file", "short", "end", "pipe"):
        assert found(tmp_path / name)[0] == "not-an-export"
    assert found(tmp_path / "nothing") == (
        "unreadable",
        f"{tmp_path / 'nothing'} cannot be read (ENOENT).",
    )


def test_a_policy_that_is_no_text_or_no_file_is_refused(export: Path) -> None:
    root = Trust.of(str(ROOT.verifier), None)
    (export / "policy").write_bytes(b"\xff")
    (finding,) = verify_export(export, root).findings
    assert finding.reason == "policy-malformed"

    (export / "policy").unlink()
    (export / "policy").symlink_to("checkpoint")
    (finding,) = verify_export(export, root).findings
    assert finding.reason == "not-a-file"


# Zip files


def repacked(packed: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(packed, "a") as members:
        change(members)
    return packed


@pytest.mark.parametrize(
    "name",
    ["../out", "/etc/passwd", "tile/../../out", "a//b", "./a", "a\\b", "C:/x", "..", "tile/./x"],
)
def test_a_name_that_leads_out_of_the_export_is_refused(name: str, packed: Path) -> None:
    repacked(packed, lambda members: members.writestr(zipfile.ZipInfo(name), b"x"))

    assert found(packed)[0] == "unsafe-name"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(packed: Path) -> None:
    repacked(packed, lambda members: members.writestr("HOWTO.txt", b"x"))

    assert found(packed)[0] == "named-twice"


def test_a_link_in_a_zip_file_is_refused(packed: Path) -> None:
    link = zipfile.ZipInfo("more")
    link.external_attr = 0o120777 << 16
    repacked(packed, lambda members: members.writestr(link, b"/etc/passwd"))

    assert found(packed)[0] == "not-a-file"


def test_a_compressed_file_is_refused_unread(packed: Path) -> None:
    bomb = zipfile.ZipInfo("more")
    bomb.compress_type = zipfile.ZIP_DEFLATED
    repacked(packed, lambda members: members.writestr(bomb, bytes(10_000_000)))

    assert found(packed)[0] == "packed"


def test_a_zip_file_that_was_compressed_again_is_not_unpacked(export: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "again.zip", "w", zipfile.ZIP_DEFLATED) as members:
        for one in sorted(export.rglob("*")):
            members.write(one, one.relative_to(export))

    reason, sentence = found(tmp_path / "again.zip")
    assert reason == "packed"
    assert "unpack the zip file" in sentence


def test_a_zip_file_packed_without_compression_is_verified(export: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as members:
        for one in sorted(export.rglob("*")):
            members.write(one, one.relative_to(export))

    report = verify_export(tmp_path / "again.zip", BY_KEY, bodies=True)
    assert [str(one.reason) for one in report.findings] == ["no-outside-copy"]


def test_a_folder_that_holds_something_is_refused(packed: Path) -> None:
    repacked(packed, lambda members: members.writestr(zipfile.ZipInfo("more/"), b"x"))

    assert found(packed)[0] == "not-a-file"


def patched(packed: Path, mark: bytes, at: int, value: bytes, *, last: bool = False) -> Path:
    """Overwrite bytes of a zip file's own records."""
    raw = bytearray(packed.read_bytes())
    first = raw.rindex(mark) if last else raw.index(mark)
    raw[first + at : first + at + len(value)] = value
    packed.write_bytes(raw)
    return packed


def test_a_large_file_in_a_zip_file_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as members:
        members.writestr(
            "manifest", (WrittenLog.of(5).export(tmp_path / "e") / "manifest").read_bytes()
        )
        members.writestr("checkpoint", bytes(300 << 10))

    assert found(tmp_path / "large.zip")[0] == "too-large"


def test_records_of_a_zip_file_that_lie_are_found(tmp_path: Path) -> None:
    cases: list[tuple[bytes, int, bytes, str]] = [
        (b"PK\1\2", 8, b"\1\0", "packed"),  # encrypted
        (b"PK\1\2", 16, b"\0\0\0\0", "file-altered"),  # another checksum
        (b"PK\1\2", 42, b"\xff\xff\xff\x7f", "file-altered"),  # begins after the end
        (b"PK\1\2", 28, b"\xff\xff", "file-missing"),  # a name longer than the file
        (b"PK\1\2", 6, b"\xff\xff", "not-an-export"),  # of a version that nobody knows
        (b"PK\5\6", 20, b"\1\0", "not-an-export"),  # a comment that is not there
        (b"PK\5\6", 12, b"\xff\xff\xff\xff", "too-large"),  # a table of contents without end
        (b"PK\5\6", 12, b"\0\0\0\1", "not-an-export"),  # a table larger than the file
        (b"PK\3\4", 0, b"XXXX", "file-altered"),  # no file where one is said to be
    ]
    for number, (mark, at, value, reason) in enumerate(cases):
        packed = WrittenLog.of(5).export(tmp_path / f"{number}.zip")
        patched(packed, mark, at, value)
        assert (number, found(packed)[0]) == (number, reason)


def test_a_zip_file_cut_short_is_refused(packed: Path) -> None:
    os.truncate(packed, packed.stat().st_size - 1)

    assert found(packed)[0] == "not-an-export"


# The list of files


def relisted(path: Path, change: Callable[[str], str]) -> Path:
    note = Note.parse((path / "manifest").read_text())
    (path / "manifest").write_text(KEY.sign(change(note.text)))
    return path


def test_a_list_of_files_by_a_stranger_is_refused(export: Path) -> None:
    assert found(signed_again(export, signer=STRANGER))[0] == "manifest-unsigned"


def test_a_list_of_files_that_was_changed_is_refused(export: Path) -> None:
    text = (export / "manifest").read_text()
    (export / "manifest").write_text(text.replace("bodies yes", "bodies no"))

    assert found(export)[0] == "manifest-forged"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("/v1\n", "/v2\n", "manifest-malformed"),
        ("size 300", "size 0300", "manifest-malformed"),
        ("bodies yes", "bodies maybe", "manifest-malformed"),
        ("transfer -", "transfer x", "manifest-malformed"),
        ("  HOWTO.txt", " HOWTO.txt", "manifest-malformed"),
        ("  HOWTO.txt\n", "  HOWTO.txt\nx\n", "manifest-malformed"),
        ("size 300", "size 299", "manifest-of-other"),
        ("log bridge", "log xbridge", "manifest-of-other"),
        ("bodies yes", "bodies no", "file-added"),
        ("  checkpoints/300", "  checkpoints/301", "file-added"),
        ("  checkpoints/100", "  checkpoints/0", "file-added"),
        ("  checkpoints/300", "  checkpoints/30x", "file-added"),
        ("  HOWTO.txt", "  HOWTO.tx", "file-missing"),
        (
            "transfer -",
            "transfer 00000000-0000-4000-8000-000000000000",
            "file-added",
        ),
    ],
)
def test_a_list_that_no_bridge_writes_is_refused_though_it_is_signed(
    old: str, new: str, reason: str, thorough: Path
) -> None:
    assert old in (thorough / "manifest").read_text()
    assert found(relisted(thorough, lambda text: text.replace(old, new)))[0] == reason


def test_what_is_not_text_is_refused(export: Path) -> None:
    for name, reason in (
        ("checkpoint", "checkpoint-malformed"),
        ("manifest", "manifest-malformed"),
    ):
        content = (export / name).read_bytes()
        (export / name).write_bytes(b"\xff" + content)
        assert found(export)[0] == reason
        (export / name).write_bytes(content)


def test_a_timestamp_may_lie_beside_a_checkpoint(thorough: Path) -> None:
    (thorough / "timestamps").mkdir()
    (thorough / "timestamps/100.tsr").write_bytes(b"0")
    report = verify_export(signed_again(thorough), BY_KEY)
    assert [str(one.reason) for one in report.findings] == ["no-outside-copy"]

    (thorough / "timestamps/301.tsr").write_bytes(b"0")
    assert found(signed_again(thorough))[0] == "file-added"


def test_a_manifest_reads_back_as_itself() -> None:
    manifest = Manifest(log="log", size=0, bodies=True, files={"a": "0" * 64})

    assert Manifest.parse(str(manifest)) == manifest
    assert Manifest.parse(str(manifest)).sizes == []


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"])
def test_hashes_that_are_not_those_of_the_entries_are_found(name: str, export: Path) -> None:
    content = bytearray((export / name).read_bytes())
    content[5] ^= 1
    (export / name).write_bytes(content)

    reason, sentence = found(signed_again(export))
    assert reason == "hashes-altered"
    assert name in sentence


@pytest.mark.parametrize(
    ("name", "cut", "added"),
    [
        ("tile/entries/000", -1, b""),
        ("tile/entries/000", None, b"\0\0"),
        ("tile/entries/001.p/44", 0, b""),
        ("tile/entries/001.p/44", 0, b"\xff\xff"),
    ],
)
def test_a_bundle_that_does_not_hold_its_entries_is_found(
    name: str, cut: int | None, added: bytes, export: Path
) -> None:
    (export / name).write_bytes((export / name).read_bytes()[:cut] + added)

    assert found(signed_again(export))[0] == "entry-altered"


@pytest.mark.parametrize(
    ("before", "first", "cut", "after", "reason"),
    [
        (b"", 0, None, b"\0", "file-altered"),
        (b"", 0, -1, b"", "body-altered"),
        (b"\xff\xff\xff\xff", 4, None, b"", "body-added"),
        (b"", 0, 0, b"", "file-altered"),
    ],
)
def test_bodies_that_are_not_packed_as_they_must_be_are_found(
    before: bytes, first: int, cut: int | None, after: bytes, reason: str, export: Path
) -> None:
    raw = (export / "bodies/000").read_bytes()
    (export / "bodies/000").write_bytes(before + raw[first:cut] + after)
    report = verify_export(signed_again(export), BY_KEY, bodies=True)

    assert reason in {str(one.reason) for one in report.findings}
