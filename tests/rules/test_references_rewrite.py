"""A copy differs from the record in listed ways only, and can be taken back exactly."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.errors import BadRecord
from fhir_bridge.records import RecordRef
from fhir_bridge.references import (
    NAMESPACE,
    REDACTED,
    Plan,
    Rewritten,
    copy_id,
    copy_ref,
    rewrite,
    undo,
)

BASE = "https://first.example.org/fhir"
IDENTITY = "https://first.example.org/fhir"
TO = RecordRef("Observation/copy")


def refs(*pairs: str) -> dict[RecordRef, RecordRef]:
    return {RecordRef(a): RecordRef(b) for a, b in (pair.split(">") for pair in pairs)}


def plan(**given_: Any) -> Plan:
    known = refs("Patient/1>Patient/p", "Observation/1>Observation/o", "Binary/1>Binary/b")
    return Plan(**{"base": BASE, "identity": IDENTITY, "copies": known, **given_})


def copied(content: dict[str, Any], with_: Plan | None = None) -> Rewritten:
    record = {"resourceType": "Observation", "id": "1", **content}
    return rewrite(lossless.decode(lossless.encode(record)), with_ or plan(), to=TO)


def test_the_id_of_a_copy_is_the_same_at_every_attempt() -> None:
    assert copy_id("https://a.example/fhir", RecordRef("Observation/1")) == (
        "2f96d4d1-38ed-543a-99eb-11cf28d12896"
    )
    assert str(NAMESPACE) == "5bd2a1c3-3a4e-5c1f-9d8e-6f0c7f2b9a41"


def test_two_sources_never_share_the_id_of_a_copy() -> None:
    here = copy_id("https://a.example/fhir", RecordRef("Observation/1"))

    assert here != copy_id("https://b.example/fhir", RecordRef("Observation/1"))
    assert here != copy_id("https://a.example/fhir", RecordRef("Specimen/1"))


def test_the_copy_of_a_record_keeps_its_type_and_that_of_bytes_is_a_binary() -> None:
    ref = RecordRef("Media/1")
    id_ = copy_id("https://a.example/fhir", ref)

    assert copy_ref("https://a.example/fhir", ref) == f"Media/{id_}"
    assert copy_ref("https://a.example/fhir", ref, attachment=True) == f"Binary/{id_}"


def test_a_reference_points_to_the_copy() -> None:
    result = copied({"subject": {"reference": "Patient/1", "display": "A"}})

    assert result.content["subject"] == {"reference": "Patient/p", "display": "A"}
    assert result.refers_to == {"Patient/p"}
    assert result.listed == ()


def test_an_absolute_reference_to_the_own_base_points_to_the_copy() -> None:
    result = copied({"subject": {"reference": f"{BASE}/Patient/1"}})

    assert result.content["subject"] == {"reference": "Patient/p"}


def test_a_versioned_reference_points_to_the_copy_without_version_and_is_listed() -> None:
    result = copied({"subject": {"reference": "Patient/1/_history/7"}})

    assert result.content["subject"] == {"reference": "Patient/p"}
    assert result.unversioned == ("subject",)
    assert result.listed == ("subject",)


def test_a_severed_reference_becomes_logical_and_keeps_its_display() -> None:
    result = copied({"performer": [{"reference": "Practitioner/9", "display": "Dr A"}]})

    assert result.content["performer"] == [
        {"display": "Dr A", "identifier": {"system": f"{IDENTITY}/Practitioner", "value": "9"}}
    ]
    assert result.severed == ("performer[0]",)
    assert result.refers_to == set()


def test_a_severed_reference_keeps_the_identifier_that_it_has() -> None:
    own = {"system": "urn:x", "value": "1"}
    result = copied({"performer": [{"reference": "Practitioner/9", "identifier": own}]})

    assert result.content["performer"] == [{"identifier": own}]


@pytest.mark.parametrize(
    ("reference", "identifier"),
    [
        ("urn:uuid:1", {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1"}),
        ("lab-1", {"system": IDENTITY, "value": "lab-1"}),
        ("Patient?identifier=a", {"system": IDENTITY, "value": "Patient?identifier=a"}),
    ],
)
def test_what_the_destination_could_not_resolve_is_named_instead(
    reference: str, identifier: dict[str, str]
) -> None:
    result = copied({"subject": {"reference": reference}})

    assert result.content["subject"] == {"identifier": identifier}
    assert result.severed == ("subject",)


@pytest.mark.parametrize("reference", ["#a", "#", "https://other.example/fhir/Patient/1"])
def test_contained_and_foreign_references_stay(reference: str) -> None:
    result = copied({"subject": {"reference": reference}})

    assert result.content["subject"] == {"reference": reference}
    assert result.listed == ()


def test_a_reference_to_something_withheld_is_removed_whole_and_the_copy_is_redacted() -> None:
    withheld = plan(removed=frozenset({RecordRef("Observation/hiv")}))
    named = {"reference": "Observation/hiv", "identifier": {"value": "h"}, "display": "HIV"}
    result = copied({"hasMember": [named, {"reference": "Observation/1"}]}, withheld)

    assert result.content["hasMember"] == [{"reference": "Observation/o"}]
    assert result.content["meta"] == {"security": [REDACTED]}
    assert result.removed == ("hasMember[0]",)
    assert b"hiv" not in lossless.encode(result.content).lower()


@pytest.mark.parametrize(
    "spelling",
    [
        "Observation/hiv",
        "Observation/hiv/_history/2",
        f"{BASE}/Observation/hiv",
        f"{BASE}/Observation/hiv?_format=json",
        "/Observation/hiv",
        "Observation/hiv#x",
    ],
)
def test_something_withheld_is_named_in_no_spelling(spelling: str) -> None:
    withheld = plan(removed=frozenset({RecordRef("Observation/hiv")}))
    content = {"hasMember": [{"reference": spelling}], "presentedForm": [{"url": spelling}]}
    result = copied(content, withheld)

    assert result.removed == ("hasMember[0]", "presentedForm[0]")
    assert b"hiv" not in lossless.encode(result.content)


def test_the_label_redacted_is_written_once() -> None:
    withheld = plan(removed=frozenset({RecordRef("Observation/x")}))
    labels = [{"system": "urn:x", "code": "y"}, REDACTED]
    named = [{"reference": "Observation/x"}]
    result = copied({"meta": {"security": labels}, "hasMember": named}, withheld)

    assert result.content["meta"]["security"] == labels


def test_a_logical_reference_to_something_withheld_is_removed_too() -> None:
    study = {"identifier": {"system": "urn:dicom:uid", "value": "1.2"}, "display": "CT"}
    other = {"identifier": {"system": "urn:dicom:uid", "value": "1.3"}}
    withheld = plan(removed_identifiers=frozenset({("urn:dicom:uid", "1.2")}))
    result = copied({"derivedFrom": [study, other], "subject": {"reference": "#x"}}, withheld)

    assert result.content["derivedFrom"] == [other]
    assert result.removed == ("derivedFrom[0]",)


def test_an_attachment_points_to_the_copy_of_its_bytes() -> None:
    urls: dict[str, str | None] = {"https://first.example.org/fhir/files/1": "Binary/f"}
    content = {
        "presentedForm": [
            {"url": "Binary/1"},
            {"url": f"{BASE}/Binary/1"},
            {"url": "https://first.example.org/fhir/files/1"},
            {"contentType": "text/plain", "data": "QQ=="},
        ]
    }
    result = copied(content, plan(urls=urls))

    assert [one.get("url") for one in result.content["presentedForm"]] == [
        "Binary/b",
        "Binary/b",
        "Binary/f",
        None,
    ]
    assert result.refers_to == {"Binary/b", "Binary/f"}


def test_an_attachment_that_could_not_be_had_never_dangles_at_the_destination() -> None:
    urls: dict[str, str | None] = {"Binary/9": None, "files/a.pdf": None}
    content = {"presentedForm": [{"url": "Binary/9"}, {"url": "files/a.pdf"}, {"url": "urn:x:1"}]}
    result = copied(content, plan(urls=urls))

    assert [one["url"] for one in result.content["presentedForm"]] == [
        f"{BASE}/Binary/9",
        f"{BASE}/files/a.pdf",
        "urn:x:1",
    ]
    assert result.severed == ("presentedForm[0]", "presentedForm[1]")


def test_an_attachment_of_something_withheld_is_removed() -> None:
    withheld = plan(removed=frozenset({RecordRef("Binary/9")}))
    result = copied({"presentedForm": [{"url": "Binary/9", "title": "HIV"}]}, withheld)

    assert "presentedForm" not in result.content
    assert result.removed == ("presentedForm[0]",)


def test_endpoint_headers_user_info_and_tokens_in_urls_are_removed_and_listed() -> None:
    endpoint = {
        "resourceType": "Endpoint",
        "header": ["Authorization: Bearer x"],
        "_header": [{"id": "a"}],
        "address": "https://u:p@pacs.example/wado?token=x",
    }
    content = {
        "contained": [endpoint],
        "presentedForm": [{"url": "https://files.example/a?sig=x"}],
        "subject": {"reference": "https://u:p@other.example/fhir/Patient/1"},
        "extension": [
            {"url": "a", "valueUrl": "https://u:p@b.example/"},
            {"url": "a", "valueUri": "https://b.example/?apikey=x"},
            {"url": "a", "valueString": "u:p@b"},
        ],
    }
    result = copied(content)

    assert result.content["contained"] == [
        {"resourceType": "Endpoint", "address": "https://pacs.example/wado"}
    ]
    assert result.content["presentedForm"] == [{"url": "https://files.example/a"}]
    assert result.content["subject"] == {"reference": "https://other.example/fhir/Patient/1"}
    assert result.content["extension"][0]["valueUrl"] == "https://b.example/"
    assert result.content["extension"][1]["valueUri"] == "https://b.example/"
    assert result.severed == (
        "contained[0]._header",
        "contained[0].address",
        "contained[0].header",
        "extension[0].valueUrl",
        "extension[1].valueUri",
        "presentedForm[0]",
        "subject",
    )


def test_a_copy_carries_the_source_as_identifier_where_the_element_repeats() -> None:
    observation = copied({"identifier": [{"value": "own"}]}).content
    assert observation["id"] == "copy"
    assert observation["identifier"] == [
        {"value": "own"},
        {"use": "secondary", "system": f"{IDENTITY}/Observation", "value": "1"},
    ]
    bundle_like = copied({"resourceType": "Binary", "contentType": "text/plain"}).content
    assert "identifier" not in bundle_like
    single = copied({"resourceType": "QuestionnaireResponse", "identifier": {"value": "1"}}).content
    assert single["identifier"] == {"value": "1"}
    wrong = copied({"identifier": {"value": "1"}}).content
    assert wrong["identifier"] == {"value": "1"}


@pytest.mark.parametrize(
    ("meta", "kept"),
    [
        ({"versionId": "1", "lastUpdated": "x", "source": "#a"}, None),
        ({"versionId": "1", "tag": [{"code": "a"}]}, {"tag": [{"code": "a"}]}),
        ({"tag": [{"code": "a"}]}, {"tag": [{"code": "a"}]}),
        ({}, None),
        (None, None),
    ],
)
def test_what_every_server_sets_for_itself_is_not_copied(meta: Any, kept: Any) -> None:
    content = copied({} if meta is None else {"meta": meta}).content

    assert content.get("meta") == kept


@pytest.mark.parametrize("type_", ["Bundle", "Parameters"])
def test_a_resource_that_holds_resources_is_refused_by_name(type_: str) -> None:
    with pytest.raises(BadRecord, match=f"{type_}/1 holds resources of its own"):
        copied({"resourceType": type_})


def test_odd_members_are_carried_as_they_are() -> None:
    odd = {"subject": {"reference": 5}, "presentedForm": [{"url": 7}], "meta": "x"}
    record = {"resourceType": "Observation", "id": "1", **odd}
    result = rewrite({**record}, plan(), to=TO)

    assert result.content["subject"] == {"reference": 5}
    assert result.content["presentedForm"] == [{"url": 7}]
    assert undo(result.content, result) == record


def test_number_text_survives_the_way_there_and_back() -> None:
    raw = b'{"resourceType":"Observation","id":"1","valueQuantity":{"value":5.10}}'
    result = rewrite(lossless.decode(raw), plan(), to=TO)

    assert b'"value":5.10' in lossless.encode(result.content)
    assert lossless.encode(undo(lossless.decode(lossless.encode(result.content)), result)) == raw
