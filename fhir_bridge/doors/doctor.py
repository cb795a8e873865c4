"""Everything that a transfer will need, looked at; each fault with its cure."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from fhir_bridge.bridge.checkup import Checkup, Finding, Grade
from fhir_bridge.errors import SettingsError, Tampered
from fhir_bridge.settings import environment, load

_MARKS = {Grade.WELL: "well   ", Grade.NOTE: "note   ", Grade.PROBLEM: "PROBLEM"}
_WORST_FIRST = (Tampered.exit_code, SettingsError.exit_code)


def run(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    """
    Look at everything, and say what to mend.

    Args:
        arguments: Name the settings and the store.
        show: Writes a line.

    Returns:
        0 when nothing is wrong; else the code of the worst problem.

    Raises:
        SettingsError: The settings themselves cannot be read.
    """
    settings = load(arguments.settings, store=arguments.store, environ=environment())
    found: list[Finding] = []
    for finding in Checkup(settings).findings():
        found.append(finding)
        show(f"{_MARKS[finding.grade]}  {finding.subject}: {finding.sentence}")
    problems = [one.exit_code for one in found if one.grade is Grade.PROBLEM]
    notes = sum(one.grade is Grade.NOTE for one in found)
    show(f"{len(problems)} problems, {notes} notes, {len(found)} findings")
    return min(problems, key=_rank, default=0)


def _rank(code: int) -> int:
    """Put what an operator must mend before what mends itself when a server is back."""
    return _WORST_FIRST.index(code) if code in _WORST_FIRST else len(_WORST_FIRST)
