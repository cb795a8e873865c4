"""HL7's own validator, kept warm: one process for all tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_STOP_SECONDS = 60


class OfficialValidator:
    """A running validator; it reads paths line by line and answers one OperationOutcome each."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._file = scratch / "resource.json"
        self._process = subprocess.Popen(
            ["bash", str(folder / "validate.sh")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == "READY\n", "the validator did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_STOP_SECONDS)
        self._process.stdout.close()

    def issues(self, content: dict[str, Any]) -> list[dict[str, Any]]:
        """What the validator says of one resource, and of each profile that it claims."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._file.write_text(json.dumps(content), encoding="utf-8")
        self._process.stdin.write(f"{self._file}\n")
        self._process.stdin.flush()
        outcome: dict[str, Any] = json.loads(self._process.stdout.readline())
        found: list[dict[str, Any]] = outcome.get("issue", [])
        return found

    def errors(self, content: dict[str, Any]) -> list[str]:
        """What is wrong with it, and which profile it claims that the validator has not."""
        return [
            str(issue["diagnostics"])
            for issue in self.issues(content)
            if issue["severity"] in {"error", "fatal"} or _unknown_profile(issue)
        ]


def _unknown_profile(issue: dict[str, Any]) -> bool:
    said = str(issue["diagnostics"])
    return "rofile" in said and ("could not be found" in said or "has not been checked" in said)
