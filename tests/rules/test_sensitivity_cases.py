"""The 30 published cases of sensitivity, each with the rule it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.records import RecordRef
from fhir_bridge.sensitivity import Labels, SensitivityBook

_FILE = Path(__file__).with_name("sensitivity_cases.json")
CASES = json.loads(_FILE.read_text(encoding="utf-8"))["cases"]


def labels_of(case: dict[str, Any]) -> Labels:
    answers = {question: answer == "on" for question, answer in case.get("policy", {}).items()}
    book = SensitivityBook.load(answers)
    subject = RecordRef("Observation/1" if "parent" in case else "Case/it")
    graph = {subject: book.own(case["resource"])}
    for ref, resource in case.get("related", {}).items():
        graph[RecordRef(ref)] = book.own(resource)
    if "parent" in case:
        graph[RecordRef("Case/parent")] = book.own(case["parent"])
    return book.raise_through(graph)[subject]


@pytest.mark.parametrize("case", CASES, ids=[f"{c['id']} {c['title']}" for c in CASES])
def test_every_published_case_earns_exactly_the_labels_it_names(case: dict[str, Any]) -> None:
    labels = labels_of(case)
    if case["expect"] == "unlabelled":
        assert not labels.sensitivities
        assert labels.effective_confidentiality is None, labels.reasons
    else:
        assert sorted(labels.sensitivities) == case["expect"]["labels"], labels.reasons
        assert labels.effective_confidentiality == case["expect"]["confidentiality"], labels.reasons
