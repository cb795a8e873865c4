"""What the bridge relies on when it reads and writes single resources, over every server."""

from __future__ import annotations

import base64
import gzip
from concurrent.futures import ThreadPoolExecutor

from fhir_bridge import lossless
from tests.simulators.contract import contract
from tests.simulators.counterparty import JSON, Counterparty


@contract
def test_the_capability_statement_says_r4_and_json(server: Counterparty) -> None:
    said = server.read("metadata")

    assert said["resourceType"] == "CapabilityStatement"
    assert said["fhirVersion"] == "4.0.1"
    assert any("json" in format_ for format_ in said["format"])
    assert {"Patient", "Observation", "Provenance"} <= {
        resource["type"] for resource in said["rest"][0]["resource"]
    }


@contract
def test_every_answer_has_a_date(server: Counterparty) -> None:
    assert server.ask("GET", "metadata").headers["Date"].endswith("GMT")


@contract
def test_a_client_may_choose_the_id_of_a_new_resource(server: Counterparty) -> None:
    answer = server.put({"resourceType": "Patient", "id": server.id("p"), "gender": "female"})

    assert answer.status_code == 201
    assert answer.headers["ETag"] == 'W/"1"'
    assert server.read(f"Patient/{server.id('p')}")["gender"] == "female"


@contract
def test_the_answer_to_a_create_says_where_the_version_is(server: Counterparty) -> None:
    answer = server.put({"resourceType": "Patient", "id": server.id("p")})

    assert f"Patient/{server.id('p')}/_history/1" in answer.headers.get("Location", "")


@contract
def test_an_id_may_have_64_characters_and_tell_upper_from_lower_case(server: Counterparty) -> None:
    long = server.id("Az.9-" + "x" * 64)[:64]
    server.patient(long.removeprefix(server.prefix + "-"))

    assert server.status(f"Patient/{long}") == 200
    assert server.status(f"Patient/{long.lower()}") == 404


@contract
def test_an_id_of_digits_only_is_refused(server: Counterparty) -> None:
    digits = str(int(server.prefix[1:], 16))

    assert server.put({"resourceType": "Patient", "id": digits}).status_code == 400


@contract
def test_an_identical_put_makes_no_new_version(server: Counterparty) -> None:
    content = server.observation("o", server.patient())

    first, second = server.put(content), server.put(content)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["ETag"] == second.headers["ETag"]


@contract
def test_a_changed_put_makes_a_version_and_the_old_one_stays_readable(
    server: Counterparty,
) -> None:
    content = server.observation("o", server.patient())
    server.put(content)

    answer = server.put({**content, "status": "amended"})

    assert answer.headers["ETag"] == 'W/"2"'
    assert server.read(f"Observation/{content['id']}/_history/1")["status"] == "final"
    assert server.read(f"Observation/{content['id']}")["status"] == "amended"


@contract
def test_a_put_with_a_stale_if_match_changes_nothing(server: Counterparty) -> None:
    content = server.observation("o", server.patient())
    server.put(content)
    server.put({**content, "status": "amended"})

    answer = server.put({**content, "status": "cancelled"}, If_Match='W/"1"')

    assert answer.status_code in {409, 412}
    assert server.read(f"Observation/{content['id']}")["status"] == "amended"


@contract
def test_a_put_with_the_current_if_match_is_done(server: Counterparty) -> None:
    content = server.observation("o", server.patient())
    etag = server.put(content).headers["ETag"]

    assert server.put({**content, "status": "amended"}, If_Match=etag).status_code == 200


@contract
def test_a_put_that_expects_nothing_there_does_not_overwrite(server: Counterparty) -> None:
    content = server.observation("o", server.patient())
    server.put(content)

    answer = server.put({**content, "status": "amended"}, If_None_Match="*")

    assert answer.status_code == 412
    assert server.read(f"Observation/{content['id']}")["status"] == "final"


@contract
def test_a_conditional_create_is_done_once(server: Counterparty) -> None:
    content = {
        "resourceType": "Organization",
        "identifier": [{"system": "urn:oid:2.999.1", "value": server.prefix}],
    }
    asked = {"If-None-Exist": f"identifier=urn:oid:2.999.1|{server.prefix}"}

    first = server.ask("POST", "Organization", body=content, headers=asked)
    second = server.ask("POST", "Organization", body=content, headers=asked)

    assert (first.status_code, second.status_code) == (201, 200)
    assert (
        server.search("Organization", identifier=f"urn:oid:2.999.1|{server.prefix}")["total"] == 1
    )


@contract
def test_conditional_creates_at_the_same_time_make_one(server: Counterparty) -> None:
    content = {
        "resourceType": "Organization",
        "identifier": [{"system": "urn:oid:2.999.1", "value": server.prefix}],
    }
    asked = {"If-None-Exist": f"identifier=urn:oid:2.999.1|{server.prefix}"}

    with ThreadPoolExecutor(4) as pool:
        waiting = [
            pool.submit(server.ask, "POST", "Organization", body=content, headers=asked)
            for _ in range(4)
        ]
    statuses = {one.result().status_code for one in waiting}

    assert statuses <= {200, 201, 409}
    assert (
        server.search("Organization", identifier=f"urn:oid:2.999.1|{server.prefix}")["total"] == 1
    )


