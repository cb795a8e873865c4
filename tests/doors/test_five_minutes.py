"""README's five minutes, followed to the letter: each command of the section, in its order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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

    ended = subprocess.run(
        ["bash", "-m", "-c", script],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("XDG")},
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )

    shown = ended.stdout
    assert "serves http://127.0.0.1:8480" in shown, shown + ended.stderr
    assert shown.count('"has_secret":false') == 2
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["state"] == "requested"
    states = re.findall(r'^data: .*"state":"(\w+)"', shown, re.MULTILINE)
    assert (states[0], states[-1]) == ("requested", "closed")
    assert '"released":60,"identical":60' in shown
    assert shown.count('"decision":"released"') == 5
    told = (folder / "told.txt").read_text().splitlines()
    assert told == [f"transfer.{state}" for state in states]
    assert "Traceback" not in ended.stderr
