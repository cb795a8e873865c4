"""
No clinical content at rest: not in the store, not in logs, errors or temporary files.

Method: a canary is written into every string that can carry one (values,
displays, names, identifiers, narratives, notes, titles and the documents' bytes;
ids, references, codes and dates cannot), the story is carried, refused and
interrupted, and every file the bridge wrote is searched for it.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.doors.report import render
from fhir_bridge.errors import BridgeError
from tests.journeys.world import Mishap, When, World
from tests.simulators.at_rest import CANARY, FIXTURES, hits, words

_CARRIERS = frozenset(
    {
        "display",
        "text",
        "family",
        "title",
        "description",
        "conclusion",
        "unit",
        "valueString",
        "city",
        "name",
        "comment",
        "patientInstruction",
        "div",
    }
)


def sing(node: Any, name: str = "") -> Any:
    """Return the same with the canary in every string that can carry one."""
    if isinstance(node, dict):
        if node.get("resourceType") == "Binary" and "data" in node:
            data = base64.b64decode(node["data"]) + CANARY.encode()
            return {**node, "data": base64.b64encode(data).decode()}
        if "hash" in node and "url" in node:
            node = {key: value for key, value in node.items() if key not in {"hash", "size"}}
        return {key: sing(value, key) for key, value in node.items()}
    if isinstance(node, list):
        return [sing(value, name) for value in node]
    if isinstance(node, str) and name in _CARRIERS:
        return node.replace("</div>", f"{CANARY}</div>") if name == "div" else f"{node} {CANARY}"
    return node


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with World(tmp_path, "amelia") as made:
        made.first.load(sing(one) for one in made.story.source if one["resourceType"] != "Consent")
        made.second.load(sing(one) for one in made.story.destination)
        made.before = made.holdings()
        yield made


def found_in(folder: Path) -> list[str]:
    encoded = base64.b64encode(CANARY.encode())[:16]
    hits = []
    for place, _, files in os.walk(folder):
        for file in files:
            raw = (Path(place) / file).read_bytes()
            if CANARY.encode() in raw or encoded in raw:
                hits.append(file)
    return hits


def test_the_canary_reaches_the_second_provider_and_no_file_of_the_bridge(
    tmp_path: Path, world: World
) -> None:
    report = world.transfer(question=f"Is it needed? {CANARY}")

    there = [str(world.second.resources[ref]) for ref in world.arrived()]
    assert sum(CANARY in text for text in there) > 30
    assert found_in(tmp_path) == []
    assert CANARY not in render(report, store=None)
    assert CANARY not in " ".join(world.told)


@pytest.mark.parametrize("call", [3, 9, 15, 20])
def test_an_interrupted_transfer_leaves_no_value_in_files_or_errors(
    tmp_path: Path, world: World, call: int
) -> None:
    with pytest.raises(BridgeError) as caught:
        world.transfer(Mishap("http", call, When.AFTER))

    error: BaseException | None = caught.value
    while error is not None:
        if isinstance(error, BridgeError):
            assert CANARY not in str(error)
        error = error.__cause__
    assert found_in(tmp_path) == []


def test_a_refusal_tells_no_value(tmp_path: Path, world: World) -> None:
    world.first.remove("Consent/amelia-second-opinion")

    with pytest.raises(BridgeError) as caught:
        world.transfer()

    assert CANARY not in str(caught.value)
    assert found_in(tmp_path) == []


FORMS = {
    "as it is": lambda word: word.encode(),
    "base64": lambda word: base64.b64encode(word.encode()),
    "base64 after one byte": lambda word: base64.b64encode(b"x" + word.encode() + b"yz"),
    "base64 after two bytes": lambda word: base64.b64encode(b"xy" + word.encode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_is_planted_in_a_file_of_any_kind_is_found(tmp_path: Path, form: str) -> None:
    # base64 of a shorter word has too few characters of its own to be looked for
    planted = sorted(word for word in words() if form == "as it is" or len(word.encode()) > 7)
    for number, word in enumerate(planted):
        folder = tmp_path / str(number) / "store"
        folder.mkdir(parents=True)
        (folder / "store.db-wal").write_bytes(b"\0" * 4096 + FORMS[form](word) + b"\0" * 64)

    found = {hit.path.parent.parent.name for hit in hits(tmp_path)}
    assert found == {str(number) for number in range(len(planted))}
    for path in tmp_path.glob("*/store/*"):
        path.unlink()  # the search after the whole run must not find what was planted here


def test_copies_of_the_stories_are_no_files_of_the_bridge(tmp_path: Path) -> None:
    (tmp_path / FIXTURES).mkdir()
    (tmp_path / FIXTURES / "source.json").write_text(CANARY, encoding="utf-8")

    assert list(hits(tmp_path)) == []
    assert {"Brandt", "80756015090002647590", "1971-04-09", CANARY} <= words()


@pytest.mark.parametrize("planted", [True, False])
def test_a_run_that_leaves_what_may_not_be_at_rest_fails(tmp_path: Path, *, planted: bool) -> None:
    text = CANARY[:10] + (CANARY[10:] if planted else "")
    test = tmp_path / "test_planted.py"
    test.write_text(
        "import tempfile\n"
        "def test_planted(tmp_path):\n"
        f"    (tmp_path / 'log').write_text('{text[:6]}' + '{text[6:]}')\n"
        f"    open(tempfile.mkstemp()[1], 'w').write('{text[:6]}' + '{text[6:]}')\n",
        encoding="utf-8",
    )
    words = ["-p", "tests.conftest", "-c", os.devnull, "-p", "no:cacheprovider", "-q"]
    folder = tmp_path / "run"

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, f"--basetemp={folder}", str(test)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(folder)

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == (1 if planted else 0)
    assert done.stdout.count("AT REST") == (2 if planted else 0)
