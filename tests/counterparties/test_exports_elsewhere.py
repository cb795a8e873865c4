"""Exports and receipts, verified by programs that others wrote and by nothing but openssl."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fhir_bridge.exports import layout
from fhir_bridge.exports.exporting import Prover
from fhir_bridge.ledger import Receipt, Signer
from tests.simulators.servers import plain_tool, sigstore_python, sumdb_program
from tests.simulators.written_log import (
    KEY,
    LOG,
    ONE_KEY,
    ROOT,
    STRANGER,
    TWO_KEYS,
    WrittenLog,
    ordinary,
    signed_again,
    transfer_of,
)

pytestmark = pytest.mark.real

ROOT_OF_CHECKOUT = Path(__file__).parents[2]
SCRIPT = ROOT_OF_CHECKOUT / "fhir_bridge" / "exports" / layout.SCRIPT
SEED = 6962

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def thousand() -> WrittenLog:
    return WrittenLog.of(1000, every=10)


@pytest.fixture(scope="module")
def hundred_thousand() -> WrittenLog:
    return WrittenLog.of(100_000, every=1000)


@pytest.fixture(scope="module")
def small_export(thousand: WrittenLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return thousand.export(tmp_path_factory.mktemp("small") / "export")


@pytest.fixture(scope="module")
def large_export(hundred_thousand: WrittenLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hundred_thousand.export(tmp_path_factory.mktemp("large") / "export")


def run(*words: str | Path, fed: str | None = None, seconds: int = 1500) -> Run:
    return subprocess.run(
        [str(word) for word in words],
        input=fed,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )


def altered(export: Path, idx: int, **changes: Any) -> Path:
    """Change one character within an entry, and sign the list of files again."""
    (bundle,) = (export / "tile" / "entries").rglob(f"{idx // 256:03}*")
    path = bundle if bundle.is_file() else next(bundle.iterdir())
    leaf = ordinary(idx)
    path.write_bytes(path.read_bytes().replace(leaf, leaf.replace(b"cli:ada", b"cli:eve")))
    return signed_again(export, **changes)


# Go's x/mod/sumdb


def by_go(export: Path, key: Signer = KEY) -> Run:
    return run(sumdb_program(), str(key.verifier), export)


def test_go_verifies_an_export_of_1000_entries(small_export: Path) -> None:
    result = by_go(small_export)

    assert (result.returncode, result.stdout) == (0, "1000 entries, 100 checkpoints\n")


def test_go_verifies_an_export_of_100000_entries(large_export: Path) -> None:
    result = by_go(large_export)

    assert (result.returncode, result.stdout) == (0, "100000 entries, 100 checkpoints\n")


def test_go_refuses_a_changed_entry_and_a_strangers_key(tmp_path: Path) -> None:
    export = WrittenLog.of(300).export(tmp_path / "export")
    assert by_go(export, STRANGER).returncode == 1

    result = by_go(altered(export, 270))
    assert (result.returncode, result.stderr) == (1, "entry 270 is not the one in the tree\n")


# sigstore's verify_merkle_inclusion


def by_sigstore(receipts: Iterable[tuple[Receipt, int, bytes]]) -> list[str]:
    lines = [
        json.dumps(
            {
                "leaf": base64.b64encode(one.entry).decode(),
                "proof": [base64.b64encode(step).decode() for step in one.proof],
                "index": one.index,
                "size": size,
                "root": base64.b64encode(root).decode(),
            }
        )
        for one, size, root in receipts
    ]
    check = ROOT_OF_CHECKOUT / ".ci" / "sigstore" / "check.py"
    result = run(sigstore_python(), check, fed="".join(f"{line}\n" for line in lines))
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("name", ["thousand", "hundred_thousand"])
def test_sigstore_verifies_1000_inclusions_and_refuses_1000_forgeries(
    name: str, request: pytest.FixtureRequest
) -> None:
    log: WrittenLog = request.getfixturevalue(name)
    size = len(log.entries)
    dice = Random(SEED)  # noqa: S311 - a sample, not a secret
    root = log.root(size)
    prover = Prover.of(log, LOG, 0)
    indexes = range(1000) if size == 1000 else dice.sample(range(size), 1000)
    honest = [prover.receipt(idx, body=False) for idx in indexes]
    forged = [_forged(one, dice) for one in honest]

    assert by_sigstore((one, size, root) for one in honest) == ["included"] * 1000
    assert by_sigstore((one, size, root) for one in forged) == ["refused"] * 1000


def _forged(receipt: Receipt, dice: Random) -> Receipt:
    at = dice.randrange(len(receipt.proof))
    step = bytearray(receipt.proof[at])
    step[dice.randrange(32)] ^= 1 << dice.randrange(8)
    return dice.choice(
        [
            replace(receipt, proof=(*receipt.proof[:at], bytes(step), *receipt.proof[at + 1 :])),
            replace(receipt, proof=receipt.proof[:at] + receipt.proof[at + 1 :]),
            replace(receipt, proof=(*receipt.proof, bytes(32))),
            replace(receipt, entry=receipt.entry + b" "),
            replace(receipt, entry=receipt.entry[:-1]),
        ]
    )


# bash, openssl and sha256sum


def by_bash(what: Path, key: Signer = KEY) -> Run:
    plain_tool("openssl")
    return run(plain_tool("bash"), SCRIPT, str(key.verifier), what)


def test_bash_and_openssl_verify_an_export_of_1000_entries(small_export: Path) -> None:
    result = by_bash(small_export)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"RIGHT: 1000 entries of log {LOG}")


def test_bash_and_openssl_verify_an_export_of_100000_entries(large_export: Path) -> None:
    result = by_bash(large_export)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"RIGHT: 100000 entries of log {LOG}")


def test_the_script_in_an_export_is_the_one_that_is_tested(small_export: Path) -> None:
    assert (small_export / layout.SCRIPT).read_bytes() == SCRIPT.read_bytes()


@pytest.mark.parametrize("count", [1, 2, 257])
def test_bash_verifies_logs_of_any_shape(count: int, tmp_path: Path) -> None:
    result = by_bash(WrittenLog.of(count).export(tmp_path / "export"))

    assert result.returncode == 0, result.stderr


def test_bash_verifies_under_a_root_key_and_its_policy(tmp_path: Path) -> None:
    log = WrittenLog.of(40)
    export = log.export(tmp_path / "export", policy=ONE_KEY.signed(ROOT))
    assert by_bash(export, ROOT).returncode == 0
    unsigned = log.export(tmp_path / "unsigned", policy=ONE_KEY.signed(STRANGER))
    assert "the policy is not signed" in by_bash(unsigned, ROOT).stderr
    bare = log.export(tmp_path / "bare")
    result = by_bash(bare, ROOT)
    assert (result.returncode, "there is no policy" in result.stderr) == (2, True)
    late = log.export(tmp_path / "late", policy=TWO_KEYS.signed(ROOT))
    assert "not signed by the key of log" in by_bash(late, ROOT).stderr


def _change(name: str) -> Callable[[Path], object]:
    def change(export: Path) -> None:
        path = export / name
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_change("tile/entries/001.p/44"), "a file is missing or is not the one"),
        (_change("bodies/000"), "a file is missing or is not the one"),
        (_change("HOWTO.txt"), "a file is missing or is not the one"),
        (_change("manifest"), "the manifest is not signed"),
        (lambda export: (export / "tile/0/000").unlink(), "a file is missing"),
        (lambda export: (export / "more").write_text("x"), "a file was added"),
        (lambda export: signed_again(export, signer=STRANGER), "the manifest is not signed"),
        (lambda export: altered(export, 270), "do not lead to the signed checkpoint"),
        (
            lambda export: (export / "checkpoint").write_text(
                WrittenLog.of(300).note(300, STRANGER)
            ),
            "is not signed by the key of log",
        ),
        (
            lambda export: (export / "checkpoint").write_text(WrittenLog.of(299).note(299, KEY)),
            "the manifest is of another export",
        ),
    ],
    ids=range(10),
)
def test_bash_names_what_is_wrong_with_an_export(
    change: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    export = WrittenLog.of(300).export(tmp_path / "export")
    change(export)

    result = by_bash(export)

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("WRONG: ")
    assert sentence in result.stderr


def test_bash_says_what_it_cannot_use(tmp_path: Path) -> None:
    plain_tool("openssl")
    for words in ([], ["nonsense", str(tmp_path)], [str(KEY.verifier), str(tmp_path)]):
        result = run(plain_tool("bash"), SCRIPT, *words)
        assert result.returncode == 2
        assert result.stderr.startswith("CANNOT BE USED: ")
    assert by_bash(tmp_path / "nothing").returncode == 2


@pytest.fixture
def receipt(thousand: WrittenLog, tmp_path: Path) -> Path:
    path = tmp_path / "one.tlog-proof"
    path.write_text(str(Prover.of(thousand, LOG, 537).receipt(537, body=True)))
    return path


SPOILED: list[tuple[str, str]] = [
    ("index 537", "index 536"),
    ("index 537", "index 5370"),
    ("\n1000\n", "\n999\n"),
    (
        "extra Zmhpci1icmlkZ2UvcmVjZWlwdC92MQplbnRyeSBle",
        "extra Zmhpci1icmlkZ2UvcmVjZWlwdC92MQplbnRyeSBlf",
    ),
]


def _without_a_step(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(lines[:5] + lines[6:])


def test_bash_verifies_a_receipt_and_shows_it(receipt: Path) -> None:
    result = by_bash(receipt)

    assert result.returncode == 0, result.stderr
    assert f"RIGHT: entry 537 of log {LOG}, signed at 1000 entries" in result.stdout
    assert '"resourceType":"AuditEvent"' in result.stdout
    assert '"idx":537' in result.stdout


@pytest.mark.parametrize("by", ["bash", "node"])
@pytest.mark.parametrize("spoiled", range(len(SPOILED) + 1))
def test_a_spoiled_receipt_is_refused(by: str, spoiled: int, receipt: Path) -> None:
    text = receipt.read_text()
    old, new = SPOILED[spoiled] if spoiled < len(SPOILED) else ("", "")
    changed = text.replace(old, new, 1) if old else _without_a_step(text)
    assert changed != text
    receipt.write_text(changed)

    assert (by_bash if by == "bash" else by_node)(receipt).returncode == 1


def test_bash_verifies_the_receipts_of_one_transfer(thousand: WrittenLog, tmp_path: Path) -> None:
    export = thousand.export(tmp_path / "export", transfer=transfer_of(5))
    result = by_bash(export)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("RIGHT: entry ") == 10

    receipt = export / "receipts" / "53.tlog-proof"
    receipt.write_text(_without_a_step(receipt.read_text()))
    result = by_bash(signed_again(export))
    assert (result.returncode, "is not in the log" in result.stderr) == (1, True)


def test_bash_verifies_a_receipt_under_a_root_key(thousand: WrittenLog, tmp_path: Path) -> None:
    path = tmp_path / "one.tlog-proof"
    policy = ONE_KEY.signed(ROOT)
    path.write_text(str(Prover.of(thousand, LOG, 0).receipt(0, body=False, policy=policy)))

    result = by_bash(path, ROOT)
    assert result.returncode == 0, result.stderr
    assert "is not shown" in result.stdout
    assert by_bash(path, STRANGER).returncode != 0


def by_node(path: Path, key: Signer = KEY) -> Run:
    script = ROOT_OF_CHECKOUT / ".ci" / "node" / "verify-receipt.mjs"
    return run(plain_tool("node"), script, str(key.verifier), path)


def test_nodes_own_crypto_verifies_a_receipt(receipt: Path) -> None:
    result = by_node(receipt)

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["idx"] == 537
    assert by_node(receipt, STRANGER).returncode == 1
