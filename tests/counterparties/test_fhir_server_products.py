"""The same round trip over the sandbox and over real servers, by the product's own client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.fhir_server import FhirServer, Write
from fhir_bridge.records import RecordRef
from fhir_bridge.wire import Side, Wire
from tests.simulators.counterparty import Counterparty

REAL = pytest.mark.real
every_product = pytest.mark.parametrize(
    "server",
    ["sandbox", pytest.param("hapi", marks=REAL), pytest.param("sekmet", marks=REAL)],
    indirect=True,
)
checks_references = pytest.mark.parametrize(
    "server", ["sandbox", pytest.param("hapi", marks=REAL)], indirect=True
)

on_hapi = pytest.mark.parametrize("server", [pytest.param("hapi", marks=REAL)], indirect=True)


def opened(server: Counterparty) -> FhirServer:
    return FhirServer(Wire(server.base, side=Side.DESTINATION))


def nothing(_: object) -> None:
    """Ask nobody before sending."""


def record(server: Counterparty, count: int) -> list[Write]:
    organisation = {"resourceType": "Organization", "id": server.id("org"), "name": "Clinic"}
    patient: dict[str, Any] = {"resourceType": "Patient", "id": server.id("pat")}
    patient["managingOrganization"] = {"reference": f"Organization/{server.id('org')}"}
    subject = f"Patient/{patient['id']}"
    observations = [_write(observation(server, number, subject), 2) for number in range(count)]
    return [_write(organisation, 0, shared=True), _write(patient, 1), *observations]


def observation(server: Counterparty, number: int, subject: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": server.id(f"o{number}"),
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        "valueQuantity": {"value": 5, "unit": "g"},
    }


def _write(content: dict[str, Any], group: int, *, shared: bool = False) -> Write:
    ref = RecordRef(f"{content['resourceType']}/{content['id']}")
    return Write(ref=ref, body=lossless.encode(content), group=group, shared=shared)


@every_product
def test_what_is_stored_is_read_back_and_searched_whole(server: Counterparty) -> None:
    writes = record(server, 620)
    client = opened(server)
    assert set(client.read_many(one.ref for one in writes).values()) == {None}

    stored = client.store(writes, before_send=nothing)
    back = client.read_many(one.ref for one in writes)
    found = client.search("Observation", {"patient": server.id("pat")})

    assert {one.status for one in stored} <= {"created", "updated"}
    assert None not in back.values()
    assert (found.matches, found.shortfall) == (620, None)
    assert client.counts([("Observation", {"patient": server.id("pat")})]) == [620]
    skew = client.clock_skew_seconds()
    assert skew is not None
    assert abs(skew) < 5


@checks_references
def test_storing_the_same_again_says_unchanged_or_makes_no_version(server: Counterparty) -> None:
    writes = record(server, 5)
    client = opened(server)
    first = client.store(writes, before_send=nothing)
    second = client.store(writes, before_send=nothing)

    assert [one.version for one in first] == [one.version for one in second]


@checks_references
def test_a_dangling_record_is_refused_alone(server: Counterparty) -> None:
    writes = record(server, 12)
    dangling = _write(observation(server, 99, f"Patient/{server.id('nobody')}"), 2)
    stored = opened(server).store([*writes[:6], dangling, *writes[6:]], before_send=nothing)

    assert [one.ref for one in stored if one.error] == [dangling.ref]
    assert "nobody" not in str(stored[6].error)


@every_product
def test_everything_of_a_patient_holds_the_records(server: Counterparty) -> None:
    client = opened(server)
    client.store(record(server, 5), before_send=nothing)
    types = ["Observation", "Patient", "Organization"]
    refs = {one.ref for one in client.everything(server.id("pat"), types).resources}

    assert {f"Observation/{server.id(f'o{n}')}" for n in range(5)} <= refs


@every_product
def test_a_binary_is_stored_and_fetched_byte_by_byte(server: Counterparty) -> None:
    binary = {"resourceType": "Binary", "id": server.id("bin"), "contentType": "application/pdf"}
    client = opened(server)
    client.store([_write({**binary, "data": "JVBERi0xLjQ="}, 0)], before_send=nothing)
    got = client.attachment(f"Binary/{server.id('bin')}", "application/pdf", bytes_max=1_000)

    assert (got.data, got.content_type) == (b"%PDF-1.4", "application/pdf")


@every_product
def test_a_large_binary_goes_by_itself_and_comes_back(server: Counterparty) -> None:
    data = "QUJD" * 600_000
    binary = {"resourceType": "Binary", "id": server.id("big"), "contentType": "application/pdf"}
    client = opened(server)
    client.store([_write({**binary, "data": data}, 0), *record(server, 2)], before_send=nothing)
    got = client.attachment(f"Binary/{server.id('big')}", None, bytes_max=2 * 2**20)

    assert got.data == b"ABC" * 600_000


@checks_references
def test_a_version_that_was_not_expected_is_not_written_over(server: Counterparty) -> None:
    ref = RecordRef(f"Patient/{server.id('pat')}")
    for gender in ("male", "female"):
        server.put({"resourceType": "Patient", "id": server.id("pat"), "gender": gender})
    ours = lossless.encode({"resourceType": "Patient", "id": server.id("pat"), "gender": "other"})
    client = opened(server)
    stale = client.store([Write(ref=ref, body=ours, if_match="1")], before_send=nothing)
    fresh = client.store([Write(ref=ref, body=ours, if_match="2")], before_send=nothing)

    assert stale[0].status == "refused"
    assert (fresh[0].status, fresh[0].version) == ("updated", "3")


@on_hapi
def test_what_nobody_looked_for_is_created_and_never_written_over(server: Counterparty) -> None:
    """A transfer to a product that `mappings/quirks.json` says this of rests on it."""
    client = opened(server)
    assert client.capabilities().create_only == "0"
    organisation, patient, *results = record(server, 6)
    client.store([organisation, patient, *results[:2]], before_send=nothing)
    server.put({**lossless.decode(results[0].body), "status": "amended"})
    server.ask("DELETE", results[1].ref)
    many = [replace(one, new=True) for one in results]
    stored = client.store(many[:-1], before_send=nothing)
    alone = [client.store([one], before_send=nothing)[0] for one in (many[0], many[-1])]

    assert [one.status for one in stored] == ["found", "found", "created", "created", "created"]
    assert [one.status for one in alone] == ["found", "created"]
    assert server.read(results[0].ref)["status"] == "amended"


@checks_references
def test_ten_at_once_make_one_set(server: Counterparty) -> None:
    writes = record(server, 20)
    with ThreadPoolExecutor(10) as threads:
        rounds = list(
            threads.map(lambda _: opened(server).store(writes, before_send=nothing), range(10))
        )
    back = opened(server).read_many(one.ref for one in writes)

    assert [one.error for stored in rounds for one in stored if one.error] == []
    assert {one.version for one in back.values() if one is not None} == {"1"}
    assert None not in back.values()