@contract
def test_a_conditional_update_creates_and_then_updates(server: Counterparty) -> None:
    system = "urn:oid:2.999.1"
    identifier = {"system": system, "value": server.prefix}
    content = {"resourceType": "Organization", "identifier": [identifier], "name": "A"}
    where = {"identifier": f"{system}|{server.prefix}"}

    first = server.ask("PUT", "Organization", params=where, body=content)
    second = server.ask("PUT", "Organization", params=where, body={**content, "name": "B"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert server.search("Organization", **where)["entry"][0]["resource"]["name"] == "B"


@contract
def test_what_was_deleted_is_gone_and_what_never_was_is_not_found(server: Counterparty) -> None:
    ref = server.patient()

    assert server.ask("DELETE", ref).status_code in {200, 204}
    assert server.status(ref) == 410
    absent = server.ask("GET", f"Patient/{server.id('absent')}")
    assert absent.status_code == 404
    assert absent.json()["resourceType"] == "OperationOutcome"


@contract
def test_a_reference_to_what_is_not_there_is_refused(server: Counterparty) -> None:
    content = server.observation("o", f"Patient/{server.id('absent')}")

    answer = server.put(content)

    assert answer.status_code in {400, 422}
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert server.status(f"Observation/{content['id']}") == 404


@contract
def test_a_dangling_reference_in_imaging_study_or_an_extension_is_accepted_in_silence(
    server: Counterparty,
) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": server.id("r"),
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "24606-6"}]},
        "subject": {"reference": server.patient()},
        "imagingStudy": [{"reference": f"ImagingStudy/{server.id('absent')}"}],
        "extension": [
            {
                "url": "http://example.org/ext/other",
                "valueReference": {"reference": f"Observation/{server.id('absent')}"},
            }
        ],
    }

    assert server.put(report).status_code == 201


@contract
def test_json_that_is_not_json_is_a_400(server: Counterparty) -> None:
    answer = server.ask("PUT", f"Patient/{server.id('p')}", body=b'{"resourceType":"Patient",')

    assert answer.status_code == 400


@contract
def test_a_body_whose_id_is_not_the_one_in_the_url_is_a_400(server: Counterparty) -> None:
    other = {"resourceType": "Patient", "id": server.id("other")}

    assert server.ask("PUT", f"Patient/{server.id('p')}", body=other).status_code == 400


@contract
def test_minimal_return_leaves_the_resource_out(server: Counterparty) -> None:
    answer = server.put({"resourceType": "Patient", "id": server.id("p")}, Prefer="return=minimal")

    assert (answer.status_code, answer.content) == (201, b"")


@contract
def test_a_binary_reads_as_json_and_as_its_own_bytes(server: Counterparty) -> None:
    data = bytes(range(256)) * 5
    content = {
        "resourceType": "Binary",
        "id": server.id("b"),
        "contentType": "application/pdf",
        "data": base64.b64encode(data).decode(),
    }
    assert server.put(content).status_code == 201

    raw = server.ask("GET", f"Binary/{content['id']}", headers={"Accept": "application/pdf"})
    assert (raw.content, raw.headers["Content-Type"]) == (data, "application/pdf")
    assert base64.b64decode(server.read(f"Binary/{content['id']}")["data"]) == data


@contract
def test_bytes_may_be_put_as_a_binary(server: Counterparty) -> None:
    data = b"%PDF-1.4\x00\xff" * 100

    answer = server.ask(
        "PUT", f"Binary/{server.id('b')}", body=data, headers={"Content-Type": "application/pdf"}
    )

    assert answer.status_code == 201
    content = server.read(f"Binary/{server.id('b')}")
    assert base64.b64decode(content["data"]) == data
    assert content["contentType"] == "application/pdf"


@contract
def test_an_answer_comes_in_gzip_when_asked(server: Counterparty) -> None:
    patient = server.patient(text={"status": "generated", "div": _long_div()})

    answer = server.ask("GET", patient, headers={"Accept-Encoding": "gzip"})

    assert answer.headers.get("Content-Encoding") == "gzip"
    assert lossless.decode(answer.content)["id"] == server.id("p")


@contract
def test_a_request_may_be_in_gzip(server: Counterparty) -> None:
    packed = gzip.compress(lossless.encode({"resourceType": "Patient", "id": server.id("p")}))

    answer = server.ask(
        "PUT",
        f"Patient/{server.id('p')}",
        body=packed,
        headers={"Content-Encoding": "gzip", "Content-Type": JSON},
    )

    assert answer.status_code == 201


def _long_div() -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{"all is well " * 500}</div>'
