"""Every reference and every attachment of a resource is found, wherever it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.errors import MalformedJson
from fhir_bridge.references import attachments, walk
from tests.simulators.published import published


def found(content: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(one.path, one.element, one.reference) for one in walk(content)]


def test_a_reference_is_named_by_its_place_and_by_what_it_is() -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "subject": {"reference": "Patient/1"},
        "result": [{"reference": "Observation/1"}, {"reference": "Observation/2"}],
    }

    assert found(report) == [
        ("subject", "DiagnosticReport.subject", "Patient/1"),
        ("result[0]", "DiagnosticReport.result", "Observation/1"),
        ("result[1]", "DiagnosticReport.result", "Observation/2"),
    ]


def test_references_inside_extensions_are_found() -> None:
    patient = {
        "resourceType": "Patient",
        "_birthDate": {
            "extension": [
                {"url": "a", "extension": [{"url": "b", "valueReference": {"reference": "X/1"}}]}
            ]
        },
        "modifierExtension": [{"url": "c", "valueReference": {"reference": "X/2"}}],
    }

    assert found(patient) == [
        ("_birthDate.extension[0].extension[0].valueReference", "Extension.valueReference", "X/1"),
        ("modifierExtension[0].valueReference", "Extension.valueReference", "X/2"),
    ]


def test_references_inside_contained_resources_are_named_by_the_contained_type() -> None:
    observation = {
        "resourceType": "Observation",
        "contained": [{"resourceType": "Specimen", "id": "s", "subject": {"reference": "#"}}],
        "specimen": {"reference": "#s"},
    }

    assert found(observation) == [
        ("contained[0].subject", "Specimen.subject", "#"),
        ("specimen", "Observation.specimen", "#s"),
    ]


def test_what_nests_in_itself_is_named_once() -> None:
    consent = {
        "resourceType": "Consent",
        "provision": {
            "provision": [
                {"data": [{"meaning": "instance", "reference": {"reference": "Observation/1"}}]}
            ]
        },
    }

    assert found(consent) == [
        (
            "provision.provision[0].data[0].reference",
            "Consent.provision.data.reference",
            "Observation/1",
        )
    ]


def test_a_logical_reference_has_no_address() -> None:
    study = {"identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2"}, "display": "CT"}
    document = {"resourceType": "DocumentReference", "context": {"related": [study]}}

    assert found(document) == [
        ("context.related[0]", "DocumentReference.context.related", None),
    ]


def test_canonical_and_uri_elements_are_not_references() -> None:
    resource = {
        "resourceType": "Measure",
        "url": "http://example.org/Measure/1",
        "library": ["http://example.org/Library/1"],
        "group": [
            {"population": [{"criteria": {"language": "text/cql", "reference": "http://a"}}]}
        ],
        "extension": [
            {"url": "u", "valueUri": "Patient/1"},
            {"url": "u", "valueExpression": {"language": "text/cql", "reference": "http://a"}},
        ],
        "education": [{"documentType": "x", "reference": "http://example.org"}],
    }

    assert found(resource) == []


def test_a_resource_that_has_a_reference_of_its_own_is_none() -> None:
    assert found({"resourceType": "DetectedIssue", "reference": "http://example.org"}) == []


def test_a_list_inside_a_list_is_refused_by_name() -> None:
    with pytest.raises(MalformedJson, match=r"Observation\.note holds a list inside a list"):
        list(walk({"resourceType": "Observation", "note": [[{"reference": "X/1"}]]}))


def test_every_attachment_is_found_with_its_url_or_its_data() -> None:
    content = {
        "resourceType": "DocumentReference",
        "contained": [
            {"resourceType": "Media", "content": {"contentType": "image/png", "url": "Binary/2"}}
        ],
        "content": [
            {"attachment": {"contentType": "application/pdf", "url": "Binary/1"}},
            {"attachment": {"contentType": "text/plain", "data": "QQ=="}},
        ],
        "extension": [{"url": "u", "valueAttachment": {"data": "QQ=="}}],
    }

    shown = [(a.path, a.element, a.url, a.has_data, a.content_type) for a in attachments(content)]

    assert shown == [
        ("contained[0].content", "Media.content", "Binary/2", False, "image/png"),
        (
            "content[0].attachment",
            "DocumentReference.content.attachment",
            "Binary/1",
            False,
            "application/pdf",
        ),
        (
            "content[1].attachment",
            "DocumentReference.content.attachment",
            None,
            True,
            "text/plain",
        ),
        ("extension[0].valueAttachment", "Extension.valueAttachment", None, True, None),
    ]


@pytest.mark.parametrize("name", ["presentedForm", "photo", "image", "form", "document"])
def test_an_attachment_is_found_under_each_name_that_fhir_gives_it(name: str) -> None:
    [one] = attachments({"resourceType": "X", name: [{"url": "Binary/1"}]})

    assert one.path == f"{name}[0]"


def test_a_contained_resource_is_no_attachment_though_it_has_a_url() -> None:
    content = {"resourceType": "X", "document": {"resourceType": "ValueSet", "url": "http://a"}}

    assert list(attachments(content)) == []


def examples() -> list[Path]:
    return sorted(published("hl7_r4_examples").glob("*.json"))


def test_every_reference_of_the_official_examples_is_found() -> None:
    """A second opinion on our own walker: the text itself."""
    for example in examples():
        raw = example.read_bytes()
        content = lossless.decode(raw)
        if content["resourceType"] in {"Bundle", "Parameters"}:
            continue
        compact = json.dumps(json.loads(raw), separators=(",", ":"))
        written = len(re.findall(r'"reference":"', compact))

        ours = sum(one.reference is not None for one in walk(content))

        uris = {"Measure", "PlanDefinition", "DetectedIssue", "Immunization", "Library"}
        assert ours == written or content["resourceType"] in uris, example.name
