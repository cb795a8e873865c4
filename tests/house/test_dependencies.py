"""What README's test command installs is all that the tests import."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata

from tests.house.checkout import ROOT, tracked

_OWN = {"fhir_bridge", "tests"}
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _asked_for() -> set[str]:
    """Names that `.[test]` installs, with everything that they need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    installed = {_normal(one.name) for one in metadata.distributions()}
    waiting = [*project["dependencies"], *extras["test"]]
    found: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        matched = _NAME.match(wanted)
        assert matched is not None, wanted
        name = _normal(matched[0])
        if name == "fhir-bridge":
            waiting += [one for extra in extras if f"[{extra}]" in wanted for one in extras[extra]]
        elif name not in found:
            found.add(name)
            # What is not installed is for another system.
            needed = (metadata.requires(name) or []) if name in installed else []
            waiting += [one for one in needed if "extra ==" not in one]
    return found


def _imported() -> set[str]:
    """Modules that the tests import where they are read, not in the middle of one."""
    modules: set[str] = set()
    for path in tracked():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] == "tests":
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, ast.Import):
                    modules |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module)
    known = _OWN | sys.stdlib_module_names
    return {module for module in modules if module.partition(".")[0] not in known}


def _holds(distribution: str, module: str) -> bool:
    """Tell whether a module of a package that several distributions share is of this one."""
    path = module.replace(".", "/")
    files = metadata.files(distribution) or []
    return any(str(file).startswith((f"{path}/", f"{path}.py")) for file in files)


def test_what_the_tests_import_is_installed_by_readmes_command() -> None:
    known, asked_for = metadata.packages_distributions(), _asked_for()
    missing = set()
    for module in _imported():
        behind = known.get(module.partition(".")[0], [])
        if len(set(behind)) > 1:
            behind = [name for name in behind if _holds(name, module)]
        if not {_normal(name) for name in behind} & asked_for:
            missing.add(module)

    assert not missing
