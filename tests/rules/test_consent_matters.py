"""Which records a provision means by date, instance, relation, author, class and code."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge.consent import RecordFacts
from fhir_bridge.records import Json, RecordRef
from tests.rules.consents import NPI, answer, consent, deny, permit, record

LOINC = "http://loinc.org"


def permitted(about: RecordFacts, world: Any = None, **said: Any) -> str:
    return answer(consent(permit(**said)), about=about, world=world)


def denied(about: RecordFacts, world: Any = None, **said: Any) -> str:
    return answer(consent(permit(provision=[deny(**said)])), about=about, world=world)


def observed(last_updated: str | None = None, **content: Any) -> RecordFacts:
    return record(content=content, last_updated=last_updated)


YEAR = {"start": "2022-01", "end": "2022-12"}


def test_a_permit_needs_the_authored_date_wholly_inside() -> None:
    assert permitted(observed(issued="2022-12-31T22:59:59Z"), dataPeriod=YEAR) == "permit"
    assert permitted(observed(issued="2022-12-31T23:00:00Z"), dataPeriod=YEAR) == "deny"
    assert permitted(observed(issued="2022-05"), dataPeriod=YEAR) == "permit"
    partly = {"start": "2022-01-15", "end": "2022-12"}
    assert permitted(observed(issued="2022-01"), dataPeriod=partly) == "deny"


def test_a_permit_takes_the_effective_date_only_where_authored_is_absent() -> None:
    assert permitted(observed(effectiveDateTime="2022-05-01"), dataPeriod=YEAR) == "permit"
    both = observed(issued="2023-05-01T10:00:00Z", effectiveDateTime="2022-05-01")
    assert permitted(both, dataPeriod=YEAR) == "deny"


def test_a_permit_takes_last_updated_inside() -> None:
    assert permitted(observed("2022-05-01T10:00:00Z"), dataPeriod=YEAR) == "permit"
    assert permitted(observed("2023-05-01T10:00:00Z"), dataPeriod=YEAR) == "deny"
    late = observed("2023-05-01T10:00:00Z", issued="2022-05-01T10:00:00Z")
    assert permitted(late, dataPeriod=YEAR) == "permit"


@pytest.mark.parametrize(
    "content",
    [
        {"issued": "2022-05-01T10:00:00Z"},
        {"effectiveDateTime": "2022-05-01"},
        {"effectivePeriod": {"start": "2021-12-30", "end": "2022-01-01"}},
        {"issued": "2023-05-01T10:00:00Z", "effectiveDateTime": "2022"},
        {"authoredOn": "2022"},
        {"collection": {"collectedDateTime": "2022-05-01"}},
        {"context": {"period": {"start": "2022-05-01", "end": "2022-05-02"}}},
    ],
)
def test_a_deny_takes_any_date_that_touches_it(content: Json) -> None:
    assert denied(observed(**content), dataPeriod=YEAR) == "deny"


def test_a_deny_takes_last_updated_too() -> None:
    inside = observed("2022-05-01T10:00:00Z", issued="2020-05-01T10:00:00Z")
    assert denied(inside, dataPeriod=YEAR) == "deny"
    outside = observed("2023-05-01T10:00:00Z", issued="2020-05-01T10:00:00Z")
    assert denied(outside, dataPeriod=YEAR) == "permit"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"issued": "yesterday"},
        {"effectivePeriod": {"start": "2023-05-01"}},
        {"effectivePeriod": {"start": "2023-05-01"}, "issued": "2023-05-01T10:00:00Z"},
        {"effectiveDateTime": 2020},
    ],
)
def test_an_undated_record_cannot_be_told(content: Json) -> None:
    facts = observed("2023-06-01T10:00:00Z", **content)
    assert permitted(facts, dataPeriod={"start": "2022", "end": "2022"}) == "deny"
    assert denied(facts, dataPeriod=YEAR) == "refuse"


def to(reference: str | Json, meaning: str = "instance") -> list[Json]:
    shown = {"reference": reference} if isinstance(reference, str) else reference
    return [{"meaning": meaning, "reference": shown}]


def test_an_instance_is_that_record_only() -> None:
    assert permitted(record(), data=to("Observation/o")) == "permit"
    assert permitted(record(), data=to("Observation/x")) == "deny"
    assert denied(record(), data=to("Observation/o")) == "deny"
    assert denied(record(), data=to("Observation/x")) == "permit"
    assert permitted(record(), data=to("Observation/x") + to("Observation/o")) == "permit"


def test_a_version_named_in_a_permit_is_that_version_only() -> None:
    assert permitted(record(), data=to("Observation/o/_history/1")) == "permit"
    assert permitted(record(), data=to("Observation/o/_history/2")) == "deny"
    unversioned = record(content={"meta": "x"})
    assert permitted(unversioned, data=to("Observation/o/_history/1")) == "deny"


def test_a_version_named_in_a_deny_is_all_versions() -> None:
    assert denied(record(), data=to("Observation/o/_history/9")) == "deny"


def test_an_absolute_reference_is_read_before_it_is_compared() -> None:
    url = "https://first.example/fhir/Observation/o"
    world = {url: {"resourceType": "Observation", "id": "o"}}
    assert permitted(record(), world, data=to(url)) == "permit"
    assert denied(record(), world, data=to(url)) == "deny"
    assert permitted(record(), data=to(url)) == "deny"
    assert denied(record(), data=to(url)) == "refuse"


def test_a_logical_reference_to_data_is_compared_by_identifier() -> None:
    row = {"system": "urn:oid:1.1", "value": "O-1"}
    facts = observed(identifier=[row])
    assert permitted(facts, data=to({"identifier": row})) == "permit"
    assert denied(facts, data=to({"identifier": row})) == "deny"
    assert denied(record(), data=to({"identifier": row})) == "refuse"
    assert denied(record(), data=to({"display": "the blood test"}, "related")) == "refuse"
    assert denied(record(), data=to("#inside", "related")) == "refuse"


ENCOUNTER: Any = {"encounter": {"reference": "Encounter/e"}}


def test_related_is_the_same_encounter_request_or_episode() -> None:
    world = {"Encounter/e": {"resourceType": "Encounter", "id": "e"}}
    other = world | {"Encounter/x": {"resourceType": "Encounter", "id": "x"}}
    said = to("Encounter/e", "related")
    assert permitted(observed(**ENCOUNTER), world, data=said) == "permit"
    assert denied(observed(**ENCOUNTER), world, data=said) == "deny"
    elsewhere = observed(encounter={"reference": "Encounter/x"})
    assert permitted(elsewhere, other, data=said) == "deny"
    assert denied(elsewhere, other, data=said) == "permit"
    listed = record(
        content={
            "resourceType": "DocumentReference",
            "context": {"encounter": [{"reference": "Encounter/e"}]},
        }
    )
    assert permitted(listed, world, data=said) == "permit"
    ordered = observed(basedOn=[{"reference": "ServiceRequest/s"}])
    assert permitted(ordered, data=to("ServiceRequest/s", "related")) == "permit"
    visit = observed(episodeOfCare=[{"reference": "EpisodeOfCare/c"}])
    assert permitted(visit, data=to("EpisodeOfCare/c", "related")) == "permit"


def test_related_is_what_the_target_refers_to() -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "result": [{"reference": "Observation/o"}],
    }
    world = {"DiagnosticReport/r": report}
    assert permitted(record(), world, data=to("DiagnosticReport/r", "related")) == "permit"
    assert denied(record(), world, data=to("DiagnosticReport/r", "related")) == "deny"


def test_related_includes_the_target_itself() -> None:
    assert permitted(record(), data=to("Observation/o", "related")) == "permit"
    assert denied(record(), data=to("Observation/o", "related")) == "deny"


def test_for_a_deny_related_is_also_what_refers_to_the_target_or_shares_its_encounter() -> None:
    target = {"resourceType": "Observation", "id": "x", **ENCOUNTER}
    world = {"Observation/x": target}
    said = to("Observation/x", "related")
    refers = record(related=frozenset({RecordRef("Observation/x")}))
    assert permitted(refers, world, data=said) == "deny"
    assert denied(refers, world, data=said) == "deny"
    assert permitted(observed(**ENCOUNTER), world, data=said) == "deny"
    assert denied(observed(**ENCOUNTER), world, data=said) == "deny"
    assert denied(record(), world, data=said) == "permit"


def test_a_target_that_cannot_be_had_cannot_be_told_under_a_deny() -> None:
    assert permitted(record(), data=to("Encounter/e", "related")) == "deny"
    assert denied(record(), data=to("Encounter/e", "related")) == "refuse"


def test_a_record_may_belong_to_a_denied_episode_by_way_of_its_encounter() -> None:
    world = {"EpisodeOfCare/c": {"resourceType": "EpisodeOfCare", "id": "c"}}
    assert denied(observed(**ENCOUNTER), world, data=to("EpisodeOfCare/c", "related")) == "refuse"
    assert denied(record(), world, data=to("EpisodeOfCare/c", "related")) == "permit"


def person(id_: str, type_: str = "Practitioner") -> Json:
    return {"resourceType": type_, "id": id_, "identifier": [{"system": NPI, "value": id_}]}


def role(id_: str, practitioner: str | None, organization: str | None) -> Json:
    made: Json = {"resourceType": "PractitionerRole", "id": id_}
    if practitioner:
        made["practitioner"] = {"reference": f"Practitioner/{practitioner}"}
    if organization:
        made["organization"] = {"reference": f"Organization/{organization}"}
    return made


PEOPLE = {
    "Practitioner/a": person("a"),
    "Practitioner/b": person("b"),
    "Organization/lab": person("lab", "Organization"),
    "Organization/ward": person("ward", "Organization"),
    "PractitionerRole/a-lab": role("a-lab", "a", "lab"),
    "PractitionerRole/b-lab": role("b-lab", "b", "lab"),
    "PractitionerRole/lost": role("lost", "nobody", "lab"),
    "PractitionerRole/only-lab": role("only-lab", None, "lab"),
}


def written(*authors: str, **content: Any) -> RecordFacts:
    return observed(performer=[{"reference": one} for one in authors], **content)


def by(author: str) -> dict[str, Any]:
    return {"data": to(author, "authoredby"), "world": PEOPLE}


def test_authored_by_is_the_performer_author_or_interpreter() -> None:
    assert permitted(written("Practitioner/a"), **by("Practitioner/a")) == "permit"
    assert permitted(written("Practitioner/b"), **by("Practitioner/a")) == "deny"
    read = observed(resultsInterpreter=[{"reference": "Practitioner/a"}])
    assert permitted(read, **by("Practitioner/a")) == "permit"
    assert denied(written("Practitioner/b", "Practitioner/a"), **by("Practitioner/a")) == "deny"
    assert denied(written("Practitioner/b"), **by("Practitioner/a")) == "permit"


def test_authored_by_leads_through_a_practitioner_role() -> None:
    assert permitted(written("PractitionerRole/a-lab"), **by("Practitioner/a")) == "permit"
    assert permitted(written("PractitionerRole/a-lab"), **by("Organization/lab")) == "permit"
    assert permitted(written("PractitionerRole/b-lab"), **by("Practitioner/a")) == "deny"
    assert denied(written("PractitionerRole/a-lab"), **by("Practitioner/a")) == "deny"
    assert denied(written("PractitionerRole/b-lab"), **by("Practitioner/a")) == "permit"


def test_a_role_in_a_consent_needs_both_its_sides() -> None:
    both = written("Practitioner/a", "Organization/lab")
    assert permitted(written("PractitionerRole/a-lab"), **by("PractitionerRole/a-lab")) == "permit"
    assert permitted(written("PractitionerRole/b-lab"), **by("PractitionerRole/a-lab")) == "deny"
    assert permitted(written("Practitioner/a"), **by("PractitionerRole/a-lab")) == "deny"
    assert denied(written("Practitioner/a"), **by("PractitionerRole/a-lab")) == "refuse"
    assert denied(written("PractitionerRole/b-lab"), **by("PractitionerRole/a-lab")) == "permit"
    assert permitted(both, **by("PractitionerRole/only-lab")) == "permit"
    assert permitted(written("Organization/ward"), **by("PractitionerRole/only-lab")) == "deny"


@pytest.mark.parametrize(
    "authors", [(), ("Practitioner/nobody",), ("PractitionerRole/lost",), ("Organization/lab",)]
)
def test_a_record_whose_author_is_not_known_cannot_be_told(authors: tuple[str, ...]) -> None:
    assert permitted(written(*authors), **by("Practitioner/a")) == "deny"
    assert denied(written(*authors), **by("Practitioner/a")) == "refuse"


def test_a_denied_author_who_cannot_be_read_cannot_be_told() -> None:
    assert denied(written("Practitioner/b"), **by("Practitioner/nobody")) == "refuse"
    assert denied(written("Practitioner/nobody"), **by("Practitioner/nobody")) == "deny"


def test_an_author_is_the_same_by_identifier() -> None:
    logical = {"identifier": {"system": NPI, "value": "a"}}
    assert permitted(observed(performer=[logical]), **by("Practitioner/a")) == "permit"
    assert permitted(observed(performer=["Practitioner/a"]), **by("Practitioner/a")) == "deny"


def test_a_contained_author_of_no_type_is_no_person() -> None:
    strange = observed(performer=[{"reference": "#x"}], contained=[{"id": "x", "resourceType": []}])
    assert denied(strange, **by("Practitioner/a")) == "refuse"


def test_an_organisation_that_authored_nothing_here_is_told() -> None:
    assert denied(written("Organization/ward"), **by("Organization/lab")) == "permit"


def classed(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"class": [{"system": system, "code": code} for system, code in pairs]}


TYPES = "http://hl7.org/fhir/resource-types"
PROFILE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"


def test_class_is_the_resource_type() -> None:
    assert permitted(record(), **classed((TYPES, "Observation"))) == "permit"
    assert permitted(record(), **classed((TYPES, "ImagingStudy"))) == "deny"
    assert denied(record(), **classed((TYPES, "Observation"))) == "deny"
    assert denied(record(), **classed((TYPES, "ImagingStudy"))) == "permit"


def test_class_is_a_profile_that_the_record_claims() -> None:
    claimed = classed(("urn:ietf:rfc:3986", PROFILE))
    lab = observed(meta={"profile": [PROFILE]})
    assert permitted(lab, **claimed) == "permit"
    assert denied(lab, **claimed) == "deny"
    assert permitted(record(), **claimed) == "deny"
    assert denied(record(), **claimed) == "refuse"
    assert denied(observed(meta=None), **claimed) == "refuse"


def test_a_class_of_another_system_cannot_be_told() -> None:
    assert permitted(record(), **classed(("urn:ietf:bcp:13", "application/pdf"))) == "deny"
    assert denied(record(), **classed(("urn:ietf:bcp:13", "application/pdf"))) == "refuse"


def coded(*pairs: tuple[str, str]) -> list[Json]:
    return [{"coding": [{"system": system, "code": code} for system, code in pairs]}]


VIRAL_LOAD = coded((LOINC, "20447-9"))


@pytest.mark.parametrize(
    "content",
    [
        {"code": VIRAL_LOAD[0]},
        {"code": {"text": "x"}, "component": [{"code": VIRAL_LOAD[0]}]},
        {"contained": [{"code": {"coding": [{"system": LOINC + "/", "code": " 20447-9"}]}}]},
        {"extension": [{"valueCoding": {"system": LOINC, "code": "20447-9"}}]},
    ],
)
def test_a_code_counts_by_system_and_value_anywhere_in_the_record(content: Json) -> None:
    assert permitted(observed(**content), code=VIRAL_LOAD) == "permit"
    assert denied(observed(**content), code=VIRAL_LOAD) == "deny"


def test_another_code_of_the_same_system_is_not_that_code() -> None:
    other = observed(code=coded((LOINC, "2345-7"))[0])
    assert permitted(other, code=VIRAL_LOAD) == "deny"
    assert denied(other, code=VIRAL_LOAD) == "permit"
    assert denied(record(), code=VIRAL_LOAD) == "permit"
    quantity = observed(valueQuantity={"system": LOINC, "code": 20447})
    assert denied(quantity, code=VIRAL_LOAD) == "permit"


def test_a_record_coded_in_another_system_only_cannot_be_told() -> None:
    assert denied(observed(code=coded(("urn:local", "hiv"))[0]), code=VIRAL_LOAD) == "refuse"
    assert denied(observed(code={"text": "viral load"}), code=VIRAL_LOAD) == "refuse"
    document = record(content={"resourceType": "DocumentReference"})
    assert denied(document, code=VIRAL_LOAD) == "refuse"


def test_a_concept_of_the_consent_without_a_coding_cannot_be_told() -> None:
    assert permitted(observed(code={"text": "HIV"}), code=[{"text": "HIV"}]) == "deny"
    assert denied(record(), code=[{"text": "HIV"}]) == "refuse"


def test_all_elements_present_must_match() -> None:
    lab = observed(code=VIRAL_LOAD[0], issued="2022-05-01T10:00:00Z")
    inside = classed((TYPES, "Observation"))
    assert permitted(lab, code=VIRAL_LOAD, dataPeriod=YEAR, **inside) == "permit"
    assert permitted(lab, code=VIRAL_LOAD, dataPeriod={"start": "2023"}, **inside) == "deny"
    assert denied(lab, code=VIRAL_LOAD, dataPeriod=YEAR, **inside) == "deny"
    assert denied(lab, code=VIRAL_LOAD, dataPeriod={"start": "2023"}, **inside) == "permit"
    assert denied(lab, dataPeriod=YEAR, **classed((TYPES, "Media"))) == "permit"
