"""The consent that travels, the documents and the patient that the bridge writes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fhir_bridge.bundles import (
    LIMITED,
    Terms,
    consent_draft,
    created_patient,
    document_reference,
    travelling_consent,
)
from fhir_bridge.records import Kind, RecordRef
from fhir_bridge.references import Plan
from tests.simulators.authored import (
    CONSENT,
    DOCUMENT,
    IDENTITY,
    PATIENT,
    REFERRAL,
    REPORT,
    TERMS,
    fresh,
)


def travelling(original: dict[str, Any], version: str | None = "3") -> dict[str, Any]:
    return travelling_consent(REFERRAL, original, source=RecordRef("Consent/c1"), version=version)


def test_the_travelling_consent_says_that_it_is_limited_and_never_how() -> None:
    content = travelling(CONSENT)

    assert content["policyRule"] == {"text": LIMITED}
    assert "HIV" not in json.dumps(content).upper()
    assert "provision" not in content["provision"]
    assert "policy" not in content


def test_the_travelling_consent_names_parties_purpose_and_period() -> None:
    content = travelling(CONSENT)
    provision = content["provision"]

    assert provision["period"] == {"start": "2026-11-01", "end": "2099-12-31"}
    assert provision["purpose"][0]["code"] == "TREAT"
    assert provision["actor"][0]["role"]["coding"][0]["code"] == "IRCP"
    assert provision["actor"][0]["reference"]["identifier"]["value"] == "second-opinion-centre"
    assert content["organization"][0]["reference"] == "Organization/1"
    assert content["dateTime"] == "2026-11-01"
    assert content["patient"]["reference"] == "Patient/p"
    assert content["sourceReference"]["identifier"] == {
        "system": f"{IDENTITY}/Consent",
        "value": "c1",
    }
    assert "version 3" in content["sourceReference"]["display"]


@pytest.mark.parametrize(
    "original", [{}, {"provision": 5}, {"provision": {"period": 5}}, {"dateTime": 7}]
)
def test_a_consent_without_dates_makes_a_copy_without_dates(original: dict[str, Any]) -> None:
    content = travelling(original, version=None)

    assert "period" not in content["provision"]
    assert "dateTime" not in content
    assert "version" not in content["sourceReference"]["display"]


def test_a_drafted_consent_is_ready_to_be_signed_and_not_in_force() -> None:
    content = consent_draft(REFERRAL, TERMS)

    assert content["status"] == "draft"
    assert content["policy"] == [{"uri": TERMS.policy}]
    assert content["provision"]["period"] == {"start": "2026-11-22", "end": "2099-12-31"}
    assert content["performer"][0]["reference"] == "Patient/p"


def test_a_drafted_consent_denies_what_is_excepted_and_the_kinds_not_named() -> None:
    denied = consent_draft(REFERRAL, TERMS)["provision"]["provision"]

    assert all(one["type"] == "deny" for one in denied)
    assert denied[0]["securityLabel"][0]["code"] == "HIV"
    text = json.dumps(denied)
    assert '"SP"' in text
    assert '"RAD"' in text
    assert '"ImagingStudy"' in text
    assert '"LAB"' not in text


def test_a_draft_without_exceptions_is_one_plain_permit() -> None:
    content = consent_draft(REFERRAL, Terms(policy="https://first.example.org/p"))

    assert content["provision"].keys() == {"type", "actor", "purpose"}


def test_hash_and_size_of_a_document_are_those_of_its_bytes() -> None:
    attachment = document_reference(REFERRAL, DOCUMENT)["content"][0]["attachment"]

    assert attachment == {
        "contentType": "application/pdf",
        "language": "en-US",
        "title": "Biopsy",
        "creation": "2026-10-01",
        "url": "Binary/copy",
        "size": 8,
        "hash": "uvbBo/sl8K9aq7wyqoQeJ8sCUCA=",
    }


def test_the_hash_of_an_empty_document_is_the_known_constant() -> None:
    content = document_reference(REFERRAL, replace(DOCUMENT, data=b""))

    assert content["content"][0]["attachment"]["hash"] == "2jmj7l5rSw0yVb/vlWAYkK/YBwk="
    assert content["content"][0]["attachment"]["size"] == 0


@pytest.mark.parametrize(
    ("code", "kind", "type_"),
    [
        (
            {"coding": [{"system": "http://loinc.org", "code": "11529-5"}]},
            Kind.PATHOLOGY,
            "11529-5",
        ),
        ({"coding": [{"system": "urn:local", "code": "11529-5"}]}, Kind.PATHOLOGY, "11526-1"),
        ({"text": "x"}, Kind.LABORATORY, "11502-2"),
        (None, Kind.IMAGING, "18748-4"),
        ({"coding": "x"}, Kind.IMAGING, "18748-4"),
        ({"coding": ["x"]}, Kind.IMAGING, "18748-4"),
    ],
)
def test_the_type_of_a_document_is_the_reports_own_or_that_of_its_kind(
    code: Any, kind: Kind, type_: str
) -> None:
    content = document_reference(
        REFERRAL, replace(DOCUMENT, content={**REPORT, "code": code}, kind=kind)
    )

    assert content["type"]["coding"][0]["code"] == type_


def test_a_document_meets_the_rules_of_both_profiles_that_it_claims() -> None:
    content = document_reference(REFERRAL, DOCUMENT)

    assert len(content["meta"]["profile"]) == 2
    assert content["masterIdentifier"]["value"].startswith("urn:oid:2.25.")
    assert [one["coding"][0]["code"] for one in content["category"]] == ["clinical-note"]
    assert "docStatus" not in content
    assert "data" not in content["content"][0]["attachment"]
    assert content["context"]["related"][0]["reference"] == "DiagnosticReport/copy"
    assert content["date"] == REPORT["issued"]


def test_a_document_carries_the_labels_of_its_report() -> None:
    content = document_reference(REFERRAL, DOCUMENT)
    assert content["meta"]["security"] == REPORT["meta"]["security"]
    assert content["securityLabel"][0]["coding"] == REPORT["meta"]["security"]

    for meta in ({}, {"security": "x"}, 5):
        bare = {"resourceType": "DiagnosticReport", "meta": meta}
        unlabelled = document_reference(REFERRAL, replace(DOCUMENT, content=bare))
        assert "securityLabel" not in unlabelled
        assert "security" not in unlabelled["meta"]
        assert unlabelled["date"] == REFERRAL.written


def test_the_label_of_invented_data_is_written_once() -> None:
    htest = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
    labelled = {**REPORT, "meta": {"security": [htest]}}
    referral = replace(REFERRAL, test_data=True)

    content = document_reference(referral, replace(DOCUMENT, content=labelled))

    assert content["meta"]["security"] == [htest]


def test_two_documents_of_one_referral_have_two_ids() -> None:
    other = replace(DOCUMENT, name="DiagnosticReport/r1#presentedForm[1]")

    first, second = document_reference(REFERRAL, DOCUMENT), document_reference(REFERRAL, other)

    assert first["id"] != second["id"]
    assert first["masterIdentifier"]["value"] != second["masterIdentifier"]["value"]


def test_a_created_patient_is_who_the_source_says_without_links_to_other_charts() -> None:
    plan = Plan(base=IDENTITY, identity=IDENTITY, copies={})
    result = created_patient(fresh(PATIENT), plan, to=RecordRef("Patient/p"))

    assert result.content == {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "Invented"}],
        "gender": "female",
        "birthDate": "1970-01-01",
        "managingOrganization": {
            "identifier": {"system": f"{IDENTITY}/Organization", "value": "9"}
        },
        "identifier": [{"use": "secondary", "system": f"{IDENTITY}/Patient", "value": "1"}],
    }
    assert result.severed == ("managingOrganization",)


def test_what_fhir_does_not_allow_in_an_attachment_is_left_out_and_stops_nothing() -> None:
    odd = {"title": " ", "language": "e n", "creation": "yesterday", "url": "x"}
    report = {**REPORT, "issued": "2026-10-01"}
    content = document_reference(REFERRAL, replace(DOCUMENT, attachment=odd, content=report))

    attachment = content["content"][0]["attachment"]
    assert attachment.keys() == {"contentType", "url", "size", "hash"}
    assert content["date"] == REFERRAL.written
