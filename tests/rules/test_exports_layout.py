"""Which files an export has, and the list of them in its one written form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from fhir_bridge.exports.layout import (
    MANIFEST_BYTES_MAX,
    Manifest,
    checkpoint_file,
    receipt_file,
    whole_log,
)
from fhir_bridge.exports.reasons import Found, Reason

LOG = "bridge.example/audit/2026"
DIGEST = "ab" * 32
TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
ALWAYS = ("HOWTO.txt", "checkpoint", "verify.sh")
OF_300 = (
    "tile/0/000",
    "tile/0/001.p/44",
    "tile/1/000.p/1",
    "tile/entries/000",
    "tile/entries/001.p/44",
)


def manifest(files: Iterable[str], **more: Any) -> Manifest:
    given: dict[str, Any] = {"size": 300, "bodies": False} | more
    return Manifest(log=LOG, files=dict.fromkeys(files, DIGEST), **given)


def raised(act: Callable[[], object]) -> tuple[Reason, dict[str, Any]]:
    with pytest.raises(Found) as caught:
        act()
    return caught.value.reason, caught.value.details


def test_a_manifest_is_written_as_sha256sum_reads_it() -> None:
    text = str(manifest(["b", "a"], bodies=True))

    assert text == (
        "fhir-bridge/audit-export/v1\n"
        f"log {LOG}\nsize 300\nbodies yes\ntransfer -\n{DIGEST}  a\n{DIGEST}  b\n"
    )


def test_a_list_of_files_has_at_most_64_mib() -> None:
    assert MANIFEST_BYTES_MAX == 67_108_864


@pytest.mark.parametrize(
    "one",
    [
        manifest([]),
        manifest(["a"], bodies=True),
        manifest(["a", "b"], size=0),
        manifest(["a"], transfer=TRANSFER),
        manifest(["a"], size=10**19 - 1),
        manifest(["x" * 255]),
    ],
)
def test_a_manifest_reads_back_as_itself(one: Manifest) -> None:
    assert Manifest.parse(str(one)) == one


@pytest.mark.parametrize(
    "text",
    [
        "",
        str(manifest(["a"])).replace("/v1", "/v2"),
        str(manifest(["a"])).replace("size 300", "size 0300"),
        str(manifest(["a"])).replace("size 300", f"size {10**19}"),
        str(manifest(["a"])).replace("bodies no", "bodies No"),
        str(manifest(["a"])).replace("transfer -", "transfer x"),
        str(manifest(["a"])).replace("  a", " a"),
        str(manifest(["a"])) + "\n",
        str(manifest(["a"])) + f"{DIGEST}  a\n",
        str(manifest(["b"])) + f"{DIGEST}  a\n",
        str(manifest(["x" * 256])),
        str(manifest(["a b"])),
    ],
)
def test_a_manifest_in_any_other_form_is_refused(text: str) -> None:
    assert raised(lambda: Manifest.parse(text)) == (Reason.MANIFEST_MALFORMED, {})


def test_the_published_checkpoints_and_the_receipts_are_named_by_their_numbers() -> None:
    one = manifest(["checkpoints/7", "checkpoints/70", "checkpoints/x", "checkpoints/8/9", "tile"])
    two = manifest(["receipts/0.tlog-proof", "receipts/12.tlog-proof", "receipts/3.tlog-proofs"])

    assert (one.sizes, one.receipts) == ([7, 70], [])
    assert (two.sizes, two.receipts) == ([], [0, 12])
    assert (checkpoint_file(7), receipt_file(3)) == ("checkpoints/7", "receipts/3.tlog-proof")


def test_the_files_of_a_log_follow_from_its_size() -> None:
    assert sorted(whole_log(300, bodies=False)) == sorted(OF_300)
    assert sorted(whole_log(300, bodies=True)) == sorted([*OF_300, "bodies/000", "bodies/001.p/44"])
    assert list(whole_log(0, bodies=True)) == []


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["policy"],
        ["checkpoints/1", "checkpoints/300"],
        ["timestamps/1.tsr", "timestamps/300.tsr"],
    ],
)
def test_a_list_may_have_a_policy_checkpoints_and_timestamps(more: list[str]) -> None:
    manifest([*ALWAYS, *OF_300, *more]).check()


@pytest.mark.parametrize("name", [*ALWAYS, *OF_300])
def test_a_list_without_a_file_that_must_be_there_is_refused(name: str) -> None:
    files = {*ALWAYS, *OF_300} - {name}

    assert raised(manifest(files).check) == (Reason.FILE_MISSING, {"file": name})


@pytest.mark.parametrize(
    "name",
    [
        "more",
        "checkpoints/301",
        "timestamps/301.tsr",
        "checkpoints/0",
        "receipts/7.tlog-proof",
        "bodies/000",
        "tile/0/001",
    ],
)
def test_a_list_with_a_file_that_no_such_export_has_is_refused(name: str) -> None:
    one = manifest([*ALWAYS, *OF_300, name])

    assert raised(one.check) == (Reason.FILE_ADDED, {"file": name})


@pytest.mark.parametrize("names", [[], ["receipts/0.tlog-proof", "receipts/299.tlog-proof"]])
def test_the_list_of_one_transfer_has_receipts_of_entries_that_the_log_has(
    names: list[str],
) -> None:
    manifest([*ALWAYS, "policy", *names], transfer=TRANSFER).check()


@pytest.mark.parametrize("name", ["receipts/300.tlog-proof", "checkpoints/7", "tile/0/000"])
def test_the_list_of_one_transfer_has_nothing_else(name: str) -> None:
    one = manifest([*ALWAYS, name], transfer=TRANSFER)

    assert raised(one.check) == (Reason.FILE_ADDED, {"file": name})


def test_with_bodies_the_files_of_bodies_must_be_listed() -> None:
    one = manifest([*ALWAYS, *OF_300], bodies=True)

    assert raised(one.check) == (Reason.FILE_MISSING, {"file": "bodies/000"})
