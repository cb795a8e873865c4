"""How labels rise through references: rules 5, 6 and 7 of the sensitivity codes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.records import RecordRef
from fhir_bridge.sensitivity import Labels, SensitivityBook

BOOK = SensitivityBook.load({}, programs=["http://hl7.org/fhir/sid/us-npi|1"])
LOINC = "http://loinc.org"
PANEL, GLUCOSE, HIV_TEST = "24321-2", "2345-7", "20447-9"


def coded(code: str, system: str = LOINC) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def result(code: str = GLUCOSE, system: str = LOINC, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "code": coded(code, system), **more}


def report(*results: str, code: str = PANEL, **more: Any) -> dict[str, Any]:
    named = [{"reference": reference} for reference in results]
    return {"resourceType": "DiagnosticReport", "code": coded(code), "result": named, **more}


def labelled(code: str, system: str = "v3-ActCode") -> dict[str, Any]:
    tho = f"http://terminology.hl7.org/CodeSystem/{system}"
    return {"meta": {"security": [{"system": tho, "code": code}]}}


def risen(**records: dict[str, Any]) -> dict[str, Labels]:
    """Take records by id; a record's type makes its reference."""
    graph = {
        RecordRef(f"{content['resourceType']}/{id_}"): BOOK.own({"id": id_, **content})
        for id_, content in records.items()
    }
    return {ref.partition("/")[2]: labels for ref, labels in BOOK.raise_through(graph).items()}


def test_a_report_has_the_labels_of_its_results_at_any_depth() -> None:
    found = risen(
        r=report("Observation/a"),
        a=result(PANEL, hasMember=[{"reference": "Observation/b"}]),
        b=result(derivedFrom=[{"reference": "Observation/c/_history/3"}]),
        c=result(HIV_TEST),
    )
    assert all(labels.sensitivities == {"HIV"} for labels in found.values())
    assert not found["r"].carried_sensitivities
    assert "HIV: Observation/a" in found["r"].reasons
    assert found["r"].effective_confidentiality == "R"


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        (
            {"resourceType": "DiagnosticReport", "imagingStudy": [{"reference": "ImagingStudy/l"}]},
            {"resourceType": "ImagingStudy", "procedureCode": [coded("11525-3")]},
        ),
        (
            {"resourceType": "DiagnosticReport", "media": [{"link": {"reference": "Media/l"}}]},
            {"resourceType": "Media", "reasonCode": [coded("11525-3")]},
        ),
        (
            {
                "resourceType": "DocumentReference",
                "context": {"related": [{"reference": "DiagnosticReport/l"}]},
            },
            {"resourceType": "DiagnosticReport", "code": coded("11525-3")},
        ),
        (
            {
                "resourceType": "DocumentReference",
                "relatesTo": [{"code": "transforms", "target": {"reference": "Observation/l"}}],
            },
            result("11525-3"),
        ),
        (
            {
                "resourceType": "Composition",
                "section": [{"entry": [{"reference": "Observation/l"}]}],
            },
            result("11525-3"),
        ),
    ],
)
def test_labels_rise_from_everything_that_a_record_contains_or_shows(
    upper: dict[str, Any], lower: dict[str, Any]
) -> None:
    assert risen(u=upper, l=lower)["u"].sensitivities == {"PREGNANT"}


def test_labels_rise_around_a_circle_of_records() -> None:
    found = risen(
        a=result(PANEL, hasMember=[{"reference": "Observation/b"}]),
        b=result(
            PANEL, hasMember=[{"reference": "Observation/a"}], valueCodeableConcept=coded(HIV_TEST)
        ),
    )
    assert found["a"].sensitivities == found["b"].sensitivities == {"HIV"}


def test_a_panel_of_ordinary_members_is_ordinary_even_in_a_circle() -> None:
    found = risen(
        a=result(PANEL, hasMember=[{"reference": "Observation/b"}]),
        b=result(PANEL, derivedFrom=[{"reference": "Observation/a"}]),
    )
    assert found["a"].computed_normal
    assert found["b"].computed_normal


