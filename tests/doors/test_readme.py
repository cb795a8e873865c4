"""README says what the code does."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge import errors, settings
from fhir_bridge.bundles import reason_codes
from fhir_bridge.doors.arguments import EXIT_CODES, parser
from fhir_bridge.doors.cli import main
from fhir_bridge.errors import BridgeError
from fhir_bridge.exports import Verdict
from fhir_bridge.sensitivity import SensitivityBook
from fhir_bridge.settings import watching
from fhir_bridge.settings.credentials import KINDS
from fhir_bridge.settings.webhooks import KEYS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield name, command
                yield from commands(command)


def test_the_table_of_exit_codes_is_the_codes_own() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|$", README, re.MULTILINE))

    assert {int(code): what for code, what in rows.items()} == EXIT_CODES


def test_the_table_of_verdicts_is_their_own() -> None:
    rows = re.findall(r"^\| (\d) \| (\w+) \| [^|]+ \|$", README, re.MULTILINE)

    assert {word: int(code) for code, word in rows} == {
        verdict.name.lower(): int(verdict) for verdict in Verdict
    }


def test_every_command_and_option_is_in_readme() -> None:
    missing = []
    for name, command in commands(parser()):
        words = [name, *(one for action in command._actions for one in action.option_strings)]
        missing += [
            word for word in words if word not in {"-h", "--help"} and f"{word}" not in README
        ]
    assert missing == []


def test_every_option_that_readme_names_exists() -> None:
    known = {
        option
        for _, command in commands(parser())
        for action in command._actions
        for option in action.option_strings
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README.split("## Commands")[1]))
    assert named - known == set()


def test_every_setting_is_in_readme() -> None:
    source = (ROOT / "fhir_bridge" / "settings" / "__init__.py").read_text(encoding="utf-8")
    known = set(re.findall(r'"(policies|waive_paper|part2_programs|publish)"', source))
    for kind, members in KINDS.items():
        known |= {kind, *members[0], *members[1]}
    known |= {f"webhooks.{key}" for key in KEYS if not key.startswith("secret")}
    known |= {f"watch.{key}" for key in watching.KEYS}
    for name in sorted(known | settings._SERVER_KEYS):
        assert name in README, name


def test_every_error_ends_with_a_code_of_the_table() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, BridgeError):
            assert error.exit_code in EXIT_CODES, error.__name__


def test_the_build_calls_the_test_command_of_readme() -> None:
    assert ".venv/bin/python -m pytest" in README
    assert ".venv/bin/python -m pytest" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_demo_prints_what_readme_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = README.split('```\nStory "amelia"')[1].split("```")[0]

    main(["demo", "--store", str(tmp_path / "store")])

    assert shown in capsys.readouterr().out


def test_the_settings_of_readme_are_read(tmp_path: Path) -> None:
    file = tmp_path / "fhir-bridge.toml"
    file.write_text(README.split("```toml\n")[1].split("```")[0], encoding="utf-8")

    read = settings.load(file, store=None, environ={})

    assert set(read.servers) == {"first-clinic", "second-opinion-centre"}
    SensitivityBook.load(read.sensitivity_answers, programs=read.part2_programs)


def test_every_reason_is_in_readme() -> None:
    told = README.split("`--reason` of `transfer`:")[1].split(".")[0]

    assert re.findall(r"`([a-z-]+)`", told) == sorted(reason_codes())
