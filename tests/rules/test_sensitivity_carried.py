"""Labels that the source wrote: rule 12 of the sensitivity codes, standards for labels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.records import RecordRef
from fhir_bridge.sensitivity import (
    CONFIDENTIALITY,
    Labels,
    OwnLabels,
    SensitivityBook,
    highest,
    is_test_data,
)

BOOK = SensitivityBook.load({})
THO = "http://terminology.hl7.org/CodeSystem/"
INLINE = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
REF = RecordRef("Observation/o")


def label(system: str, code: Any) -> dict[str, Any]:
    return {"system": THO + system, "code": code}


def glucose(*security: Any, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
        "meta": {"security": list(security)},
        **more,
    }


def own(*security: Any, **more: Any) -> OwnLabels:
    return BOOK.own(glucose(*security, **more))


def labels(*security: Any, **more: Any) -> Labels:
    return BOOK.raise_through({REF: own(*security, **more)})[REF]


def test_a_sensitivity_that_the_record_carries_joins_the_computed_ones() -> None:
    hiv = {"coding": [{"system": "http://loinc.org", "code": "20447-9"}]}
    found = labels(label("v3-ActCode", "SUD"), valueCodeableConcept=hiv)
    assert found.sensitivities == {"SUD", "HIV"}
    assert found.carried_sensitivities == {"SUD"}
    assert found.reasons[:2] == ("HIV: http://loinc.org|20447-9", "SUD: written by the source")


def test_any_sensitivity_makes_a_record_at_least_restricted_whatever_it_carries() -> None:
    found = labels(label("v3-ActCode", "HIV"), label("v3-Confidentiality", "N"))
    assert found.confidentiality == "N"
    assert found.effective_confidentiality == "R"
    very = labels(label("v3-ActCode", "HIV"), label("v3-Confidentiality", "V"))
    assert very.effective_confidentiality == "V"


def test_a_part_2_record_counts_as_restricted_whatever_it_carries() -> None:
    found = labels(label("v3-ActCode", "42CFRPart2"), label("v3-Confidentiality", "L"))
    assert found.policies == {"42CFRPart2"}
    assert not found.sensitivities
    assert found.effective_confidentiality == "R"


def test_the_highest_of_several_confidentialities_counts() -> None:
    found = labels(label("v3-Confidentiality", "R"), label("v3-Confidentiality", "N"))
    assert found.confidentiality == "R"
    assert not found.computed_normal


def test_a_confidentiality_of_the_source_labels_a_document() -> None:
    document = {
        "resourceType": "DocumentReference",
        "content": [{"attachment": {"url": "Binary/b"}}],
        "securityLabel": [{"coding": [label("v3-Confidentiality", "N")]}],
    }
    found = BOOK.raise_through({REF: BOOK.own(document)})[REF]
    assert found.effective_confidentiality == "N"
    assert not found.computed_normal


def test_a_computed_label_never_makes_a_document_normal() -> None:
    document = {
        "resourceType": "DocumentReference",
        "type": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
        "content": [{"attachment": {"url": "Binary/b"}}],
    }
    found = BOOK.raise_through({REF: BOOK.own(document)})[REF]
    assert found.effective_confidentiality is None


def test_an_inline_label_counts_for_the_whole_record() -> None:
    inline = {"url": INLINE, "valueCoding": label("v3-ActCode", "HIV")}
    found = own(label("v3-ActCode", "PROCESSINLINELABEL"), component=[{"extension": [inline]}])
    assert found.carried_sensitivities == {"HIV"}
    assert not found.unknown


def test_a_label_of_a_contained_resource_counts() -> None:
    inside = {"resourceType": "Practitioner", "meta": {"security": [label("v3-ActCode", "PSY")]}}
    assert own(contained=[inside]).carried_sensitivities == {"PSY"}


def test_the_confidentiality_of_a_composition_counts() -> None:
    composition = {"resourceType": "Composition", "confidentiality": "V"}
    assert BOOK.own(composition).confidentiality == "V"
    assert BOOK.own({**composition, "confidentiality": "secret"}).unknown


def test_purposes_of_use_are_kept_and_htest_is_no_purpose() -> None:
    found = labels(label("v3-ActReason", "HRESCH"), label("v3-ActReason", "HTEST"))
    assert found.purposes == {"HRESCH"}
    assert not found.unknown


def test_a_purpose_alone_does_not_make_a_record_sensitive() -> None:
    found = labels(label("v3-ActReason", "TREAT"))
    assert found.computed_normal
    assert found.purposes == {"TREAT"}


def test_the_swiss_levels_of_confidentiality_are_understood() -> None:
    found = own({"system": "http://snomed.info/sct", "code": "263856008"})
    assert found.confidentiality == "R"
    assert own({"system": "http://snomed.info/sct", "code": "86406008"}).unknown


@pytest.mark.parametrize(
    "coding",
    [
        label("v3-ActCode", "SICKLE"),
        label("v3-ActCode", "NEWCODE"),
        label("v3-Confidentiality", "X"),
        label("v3-ActReason", "NEWREASON"),
        label("v3-ObservationValue", "NEWVALUE"),
        label("v3-ActCode", None),
        {"system": "http://hospital.example/labels", "code": "VIP"},
        {"code": "HIV"},
        {"display": "secret"},
        "HIV",
        None,
    ],
)
def test_a_label_that_is_not_understood_is_never_passed_over(coding: Any) -> None:
    found = labels(coding)
    assert found.unknown
    assert not found.computed_normal
    assert "label that is not understood" in found.reasons


@pytest.mark.parametrize("code", ["REDACTED", "SUBSETTED"])
def test_marks_of_handling_are_understood(code: str) -> None:
    assert not own(label("v3-ObservationValue", code)).unknown


@pytest.mark.parametrize("code", ["AUDIT", "PERSISTLABEL"])
def test_obligations_are_understood_and_are_no_policy(code: str) -> None:
    found = own(label("v3-ActCode", code))
    assert not found.unknown
    assert not found.policies


@pytest.mark.parametrize(
    "labelled",
    [
        {"meta": {"security": label("v3-ActCode", "HIV")}},
        {"securityLabel": {"coding": [label("v3-ActCode", "HIV")]}},
        {"securityLabel": [{"text": "secret"}]},
        {"securityLabel": ["secret"]},
        {"securityLabel": "secret"},
        {"meta": "secret"},
        {"contained": {"meta": {"security": [label("v3-ActCode", "HIV")]}}},
    ],
)
def test_labels_in_a_shape_that_fhir_does_not_have_are_not_understood(
    labelled: dict[str, Any],
) -> None:
    found = BOOK.own({"resourceType": "DocumentReference", **labelled})
    assert found.unknown or found.carried_sensitivities


def test_a_local_coding_beside_an_understood_label_is_its_translation() -> None:
    local = {"system": "http://hospital.example", "code": "norm"}
    concept = {"coding": [local, label("v3-Confidentiality", "N")]}
    found = BOOK.own({"resourceType": "DocumentReference", "securityLabel": [concept]})
    assert found.confidentiality == "N"
    assert not found.unknown


@pytest.mark.parametrize(
    "system",
    ["http://hl7.org/fhir/v3/ActCode", "urn:oid:2.16.840.1.113883.5.4", THO + "v3-ActCode|9.0.0"],
)
def test_a_label_is_understood_in_every_spelling_of_its_system(system: str) -> None:
    assert own({"system": system, "code": "HIV"}).carried_sensitivities == {"HIV"}


# HTEST


def test_a_resource_labelled_htest_is_test_data() -> None:
    assert is_test_data(glucose(label("v3-ActReason", "HTEST")))
    assert is_test_data(glucose({"system": "http://hl7.org/fhir/v3/ActReason", "code": "HTEST"}))


@pytest.mark.parametrize(
    "content",
    [
        {},
        "HTEST",
        {"meta": "HTEST"},
        {"meta": {"security": label("v3-ActReason", "HTEST")}},
        {"meta": {"tag": [label("v3-ActReason", "HTEST")]}},
        {"meta": {"security": [{"code": "HTEST"}, "HTEST", None]}},
        {"meta": {"security": [{"system": "http://hospital.example", "code": "HTEST"}]}},
        {"meta": {"security": [label("v3-ActReason", "TREAT"), label("v3-ActCode", "HTEST")]}},
    ],
)
def test_only_the_label_itself_makes_a_resource_test_data(content: Any) -> None:
    assert not is_test_data(content)


# high water

LEVELS = st.sampled_from([*CONFIDENTIALITY, None])


@given(LEVELS, LEVELS)
def test_the_higher_of_two_confidentialities_hides_neither(
    one: str | None, other: str | None
) -> None:
    both = highest(one, other)
    assert both == highest(other, one)
    assert both in {one, other}
    for level in (one, other):
        assert level is None or (
            both is not None and CONFIDENTIALITY.index(both) >= CONFIDENTIALITY.index(level)
        )


def test_a_record_that_carries_and_earns_nothing_is_unlabelled() -> None:
    assert Labels().effective_confidentiality is None
    assert Labels(computed_normal=True).effective_confidentiality == "N"
    assert Labels(computed_normal=True, confidentiality="L").effective_confidentiality == "L"
