"""Labels and kinds of records that others published; left out where the data are absent."""

from __future__ import annotations

import bz2
from collections import Counter
from collections.abc import Iterator

from fhir_bridge import lossless
from fhir_bridge.kinds import RECORD_TYPES, KindBook, Sort, classify
from fhir_bridge.records import Json
from fhir_bridge.sensitivity import SensitivityBook
from tests.simulators.published import published


def synthea() -> Iterator[Json]:
    for path in sorted(published("synthea").glob("*.bz2")):
        for entry in lossless.decode(bz2.decompress(path.read_bytes()))["entry"]:
            yield entry["resource"]


def is_laboratory(resource: Json) -> bool:
    return resource["resourceType"] == "Observation" and any(
        coding.get("code") == "laboratory"
        for concept in resource.get("category", [])
        for coding in concept.get("coding", [])
    )


def test_nearly_all_synthetic_laboratory_results_are_ordinary_and_ten_are_drug_tests() -> None:
    book = SensitivityBook.load({})
    found: Counter[tuple[tuple[str, ...], bool]] = Counter()
    for resource in filter(is_laboratory, synthea()):
        labels = book.own(resource)
        found[tuple(sorted(labels.sensitivities)), labels.normal] += 1
    assert found == {((), True): 5494, (("SUD",), False): 10}


def test_no_synthetic_record_is_left_unclassified() -> None:
    book = KindBook.load()
    sorts = Counter(
        classify(resource, book).sort
        for resource in synthea()
        if resource["resourceType"] in RECORD_TYPES
    )
    assert sorts[Sort.UNCLASSIFIED] == 0
    assert sorts[Sort.RECORD] > 5504


def test_every_official_example_is_read_and_none_is_normal_beside_a_label() -> None:
    labels_of, kinds = SensitivityBook.load({}), KindBook.load()
    for path in sorted(published("hl7_r4_examples").glob("*.json")):
        content = lossless.decode(path.read_bytes())
        labels = labels_of.own(content)
        assert not (labels.normal and (labels.sensitivities or labels.unknown)), path.name
        classified = classify(content, kinds)
        assert (classified.kind is None) == (classified.sort is not Sort.RECORD), path.name
