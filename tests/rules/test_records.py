"""What a record is, and what its digest says."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.errors import MalformedJson
from fhir_bridge.records import Kind, Resource, digest

KNOWN_DIGESTS = [
    (
        b'{"resourceType":"Observation","id":"a","valueQuantity":{"value":5.10}}',
        b'{"id":"a","resourceType":"Observation","valueQuantity":{"value":5.10}}',
        "c5a968f1146ba00ae50e00c87595994e936e124306ad0682dfe4fbbccfa2cc68",
    ),
    (
        b'{"resourceType":"Observation","id":"a","valueQuantity":{"value":5.1}}',
        b'{"id":"a","resourceType":"Observation","valueQuantity":{"value":5.1}}',
        "14fc771a77910064ae1e9c074938a8c20d17c589f9cf98ffef77504d6d961b95",
    ),
    (
        (
            b'{"resourceType":"Patient","id":"p","meta":{"versionId":"3","lastUpdated":'
            b'"2025-01-01T00:00:00Z","source":"#x","security":[{"code":"HTEST"}]},"name":'
            b'[{"given":["Zo\\u00eb","A"]}]}'
        ),
        '{"id":"p","meta":{"security":[{"code":"HTEST"}]},"name":[{"given":["Zoë","A"]}],'
        '"resourceType":"Patient"}'.encode(),
        "b4c94646de56308e3b60eec9165fd40e176a9a697e325f6c9862663ce8712e58",
    ),
    (
        b'{"resourceType":"Basic","id":"b","meta":{"versionId":"1"},"x":[1E2,0E-8,-0,1E-3]}',
        b'{"id":"b","resourceType":"Basic","x":[1E2,0E-8,-0,1E-3]}',
        "f0ec2d7d615340fa687e971b4689d3c8f4d4dc0b689e8e0d7967c1f4b964d14c",
    ),
]


@pytest.mark.parametrize(("raw", "canonical", "expected"), KNOWN_DIGESTS)
def test_digest_v1_has_known_answers(raw: bytes, canonical: bytes, expected: str) -> None:
    assert hashlib.sha256(canonical).hexdigest() == expected
    assert digest(lossless.decode(raw)) == expected


def test_digest_ignores_only_what_each_server_sets_for_itself() -> None:
    bare: dict[str, Any] = {"resourceType": "Basic", "id": "b"}
    for name in ("versionId", "lastUpdated", "source"):
        assert digest({**bare, "meta": {name: "x"}}) == digest(bare)
    for name in ("profile", "security", "tag", "extension"):
        assert digest({**bare, "meta": {name: ["x"]}}) != digest(bare)
    assert digest({**bare, "meta": "not an object"}) != digest(bare)
    assert digest({**bare, "contained": [{"meta": {"versionId": "1"}}]}) != digest(
        {**bare, "contained": [{"meta": {}}]}
    )


def test_digest_knows_order_of_lists_and_not_of_members() -> None:
    one = lossless.decode(b'{"resourceType":"Basic","id":"b","x":[1,2]}')
    assert digest(one) == digest(lossless.decode(b'{"x":[1,2],"id":"b","resourceType":"Basic"}'))
    assert digest(one) != digest(lossless.decode(b'{"x":[2,1],"id":"b","resourceType":"Basic"}'))


def test_digest_leaves_the_content_as_it_was() -> None:
    content = lossless.decode(b'{"resourceType":"Basic","id":"b","meta":{"versionId":"1"}}')
    digest(content)
    assert content["meta"] == {"versionId": "1"}


def test_resource_keeps_what_was_received() -> None:
    raw = b'{"resourceType":"Observation","id":"lab-1","meta":{"versionId":"2","lastUpdated":'
    raw += b'"2025-01-01T00:00:00Z"},"valueQuantity":{"value":5.10}}'

    resource = Resource.of(lossless.decode(raw))

    assert resource.ref == "Observation/lab-1"
    assert (resource.type, resource.id) == ("Observation", "lab-1")
    assert (resource.version, resource.last_updated) == ("2", "2025-01-01T00:00:00Z")
    assert resource.raw == raw
    assert lossless.encode(resource.content()) == raw


def test_content_is_parsed_anew_each_time() -> None:
    resource = Resource.of({"resourceType": "Basic", "id": "b"})
    resource.content()["id"] = "changed"
    assert resource.content()["id"] == "b"


@pytest.mark.parametrize("meta", [None, "x", [], {"versionId": 3, "lastUpdated": None}, {}])
def test_meta_of_another_shape_has_no_version(meta: Any) -> None:
    resource = Resource.of({"resourceType": "Basic", "id": "b", "meta": meta})
    assert (resource.version, resource.last_updated) == (None, None)


@pytest.mark.parametrize("content", [None, [], "Patient", 1])
def test_something_that_is_no_object_is_no_resource(content: Any) -> None:
    with pytest.raises(MalformedJson, match="not a resource"):
        Resource.of(content)


@pytest.mark.parametrize("type_", [None, "", "patient", "Pa tient", "P", "Patient\n", 1, "../x"])
def test_resource_without_a_proper_type_is_refused(type_: Any) -> None:
    with pytest.raises(MalformedJson, match="without a resourceType"):
        Resource.of({"resourceType": type_, "id": "a"})


@pytest.mark.parametrize("id_", [None, "", "a b", "a/b", "a_b", "a" * 65, "a\n", 1, "é"])
def test_id_that_fhir_does_not_allow_is_refused_without_repeating_it(id_: Any) -> None:
    with pytest.raises(MalformedJson, match="a Patient whose id FHIR does not allow") as refused:
        Resource.of({"resourceType": "Patient", "id": id_})
    assert str(refused.value).isascii()


@pytest.mark.parametrize("id_", ["1", "a.b-C9", "a" * 64])
def test_every_id_that_fhir_allows_is_taken(id_: str) -> None:
    assert Resource.of({"resourceType": "Patient", "id": id_}).id == id_


def test_the_kinds_are_those_a_second_opinion_needs() -> None:
    assert [str(kind) for kind in Kind] == ["laboratory", "pathology", "imaging"]
