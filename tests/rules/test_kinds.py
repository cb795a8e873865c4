"""Which kind of record a resource is, and how records are asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.codes import mapping
from fhir_bridge.kinds import RECORD_TYPES, Classified, KindBook, Sort, classify
from fhir_bridge.records import Kind, RecordRef

BOOK = KindBook.load()
LOINC = "http://loinc.org"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0074"
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"


def coded(code: str, system: str = LOINC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def sorted_(type_: str, /, *, named_by: Any = (), about: Any = (), **more: Any) -> Classified:
    return classify({"resourceType": type_, **more}, BOOK, named_by=named_by, about=about)


def record(kind: Kind, reason: str) -> Classified:
    return Classified(sort=Sort.RECORD, kind=kind, reason=reason)


UNCLASSIFIED = Classified(sort=Sort.UNCLASSIFIED, kind=None, reason="none")


@pytest.mark.parametrize(
    ("type_", "category", "kind"),
    [
        ("DiagnosticReport", coded("LAB", V2), Kind.LABORATORY),
        ("DiagnosticReport", coded("MB", V2), Kind.LABORATORY),
        ("DiagnosticReport", coded("SP", V2), Kind.PATHOLOGY),
        ("DiagnosticReport", coded("LP7839-6"), Kind.PATHOLOGY),
        ("DiagnosticReport", coded("RAD", V2), Kind.IMAGING),
        ("DiagnosticReport", coded("LP29684-5"), Kind.IMAGING),
        ("DiagnosticReport", coded("LAB", "http://hl7.org/fhir/v2/0074"), Kind.LABORATORY),
        ("DiagnosticReport", coded("26436-6", "urn:oid:2.16.840.1.113883.6.1"), Kind.LABORATORY),
        ("Observation", coded("laboratory", OBSERVATION + "/"), Kind.LABORATORY),
        ("Observation", coded("imaging", OBSERVATION), Kind.IMAGING),
        ("DocumentReference", coded("27898-6"), Kind.PATHOLOGY),
    ],
)
def test_a_record_is_sorted_by_its_category_first(
    type_: str, category: dict[str, Any], kind: Kind
) -> None:
    heart_rate = coded("8867-4")
    assert sorted_(type_, category=[category], code=heart_rate) == record(kind, "category")


@pytest.mark.parametrize(
    "code", ["vital-signs", "social-history", "survey", "exam", "therapy", "activity", "procedure"]
)
def test_a_record_of_another_kind_is_excluded_and_not_unclassified(code: str) -> None:
    found = sorted_("Observation", category=[coded(code, OBSERVATION)], code=coded("2345-7"))
    assert found == Classified(sort=Sort.OTHER, kind=None, reason="category")


@pytest.mark.parametrize(
    "category", [None, [], [coded("X", "http://local")], [{"text": "Labor"}], "LAB", [5], [{}]]
)
def test_a_missing_or_unknown_category_leaves_it_to_the_code(category: Any) -> None:
    found = sorted_("Observation", category=category, code=coded("2345-7"))
    assert found == record(Kind.LABORATORY, "code")


@pytest.mark.parametrize(
    ("type_", "more", "kind"),
    [
        ("Observation", {"code": coded("20447-9")}, Kind.LABORATORY),
        ("Observation", {"code": coded("11525-3")}, Kind.IMAGING),
        ("DiagnosticReport", {"code": coded("24590-2")}, Kind.IMAGING),
        ("DiagnosticReport", {"code": coded("47527-7")}, Kind.PATHOLOGY),
        ("DiagnosticReport", {"code": coded("11502-2")}, Kind.LABORATORY),
        ("DocumentReference", {"type": coded("24590-2")}, Kind.IMAGING),
    ],
)
def test_without_a_category_the_code_decides(type_: str, more: dict[str, Any], kind: Kind) -> None:
    assert sorted_(type_, **more) == record(kind, "code")


def test_a_vital_sign_without_a_category_is_known_by_its_code() -> None:
    for code in ("8867-4", "59408-5", "85354-9"):
        assert sorted_("Observation", code=coded(code)).sort is Sort.OTHER


@pytest.mark.parametrize(
    ("code", "kind"),
    [("11502-2", Kind.LABORATORY), ("11529-5", Kind.PATHOLOGY), ("18748-4", Kind.IMAGING)],
)
def test_the_type_of_a_document_says_its_kind(code: str, kind: Kind) -> None:
    note = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"
    found = sorted_("DocumentReference", type=coded(code), category=[coded("clinical-note", note)])
    assert found == record(kind, "category")


def test_a_letter_is_known_and_of_another_kind() -> None:
    assert sorted_("DocumentReference", type=coded("11488-4")).sort is Sort.OTHER


def test_a_document_of_an_unknown_type_is_unclassified() -> None:
    assert sorted_("DocumentReference", type=coded("99999-9")) == UNCLASSIFIED


def test_an_imaging_study_is_imaging_and_one_of_slides_is_pathology() -> None:
    assert sorted_("ImagingStudy") == record(Kind.IMAGING, "type")
    slides = [{"system": DICOM, "code": "SM"}]
    assert sorted_("ImagingStudy", modality=slides) == record(Kind.PATHOLOGY, "type")


def test_media_are_known_by_the_modality_that_made_them() -> None:
    assert sorted_("Media", modality=coded("CR", DICOM)) == record(Kind.IMAGING, "category")
    assert sorted_("Media", modality=coded("SM", DICOM)) == record(Kind.PATHOLOGY, "category")
    assert sorted_("Media") == UNCLASSIFIED


@pytest.mark.parametrize("type_", ["DiagnosticReport", "Observation"])
def test_what_was_made_on_a_specimen_is_laboratory_when_no_code_says_more(type_: str) -> None:
    found = sorted_(type_, code={"text": "K"}, specimen={"reference": "Specimen/s"})
    assert found == record(Kind.LABORATORY, "specimen")


def test_a_report_of_a_study_is_imaging_when_no_code_says_more() -> None:
    found = sorted_("DiagnosticReport", imagingStudy=[{"reference": "ImagingStudy/s"}])
    assert found == record(Kind.IMAGING, "study")


def test_pathology_filed_under_laboratory_is_pathology() -> None:
    found = sorted_("DiagnosticReport", category=[coded("LAB", V2), coded("SP", V2)])
    assert found.kind is Kind.PATHOLOGY


def test_a_kind_that_travels_outweighs_one_that_does_not() -> None:
    both = [coded("vital-signs", OBSERVATION), coded("laboratory", OBSERVATION)]
    assert sorted_("Observation", category=both).kind is Kind.LABORATORY


@pytest.mark.parametrize(
    "more", [{}, {"category": [coded("vital-signs", OBSERVATION)]}, {"code": coded("8867-4")}]
)
def test_a_result_of_a_laboratory_report_is_laboratory(more: dict[str, Any]) -> None:
    found = sorted_("Observation", named_by={Kind.LABORATORY}, **more)
    assert found == record(Kind.LABORATORY, "named")


def test_a_category_of_its_own_outweighs_the_report_that_names_it() -> None:
    found = sorted_(
        "Observation", named_by={Kind.LABORATORY}, category=[coded("imaging", OBSERVATION)]
    )
    assert found == record(Kind.IMAGING, "category")


def test_what_several_records_name_has_the_most_specific_of_their_kinds() -> None:
    found = sorted_("Observation", named_by=[Kind.LABORATORY, Kind.PATHOLOGY])
    assert found.kind is Kind.PATHOLOGY


def test_what_a_document_is_about_counts_only_when_nothing_else_does() -> None:
    assert sorted_("DocumentReference", about=[Kind.IMAGING]) == record(Kind.IMAGING, "about")
    letter = sorted_("DocumentReference", type=coded("11488-4"), about=[Kind.IMAGING])
    assert letter.sort is Sort.OTHER


def test_nothing_that_cannot_be_sorted_is_dropped() -> None:
    assert sorted_("Observation", code=coded("K", "http://local")) == UNCLASSIFIED
    assert sorted_("Observation", code={"text": "Potassium"}) == UNCLASSIFIED
    heart = sorted_("DiagnosticReport", category=[coded("LP29708-2")])
    assert heart == UNCLASSIFIED


@pytest.mark.parametrize("type_", ["Specimen", "Encounter", "Organization", "Condition", None])
def test_what_is_no_record_of_its_own_travels_only_with_what_names_it(type_: Any) -> None:
    assert sorted_(type_) == Classified(sort=Sort.SUPPORTING, kind=None, reason="type")


# searches

PATIENT = RecordRef("Patient/p1")


def test_records_are_searched_by_patient_without_a_category() -> None:
    searches = BOOK.searches(list(Kind))
    assert {search.type for search in searches} == set(RECORD_TYPES)
    assert all(search.params(PATIENT) == {"patient": "Patient/p1"} for search in searches)


def test_a_search_without_a_category_that_is_refused_can_be_asked_by_category() -> None:
    searches = {search.type: search for search in BOOK.searches([Kind.LABORATORY])}
    assert set(searches) == {"DiagnosticReport", "Observation", "DocumentReference"}
    assert searches["DiagnosticReport"].by_category(PATIENT) == (
        {"patient": "Patient/p1", "category": f"{V2}|LAB"},
    )
    everything = {search.type: search for search in BOOK.searches(list(Kind))}
    asked = [params["category"] for params in everything["Observation"].by_category(PATIENT)]
    assert asked == ["laboratory", "procedure", "imaging"]
    assert everything["ImagingStudy"].by_category(PATIENT) == ()


def test_nothing_is_searched_for_no_kind() -> None:
    assert BOOK.searches([]) == ()


# the table


def test_every_coding_of_the_table_names_its_source_and_a_known_kind() -> None:
    rules = mapping("record-kinds.json")
    seen = set()
    for row in rules["codings"]:
        assert row["source"], row
        assert row["display"], row
        assert row["kind"] in {*Kind, "other", "undecided"}, row
        key = (row["use"], row["system"], row["code"])
        assert key not in seen, row
        seen.add(key)


CODINGS = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from([LOINC, V2, OBSERVATION, DICOM, None, 5]),
        "code": st.sampled_from(["LAB", "2345-7", "vital-signs", "SM", None, []]),
    },
)
CONCEPTS = st.fixed_dictionaries({"coding": st.lists(CODINGS | st.just("x"), max_size=3)})


@settings(deadline=None)
@given(
    st.sampled_from([*RECORD_TYPES, "Patient", ""]),
    st.lists(CONCEPTS, max_size=2) | CONCEPTS,
    st.sets(st.sampled_from(Kind)),
)
def test_whatever_a_server_sends_is_sorted_and_only_a_record_has_a_kind(
    type_: str, concepts: Any, named_by: set[Kind]
) -> None:
    found = sorted_(type_, category=concepts, code=concepts, modality=concepts, named_by=named_by)
    assert (found.kind is not None) == (found.sort is Sort.RECORD)
    if type_ in RECORD_TYPES and named_by:
        assert found.sort is Sort.RECORD
