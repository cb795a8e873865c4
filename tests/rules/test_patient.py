"""Is this the same person: the patient is never guessed."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.patient import (
    Choice,
    Links,
    Match,
    Outcome,
    Verdict,
    choose,
    identifiers_for_asking,
    links,
    same_person,
    shared_identifiers,
)

TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
MRN = {"system": "http://first.example/mrn", "value": "123"}


def patient(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [MRN],
        "name": [{"family": "Müller", "given": ["Amelia"]}],
        "birthDate": "1968-04-02",
        "gender": "female",
        **more,
    }


def without(element: str) -> dict[str, Any]:
    return {name: value for name, value in patient().items() if name != element}


def test_birth_date_and_family_name_and_gender_that_agree_are_the_same_person() -> None:
    assert same_person(patient(), patient()) == Match(verdict=Verdict.AGREE)


@pytest.mark.parametrize(
    ("more", "element"),
    [
        ({"birthDate": "1968-04-03"}, "birthDate"),
        ({"name": [{"family": "Meier"}]}, "name.family"),
        ({"gender": "male"}, "gender"),
    ],
)
def test_one_element_that_differs_is_another_person_and_is_named_without_its_value(
    more: dict[str, Any], element: str
) -> None:
    for match in (same_person(patient(), patient(**more)), same_person(patient(**more), patient())):
        assert match == Match(verdict=Verdict.DISAGREE, differing=(element,))


@pytest.mark.parametrize(
    "family",
    [
        "MÜLLER",
        unicodedata.normalize("NFD", "Müller"),
        "  müller ",
    ],
)
def test_family_names_are_compared_in_nfc_and_case_folded(family: str) -> None:
    assert same_person(patient(), patient(name=[{"family": family}])).verdict is Verdict.AGREE


def test_sharp_s_folds_and_an_umlaut_written_out_is_another_name() -> None:
    weiss = patient(name=[{"family": "Weiß"}])
    assert same_person(weiss, patient(name=[{"family": "WEISS"}])).verdict is Verdict.AGREE
    mueller = patient(name=[{"family": "Mueller"}])
    assert same_person(patient(), mueller).verdict is Verdict.DISAGREE


def test_one_equal_family_name_is_enough_a_maiden_name_too() -> None:
    married = patient(name=[{"family": "Rossi"}, {"use": "maiden", "family": "Müller"}])
    assert same_person(patient(), married).verdict is Verdict.AGREE


@pytest.mark.parametrize("use", ["anonymous", "temp"])
def test_a_pseudonym_is_no_name(use: str) -> None:
    hidden = patient(name=[{"use": use, "family": "Müller"}])
    assert same_person(patient(), hidden).missing == ("name.family",)


@pytest.mark.parametrize("element", ["birthDate", "name"])
def test_a_missing_birth_date_or_name_stops_in_either_chart(element: str) -> None:
    for pair in ((patient(), without(element)), (without(element), patient())):
        assert same_person(*pair).verdict is Verdict.INSUFFICIENT


@pytest.mark.parametrize("date", ["1968", "1968-04", 19680402, None, "1968-04-02T00:00:00Z"])
def test_an_incomplete_birth_date_proves_nothing_even_when_both_have_it(date: Any) -> None:
    match = same_person(patient(birthDate=date), patient(birthDate=date))
    assert match == Match(verdict=Verdict.INSUFFICIENT, missing=("birthDate",))


@pytest.mark.parametrize("gender", [None, "unknown", 1])
def test_gender_counts_only_where_both_have_one(gender: Any) -> None:
    assert same_person(patient(gender=gender), patient()).verdict is Verdict.AGREE
    assert same_person(patient(), patient(gender=gender)).verdict is Verdict.AGREE


@pytest.mark.parametrize("active", [False, None, "false"])
def test_an_inactive_chart_stops_at_either_end(active: Any) -> None:
    assert same_person(patient(), patient(active=active)).missing == ("destination active",)
    assert same_person(patient(active=active), patient()).missing == ("source active",)
    assert same_person(patient(active=True), patient()).verdict is Verdict.AGREE


def test_a_chart_that_was_replaced_stops_at_either_end() -> None:
    merged = patient(link=[{"type": "replaced-by", "other": {"reference": "Patient/new"}}])
    match = same_person(patient(), merged)
    assert match == Match(verdict=Verdict.INSUFFICIENT, missing=("destination link.replaced-by",))
    assert same_person(merged, patient()).missing == ("source link.replaced-by",)


def test_a_difference_outweighs_what_is_missing() -> None:
    match = same_person(patient(), patient(birthDate=None, gender="male"))
    assert match.verdict is Verdict.DISAGREE
    assert match.differing == ("gender",)
    assert match.missing == ("birthDate",)


@pytest.mark.parametrize(
    "names", ["Müller", {"family": "Müller"}, [5, "x"], [{"family": 5}, {"family": " "}]]
)
def test_names_in_a_shape_that_fhir_does_not_have_are_no_names(names: Any) -> None:
    assert same_person(patient(), patient(name=names)).missing == ("name.family",)


# choosing


def candidate(id_: str = "d", **more: Any) -> dict[str, Any]:
    return patient(id=id_, **more)


def test_exactly_one_candidate_that_agrees_is_the_patient() -> None:
    choice = choose(patient(), [candidate(), candidate()])
    assert choice == Choice(
        outcome=Outcome.ONE,
        ref="Patient/d",
        match=Match(verdict=Verdict.AGREE),
        candidates=("Patient/d",),
    )


def test_no_candidate_stops() -> None:
    assert choose(patient(), []) == Choice(outcome=Outcome.NONE)


def test_several_candidates_stop_even_if_only_one_agrees() -> None:
    choice = choose(patient(), [candidate("e", gender="male"), candidate("d")])
    assert choice.outcome is Outcome.SEVERAL
    assert choice.ref is None
    assert choice.candidates == ("Patient/d", "Patient/e")


def test_a_candidate_that_disagrees_stops() -> None:
    choice = choose(patient(), [candidate(gender="male")])
    assert choice.outcome is Outcome.DISAGREES
    assert choice.match is not None
    assert choice.match.differing == ("gender",)


def test_a_candidate_that_cannot_be_compared_stops() -> None:
    assert choose(patient(), [candidate(birthDate=None)]).outcome is Outcome.INSUFFICIENT


def test_a_candidate_without_a_shared_identifier_was_not_what_we_asked_for() -> None:
    choice = choose(patient(), [candidate(identifier=[{"system": "http://x", "value": "123"}])])
    assert choice.outcome is Outcome.DISAGREES
    assert choice.match is not None
    assert choice.match.differing == ("identifier",)


def test_the_source_patient_is_never_a_candidate_for_the_destination_patient() -> None:
    assert choose(patient(), [patient()], never={"p"}).outcome is Outcome.NONE
    assert choose(patient(), [patient(), candidate()], never={"p"}).ref == "Patient/d"


def test_our_own_copy_identifier_proves_nothing_about_who_somebody_is() -> None:
    copy = {"system": "http://first.example/fhir/Patient", "value": "p"}
    one, other = patient(identifier=[MRN, copy]), candidate(identifier=[copy])
    own = {"http://first.example/fhir/Patient"}
    assert choose(one, [other], own_systems=own).outcome is Outcome.DISAGREES
    assert choose(one, [other]).outcome is Outcome.ONE


def test_an_identifier_is_shared_by_system_and_value() -> None:
    other = candidate(identifier=[{"system": MRN["system"] + " ", "value": " 123"}])
    assert shared_identifiers(patient(), other) == (MRN["system"],)
    assert not shared_identifiers(patient(), candidate(identifier=[{**MRN, "value": "124"}]))
    assert not shared_identifiers(patient(), candidate(identifier=[{**MRN, "system": "http://x"}]))


# asking


def typed(code: Any, system: str, value: Any = "1", **more: Any) -> dict[str, Any]:
    coding = [{"system": TYPES, "code": code}]
    return {"type": {"coding": coding}, "system": system, "value": value, **more}


def test_the_most_specific_identifier_is_asked_for_first() -> None:
    asked = identifiers_for_asking(
        patient(
            identifier=[
                typed("MB", "http://insurer"),
                MRN,
                typed("MR", "http://mrn"),
                typed("NI", "http://nation"),
                typed("SS", "http://ssn", use="official"),
                typed(["NI"], "http://odd"),
                {"type": "x", "system": "http://bare", "value": "1"},
            ]
        )
    )
    assert [system for system, _ in asked] == [
        "http://nation",
        "http://ssn",
        MRN["system"],
        "http://odd",
        "http://bare",
        "http://mrn",
        "http://insurer",
    ]


@pytest.mark.parametrize(
    "identifier",
    [
        {**MRN, "use": "temp"},
        {**MRN, "use": "old"},
        {"value": "123"},
        {"system": "http://x", "value": " "},
        {"system": "http://x", "value": 123},
        {"system": "http://x", "value": "***-**-6789"},
        {"system": "http://first.example/fhir/Patient", "value": "p"},
        "123",
    ],
)
def test_temporary_old_masked_and_our_own_identifiers_are_never_asked_for(identifier: Any) -> None:
    own = {"http://first.example/fhir/Patient"}
    assert not identifiers_for_asking(patient(identifier=[identifier]), own_systems=own)


def test_an_identifier_is_asked_for_once() -> None:
    assert len(identifiers_for_asking(patient(identifier=[MRN, {**MRN, "use": "usual"}]))) == 1


@pytest.mark.parametrize("use", [{}, [], None])
def test_a_use_in_a_shape_that_fhir_does_not_have_is_no_use(use: Any) -> None:
    assert identifiers_for_asking(patient(identifier=[{**MRN, "use": use}]))
    named = patient(name=[{"family": "Müller", "use": use}])
    assert same_person(named, patient()).verdict is Verdict.AGREE


# links


def test_every_linked_chart_is_named() -> None:
    found = links(
        patient(
            link=[
                {"type": "replaces", "other": {"reference": "Patient/a"}},
                {"type": "seealso", "other": {"reference": "Patient/b"}},
                {"type": "refer", "other": {"reference": "Patient/c"}},
                {"type": "replaced-by", "other": {"reference": "Patient/d"}},
                {"type": "seealso", "other": {"identifier": MRN}},
                {"type": ["odd"], "other": "Patient/e"},
            ]
        )
    )
    assert found == Links(
        replaced_by=("Patient/d",),
        replaces=("Patient/a",),
        seealso=("Patient/b", "Patient/c", "Patient.link[4]", "Patient.link[5]"),
    )
    assert links(patient()) == Links()


TEXT = st.text("abcABC éßİıǅ-'", max_size=6)
PATIENTS = st.fixed_dictionaries(
    {},
    optional={
        "birthDate": st.sampled_from(["1968-04-02", "1968", None]),
        "gender": st.sampled_from(["female", "male", "unknown", None]),
        "name": st.lists(st.fixed_dictionaries({"family": TEXT}), max_size=2),
        "active": st.booleans(),
    },
)


@settings(deadline=None)
@given(PATIENTS, PATIENTS)
def test_a_comparison_does_not_depend_on_who_is_asked_first(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    there, back = same_person(one, other), same_person(other, one)
    assert there.verdict is back.verdict
    assert there.differing == back.differing


@settings(deadline=None)
@given(PATIENTS)
def test_nobody_differs_from_himself(one: dict[str, Any]) -> None:
    assert same_person(one, one).verdict is not Verdict.DISAGREE


@settings(deadline=None)
@given(st.text("SECRT", min_size=4), st.text("SECRT", min_size=4))
def test_a_result_never_holds_a_value_of_a_chart(one: str, other: str) -> None:
    source = patient(name=[{"family": one}], identifier=[{"system": "s", "value": one}])
    match = same_person(source, patient(name=[{"family": other}], gender=other))
    assert one not in repr(match)
    assert other not in repr(match)
