"""What was granted, compared with what was asked."""

from __future__ import annotations

import pytest

from fhir_bridge.tokens import missing


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("system/Observation.rs", "system/Observation.rs"),
        ("system/Observation.rs", "system/Observation.cruds"),
        ("system/Observation.rs", "system/*.rs"),
        ("system/*.rs", "system/*.cruds"),
        ("system/Observation.read", "system/Observation.rs"),
        ("system/Observation.rs", "system/Observation.read"),
        ("system/Task.write", "system/Task.cud"),
        ("system/Task.cruds", "system/*.*"),
        ("system/Observation.rs", "system/Observation.r system/Observation.s"),
        ("system/Observation.cruds", "system/*.rs system/Observation.write"),
        ("system/Observation.rs?category=lab", "system/Observation.rs"),
        ("system/Observation.rs?category=lab", "system/Observation.rs?category=lab"),
        ("openid", "openid fhirUser"),
    ],
)
def test_a_scope_is_covered_by_wider_ones_and_by_several_together(asked: str, granted: str) -> None:
    assert missing([asked], granted.split()) == []


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("system/Observation.rs", ""),
        ("system/Observation.rs", "system/Observation.r"),
        ("system/Observation.rs", "system/Condition.rs"),
        ("system/*.rs", "system/Observation.rs system/Condition.rs"),
        ("system/Observation.rs", "user/Observation.rs"),
        ("system/Observation.rs", "patient/*.cruds"),
        ("system/Observation.write", "system/Observation.cu"),
        ("system/Observation.rs", "system/Observation.rs?category=lab"),
        ("system/Observation.rs?category=lab", "system/Observation.rs?category=image"),
        ("system/Observation.xyz", "system/*.cruds"),
        ("launch", "system/*.cruds"),
        ("system/.rs", "system/*.cruds"),
        ("Observation.rs", "system/*.cruds"),
    ],
)
def test_a_scope_that_is_granted_in_part_or_to_others_is_missing(asked: str, granted: str) -> None:
    assert missing([asked], granted.split()) == [asked]


def test_each_missing_scope_is_named() -> None:
    asked = ["system/Patient.rs", "system/Task.c", "system/Binary.r"]

    assert missing(asked, ["system/Patient.rs"]) == ["system/Task.c", "system/Binary.r"]
