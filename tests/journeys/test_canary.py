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
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.doors.report import render
from fhir_bridge.errors import BridgeError
from tests.journeys.world import Mishap, When, World

CANARY = "Kanarienvogel7391"
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
