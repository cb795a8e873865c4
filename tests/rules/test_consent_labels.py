"""What a provision's security labels cover, for a permit and for a deny."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge.records import Json
from fhir_bridge.sensitivity import Labels
from tests.rules.consents import (
    COMPUTED,
    HIV,
    NORMAL,
    PSY,
    TREE,
    UNLABELLED,
    answer,
    consent,
    decided,
    deny,
    label,
    permit,
    reason,
    record,
    sensitive,
    weighed,
)

LEVELS = "ULMNRV"
DOCUMENT: Json = {"resourceType": "DocumentReference", "id": "d"}


def rows(*codes: Any) -> list[Json]:
    return [label(one) if isinstance(one, str) else one for one in codes]


def permitted(about: Any, *codes: Any) -> str:
    return answer(consent(permit(securityLabel=rows(*codes))), about=about)


def denied(about: Any, *codes: Any) -> str:
    made = consent(permit(provision=[deny(securityLabel=rows(*codes))]))
    return answer(made, about=about)


@pytest.mark.parametrize("written", LEVELS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_permit_covers_what_is_at_most_as_confidential(level: str, written: str) -> None:
    expected = "permit" if LEVELS.index(written) <= LEVELS.index(level) else "deny"
    assert permitted(Labels(confidentiality=written), level) == expected


@pytest.mark.parametrize("written", LEVELS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_deny_covers_what_is_at_least_as_confidential(level: str, written: str) -> None:
    expected = "deny" if LEVELS.index(written) >= LEVELS.index(level) else "permit"
    assert denied(Labels(confidentiality=written), level) == expected


def test_deny_r_must_not_block_n_nor_release_v() -> None:
    assert denied(NORMAL, "R") == "permit"
    assert denied(Labels(confidentiality="V"), "R") == "deny"


def test_of_several_labels_one_is_enough() -> None:
    assert permitted(Labels(confidentiality="R"), "N", "R") == "permit"
    assert denied(NORMAL, "V", "N") == "deny"


KINDS = {
    "SPI": ["SPI", "BH", "MH", "PSY", "SUD", "ETHUD", "OPIOIDUD", "COGN", "DVD", "EMOTDIS"],
    "BH": ["BH", "COGN", "DVD", "EMOTDIS"],
    "SUD": ["SUD", "ETHUD", "OPIOIDUD"],
    "ETH": ["ETH"],
    "PSY": ["PSY"],
    "MH": ["MH"],
    "HIV": ["HIV"],
}
WIDER = KINDS | {"ETH": ["ETH", "SUD", "ETHUD", "OPIOIDUD"], "PSY": ["PSY", "MH", "PSYTHPN"]}


@pytest.mark.parametrize("named", KINDS)
@pytest.mark.parametrize("code", ["MH", "PSY", "COGN", "BH", "SPI", "HIV", "STD", "SDV"])
def test_a_permit_reads_the_strict_tree_of_sensitivities(named: str, code: str) -> None:
    assert permitted(sensitive(code), named) == ("permit" if code in KINDS[named] else "deny")


@pytest.mark.parametrize(("named", "codes"), WIDER.items())
def test_a_deny_also_reads_the_wider_tree_of_pcf(named: str, codes: list[str]) -> None:
    made = consent(permit(provision=[deny(securityLabel=rows(named))]))
    for code in codes:
        found = decided(made, about=sensitive(code, confidentiality="R"))
        assert (found.answer, found.reason) == ("deny", "provision-deny")


@pytest.mark.parametrize(
    ("written", "named"), [("SPI", "PSY"), ("BH", "COGN"), ("PSY", "MH"), ("SPI", "MH")]
)
def test_a_record_labelled_broader_than_a_deny_may_be_of_the_denied_kind(
    written: str, named: str
) -> None:
    assert denied(sensitive(written, confidentiality="R"), named) == "refuse"


def test_a_record_with_several_sensitivities_needs_a_permit_for_each() -> None:
    assert permitted(sensitive("HIV", "STD"), "HIV") == "deny"
    assert permitted(sensitive("HIV", "STD"), "HIV", "STD") == "permit"


def test_one_denied_sensitivity_denies_the_record() -> None:
    assert denied(sensitive("HIV", "STD"), "STD") == "deny"


def test_a_sensitive_record_counts_as_at_least_r_whatever_it_carries() -> None:
    assert permitted(sensitive("HIV", confidentiality="N"), "N") == "deny"
    assert permitted(sensitive("HIV", confidentiality="N"), "R") == "permit"
    assert permitted(sensitive("HIV", confidentiality="V"), "R") == "deny"
    assert denied(sensitive("HIV", confidentiality="N"), "R") == "deny"


def test_a_permit_of_a_sensitivity_does_not_reach_a_very_restricted_record() -> None:
    assert permitted(sensitive("HIV", confidentiality="V"), "HIV") == "deny"
    assert permitted(sensitive("HIV", confidentiality="V"), "HIV", "V") == "permit"
    assert permitted(sensitive("HIV", confidentiality="R"), "HIV", "N") == "permit"


def test_a_permit_of_a_sensitivity_covers_only_records_of_that_kind() -> None:
    assert permitted(NORMAL, "HIV") == "deny"
    assert permitted(UNLABELLED, "HIV") == "deny"


def test_a_permit_without_labels_covers_every_record() -> None:
    for labels in (NORMAL, COMPUTED, UNLABELLED, HIV, Labels(confidentiality="V")):
        assert answer(consent(), about=labels) == "permit"


def test_an_unlabelled_record_is_r_under_a_confidentiality_label() -> None:
    assert permitted(UNLABELLED, "N") == "deny"
    assert permitted(UNLABELLED, "R") == "permit"
    assert denied(UNLABELLED, "R") == "deny"
    assert denied(UNLABELLED, "V") == "permit"


def test_an_unlabelled_record_cannot_be_told_under_a_deny_by_sensitivity() -> None:
    assert denied(UNLABELLED, "HIV") == "refuse"


def test_a_computed_n_is_ordinary() -> None:
    assert permitted(COMPUTED, "N") == "permit"
    assert denied(COMPUTED, "R") == "permit"
    assert denied(COMPUTED, "HIV") == "permit"


def test_a_confidentiality_label_that_the_source_set_makes_a_record_labelled() -> None:
    assert denied(NORMAL, "HIV") == "permit"
    assert denied(Labels(confidentiality="R"), "HIV") == "permit"
    assert denied(record(NORMAL, DOCUMENT), "HIV") == "permit"
    assert denied(record(sensitive("STD", confidentiality="R"), DOCUMENT), "HIV") == "permit"


@pytest.mark.parametrize(
    "content",
    [
        DOCUMENT,
        {"resourceType": "Binary", "id": "b"},
        {"resourceType": "Media", "id": "m"},
        {"resourceType": "DiagnosticReport", "id": "r", "presentedForm": [{}]},
        {"resourceType": "DiagnosticReport", "id": "r", "conclusion": "x"},
    ],
)
def test_a_computed_label_never_makes_a_document_labelled(content: Json) -> None:
    assert denied(record(COMPUTED, content), "HIV") == "refuse"
    assert denied(record(sensitive("STD"), content), "HIV") == "refuse"
    assert denied(record(sensitive("HIV"), content), "HIV") == "deny"


def test_a_computed_sensitivity_labels_a_record_that_is_no_document() -> None:
    assert denied(HIV, "PSY") == "permit"


def test_an_unknown_label_on_the_record_cannot_be_told() -> None:
    strange = Labels(confidentiality="N", unknown=True)
    assert reason(consent(), about=strange) == "label-unknown"
    assert permitted(strange, "N") == "refuse"
    assert permitted(sensitive("HIV", unknown=True), "HIV") == "refuse"
    assert denied(strange, "HIV") == "refuse"
    assert denied(sensitive("HIV", unknown=True), "HIV") == "deny"


@pytest.mark.parametrize(
    "row",
    [
        {"system": TREE + "v3-ActCode", "code": "SICKLE"},
        {"system": TREE + "v3-Confidentiality", "code": "X"},
        {"system": "urn:local", "code": "HIV"},
        {"code": "HIV"},
        {"display": "HIV"},
    ],
)
def test_a_label_of_the_consent_that_nobody_knows_cannot_be_told(row: Json) -> None:
    assert permitted(NORMAL, row) == "deny"
    assert permitted(NORMAL, row, "N") == "permit"
    assert denied(NORMAL, row) == "refuse"


def test_a_label_in_the_spelling_of_an_oid_is_the_same_label() -> None:
    row = {"system": "urn:oid:2.16.840.1.113883.5.4", "code": "HIV"}
    assert denied(HIV, row) == "deny"
    assert (
        denied(Labels(confidentiality="R"), {"system": "2.16.840.1.113883.5.25", "code": "R"})
        == "deny"
    )


def test_a_deny_may_name_a_law() -> None:
    selfpay = Labels(confidentiality="N", policies=frozenset({"HIPAASelfPay"}))
    assert denied(selfpay, "HIPAASelfPay") == "deny"
    assert denied(NORMAL, "HIPAASelfPay") == "permit"
    assert answer(consent(), about=selfpay) == "permit"


def test_a_records_own_purpose_must_not_conflict_with_the_request() -> None:
    treating = Labels(confidentiality="N", purposes=frozenset({"TREAT"}))
    researching = Labels(confidentiality="N", purposes=frozenset({"HRESCH"}))
    both = Labels(confidentiality="N", purposes=frozenset({"HRESCH", "TREAT"}))
    assert answer(consent(), about=treating) == "permit"
    assert answer(consent(), about=both) == "permit"
    assert answer(consent(), about=treating, purpose="COC") == "permit"
    invented = Labels(confidentiality="N", purposes=frozenset({"HTEST"}))
    assert answer(consent(), about=invented) == "permit"
    assert reason(consent(), about=researching) == "record-purpose"
    assert answer(consent(), about=researching) == "refuse"


def test_the_exact_labels_decide_and_not_the_record_they_stand_on() -> None:
    made = consent(permit(provision=[deny(securityLabel=rows("HIV"))]))
    standing = weighed(made)
    seen = [standing.decide(record(one)) for one in (NORMAL, HIV, UNLABELLED, NORMAL, PSY)]
    assert [str(one.answer) for one in seen] == ["permit", "deny", "refuse", "permit", "permit"]
    assert seen[0] is seen[3]
    assert standing.decide(record(COMPUTED, DOCUMENT)).answer == "refuse"
    assert standing.decide(record(COMPUTED)).answer == "permit"


def test_what_is_remembered_of_decisions_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_bridge.consent.standing._REMEMBERED", 1)
    standing = weighed(consent(permit(securityLabel=rows("N"))))
    for _ in range(2):
        assert standing.decide(record(NORMAL)).answer == "permit"
        assert standing.decide(record(HIV)).answer == "deny"
