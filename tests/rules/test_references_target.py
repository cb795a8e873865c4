"""A reference is what its text says, and local only under the record's own base."""

from __future__ import annotations

import pytest

from fhir_bridge.records import RecordRef
from fhir_bridge.references import (
    Contained,
    Foreign,
    Local,
    Logical,
    Malformed,
    Urn,
    target,
    without_secrets,
)

BASE = "https://first.example.org/fhir"
LAB = Local(RecordRef("Observation/lab-1"))


@pytest.mark.parametrize(
    "spelling",
    [
        "Observation/lab-1",
        "https://first.example.org/fhir/Observation/lab-1",
        "HTTPS://First.Example.ORG/fhir/Observation/lab-1",
        "https://first.example.org:443/fhir/Observation/lab-1",
        "http://first.example.org/fhir/Observation/lab-1",
        "http://first.example.org:80/fhir/Observation/lab-1",
        "https://first.example.org./fhir/Observation/lab-1",
        "https://first.example.org//fhir//Observation/lab-1",
        "https://first.example.org/fhir/Observation/lab%2D1",
        "https://user:word@first.example.org/fhir/Observation/lab-1",
    ],
)
def test_the_own_base_is_recognised_in_every_spelling(spelling: str) -> None:
    assert target(spelling, BASE) == LAB


def test_a_versioned_reference_names_the_version_apart() -> None:
    versioned = Local(RecordRef("Observation/lab-1"), "3")

    assert target("Observation/lab-1/_history/3", BASE) == versioned
    assert target(f"{BASE}/Observation/lab-1/_history/3", BASE) == versioned


@pytest.mark.parametrize(
    "address",
    [
        "https://second.example.org/fhir/Observation/lab-1",
        "https://first.example.org:8443/fhir/Observation/lab-1",
        "https://first.example.org/other/Observation/lab-1",
        "https://first.example.org/fhirx/Observation/lab-1",
        "https://first.example.org/fhir/../admin/Observation/1",
        "https://first.example.org/fhir",
        "ftp://first.example.org/fhir/Observation/lab-1",
        "https://[half/fhir/Observation/1",
        "https://first.example.org:port/fhir/Observation/1",
        "https://first.example.org:0/fhir/Observation/1",
    ],
)
def test_an_address_outside_the_base_is_foreign(address: str) -> None:
    assert target(address, BASE) == Foreign(address)


def test_a_base_that_is_no_url_makes_every_address_foreign() -> None:
    assert target(f"{BASE}/Patient/1", "nowhere") == Foreign(f"{BASE}/Patient/1")


def test_contained_logical_and_urn_references_are_told_apart() -> None:
    assert target("#lab", BASE) == Contained("lab")
    assert target("#", BASE) == Contained("")
    assert target(None, BASE) == Logical()
    assert target("", BASE) == Logical()
    assert target("urn:uuid:1", BASE) == Urn("urn:uuid:1")
    assert target("URN:oid:1.2", BASE) == Urn("URN:oid:1.2")


@pytest.mark.parametrize(
    "text",
    [
        "lab-1",
        "Patient?identifier=a|b",
        "/Patient/1",
        "Patient/1#x",
        "Patient/a_b",
        "Patient/" + "a" * 65,
        "Patient/1 ",
        "Patient/1\n",
        f"{BASE}/Binary/1?_format=json",
        f"{BASE}/files/a.pdf",
    ],
)
def test_what_is_no_reference_of_fhir_is_malformed(text: str) -> None:
    assert target(text, BASE) == Malformed(text)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://u:p@pacs.example/wado", "https://pacs.example/wado"),
        ("https://u@pacs.example:99/wado", "https://pacs.example:99/wado"),
        ("https://pacs.example/w?a=1&access_token=x&b=2", "https://pacs.example/w?a=1&b=2"),
        ("https://pacs.example/w?Token=x", "https://pacs.example/w"),
        ("https://s3.example/o?X-Amz-Signature=x&v=1", "https://s3.example/o?v=1"),
        ("https://pacs.example/w#access_token=x", "https://pacs.example/w"),
        ("files/1?token=x", "files/1"),
        ("https://u:p@[half?token=x", "[half"),
    ],
)
def test_user_info_and_tokens_are_taken_out_of_urls(url: str, clean: str) -> None:
    assert without_secrets(url) == clean


@pytest.mark.parametrize(
    "url",
    [
        "https://pacs.example/wado",
        "https://pacs.example/w?study=1%2B2&key2=x",
        "https://pacs.example/w#frag",
        "Binary/1",
        "mailto:office@pacs.example",
        "Binary/1?_format=json",
    ],
)
def test_a_url_without_secrets_stays_as_it_was_written(url: str) -> None:
    assert without_secrets(url) == url
