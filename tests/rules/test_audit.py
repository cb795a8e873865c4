"""What an AuditEvent of ours says, and what it must not say."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fhir_bridge.audit import PROFILES, Act, Form, Said, opened, write
from fhir_bridge.audit.codings import OTHER, OWN_ACTS
from fhir_bridge.codes import mapping
from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Event
from tests.simulators.audit_events import ACTS, NAMES, SCENE, TRANSFER, written

CLAIMING = {
    "consent verified": Form.AUTHORIZATION,
    "consent denied": Form.AUTHORIZATION,
    "consent changed": Form.AUTHORIZATION,
    "records fetched": Form.SEARCH,
    "patient asked for": Form.DISCLOSURE,
    "patient found": Form.SEARCH,
    "patient given": Form.READ,
    "disclosure announced": Form.DISCLOSURE,
    "disclosure announced for treatment": Form.DISCLOSURE,
    "disclosed": Form.DISCLOSURE,
}

NO_BODIES = {
    Event.LOG_OPENED,
    Event.LOG_HEARTBEAT,
    Event.LOG_CLOSED,
    Event.WITNESS_COSIGNED,
    Event.CONFIG_CHANGED,
    Event.INTEGRITY_ALARM,
}
"""What the bridge does by itself, and what is told in words."""

every = pytest.mark.parametrize("name", NAMES)


def of_type(content: dict[str, Any], code: str) -> list[dict[str, Any]]:
    return [one for one in content.get("entity", []) if one["type"]["code"] == code]


def roles(content: dict[str, Any]) -> list[str]:
    return [one["type"]["coding"][0]["code"] for one in content["agent"]]


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for one in node.values():
            yield from strings(one)
    elif isinstance(node, list):
        for one in node:
            yield from strings(one)
    elif isinstance(node, str):
        yield node


@every
def test_a_profile_is_claimed_where_one_fits_and_never_for_what_failed(name: str) -> None:
    claimed = written(name).get("meta", {}).get("profile", [])

    assert claimed == ([PROFILES[CLAIMING[name]]] if name in CLAIMING else [])


@every
def test_an_act_without_a_known_patient_claims_no_profile(name: str) -> None:
    assert "meta" not in written(name, replace(SCENE, patient=None))


def test_an_act_outside_a_transfer_of_which_nothing_is_to_be_told_names_no_job() -> None:
    raw = write(
        replace(SCENE, transfer=None),
        Act(),
        event=Event.ACCESS_VIEWED,
        id_=TRANSFER,
        recorded="2026-11-25T09:00:00.000Z",
    )

    assert not [one for one in of_type(json.loads(raw), "4") if "query" not in one]


@every
def test_a_request_without_a_trace_has_none_in_its_event(name: str) -> None:
    named = 0 if CLAIMING.get(name) is Form.AUTHORIZATION or name.startswith("no consent") else 1

    assert len(of_type(written(name), "XrequestId")) == named
    assert of_type(written(name, replace(SCENE, trace=None)), "XrequestId") == []


def test_an_act_without_custodian_and_recipient_names_neither() -> None:
    raw = write(
        replace(SCENE, custodian="", recipient="", transfer=None),
        Act(),
        event=Event.ACCESS_VIEWED,
        id_=TRANSFER,
        recorded="2026-11-25T09:00:00.000Z",
    )

    assert roles(json.loads(raw)) == ["110150", "humanuser"]


@every
def test_an_act_has_one_initiator(name: str) -> None:
    assert sum(one["requestor"] for one in written(name)["agent"]) == 1


@every
def test_an_act_names_one_patient_and_by_an_identifier_only(name: str) -> None:
    content = written(name)

    (patient,) = of_type(content, "1")
    assert patient["what"] == {
        "type": "Patient",
        "identifier": {"system": "https://first.example.org/fhir/Patient", "value": "p1"},
    }
    assert patient["type"]["display"] == "Person"
    assert patient["role"]["display"] == "Patient"


@every
def test_nothing_is_referred_to_that_an_audit_repository_does_not_hold(name: str) -> None:
    assert '"reference"' not in json.dumps(written(name))


@every
def test_an_act_names_the_transfer_and_the_request_id_where_its_profile_lets_it(
    name: str,
) -> None:
    content = written(name)
    named = [one["what"]["identifier"]["value"] for one in of_type(content, "4")]
    traces = [one["what"]["identifier"]["value"] for one in of_type(content, "XrequestId")]

    if ACTS[name][1].form is Form.AUTHORIZATION:
        assert (named, traces) == ([], [])
        assert {one["type"]["code"] for one in content["entity"]} <= {"1", "Consent"}
    else:
        assert (named, traces) == ([f"urn:uuid:{TRANSFER}"], ["7f" * 16])


@every
def test_the_purpose_of_use_is_told(name: str) -> None:
    (purpose,) = written(name)["purposeOfEvent"]

    assert purpose["coding"][0]["code"] == "PATRQT"


@every
def test_the_words_of_the_log_stand_beside_the_codes_of_others(name: str) -> None:
    event, act, _ = ACTS[name]
    own = [one["code"] for one in written(name)["subtype"] if one["system"] == OWN_ACTS]

    assert own == ([] if act.form is Form.AUTHORIZATION else [str(event)])


@every
def test_invented_data_are_labelled_as_such(name: str) -> None:
    content = written(name, replace(SCENE, test_data=True))

    assert [one["code"] for one in content["meta"]["security"]] == ["HTEST"]


def test_a_disclosure_names_who_gave_who_received_who_keeps_and_who_allowed() -> None:
    content = written("disclosed")
    agents = dict(zip(roles(content), content["agent"], strict=True))

    source, recipient = agents["110153"], agents["110152"]
    assert source["who"] == content["source"]["observer"]
    assert source["network"] == {"address": "bridge.first.example.org", "type": "1"}
    assert recipient["who"]["identifier"]["value"] == "second-opinion-centre"
    assert recipient["network"] == {"address": "https://second.example.org/fhir", "type": "5"}
    assert agents["159541003"]["who"]["identifier"]["value"] == "first-clinic"
    assert agents["429577009"]["who"]["identifier"]["value"] == "p1"
    assert content["type"]["code"] == "110106"
    assert content["subtype"][0]["code"] == "disclose"
    assert content["action"] == "R"


def test_where_treatment_is_the_basis_the_patient_is_not_named_as_who_allowed_it() -> None:
    assert "429577009" not in roles(written("disclosure announced for treatment"))


def test_a_search_and_a_read_name_client_and_server_as_their_profiles_do() -> None:
    search, read = written("patient found"), written("patient given")

    assert roles(search)[:2] == ["110153", "110152"]
    assert roles(read)[:2] == ["110152", "110153"]
    assert search["agent"][1]["network"]["address"] == "https://second.example.org/fhir"
    assert read["agent"][1]["network"]["address"] == "https://second.example.org/fhir"


def test_a_query_is_there_as_text_and_as_base64() -> None:
    (query,) = of_type(written("records fetched"), "2")

    assert query["description"] == "GET Observation?patient=p1"
    assert base64.b64decode(query["query"]).decode() == query["description"]
    assert "name" not in query


def test_what_a_record_calls_a_system_cannot_break_a_query() -> None:
    act = replace(ACTS["patient found"][1], asked=["POST Patient/_search identifier=a\x00\nb|"])
    body = write(SCENE, act, event=Event.PATIENT_MATCHED, id_="x", recorded="2026-11-22T10:00:00Z")

    (query,) = of_type(json.loads(body), "2")
    assert query["description"] == "POST Patient/_search identifier=a b|"


def test_a_refusal_names_the_consent_its_version_the_provision_and_the_rule() -> None:
    content = written("consent denied")

    (consent,) = of_type(content, "Consent")
    assert consent["what"]["identifier"]["value"] == "c1"
    assert {one["type"]: one["valueString"] for one in consent["detail"]} == {
        "version": "3",
        "provision": "provision.provision[1]",
        "reason": "provision-deny",
    }
    assert content["outcome"] == "8"


def test_what_a_person_said_is_read_back() -> None:
    event, act, _ = ACTS["released by a person"]
    body = write(SCENE, act, event=event, id_="x", recorded="2026-11-22T10:00:00.000Z")

    read = opened(body)

    assert (read.person, read.details["reason"]) == ("Ada Invented", "asked by the patient")
    assert read.refs == ("Observation/1",)
    assert read.patient == SCENE.patient
    assert read.consents == ()
    assert not read.test_data


def test_the_consents_of_an_act_are_read_back() -> None:
    for name in ("consent denied", "disclosed"):
        event, act, _ = ACTS[name]
        body = write(SCENE, act, event=event, id_="x", recorded="2026-11-22T10:00:00.000Z")

        assert list(opened(body).consents) == list(act.consents)


@pytest.mark.parametrize("said", ["two\nlines\x00and\x7fmore", " around ", "\x01", "x" * 9_000])
def test_what_people_type_becomes_a_string_that_fhir_allows(said: str) -> None:
    act = Act(said=Said(by=said, reason=said), sentence=said)
    body = write(SCENE, act, event=Event.GAP_ACCEPTED, id_="x", recorded="2026-11-22T10:00:00Z")

    for text in strings(json.loads(body)):
        assert text
        assert text == text.strip()
        assert len(text) <= 4_000
        assert text.isprintable()


def test_the_same_act_is_written_in_the_same_bytes() -> None:
    for event, act, outcome in ACTS.values():
        names: Any = {"event": event, "id_": "x", "recorded": "2026-11-22T10:00:00Z"}
        first = write(SCENE, act, outcome=outcome, **names)
        assert first == write(SCENE, act, outcome=outcome, **names)


def test_every_act_with_a_body_has_its_word_in_our_code_system() -> None:
    system = mapping("audit-acts.json")["entry"][0]["resource"]

    assert system["url"] == OWN_ACTS
    assert {one["code"] for one in system["concept"]} == set(map(str, set(Event) - NO_BODIES))
    assert system["count"] == len(system["concept"])
    assert {event for event, _, _ in ACTS.values()} == set(Event) - NO_BODIES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"x"',
        b"{}",
        b'{"agent":1}',
        b'{"agent":[],"entity":[{}]}',
        json.dumps({"agent": [], "entity": [{"type": OTHER, "detail": [{}]}]}).encode(),
        b"\xff",
    ],
)
def test_what_is_no_audit_event_of_ours_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(AlteredLog, match="not an AuditEvent of ours"):
        opened(body)
