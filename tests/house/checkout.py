"""What the tests of the house look at."""

from __future__ import annotations

import ast
import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

_NOT_OURS = {".git", ".venv", "build", "dist", "target", "node_modules", "__pycache__"}


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that belongs to the project; outside git, every file that is no by-product."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
        return tuple(path for path in paths if path.is_file())
    return tuple(
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and not _NOT_OURS & set(path.relative_to(ROOT).parts)
    )


def written(*suffixes: str) -> list[Path]:
    """The project's files of some kinds."""
    return [path for path in tracked() if path.suffix in suffixes]


def package() -> list[Path]:
    """The modules of the product itself."""
    return [path for path in written(".py") if path.is_relative_to(ROOT / "fhir_bridge")]


def name_of(path: Path) -> str:
    """A path as a test's id shows it."""
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))
