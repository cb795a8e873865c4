"""A code without a source is a guess: each one in `mappings/` says where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.codes import mapping, shipped

FOLLOW_UP_CONSULTATION = "281036007"
"""SNOMED CT says "Follow-up consultation"; public guides call it "second opinion"."""

MAPPINGS = sorted(shipped("mappings").rglob("*.json"))


def codings(value: Any, sourced: bool) -> Iterator[tuple[str, bool]]:  # noqa: FBT001 - recursion
    if isinstance(value, list):
        for one in value:
            yield from codings(one, sourced)
    elif isinstance(value, dict):
        said = (value.get("source"), value.get("sources"), value.get("comment"))
        sourced = sourced or any(said)
        if isinstance(value.get("code"), str):
            yield value["code"], sourced
        for one in value.values():
            yield from codings(one, sourced)


def unsourced(content: Any) -> list[str]:
    if isinstance(content, dict) and content.get("resourceType") == "Bundle":
        maps = [
            one["resource"]
            for one in content["entry"]
            if one["resource"]["resourceType"] == "ConceptMap"
        ]
        targets = [
            target
            for one in maps
            for group in one["group"]
            for element in group["element"]
            for target in element["target"]
        ]
        return [t["code"] for t in targets if not t.get("comment", "").startswith("Source: ")]
    return [code for code, sourced in codings(content, sourced=False) if not sourced]


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: path.name)
def test_every_coding_in_mappings_has_its_source(path: Path) -> None:
    assert unsourced(json.loads(path.read_text(encoding="utf-8"))) == []


def test_a_coding_without_source_is_seen() -> None:
    assert unsourced({"types": [{"system": "s", "code": "c"}]}) == ["c"]
    group = {"element": [{"code": "a", "target": [{"code": "b"}]}]}
    entry = [{"resource": {"resourceType": "ConceptMap", "group": [group]}}]
    assert unsourced({"resourceType": "Bundle", "entry": entry}) == ["b"]


def test_follow_up_consultation_is_never_taken_for_a_second_opinion() -> None:
    package = shipped("mappings").parent / "fhir_bridge"
    files = [*shipped("mappings").rglob("*"), *package.rglob("*.py")]
    texts = [path for path in files if path.suffix in {".json", ".csv", ".py"}]

    assert len(texts) > len(MAPPINGS)
    for path in texts:
        assert FOLLOW_UP_CONSULTATION not in path.read_text(encoding="utf-8"), path.name


def test_each_document_type_and_category_has_a_source_of_its_own() -> None:
    types = mapping("document-types.json")
    rows = [*types["types"].values(), *types["own_types"]]
    rows += [one for group in types["categories"].values() for one in group]

    assert all(set(row) == {"system", "code", "display", "source"} for row in rows)
