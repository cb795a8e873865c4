"""Modules and functions are of a size and a shape that a reader can take in."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.checkout import ROOT, name_of, package, tree, written

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
FUNCTION_LINES_MEDIAN_MAX = 12

NAMES_THAT_SAY_NOTHING = re.compile(
    r"(^|_)(util|utils|helper|helpers|manager|handler|handlers|common|misc)(_|$)"
)

every_module = pytest.mark.parametrize("path", package(), ids=name_of)
every_python_file = pytest.mark.parametrize("path", written(".py"), ids=name_of)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Give each function with its length in lines."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or 0) - node.lineno + 1


def public(body: list[ast.stmt], inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Give the public functions and classes, and their public methods."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        yield inside + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public(node.body, f"{node.name}.")


def imported(path: Path) -> Iterator[str]:
    """Give the dotted name of everything that a module imports."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@every_module
def test_module_is_at_most_400_lines_long(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= MODULE_LINES_MAX


@every_module
def test_function_is_at_most_50_lines_long(path: Path) -> None:
    assert [one for one in functions(path) if one[1] > FUNCTION_LINES_MAX] == []


def test_most_functions_are_at_most_12_lines_long() -> None:
    lengths = [length for path in package() for _, length in functions(path)]
    assert statistics.median(lengths) <= FUNCTION_LINES_MEDIAN_MAX


@every_module
def test_module_says_what_it_is(path: Path) -> None:
    assert not tree(path).body or ast.get_docstring(tree(path))


@every_module
def test_every_public_name_says_what_it_does(path: Path) -> None:
    silent = [
        name
        for name, node in public(tree(path).body)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not ast.get_docstring(node)
    ]
    assert silent == []


@every_python_file
def test_module_is_named_after_what_it_holds(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    assert [part for part in parts if NAMES_THAT_SAY_NOTHING.search(part)] == []


@every_python_file
def test_no_error_is_swallowed(path: Path) -> None:
    swallowing = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and all(isinstance(step, ast.Pass | ast.Continue) or _is_text(step) for step in node.body)
    ]
    assert swallowing == []


def _is_text(step: ast.stmt) -> bool:
    return isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant)


@every_python_file
def test_nothing_is_mocked(path: Path) -> None:
    assert [name for name in imported(path) if "mock" in name.split(".")] == []


def test_every_error_is_in_the_table_at_the_top_of_errors() -> None:
    errors = tree(ROOT / "fhir_bridge" / "errors.py")
    table = re.findall(r"[*+-] (\w+)", ast.get_docstring(errors) or "")
    assert table == [node.name for node in errors.body if isinstance(node, ast.ClassDef)]
