"""A parent's permit does not reach care that a child may have consented to alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rules.consents import (
    HIV,
    NORMAL,
    answer,
    consent,
    decided,
    deny,
    label,
    permit,
    record,
    sensitive,
    weighed,
)

BY_PARENT = consent(performer=[{"reference": "RelatedPerson/parent"}], id="parent")
BORN = "2008-06-15"


def on(day: Any, **more: Any) -> Any:
    return record(HIV, {"effectiveDateTime": day}, **more)


def by_parent(about: Any, **more: Any) -> str:
    return answer(BY_PARENT, about=about, **more)


@pytest.mark.parametrize("code", ["HIV", "STD", "MH", "PSY", "PREGNANT", "SEX", "GENDER", "SDV"])
def test_a_permit_signed_by_a_parent_alone_does_not_release_a_minors_own_care(code: str) -> None:
    found = decided(BY_PARENT, about=sensitive(code))
    assert (found.answer, found.reason) == ("refuse", "minor-care")


def test_a_permit_signed_by_a_parent_alone_releases_everything_else() -> None:
    assert by_parent(NORMAL) == "permit"
    assert by_parent(sensitive("COGN")) == "permit"


def test_a_permit_of_the_patient_releases_it_beside_or_without_the_parents() -> None:
    assert answer(consent(), about=HIV) == "permit"
    assert answer(consent(), BY_PARENT, about=HIV) == "permit"
    both = consent(performer=[*BY_PARENT["performer"], {"reference": "Patient/p"}])
    assert answer(both, about=HIV) == "permit"


def test_records_of_a_patient_of_age_are_released_by_a_representative() -> None:
    assert by_parent(on("2026-06-16"), birth_date=BORN) == "permit"
    assert by_parent(on("2026-06-15"), birth_date=BORN) == "refuse"
    assert by_parent(on("2026-06-14"), birth_date=BORN) == "refuse"
    assert by_parent(on("2026-05-01"), birth_date="2007") == "permit"
    assert by_parent(on("2025-05-01"), birth_date="2007") == "refuse"


@pytest.mark.parametrize(
    "born", [None, "", "2008-06-15T10:00:00", "long ago", "2008-02-29", "9990"]
)
def test_without_a_birth_date_that_can_be_read_every_record_is_one_of_a_child(born: Any) -> None:
    assert by_parent(on("2026-06-16"), birth_date=born) == "refuse"


def test_without_a_date_a_record_is_one_of_a_child() -> None:
    assert by_parent(HIV, birth_date="1950-01-01") == "refuse"
    assert by_parent(on("once"), birth_date="1950-01-01") == "refuse"
    period = {"effectivePeriod": {"start": "2020-01-01"}, "issued": "2020-02-01T10:00:00Z"}
    assert by_parent(record(HIV, period), birth_date="1950-01-01") == "permit"
    early = period | {"effectivePeriod": {"start": "1955-01-01"}}
    assert by_parent(record(HIV, early), birth_date="1950-01-01") == "refuse"


def test_what_a_parent_does_not_permit_is_not_held_but_denied() -> None:
    narrow = BY_PARENT | {"provision": permit(securityLabel=[label("N")])}
    assert answer(narrow, about=HIV) == "deny"
    refusal = BY_PARENT | {"provision": deny()}
    assert answer(refusal, consent(), about=HIV) == "deny"


def test_decisions_about_children_are_not_taken_from_one_record_to_another() -> None:
    standing = weighed(BY_PARENT, birth_date=BORN)
    assert standing.decide(on("2026-06-16")).answer == "permit"
    assert standing.decide(on("2020-06-16")).answer == "refuse"
