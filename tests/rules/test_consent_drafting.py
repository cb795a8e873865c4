"""A patient signs only for codes that a decision understands."""

from __future__ import annotations

import pytest

from fhir_bridge.consent import purpose_codes
from fhir_bridge.sensitivity import sensitivity_codes
from tests.rules.consents import answer, consent, deny, label, permit, purpose, sensitive


@pytest.mark.parametrize("code", sorted(purpose_codes()))
def test_each_purpose_that_may_be_drafted_permits_what_is_asked_for_it(code: str) -> None:
    made = consent(permit(purpose=[purpose(code)]))

    assert answer(made, purpose=code) == "permit"


@pytest.mark.parametrize("code", sorted(sensitivity_codes()))
def test_each_exception_that_may_be_drafted_denies_a_record_so_labelled(code: str) -> None:
    made = consent(permit(provision=[deny(securityLabel=[label(code)])]))

    assert answer(made, about=sensitive(code)) == "deny"


def test_what_is_no_purpose_and_no_sensitivity_is_not_drafted() -> None:
    assert {"PurposeOfUse", "HTEST", "treat", ""}.isdisjoint(purpose_codes())
    assert {"N", "R", "42CFRPart2", "hiv", ""}.isdisjoint(sensitivity_codes())
    assert {"TREAT", "PATRQT", "COC"} <= purpose_codes()
    assert {"HIV", "PSY", "SDV", "SUD", "GDIS"} <= sensitivity_codes()
