"""The tables themselves: what must stay true of them on every change."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge.codes import mapping, shipped
from fhir_bridge.errors import SettingsError
from fhir_bridge.sensitivity import CONFIDENTIALITY, SensitivityBook, tables

FOLDER = shipped("mappings") / "sensitivity"
LISTS = ("codes.csv", "codes-snomed.csv", "codes-nucc.csv")
LOINC = "http://loinc.org"


def rows(*names: str) -> Iterator[dict[str, str]]:
    for name in names:
        with (FOLDER / name).open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines)


def test_every_loinc_code_has_its_check_digit_and_none_is_a_part() -> None:
    for row in rows("codes.csv", "ordinary.csv"):
        if row["system"] != LOINC:
            continue
        body, _, check = row["code"].partition("-")
        assert body.isdigit(), row["code"]
        digits = [int(digit) for digit in reversed(body)]
        doubled = [sum(divmod(2 * digit, 10)) for digit in digits[::2]]
        assert (sum(doubled) + sum(digits[1::2]) + int(check)) % 10 == 0, row["code"]


def test_no_cpt_code_is_shipped() -> None:
    assert not [row for row in rows(*LISTS) if "cpt" in row["system"].lower()]


def test_snomed_and_nucc_rows_lie_in_files_of_their_own() -> None:
    assert {row["system"] for row in rows("codes-snomed.csv", "plain-snomed.csv")} == {
        "http://snomed.info/sct"
    }
    assert {row["system"] for row in rows("codes-nucc.csv")} == {
        "http://nucc.org/provider-taxonomy"
    }
    others = {row["system"] for row in rows("codes.csv", "ordinary.csv")}
    assert not [system for system in others if "snomed" in system or "nucc" in system]


def test_every_row_names_its_source() -> None:
    for row in rows(*LISTS, "ordinary.csv", "plain-snomed.csv"):
        assert row["source"].strip(), row["code"]
        assert row.get("evidence", "V") in {"V", "V2", "U"}


def test_every_label_of_the_tables_is_a_sensitivity_that_labels_may_carry() -> None:
    known = mapping("sensitivity/labels.json")
    assert {row["label"] for row in rows(*LISTS)} <= set(known["sensitivities"])
    assert tuple(known["confidentiality"]) == CONFIDENTIALITY


def test_no_code_is_sensitive_and_ordinary() -> None:
    sensitive = {(row["system"], row["code"]) for row in rows(*LISTS)}
    ordinary = {(row["system"], row["code"]) for row in rows("ordinary.csv", "plain-snomed.csv")}
    assert not sensitive & ordinary


def test_a_code_is_core_or_policy_for_one_label_and_not_both() -> None:
    seen: dict[tuple[str, str, str], str] = {}
    for row in rows(*LISTS):
        key = (row["system"], row["code"], row["label"])
        assert seen.setdefault(key, row["policy"]) == row["policy"], key


def test_the_notices_that_must_ship_ship() -> None:
    notice = re.sub(r"\s+", " ", (FOLDER / "NOTICE").read_text(encoding="utf-8"))
    for owner in (
        "This material contains content from LOINC (http://loinc.org).",
        "available at no cost under the license at http://loinc.org/license.",
        "SNOMED International",
        "American Medical Association",
    ):
        assert owner in notice


def test_every_shipped_code_earns_its_label_when_the_operator_says_yes() -> None:
    questions = {row["policy"] for row in rows(*LISTS) if row["policy"]}
    book = SensitivityBook.load(dict.fromkeys(questions, True))
    for row in rows(*LISTS):
        coding = {"system": row["system"], "code": row["code"]}
        labels = book.own({"resourceType": "Basic", "code": {"coding": [coding]}})
        assert row["label"] in labels.sensitivities, row["code"]


def test_every_ordinary_code_makes_an_ordinary_result() -> None:
    book = SensitivityBook.load({})
    for row in rows("ordinary.csv"):
        coding = {"system": row["system"], "code": row["code"], "display": row["display"]}
        labels = book.own({"resourceType": "Observation", "code": {"coding": [coding]}})
        assert labels.normal, (row["code"], labels.reasons)


def test_an_answer_to_a_question_that_no_code_asks_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'hepatitus'.*hepatitis"):
        SensitivityBook.load({"hepatitus": True})


def test_the_bridge_runs_without_the_files_that_need_a_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FOLDER, tmp_path / "sensitivity")
    for name in ("codes-snomed.csv", "codes-nucc.csv", "plain-snomed.csv"):
        (tmp_path / "sensitivity" / name).unlink()
    monkeypatch.setattr(tables, "shipped", lambda _: tmp_path)
    book = SensitivityBook(tables.Tables({}, ()))
    for system, code, expected in (
        ("http://snomed.info/sct", "86406008", set()),
        (LOINC, "20447-9", {"HIV"}),
    ):
        coding = {"system": system, "code": code}
        labels = book.own({"resourceType": "Condition", "code": {"coding": [coding]}})
        assert labels.sensitivities == expected
        assert not labels.normal
