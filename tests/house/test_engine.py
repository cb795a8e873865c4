"""The durable engine stands behind one module: another could be put in its place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.checkout import ROOT, name_of, package, tree

ONLY = ROOT / "fhir_bridge" / "engine" / "durable.py"
LIVENESS = ROOT / "fhir_bridge" / "liveness.py"


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", package(), ids=name_of)
def test_only_one_module_imports_the_engine(path: Path) -> None:
    of_dbos = {name for name in imports(path) if name.partition(".")[0] == "dbos"}
    assert not of_dbos or path == ONLY


def test_liveness_knows_locks_and_nothing_of_transfers() -> None:
    ours = {name for name in imports(LIVENESS) if name.startswith("fhir_bridge")}
    assert ours == {"fhir_bridge.clock", "fhir_bridge.errors"}


def test_the_engine_knows_nothing_of_transfers_either() -> None:
    for path in ONLY.parent.glob("*.py"):
        ours = {name.split(".")[1] for name in imports(path) if name.startswith("fhir_bridge.")}
        assert ours <= {"engine", "liveness", "clock", "errors", "logs", "settings"}