@pytest.mark.parametrize(
    "reference", ["Observation/gone", "http://elsewhere.example/Observation/a", "urn:uuid:1", "#x"]
)
def test_a_member_that_cannot_be_resolved_blocks_n(reference: str) -> None:
    found = risen(r=report(reference), top=report("DiagnosticReport/r"))
    assert not found["r"].computed_normal
    assert not found["top"].computed_normal
    assert any("cannot be resolved" in reason for reason in found["r"].reasons)


def test_a_member_named_only_by_identifier_or_text_blocks_n() -> None:
    assert not risen(r=report(result=[{"display": "Glucose"}]))["r"].computed_normal


def test_a_member_inside_the_record_is_read_with_it() -> None:
    inside = {**result(), "id": "x"}
    assert risen(r=report("#x", contained=[inside]))["r"].computed_normal
    assert risen(r=report("#x", contained=[{**inside, "code": coded(HIV_TEST)}]))[
        "r"
    ].sensitivities == {"HIV"}
    assert not risen(r=report("#x", contained="nothing"))["r"].computed_normal


def test_a_member_that_is_not_ordinary_blocks_n_without_giving_a_label() -> None:
    found = risen(r=report("Observation/a"), a=result("99999-9"))
    assert not found["r"].computed_normal
    assert not found["r"].sensitivities
    assert found["r"].reasons == ("not computed N, member Observation/a",)


def test_labels_do_not_sink_to_an_ordinary_member() -> None:
    found = risen(r=report("Observation/a", "Observation/b"), a=result(HIV_TEST), b=result())
    assert found["b"].computed_normal
    assert found["b"].reasons == ()


@pytest.mark.parametrize(
    "member", [result("K", "urn:oid:1.2.3"), {"resourceType": "Observation", "code": {"text": "K"}}]
)
def test_a_member_with_a_local_or_text_only_code_takes_the_labels_of_its_panel(
    member: dict[str, Any],
) -> None:
    found = risen(
        r=report("Observation/a", "Observation/h"),
        h=result(HIV_TEST),
        a={**member, "hasMember": [{"reference": "Observation/deep"}]},
        deep=result("L", "urn:oid:1.2.3"),
    )
    assert found["a"].sensitivities == {"HIV"}
    assert found["deep"].sensitivities == {"HIV"}
    assert "HIV: DiagnosticReport/r" in found["a"].reasons


def test_what_a_result_was_derived_from_takes_no_labels_from_it() -> None:
    found = risen(
        a=result(HIV_TEST, derivedFrom=[{"reference": "Observation/b"}]),
        b=result("K", "urn:oid:1.2.3"),
    )
    assert not found["b"].sensitivities


def test_a_restriction_that_the_source_wrote_rises_and_does_not_sink() -> None:
    found = risen(
        r=report("Observation/a", "Observation/b", **labelled("N", "v3-Confidentiality")),
        a=result(**labelled("V", "v3-Confidentiality")),
        b=result("K", "urn:oid:1.2.3"),
    )
    assert found["r"].confidentiality == "V"
    assert found["b"].confidentiality is None


def test_a_normal_label_of_a_result_does_not_label_the_report() -> None:
    local = {"code": coded("K", "urn:x"), **labelled("N", "v3-Confidentiality")}
    found = risen(r=report("Observation/a"), a={**result(), **local})
    assert found["r"].confidentiality is None
    assert found["a"].confidentiality == "N"


def test_a_label_that_is_not_understood_and_a_policy_rise() -> None:
    found = risen(
        r=report("Observation/a", "Observation/b"),
        a=result(**labelled("NEWCODE")),
        b=result(**labelled("HIPAAPsyNotes")),
    )
    assert found["r"].unknown
    assert found["r"].policies == {"HIPAAPsyNotes"}
    assert "label that is not understood: Observation/a" in found["r"].reasons


