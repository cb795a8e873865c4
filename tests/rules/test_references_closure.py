"""What belongs to a record is followed; the rest of the chart is not."""

from __future__ import annotations

import pytest

from fhir_bridge.codes import mapping
from fhir_bridge.references import ClosurePolicy, Follow

POLICY = ClosurePolicy.load()


@pytest.mark.parametrize(
    ("element", "type_"),
    [
        ("DiagnosticReport.result", "Observation"),
        ("DiagnosticReport.imagingStudy", "ImagingStudy"),
        ("DiagnosticReport.specimen", "Specimen"),
        ("DiagnosticReport.media.link", "Media"),
        ("DiagnosticReport.basedOn", "ServiceRequest"),
        ("DiagnosticReport.encounter", "Encounter"),
        ("Observation.hasMember", "Observation"),
        ("Observation.derivedFrom", "DocumentReference"),
        ("Specimen.parent", "Specimen"),
        ("ImagingStudy.series.endpoint", "Endpoint"),
        ("PractitionerRole.organization", "Organization"),
        ("Organization.partOf", "Organization"),
        ("DocumentReference.relatesTo.target", "DocumentReference"),
        ("Extension.valueReference", "Specimen"),
    ],
)
def test_results_specimens_studies_requests_and_performers_are_followed(
    element: str, type_: str
) -> None:
    assert POLICY.decision(element, type_) is Follow.FOLLOW


@pytest.mark.parametrize(
    ("element", "type_"),
    [
        ("Encounter.diagnosis.condition", "Condition"),
        ("Encounter.episodeOfCare", "EpisodeOfCare"),
        ("Condition.evidence.detail", "Observation"),
        ("ServiceRequest.supportingInfo", "Observation"),
        ("DiagnosticReport.performer", "CareTeam"),
        ("DiagnosticReport.basedOn", "CarePlan"),
        ("Provenance.target", "Observation"),
        ("Observation.ofAFutureRelease", "Observation"),
        ("Extension.valueReference", "Condition"),
    ],
)
def test_the_rest_of_the_chart_is_never_followed(element: str, type_: str) -> None:
    assert POLICY.decision(element, type_) is Follow.SEVER


def test_another_patient_is_never_followed_from_any_element() -> None:
    followed = {type_ for types in POLICY.follow.values() for type_ in types}

    assert not followed & {"Patient", "Person", "Group", "Bundle", "Composition", "Resource"}


def test_only_types_that_records_lead_to_are_asked_for_beside_them() -> None:
    followed = {type_ for types in POLICY.follow.values() for type_ in types}

    assert set(POLICY.supporting_types) - {"Provenance"} <= followed
    assert not set(POLICY.supporting_types) & {"Condition", "Encounter", "Patient"}


@pytest.mark.parametrize(
    "name", ["closure", "minimum", "identifier-elements", "url-secrets", "normalisations"]
)
def test_each_mapping_says_where_it_comes_from(name: str) -> None:
    assert mapping(f"{name}.json")["source"]
