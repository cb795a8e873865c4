"""What the bridge relies on when it sends many resources at once, over every server."""

from __future__ import annotations

import base64

from fhir_bridge import lossless
from tests.simulators.contract import contract
from tests.simulators.counterparty import Counterparty, entry

URN = "urn:uuid:6f1d0a4e-0000-4000-8000-00000000000"


@contract
def test_a_transaction_of_puts_stores_all_and_answers_in_order(server: Counterparty) -> None:
    patient = {"resourceType": "Patient", "id": server.id("p")}
    results = [server.observation(f"o{i}", f"Patient/{patient['id']}") for i in range(3)]

    answer = server.transact(entry(results[0]), entry(patient), *map(entry, results[1:]))

    assert answer.status_code == 200, answer.text[:500]
    responses = [one["response"] for one in answer.json()["entry"]]
    assert [one["status"][:3] for one in responses] == ["201"] * 4
    assert f"Observation/{results[0]['id']}/_history/1" in responses[0]["location"]
    assert f"Patient/{patient['id']}/_history/1" in responses[1]["location"]
    assert {_number(one["etag"]) for one in responses} == {"1"}
    assert all(server.status(f"Observation/{one['id']}") == 200 for one in results)


@contract
def test_the_same_transaction_again_makes_no_new_version(server: Counterparty) -> None:
    entries = [entry(server.observation("o", server.patient()))]
    server.transact(*entries)

    answer = server.transact(*entries)

    response = answer.json()["entry"][0]["response"]
    assert (response["status"][:3], _number(response["etag"])) == ("200", "1")


@contract
def test_a_transaction_answer_writes_an_etag_as_the_header_does(server: Counterparty) -> None:
    answer = server.transact(entry(server.observation("o", server.patient())))

    assert answer.json()["entry"][0]["response"]["etag"] == 'W/"1"'


@contract
def test_a_transaction_with_one_bad_entry_stores_nothing(server: Counterparty) -> None:
    good = server.observation("good", server.patient())
    bad = server.observation("bad", f"Patient/{server.id('absent')}")

    answer = server.transact(entry(good), entry(bad))

    assert answer.status_code in {400, 422}
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert server.status(f"Observation/{good['id']}") == 404


@contract
def test_resources_that_refer_to_each_other_can_come_together(server: Counterparty) -> None:
    patient = server.patient()
    first = server.observation("a", patient)
    second = server.observation("b", patient)
    first["hasMember"] = [{"reference": f"Observation/{second['id']}"}]
    second["derivedFrom"] = [{"reference": f"Observation/{first['id']}"}]

    assert server.transact(entry(first), entry(second)).status_code == 200
    assert server.read(f"Observation/{first['id']}")["hasMember"] == first["hasMember"]


@contract
def test_the_same_resource_twice_in_a_transaction_is_refused(server: Counterparty) -> None:
    content = server.observation("o", server.patient())

    assert server.transact(entry(content), entry(content)).status_code == 400


@contract
def test_a_urn_in_a_transaction_becomes_the_id_in_references_and_attachment_urls(
    server: Counterparty,
) -> None:
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "YQ=="}
    report = {
        "resourceType": "DiagnosticReport",
        "id": server.id("r"),
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"{URN}1"},
        "presentedForm": [{"contentType": "text/plain", "url": f"{URN}2"}],
    }
    post = {"method": "POST"}

    answer = server.transact(
        {
            "fullUrl": f"{URN}1",
            "resource": {"resourceType": "Patient"},
            "request": {**post, "url": "Patient"},
        },
        {"fullUrl": f"{URN}2", "resource": binary, "request": {**post, "url": "Binary"}},
        entry(report),
    )

    assert answer.status_code == 200, answer.text[:500]
    made = [_made(one["response"]["location"]) for one in answer.json()["entry"]]
    stored = server.read(f"DiagnosticReport/{report['id']}")
    assert stored["subject"]["reference"] == made[0]
    assert stored["presentedForm"][0]["url"] == made[1]
    assert base64.b64decode(server.read(made[1])["data"]) == b"a"


@contract
def test_a_conditional_create_inside_a_transaction_finds_what_is_there(
    server: Counterparty,
) -> None:
    identifier = {"system": "urn:oid:2.999.1", "value": server.prefix}
    organization = {"resourceType": "Organization", "identifier": [identifier]}
    there = {**organization, "id": server.id("there")}
    server.put(there)
    patient = {
        "resourceType": "Patient",
        "id": server.id("p"),
        "managingOrganization": {"reference": f"{URN}1"},
    }
    asked = f"identifier=urn:oid:2.999.1|{server.prefix}"

    answer = server.transact(
        {
            "fullUrl": f"{URN}1",
            "resource": organization,
            "request": {"method": "POST", "url": "Organization", "ifNoneExist": asked},
        },
        entry(patient),
    )

    assert answer.status_code == 200, answer.text[:500]
    stored = server.read(f"Patient/{patient['id']}")
    assert stored["managingOrganization"]["reference"] == f"Organization/{there['id']}"


@contract
def test_a_conditional_reference_becomes_the_id_it_finds(server: Counterparty) -> None:
    patient = server.patient(identifier=[{"system": "urn:oid:2.999.2", "value": server.prefix}])
    result = server.observation("o", f"Patient?identifier=urn:oid:2.999.2|{server.prefix}")

    assert server.transact(entry(result)).status_code == 200
    assert server.read(f"Observation/{result['id']}")["subject"]["reference"] == patient


@contract
def test_a_stale_if_match_fails_the_whole_transaction(server: Counterparty) -> None:
    patient = server.patient()
    old, new = server.observation("old", patient), server.observation("new", patient)
    server.put(old)
    server.put({**old, "status": "amended"})

    answer = server.transact(entry({**old, "status": "cancelled"}, ifMatch='W/"1"'), entry(new))

    assert answer.status_code in {409, 412}
    assert server.read(f"Observation/{old['id']}")["status"] == "amended"
    assert server.status(f"Observation/{new['id']}") == 404


@contract
def test_a_transaction_can_return_what_it_stored(server: Counterparty) -> None:
    content = server.observation("o", server.patient())

    answer = server.transact(entry(content), Prefer="return=representation")

    assert answer.json()["entry"][0]["resource"]["id"] == content["id"]


@contract
def test_a_batch_of_reads_answers_each_by_itself(server: Counterparty) -> None:
    patient = server.patient()
    absent = f"Patient/{server.id('absent')}"

    answer = server.transact(
        *(
            {"request": {"method": "GET", "url": ref}}
            for ref in (patient, absent, "Patient/" + "x")
        ),
        kind="batch",
    )

    assert answer.status_code == 200
    said = answer.json()["entry"]
    assert said[0]["resource"]["id"] == server.id("p")
    assert [one["response"]["status"][:3] for one in said] == ["200", "404", "404"]


@contract
def test_numbers_in_a_transaction_keep_their_text(server: Counterparty) -> None:
    patient = server.patient()
    content = server.observation("o", patient, valueQuantity={"value": lossless.decode(b"0.0010")})

    server.transact(entry(content))

    stored = server.ask("GET", f"Observation/{content['id']}").content.replace(b" ", b"")
    assert b'"value":0.0010' in stored


def _number(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _made(location: str) -> str:
    return "/".join(location.partition("/_history")[0].split("/")[-2:])