def test_purposes_stay_with_the_record_that_carries_them() -> None:
    found = risen(r=report("Observation/a"), a=result(**labelled("HRESCH", "v3-ActReason")))
    assert found["a"].purposes == {"HRESCH"}
    assert not found["r"].purposes
    assert found["r"].computed_normal


ROLE = {
    "resourceType": "PractitionerRole",
    "specialty": [coded("2084P0800X", "http://nucc.org/provider-taxonomy")],
}


def test_the_specialty_of_a_resolved_role_counts_as_what_the_record_says() -> None:
    found = risen(
        r=report("Observation/a", performer=[{"reference": "PractitionerRole/p"}]),
        a=result(),
        top=report("DiagnosticReport/r"),
        p=ROLE,
    )
    assert found["r"].sensitivities == found["top"].sensitivities == {"PSY"}
    assert found["a"].computed_normal


def test_an_organisation_that_is_sensitive_does_not_label_what_names_it() -> None:
    clinic = {
        "resourceType": "Organization",
        "type": [coded("394587001", "http://snomed.info/sct")],
    }
    found = risen(a=result(performer=[{"reference": "Organization/c"}]), c=clinic)
    assert found["c"].sensitivities == {"PSY"}
    assert found["a"].computed_normal


def test_an_unknown_performer_does_not_block_n() -> None:
    assert risen(a=result(performer=[{"reference": "Organization/gone"}]))["a"].computed_normal


DETOX = {
    "resourceType": "Organization",
    "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1"}],
}


def test_everything_that_comes_from_a_part_2_program_is_a_part_2_record() -> None:
    found = risen(
        org=DETOX,
        role={
            "resourceType": "PractitionerRole",
            "organization": {"reference": "Organization/org"},
        },
        visit={"resourceType": "Encounter", "serviceProvider": {"reference": "Organization/org"}},
        a=result(performer=[{"reference": "PractitionerRole/role"}]),
        b=result(encounter={"reference": "Encounter/visit"}),
        both=result(
            performer=[{"reference": "PractitionerRole/role"}],
            encounter={"reference": "Encounter/visit"},
        ),
        r=report("Observation/a"),
        p={"resourceType": "Patient", "managingOrganization": {"reference": "Organization/org"}},
        other=result(subject={"reference": "Patient/p"}),
    )
    for id_ in ("a", "b", "both", "r", "p"):
        assert found[id_].policies == {"42CFRPart2"}, id_
        assert not found[id_].sensitivities
    assert found["other"].computed_normal


CODES = st.sampled_from([(GLUCOSE, LOINC), (HIV_TEST, LOINC), ("K", "urn:x"), ("5643-2", LOINC)])
PLACES = st.integers(0, 5)


@settings(deadline=None)
@given(st.lists(CODES, min_size=6, max_size=6), st.lists(st.tuples(PLACES, PLACES), max_size=10))
def test_what_a_member_has_its_panel_has_and_nothing_else_appears(
    codes: list[tuple[str, str]], edges: list[tuple[int, int]]
) -> None:
    records = {
        str(place): result(
            *code,
            hasMember=[{"reference": f"Observation/{to}"} for at, to in edges if at == place],
        )
        for place, code in enumerate(codes)
    }
    found = risen(**records)
    carried = frozenset().union(*(labels.sensitivities for labels in risen_alone(records)))
    for above, below in edges:
        assert found[str(below)].sensitivities <= found[str(above)].sensitivities
        if found[str(above)].computed_normal:
            assert found[str(below)].computed_normal
    for labels in found.values():
        assert labels.sensitivities <= carried
        assert not (labels.computed_normal and labels.sensitivities)


def risen_alone(records: dict[str, dict[str, Any]]) -> list[Labels]:
    return [risen(**{id_: content})[id_] for id_, content in records.items()]
