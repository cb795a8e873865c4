"""The project's files say what they must, and nothing about where they were written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.checkout import ROOT, name_of, tracked

TOP_LEVEL_FILES = {"pyproject.toml", "README.md", "LICENSE", ".gitignore"}
TOP_LEVEL_FOLDERS = {"fhir_bridge", "mappings", "fixtures", "tests", ".ci"}

LEFT_UNDONE = re.compile("|".join((r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b")))

REGISTRY_HOSTS = re.compile(
    "|".join(
        (
            "files.python" + "hosted",
            r"pypi\." + "org",
            r"registry\." + "npmjs",
            r"repo1?\." + "maven",
            r"static\." + "crates",
            r"proxy\." + "golang",
            r"deb\." + "debian",
        )
    )
)
"""Where packages come from is the machine's business: a build may have a mirror only."""

WORKPLACE = re.compile(
    "|".join(
        (
            "/wo" + "rk/",
            "/fa" + "rm/",
            r"\bSE" + r"AMS\b",
            r"\bsub-?ag" + r"ents?\b",
            r"\bco" + r"ding ag" + r"ents?\b",
            r"\b(AI|LLM) (assis" + r"tant|ag" + r"ent|helper)s?\b",
            r"\bhel" + r"per [A-Z]\b",
            r"\bchat ses" + r"sions?\b",
        )
    )
)

every_text = pytest.mark.parametrize(
    "path", [path for path in tracked() if path.suffix not in {".pdf", ".png"}], ids=name_of
)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_top_level_has_only_the_files_that_belong_there() -> None:
    parts = [path.relative_to(ROOT).parts for path in tracked()]
    files = {names[0] for names in parts if len(names) == 1}
    folders = {names[0] for names in parts if len(names) > 1}
    assert files <= TOP_LEVEL_FILES
    assert folders <= TOP_LEVEL_FOLDERS


def test_licence_is_apache_2_in_full() -> None:
    licence = text(ROOT / "LICENSE")
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


@every_text
def test_nothing_is_left_undone(path: Path) -> None:
    assert not LEFT_UNDONE.findall(text(path))


@every_text
def test_no_package_registry_is_named(path: Path) -> None:
    assert not REGISTRY_HOSTS.findall(text(path))


@every_text
def test_nothing_tells_where_it_was_written(path: Path) -> None:
    assert not WORKPLACE.findall(text(path))
