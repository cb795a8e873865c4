"""Reading by reference: every way brings the same, and no answer is taken for another."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fhir_bridge.errors import (
    BadRecord,
    DestinationRefused,
    ForeignLink,
    MalformedJson,
    OversizedAnswer,
    SourceUnreachable,
)
from fhir_bridge.fhir_server import Absent, FhirServer
from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import Faults, Profile, Sandbox, Status
from fhir_bridge.sandbox.lies import throttled_entry
from fhir_bridge.wire import Limits, Side, Wire
from tests.simulators.hostile_server import Asked, HostileServer, Says, fhir
from tests.simulators.ticking import Ticking

STATEMENT = fhir({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"})
PDF = b"%PDF-1.4 report"
MIB = 2**20


def opened(base: str, side: Side = Side.SOURCE, **limits: Any) -> FhirServer:
    return FhirServer(Wire(base, side=side, clock=Ticking().clock(), limits=Limits(**limits)))


def patient(id_: str = "p") -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_}


# One


def test_what_is_not_there_and_what_was_deleted_are_told_apart() -> None:
    with Sandbox(name="first") as source:
        source.load([patient()])
        source.remove("Patient/p")
        server = opened(source.base)
        with pytest.raises(Absent) as deleted:
            server.read(RecordRef("Patient/p"))
        with pytest.raises(Absent) as never:
            server.read(RecordRef("Patient/q"))

    assert deleted.value.gone
    assert not never.value.gone


def test_the_numbers_of_a_record_keep_their_text() -> None:
    said = Says(b'{"resourceType":"Observation","id":"o","valueQuantity":{"value":5.10}}')
    with HostileServer([said]) as server:
        assert b'"value":5.10' in opened(server.base).read(RecordRef("Observation/o")).raw


@pytest.mark.parametrize(
    "ref",
    ["Patient/..", "Patient/.", "Patient/a/b", "Patient/", "patient/1", "Patient/a?x=1", "/", "",
     "Patient/" + "a" * 65, "Patient/ä", "https://evil.example/Patient/1"],
)  # fmt: skip
def test_a_reference_that_names_no_resource_is_absent_and_not_asked(ref: str) -> None:
    with HostileServer([STATEMENT]) as server:
        asked = opened(server.base)
        with pytest.raises(Absent):
            asked.read(RecordRef(ref))
        assert asked.read_many([RecordRef(ref)]) == {ref: None}

        assert [one for one in server.asked if "metadata" not in one.target] == []


@pytest.mark.parametrize("other", [patient("q"), {"resourceType": "Person", "id": "p"}, [], {}])
def test_another_resource_than_was_asked_for_is_not_taken(other: object) -> None:
    with HostileServer([fhir(other)]) as server, pytest.raises(MalformedJson):
        opened(server.base).read(RecordRef("Patient/p"))


def test_an_odd_answer_is_for_the_provider_whose_server_it_is() -> None:
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"code": "processing", "diagnostics": "HAPI-0123: canary"}],
    }
    with HostileServer([fhir(outcome, 400)]) as server:
        with pytest.raises(BadRecord, match="400, processing, HAPI-0123") as at_source:
            opened(server.base).read(RecordRef("Patient/p"))
        with pytest.raises(DestinationRefused):
            opened(server.base, Side.DESTINATION).read(RecordRef("Patient/p"))

    assert "canary" not in str(at_source.value)


def test_a_server_fault_is_unreachable() -> None:
    with HostileServer([Says(status=500)]) as server, pytest.raises(SourceUnreachable):
        opened(server.base).read(RecordRef("Patient/p"))


# Many

WAYS = {
    "search": Profile(software="x", batch=False),
    "batch": Profile(software="x", post_search=False),
    "hapi": Profile(software="HAPI FHIR Server"),
    "one by one": Profile(software="x", batch=False, post_search=False),
    "small pages": Profile(software="x", batch=False, page_size_max=7),
}


@pytest.mark.parametrize("profile", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("count", [1, 2, 60, 260])
def test_every_way_of_reading_many_brings_the_same(profile: Profile, count: int) -> None:
    refs = [RecordRef(f"Observation/o{number}") for number in range(count)]
    asked = [RecordRef("Patient/p"), *refs, RecordRef("Patient/none"), RecordRef("Device/none")]
    with Sandbox(name="first", profile=profile) as source:
        source.load([patient(), *[{"resourceType": "Observation", "id": r[12:]} for r in refs]])
        found = opened(source.base).read_many([*asked, *refs])

    assert list(found) == asked
    assert {ref for ref, one in found.items() if one is None} == {"Patient/none", "Device/none"}
    assert all(one is None or one.ref == ref for ref, one in found.items())


def test_few_resources_are_read_by_one_batch() -> None:
    with Sandbox(name="first") as source:
        source.load([patient("p"), patient("q")])
        opened(source.base).read_many([RecordRef("Patient/p"), RecordRef("Patient/q")])

    assert [one.method for one in source.requests if one.path != "metadata"] == ["POST"]


def test_many_resources_are_read_by_lists_of_ids_and_not_one_by_one() -> None:
    with Sandbox(name="first", profile=Profile(software="HAPI FHIR Server")) as source:
        source.load({"resourceType": "Observation", "id": f"o{n}"} for n in range(1_000))
        found = opened(source.base).read_many(
            RecordRef(f"Observation/o{number}") for number in range(1_000)
        )

    assert None not in found.values()
    assert len(source.requests) <= 6


def test_an_entry_that_is_throttled_inside_a_batch_of_200_is_asked_again() -> None:
    with Sandbox(name="first", faults=Faults()) as source:
        source.load([patient("p"), patient("q")])
        source.faults.at(lambda call: call.method == "POST", throttled_entry(1), times=2)
        found = opened(source.base).read_many([RecordRef("Patient/p"), RecordRef("Patient/q")])

    assert None not in found.values()
    assert source.faults.fired == 2


def test_a_batch_that_the_server_refuses_is_done_one_by_one_and_not_tried_again() -> None:
    with Sandbox(name="first", faults=Faults()) as source:
        source.load([patient("p"), patient("q")])
        source.faults.at(lambda call: call.path == "", Status(405), times=None)
        server = opened(source.base)
        for _ in range(2):
            found = server.read_many([RecordRef("Patient/p"), RecordRef("Patient/q")])

    assert None not in found.values()
    assert source.faults.fired == 1


def test_a_search_by_ids_that_the_server_refuses_is_not_tried_again() -> None:
    with Sandbox(
        name="first", faults=Faults(), profile=Profile(software="x", batch=False)
    ) as source:
        source.load([patient("p"), patient("q")])
        source.faults.at(lambda call: call.path.endswith("_search"), Status(400), times=None)
        server = opened(source.base)
        for _ in range(2):
            found = server.read_many([RecordRef("Patient/p"), RecordRef("Patient/q")])

    assert None not in found.values()
    assert source.faults.fired == 1


def test_absence_is_believed_to_a_search_only_where_searches_are_known_to_be_current() -> None:
    """An index that lags would let a copy be written over that is there."""
    refs = [RecordRef(f"Observation/o{number}") for number in range(150)]
    for software, requests in (("x", 5), ("HAPI FHIR Server", 3)):
        with Sandbox(name="first", profile=Profile(software=software)) as source:
            assert set(opened(source.base).read_many(refs).values()) == {None}
            assert len(source.requests) == requests


@pytest.mark.parametrize("batch", [True, False])
def test_one_resource_over_the_cap_does_not_hide_the_others(batch: bool) -> None:  # noqa: FBT001
    profile = Profile(software="x", batch=batch)
    with Sandbox(name="first", profile=profile) as source:
        source.load([patient(str(n) + "p") for n in range(30)])
        source.load([{**patient("7p"), "text": {"div": "x" * 200_000}}])
        server = opened(source.base, page_bytes_max=100_000)
        found = server.read_many(RecordRef(f"Patient/{number}p") for number in range(30))

        assert [ref for ref, one in found.items() if one is None] == ["Patient/7p"]
        assert server.oversized == {"Patient/7p"}


def test_another_resource_inside_a_batch_is_not_taken() -> None:
    def script(asked: Asked) -> Says:
        if asked.method == "GET":
            return fhir(statement)
        entry = {"response": {"status": "200"}, "resource": patient("other")}
        return fhir({"resourceType": "Bundle", "entry": [entry, entry]})

    statement = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
    statement["rest"] = [{"interaction": [{"code": "batch"}]}]  # type: ignore[assignment]
    with HostileServer(script) as server, pytest.raises(MalformedJson):
        opened(server.base).read_many([RecordRef("Patient/p"), RecordRef("Patient/q")])


# Attachments


def binary(data: bytes = PDF) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    said = {"contentType": "application/pdf", "data": encoded}
    return {"resourceType": "Binary", "id": "b", **said}


@pytest.mark.parametrize("url", ["Binary/b", "{base}/Binary/b", "/fhir/Binary/b"])
def test_a_binary_is_fetched_as_the_resource_and_as_its_bytes(url: str) -> None:
    with Sandbox(name="first") as source:
        source.load([binary()])
        got = opened(source.base).attachment(url.format(base=source.base), None, bytes_max=MIB)

    assert (got.data, got.content_type) == (PDF, "application/pdf")
    assert got.binary is not None
    assert got.binary.ref == "Binary/b"


def test_a_version_of_a_binary_is_fetched_as_that_version() -> None:
    with Sandbox(name="first") as source:
        source.load([binary()])
        source.load([binary(b"newer")])
        server = opened(source.base)

        assert server.attachment("Binary/b/_history/1", None, bytes_max=MIB).data == PDF
        assert server.attachment("Binary/b", None, bytes_max=MIB).data == b"newer"


def test_what_is_no_binary_is_fetched_as_it_is() -> None:
    with HostileServer([Says(PDF, headers={"Content-Type": "application/pdf;q=1"})]) as server:
        got = opened(server.base).attachment("files/1.pdf", "application/pdf", bytes_max=MIB)

        assert server.asked[0].headers["accept"].startswith("application/pdf")
    assert (got.data, got.content_type, got.binary) == (PDF, "application/pdf", None)


def test_a_media_type_that_would_write_a_header_is_not_sent() -> None:
    with HostileServer([Says(PDF)]) as server:
        opened(server.base).attachment("files/1", "a/b\r\nX-Evil: 1", bytes_max=MIB)

        assert server.asked[0].headers["accept"] == "*/*"


@pytest.mark.parametrize(
    "url", ["https://evil.example/Binary/1", "../secret", "data:text/plain,x", "Binary/../../x"]
)
def test_an_attachment_elsewhere_is_never_asked_for(url: str) -> None:
    with HostileServer([Says(PDF)]) as server, pytest.raises(ForeignLink):
        opened(server.base).attachment(url, None, bytes_max=MIB)

    assert server.asked == []


@pytest.mark.parametrize("url", ["Binary/b", "files/1.pdf"])
def test_an_attachment_over_the_cap_is_not_taken(url: str) -> None:
    large = fhir(binary(b"x" * 200_000))
    with HostileServer([large]) as server, pytest.raises(OversizedAnswer):
        opened(server.base).attachment(url, None, bytes_max=100_000)


@pytest.mark.parametrize("url", ["Binary/b", "files/1.pdf"])
@pytest.mark.parametrize("status", [404, 410])
def test_an_attachment_that_is_not_there_is_absent(url: str, status: int) -> None:
    with HostileServer([Says(status=status)]) as server, pytest.raises(Absent):
        opened(server.base).attachment(url, None, bytes_max=MIB)


@pytest.mark.parametrize("data", ["%%%", "QUJ", 7, None])
def test_a_binary_whose_data_are_no_base64_is_not_taken(data: object) -> None:
    with HostileServer([fhir({**binary(), "data": data})]) as server, pytest.raises(MalformedJson):
        opened(server.base).attachment("Binary/b", None, bytes_max=MIB)


def test_a_binary_without_data_is_empty() -> None:
    with HostileServer([fhir({"resourceType": "Binary", "id": "b"})]) as server:
        assert opened(server.base).attachment("Binary/b", None, bytes_max=MIB).data == b""


def test_a_sign_in_page_is_not_an_attachment() -> None:
    page = Says(b"<html>", headers={"Content-Type": "text/html"})
    with HostileServer([page]) as server:
        with pytest.raises(MalformedJson, match="web page"):
            opened(server.base).attachment("files/1.pdf", "application/pdf", bytes_max=MIB)
        got = opened(server.base).attachment("files/1.html", "text/html", bytes_max=MIB)

    assert got.data == b"<html>"


def test_an_attachment_that_the_server_does_not_give_says_the_status() -> None:
    with HostileServer([Says(status=406)]) as server, pytest.raises(BadRecord, match="406"):
        opened(server.base).attachment("files/1.pdf", None, bytes_max=MIB)
