"""Which parts of a record come back as they were sent, over every server."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge import lossless
from tests.simulators.contract import contract
from tests.simulators.counterparty import Counterparty


def _stored(server: Counterparty, **more: Any) -> Any:
    content = server.observation("o", server.patient(), **more)
    answer = server.put(content)
    assert answer.status_code == 201, answer.text[:500]
    return server.read(f"Observation/{content['id']}")


@pytest.mark.parametrize(
    "literal", ["5.10", "0.0010", "12.00", "1.00", "0.000", "12345678901234567.890", "0.0000001"]
)
@contract
def test_a_number_comes_back_with_its_text(server: Counterparty, literal: str) -> None:
    stored = _stored(server, valueQuantity={"value": lossless.decode(literal.encode())})

    assert lossless.number_text(stored["valueQuantity"]["value"]) == literal


@contract
def test_an_exponent_comes_back_with_its_text(server: Counterparty) -> None:
    stored = _stored(server, valueQuantity={"value": lossless.decode(b"1.2E+3")})

    assert lossless.number_text(stored["valueQuantity"]["value"]) == "1.2E+3"


@contract
def test_one_more_zero_is_a_change(server: Counterparty) -> None:
    content = server.observation("o", server.patient())
    server.put({**content, "valueQuantity": {"value": lossless.decode(b"5.1")}})

    answer = server.put({**content, "valueQuantity": {"value": lossless.decode(b"5.10")}})

    assert answer.headers["ETag"] == 'W/"2"'


@contract
def test_times_and_partial_dates_come_back_as_written(server: Counterparty) -> None:
    sent = {
        "effectiveDateTime": "2020-03",
        "issued": "2020-03-04T05:06:07.000+00:00",
        "component": [
            {"code": {"text": "a"}, "valueDateTime": "2020"},
            {"code": {"text": "b"}, "valueDateTime": "2020-03-04T05:06:07.100Z"},
        ],
    }

    stored = _stored(server, **sent)

    assert {name: stored[name] for name in sent} == sent


@contract
def test_extensions_come_back_on_elements_and_on_primitives(server: Counterparty) -> None:
    sent = {
        "extension": [{"url": "http://example.org/ext/a", "valueString": "x"}],
        "_status": {"extension": [{"url": "http://example.org/ext/b", "valueBoolean": True}]},
        "modifierExtension": [{"url": "http://example.org/ext/c", "valueCode": "y"}],
    }

    stored = _stored(server, **sent)

    assert {name: stored[name] for name in sent} == sent


@contract
def test_an_element_that_fhir_does_not_know_comes_back(server: Counterparty) -> None:
    assert _stored(server, nonsense="x").get("nonsense") == "x"


@contract
def test_profiles_tags_and_security_labels_come_back(server: Counterparty) -> None:
    sent = {
        "profile": ["http://example.org/StructureDefinition/none"],
        "tag": [{"system": "http://example.org/tags", "code": "a"}],
        "security": [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
        ],
    }

    meta = _stored(server, meta=sent)["meta"]

    for name, labels in sent.items():
        assert [_bare(label) for label in meta[name]] == labels


@contract
def test_a_label_that_is_lifted_goes_away_when_asked_so(server: Counterparty) -> None:
    secret = [{"system": "http://example.org/labels", "code": "secret"}]
    content = server.observation("o", server.patient())
    server.put({**content, "meta": {"security": secret}})

    server.put(content, X_Meta_Snapshot_Mode="TAG,SECURITY_LABEL,PROFILE")

    assert "security" not in server.read(f"Observation/{content['id']}")["meta"]


@contract
def test_a_label_that_is_lifted_goes_away_without_asking(server: Counterparty) -> None:
    secret = [{"system": "http://example.org/labels", "code": "secret"}]
    content = server.observation("o", server.patient())
    server.put({**content, "meta": {"security": secret}})

    server.put(content)

    assert "security" not in server.read(f"Observation/{content['id']}")["meta"]


@contract
def test_the_source_of_a_record_comes_back(server: Counterparty) -> None:
    stored = _stored(server, meta={"source": "http://example.org/fhir"})

    assert stored["meta"]["source"] == "http://example.org/fhir"


@contract
def test_contained_resources_come_back_in_order(server: Counterparty) -> None:
    sent = {
        "contained": [
            {"resourceType": "Practitioner", "id": "z", "name": [{"family": "Z"}]},
            {"resourceType": "Practitioner", "id": "a", "name": [{"family": "A"}]},
        ],
        "performer": [{"reference": "#z"}, {"reference": "#a"}],
    }

    stored = _stored(server, **sent)

    assert {name: stored[name] for name in sent} == sent


@contract
def test_logical_and_foreign_references_come_back(server: Counterparty) -> None:
    sent = {
        "performer": [
            {"identifier": {"system": "urn:oid:2.999.3", "value": "1"}, "display": "a doctor"},
            {"reference": "http://elsewhere.example/fhir/Organization/1"},
        ]
    }

    assert _stored(server, **sent)["performer"] == sent["performer"]


@contract
def test_the_version_in_a_reference_comes_back(server: Counterparty) -> None:
    patient = server.patient()
    content = server.observation("o", f"{patient}/_history/1")
    server.put(content)

    stored = server.read(f"Observation/{content['id']}")

    assert stored["subject"]["reference"] == f"{patient}/_history/1"


@contract
def test_an_absolute_reference_to_the_servers_own_base_comes_back(server: Counterparty) -> None:
    patient = f"{server.base}/{server.patient()}"
    content = server.observation("o", patient)
    server.put(content)

    assert server.read(f"Observation/{content['id']}")["subject"]["reference"] == patient


@contract
def test_an_attachment_address_comes_back_untouched(server: Counterparty) -> None:
    content = {
        "resourceType": "DocumentReference",
        "id": server.id("d"),
        "status": "current",
        "subject": {"reference": server.patient()},
        "content": [
            {"attachment": {"contentType": "application/pdf", "url": "Binary/" + server.id("x")}},
            {
                "attachment": {
                    "url": "https://elsewhere.example/a.pdf",
                    "hash": "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
                }
            },
        ],
    }
    assert server.put(content).status_code == 201

    assert server.read(f"DocumentReference/{content['id']}")["content"] == content["content"]


def _bare(label: Any) -> Any:
    """Labels without what a server may add by itself (userSelected, display)."""
    return {k: label[k] for k in ("system", "code")} if isinstance(label, dict) else label
