"""What is argued about mutants stays true of the code as it is."""

from __future__ import annotations

import ast

from tests.house.checkout import ROOT, name_of
from tests.mutation.changes import changes
from tests.mutation.rooms import TESTS, argued, source_of

SMALL = """\
def judge(size: int, names: list[str]) -> int:
    if size > 3 and not names:
        raise ValueError
    return size - 1
"""


def test_every_change_of_one_place_is_tried() -> None:
    tried = [change.key.partition(" -- ")[2] for change in changes(SMALL)]

    assert tried == [
        "condition turned round",
        "And to Or",
        "Gt to GtE",
        "Gt to LtE",
        "3 to 4",
        "not left out",
        "raise left out",
        "None returned",
        "Sub to Add",
        "1 to 2",
    ]


def test_no_change_leaves_the_program_as_it_was() -> None:
    programs = [ast.unparse(change.program()) for change in changes(SMALL)]

    assert len({*programs, ast.unparse(ast.parse(SMALL))}) == len(programs) + 1


def test_every_module_that_judges_is_tried_and_its_tests_exist() -> None:
    judging = [
        *ROOT.glob("fhir_bridge/ledger/*.py"),
        *ROOT.glob("fhir_bridge/exports/*.py"),
    ]
    writing = {"drafts", "exporting", "__init__"}

    assert {name_of(source_of(module)) for module in TESTS} == {
        name_of(path) for path in judging if path.stem not in writing
    }
    assert [one for tests in TESTS.values() for one in tests if not (ROOT / one).exists()] == []


def test_what_is_argued_speaks_of_changes_that_there_are() -> None:
    for module, reasons in argued().items():
        there = {change.key for change in changes(source_of(module).read_text(encoding="utf-8"))}
        assert reasons.keys() <= there
        assert all(reason.endswith(".") for reason in reasons.values())
