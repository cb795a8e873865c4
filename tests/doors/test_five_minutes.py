"""README's five minutes, followed to the letter: each command of the section, in its order."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Five minutes for an integrator")[1].split("\n## ")[0]

_LAST = """
for _ in $(seq 60); do grep -qs transfer.closed told.txt && break; sleep 1; done
kill %1 %2 %3
wait
"""


def test_readme_followed_to_the_letter_moves_a_record_and_tells_the_ehr(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "fhir-bridge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fhir_bridge "$@"\n')
    program.chmod(0o700)
    folder = tmp_path / "empty"
    folder.mkdir()
    script = "\n".join(re.findall(r"```\n(.*?)```", SECTION, re.DOTALL)) + _LAST

    shown, errors = _run(
        script,
        folder,
        {
            **{name: value for name, value in os.environ.items() if not name.startswith("XDG")},
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
        },
    )

    assert "serves http://127.0.0.1:8480" in shown, shown + errors
    assert shown.count('"has_secret":false') == 2
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["state"] == "requested"
    states = re.findall(r'^data: .*"state":"(\w+)"', shown, re.MULTILINE)
    assert (states[0], states[-1]) == ("requested", "closed")
    assert '"released":60,"identical":60' in shown
    assert shown.count('"decision":"released"') == 5
    told = (folder / "told.txt").read_text().splitlines()
    assert told == [f"transfer.{state}" for state in states]
    assert "Traceback" not in errors


def _run(script: str, folder: Path, environment: dict[str, str]) -> tuple[str, str]:
    """Run a script to its end; when that does not come, show where each of its programs stands."""
    with subprocess.Popen(
        ["bash", "-m", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as bash:
        try:
            return bash.communicate(timeout=170)
        except subprocess.TimeoutExpired:
            _end_session(bash.pid)
            shown, errors = bash.communicate()
    told = folder / "told.txt"
    seen = told.read_text(encoding="utf-8") if told.exists() else "nothing was told"
    pytest.fail(f"it did not end\n{shown}\n{errors}\n{seen}", pytrace=False)


def _end_session(session: int) -> None:
    """End all programs of a session; those in Python say where each of their threads stands."""
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = place.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(fields[3]) == session:
                os.kill(int(place.parent.name), signal.SIGABRT)
