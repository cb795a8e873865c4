"""What one record says by itself: rules 1-5 and 8-13 of the sensitivity codes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge.sensitivity import OwnLabels, SensitivityBook

BOOK = SensitivityBook.load({})

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
GLUCOSE = {"system": LOINC, "code": "2345-7"}
HIV_TEST = {"system": LOINC, "code": "20447-9"}


def concept(*codings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"coding": list(codings), **more}


def observation(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": concept(GLUCOSE),
        "subject": {"reference": "Patient/p"},
        **more,
    }


def own(**more: Any) -> OwnLabels:
    return BOOK.own(observation(**more))


def condition(system: str, code: str) -> OwnLabels:
    coding = {"system": system, "code": code}
    return BOOK.own({"resourceType": "Condition", "code": concept(coding)})


def why(labels: OwnLabels) -> str:
    return " / ".join(labels.reasons)


# rule 1

PLACES = {
    "value": {"valueCodeableConcept": concept(HIV_TEST)},
    "component": {"component": [{"code": concept(HIV_TEST)}]},
    "category": {"category": [concept(HIV_TEST)]},
    "reason": {"reasonCode": [concept(HIV_TEST)]},
    "extension": {"extension": [{"url": "http://x.example", "valueCoding": HIV_TEST}]},
    "concept in an extension": {
        "extension": [{"url": "http://x.example", "valueCodeableConcept": concept(HIV_TEST)}]
    },
    "extension of a code": {
        "code": concept(GLUCOSE, extension=[{"url": "http://x", "valueCoding": HIV_TEST}])
    },
    "extension of a coding": {
        "code": concept({**GLUCOSE, "extension": [{"url": "http://x", "valueCoding": HIV_TEST}]})
    },
    "extension of a primitive": {
        "_status": {"extension": [{"url": "http://x", "valueCoding": HIV_TEST}]}
    },
    "modifier extension": {"modifierExtension": [{"url": "http://x", "valueCoding": HIV_TEST}]},
    "contained resource": {
        "contained": [{"resourceType": "Observation", "id": "c", "code": concept(HIV_TEST)}]
    },
    "second coding of a concept": {"code": concept(GLUCOSE, HIV_TEST)},
    "identifier type": {"identifier": [{"system": "s", "value": "v", "type": concept(HIV_TEST)}]},
    "coded quantity": {"valueQuantity": {"value": 1, **HIV_TEST}},
    "bare coding": {"class": HIV_TEST},
    "beside a reference": {
        "subject": {
            "reference": "Patient/p",
            "identifier": {"system": "s", "value": "v", "type": concept(HIV_TEST)},
        }
    },
}


@pytest.mark.parametrize("place", PLACES)
def test_any_coding_anywhere_in_the_record_counts(place: str) -> None:
    labels = own(**PLACES[place])
    assert labels.sensitivities == {"HIV"}
    assert not labels.normal


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_the_test_is_the_information_whatever_its_status(status: str) -> None:
    assert own(code=concept(HIV_TEST), status=status).sensitivities == {"HIV"}


def test_a_coding_in_meta_is_a_label_and_not_a_subject() -> None:
    labels = own(meta={"tag": [HIV_TEST]})
    assert not labels.sensitivities
    assert labels.normal


# rule 2


@pytest.mark.parametrize(
    "system",
    [
        "http://loinc.org/",
        "https://loinc.org",
        " http://loinc.org ",
        "HTTP://LOINC.ORG",
        "http://loinc.org|2.78",
        "urn:oid:2.16.840.1.113883.6.1",
        "2.16.840.1.113883.6.1",
    ],
)
def test_every_spelling_of_a_code_system_means_the_same(system: str) -> None:
    labels = own(code=concept({"system": system, "code": " 20447-9 "}))
    assert labels.sensitivities == {"HIV"}


def test_an_edition_of_snomed_is_snomed() -> None:
    edition = f"{SNOMED}/731000124108/version/20230301"
    assert condition(edition, "86406008").sensitivities == {"HIV"}


@pytest.mark.parametrize(
    ("system", "code"),
    [
        ("http://hl7.org/fhir/sid/icd-10", "B20"),
        ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "B20 G"),
    ],
)
def test_other_editions_of_icd_10_match_by_their_category(system: str, code: str) -> None:
    assert condition(system, code).sensitivities == {"HIV"}


def test_the_fourth_character_of_another_edition_neither_labels_nor_clears() -> None:
    labels = condition("http://hl7.org/fhir/sid/icd-10", "E24.4")
    assert not labels.sensitivities
    assert not labels.normal


def test_a_category_without_sensitive_codes_is_ordinary_in_every_edition() -> None:
    assert condition("http://hl7.org/fhir/sid/icd-10", "I10.0").normal


# rule 3


def test_icd_10_cm_matches_by_prefix_and_all_matching_rows_count() -> None:
    assert condition(ICD, "z33.2").sensitivities == {"PREGNANT", "SEX"}


def test_a_category_above_a_listed_code_is_not_called_ordinary() -> None:
    labels = condition(ICD, "E24")
    assert not labels.sensitivities
    assert not labels.normal


def test_what_is_no_icd_code_proves_nothing() -> None:
    assert not condition(ICD, "unspecified").normal


def test_other_systems_never_match_by_prefix() -> None:
    labels = own(code=concept({"system": LOINC, "code": "20447-90"}))
    assert not labels.sensitivities


# rule 4

CD4 = concept({"system": LOINC, "code": "24467-3", "display": "CD4 cells"})


def test_an_unanswered_question_gives_no_label_and_no_computed_n() -> None:
    labels = own(code=CD4)
    assert not labels.sensitivities
    assert not labels.normal
    assert "question cd4 not answered" in why(labels)


@pytest.mark.parametrize(("answer", "expected"), [(True, {"HIV"}), (False, set())])
def test_the_operators_answer_decides_a_policy_row(*, answer: bool, expected: set[str]) -> None:
    labels = SensitivityBook.load({"cd4": answer}).own(observation(code=CD4))
    assert labels.sensitivities == expected
    assert labels.normal is not answer


def test_a_code_that_the_operator_calls_ordinary_may_have_a_telling_name() -> None:
    named = concept({"system": LOINC, "code": "21198-7", "display": "hCG"}, text="beta-hCG")
    assert SensitivityBook.load({"hcg-tumour-marker": False}).own(observation(code=named)).normal


def test_the_operator_may_add_ordinary_codes_of_his_own() -> None:
    local = ("urn:oid:1.2.3", "K")
    book = SensitivityBook.load({}, ordinary=[local, (LOINC, "20447-9")])
    assert book.own(observation(code=concept({"system": local[0], "code": "k"}))).normal
    assert book.own(observation(code=concept(HIV_TEST))).sensitivities == {"HIV"}


# rule 5


def test_a_code_of_the_practice_counts_as_what_it_says() -> None:
    role = {
        "resourceType": "PractitionerRole",
        "id": "r",
        "specialty": [
            concept({"system": "http://nucc.org/provider-taxonomy", "code": "2084p0800x"})
        ],
    }
    assert "PSY" in BOOK.own(observation(contained=[role])).sensitivities


PROGRAM = ("http://hl7.org/fhir/sid/us-npi|1234567893", "Organization/detox")


@pytest.mark.parametrize(
    "place",
    [
        {"performer": [{"reference": "Organization/detox"}]},
        {"performer": [{"reference": "Organization/detox/_history/4"}]},
        {
            "performer": [
                {"identifier": {"system": "http://hl7.org/fhir/sid/us-npi", "value": " 1234567893"}}
            ]
        },
        {
            "contained": [
                {
                    "resourceType": "Organization",
                    "id": "x",
                    "identifier": [
                        {"system": "http://hl7.org/fhir/sid/us-npi/", "value": "1234567893"}
                    ],
                }
            ]
        },
    ],
)
def test_only_the_operators_list_of_programs_earns_part_2(place: dict[str, Any]) -> None:
    assert not own(**place).policies
    labels = SensitivityBook.load({}, programs=PROGRAM).own(observation(**place))
    assert labels.policies == {"42CFRPart2"}
    assert not labels.normal
    assert not labels.sensitivities


def test_a_program_by_reference_is_known_as_the_organisation_itself() -> None:
    book = SensitivityBook.load({}, programs=PROGRAM)
    assert book.own({"resourceType": "Organization", "id": "detox"}).policies == {"42CFRPart2"}
    assert not book.own({"resourceType": "Organization", "id": "other"}).policies


def test_a_substance_use_label_never_implies_part_2() -> None:
    labels = condition(ICD, "F11.20")
    assert labels.sensitivities == {"OPIOIDUD"}
    assert not labels.policies


# rule 8


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"valueCodeableConcept": concept({"system": SNOMED, "code": "260385009"})},
        {"valueString": "Negative"},
        {"valueString": "< 5,0"},
        {"interpretation": [{"text": "High"}]},
        {"referenceRange": [{"text": "3.5 - 5.1 mmol/L"}]},
        {"identifier": [{"system": "urn:lab", "value": "7", "type": {"text": "accession"}}]},
        {"performer": [{"display": "Laboratory"}]},
        {
            "valueQuantity": {
                "value": 5,
                "unit": "mg/dL",
                "system": "urn:oid:2.16.840.1.113883.6.8",
                "code": "mg/dL",
            }
        },
        {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/rendered-value",
                    "valueString": "5.10",
                }
            ]
        },
        {"text": {"status": "generated", "div": "<div>Glucose 98</div>"}},
        {
            "category": [
                concept(
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                    }
                )
            ]
        },
    ],
)
def test_a_record_all_of_whose_codes_are_ordinary_earns_a_computed_n(more: dict[str, Any]) -> None:
    labels = own(**more)
    assert labels.normal, why(labels)
    assert labels.reasons == ()


@pytest.mark.parametrize(
    "more",
    [
        {"code": concept({"system": LOINC, "code": "99999-9"})},
        {"code": concept({"system": "http://local", "code": "K"})},
        {"code": concept({"code": "2345-7"})},
        {"code": concept({"display": "Glucose"})},
        {"code": concept("Glucose")},
        {"code": {"coding": "Glucose"}},
        {"code": {}},
        {"code": {"text": "Glucose"}},
        {"code": {"text": 5}},
        {
            "code": concept(
                {
                    "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                    "code": "laboratory",
                }
            )
        },
        {"bodySite": concept({"system": SNOMED, "code": "76752008"})},
        {"valueCodeableConcept": concept({"system": SNOMED, "code": "38341003"})},
        {"method": {"text": "see letter"}},
        {"extension": [{"url": "http://x", "valueBoolean": True}]},
        {"extension": [{"url": {}, "valueBoolean": True}]},
        {
            "modifierExtension": [
                {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}
            ]
        },
    ],
)
def test_a_code_that_is_not_known_to_be_ordinary_blocks_a_computed_n(more: dict[str, Any]) -> None:
    labels = own(**more)
    assert not labels.normal
    assert not labels.sensitivities
    assert why(labels)


def test_a_snomed_diagnosis_outside_the_short_list_proves_nothing() -> None:
    assert not condition(SNOMED, "38341003").normal


def test_a_local_coding_beside_an_ordinary_one_is_its_translation() -> None:
    assert own(code=concept({"system": "http://local", "code": "K"}, GLUCOSE)).normal


def test_a_standard_coding_that_is_not_ordinary_blocks_n_even_as_a_translation() -> None:
    assert not own(code=concept(GLUCOSE, {"system": LOINC, "code": "99999-9"})).normal


def test_a_resource_without_a_main_code_earns_no_n() -> None:
    assert not BOOK.own({"resourceType": "Observation"}).normal
    assert not BOOK.own({"resourceType": "Binary", "data": "aGl2"}).normal
    assert not BOOK.own({}).normal
    assert not BOOK.own({"resourceType": ["Observation"], "code": concept(GLUCOSE)}).normal


def test_a_specimen_may_be_ordinary_by_a_plain_code() -> None:
    blood = {"resourceType": "Specimen", "type": concept({"system": SNOMED, "code": "119297000"})}
    amniotic = {
        "resourceType": "Specimen",
        "type": concept({"system": "http://terminology.hl7.org/CodeSystem/v2-0487", "code": "AMN"}),
    }
    assert BOOK.own(blood).normal
    assert not BOOK.own(amniotic).normal


def test_an_ambulatory_encounter_is_ordinary_and_says_nothing() -> None:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    assert BOOK.own({"resourceType": "Encounter", "status": "finished", "class": kind}).normal


# rules 9, 10, 13


@pytest.mark.parametrize(
    "more",
    [
        {"note": [{"text": "negative"}]},
        {"note": {"text": "negative"}},
        {"conclusion": "negative"},
        {"presentedForm": [{"contentType": "application/pdf", "url": "Binary/x"}]},
        {"presentedForm": [{}]},
        {"valueAttachment": {"data": "aGl2"}},
        {"valueString": "see letter"},
        {"component": [{"code": concept(GLUCOSE), "valueString": "see letter"}]},
        {"text": {"status": "additional", "div": "<div/>"}},
        {"text": {"status": "extensions", "div": "<div/>"}},
        {"text": {"div": "<div/>"}},
        {"text": "not a narrative, and it names HIV"},
        {"unheardOf": "words"},
    ],
)
def test_free_text_earns_no_n(more: dict[str, Any]) -> None:
    assert not own(**more).normal


def test_labels_found_in_codes_count_beside_free_text() -> None:
    assert own(code=concept(HIV_TEST), note=[{"text": "x"}]).sensitivities == {"HIV"}


def test_a_document_stays_unlabelled_by_its_type_alone() -> None:
    document = {
        "resourceType": "DocumentReference",
        "type": concept({"system": LOINC, "code": "11502-2"}),
        "content": [{"attachment": {"url": "Binary/b"}}],
    }
    assert not BOOK.own(document).normal


def test_dicom_without_a_coded_procedure_stays_unlabelled() -> None:
    modality = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"}
    study = {"resourceType": "ImagingStudy", "status": "available", "modality": [modality]}
    assert not BOOK.own(study).normal


# rule 11


@pytest.mark.parametrize(
    "more",
    [
        {"code": concept({**GLUCOSE, "display": "HIV confirmation"})},
        {"code": concept(GLUCOSE, text="Methadone programme")},
        {"subject": {"reference": "Patient/p", "display": "Psychiatric ward"}},
        {"text": {"status": "generated", "div": "<div>pregnancy test</div>"}},
        {"referenceRange": [{"text": "pregnant: 11 - 14"}]},
        {
            "valueQuantity": {
                "value": 1,
                "system": "http://unitsofmeasure.org",
                "code": "1",
                "display": "HIV",
            }
        },
    ],
)
def test_a_telling_word_takes_n_away_and_never_gives_a_label(more: dict[str, Any]) -> None:
    labels = own(**more)
    assert not labels.normal
    assert not labels.sensitivities
    assert "HIV confirmation" not in why(labels)


def test_a_telling_word_counts_only_where_a_word_begins() -> None:
    assert own(code=concept(GLUCOSE, text="supplemental determination, therapeutic")).normal


# what is said about a record


@given(st.text("SECRT ", min_size=8, max_size=8).map("S{}S".format))
def test_reasons_never_hold_a_text_of_the_record(secret: str) -> None:
    labels = own(
        code=concept(
            {"system": f"{LOINC}|{secret}", "code": "20447-9", "display": f"HIV {secret}"},
            {"system": f"{SNOMED}/{secret}", "code": "86406008", "display": secret},
            {"system": ICD, "code": f"F11.2{secret}"},
            text=secret,
        ),
        note=[{"text": secret}],
        meta={"security": [{"system": secret, "code": secret, "display": secret}]},
        **{secret: secret},
    )
    assert labels.sensitivities >= {"HIV"}
    assert labels.unknown
    assert secret.strip() not in why(labels)


# robustness

NAMES = ["resourceType", "code", "coding", "system", "display", "text", "meta", "security", "note"]
NAMES += ["extension", "url", "valueCoding", "contained", "result", "reference", "identifier"]
NAMES += ["value", "type", "hasMember", "securityLabel", "confidentiality", "performer", "id"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text("aA1-# ", max_size=8),
    st.sampled_from(["Observation", LOINC, "20447-9", "2345-7", "#x", "Observation/1"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_whatever_a_server_sends_is_read_and_a_labelled_record_is_never_normal(
    content: dict[str, Any],
) -> None:
    labels = BOOK.own(content)
    assert not (labels.normal and (labels.sensitivities or labels.unknown or labels.policies))
    assert labels.normal == (labels.reasons == ())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(NAMES[:9]), VALUES), VALUES)
def test_a_sensitive_coding_is_found_whatever_stands_around_it(
    content: dict[str, Any], beside: Any
) -> None:
    content["component"] = [beside, {"inner": [beside, {"code": concept(HIV_TEST)}]}]
    assert "HIV" in BOOK.own(content).sensitivities


def test_what_is_remembered_is_bounded_and_does_not_change_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fhir_bridge.sensitivity.book._REMEMBERED", 2)
    monkeypatch.setattr("fhir_bridge.sensitivity.systems._REMEMBERED", 2)
    book = SensitivityBook.load({})
    for place in range(5):
        local = {"system": f"urn:x:{place}", "code": "1"}
        assert book.own(observation(code=concept(HIV_TEST, local))).sensitivities == {"HIV"}
        assert book.own(observation()).normal
