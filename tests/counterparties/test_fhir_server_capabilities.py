"""What a server is asked to be, and what it is taken for when it is something else."""

from __future__ import annotations

import pytest

from fhir_bridge.errors import DestinationUnreachable, NotFhir
from fhir_bridge.fhir_server import FhirServer
from fhir_bridge.sandbox import Profile, Sandbox
from fhir_bridge.wire import Side, Wire
from tests.simulators.hostile_server import HostileServer, Says, fhir
from tests.simulators.ticking import Ticking


def opened(base: str) -> FhirServer:
    return FhirServer(Wire(base, side=Side.DESTINATION, clock=Ticking().clock()))


def statement(**more: object) -> dict[str, object]:
    return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", **more}


def test_the_statement_is_asked_once_and_kept() -> None:
    with Sandbox(name="second") as sandbox:
        server = opened(sandbox.base)
        can = server.capabilities()

        assert server.capabilities() is can
        assert [one.path for one in sandbox.requests] == ["metadata"]
        assert can.transaction
        assert can.batch
        assert can.update_create
        assert can.everything
        assert "patient" in can.search_params["Observation"]
        assert "read" in can.interactions["Patient"]


def test_a_server_that_cannot_do_it_is_known_not_to() -> None:
    less = Profile(
        software="some other server",
        transactions=False,
        batch=False,
        update_create=False,
        conditional_create=False,
        conditional_update=False,
        everything=False,
    )
    with Sandbox(name="second", profile=less) as sandbox:
        can = opened(sandbox.base).capabilities()

    able = (can.transaction, can.batch, can.update_create, can.everything)
    assert not any((*able, can.conditional_create, can.conditional_update))
    assert can.entry_limit == 450


def test_silence_of_a_known_product_is_not_a_no() -> None:
    said = statement(software={"name": "HAPI FHIR Server", "version": "8.8.0"}, rest=[{}])
    with HostileServer([fhir(said)]) as server:
        can = opened(server.base).capabilities()

    assert can.batch
    assert can.update_create
    assert can.entry_limit == 10_000
    assert can.quirks.headers["X-Meta-Snapshot-Mode"] == "TAG,SECURITY_LABEL,PROFILE"
    assert "number-form" in can.normalisations


def test_silence_of_an_unknown_product_is_neither_yes_nor_no() -> None:
    with HostileServer([fhir(statement(rest=[{"resource": [{"type": "Patient"}]}]))]) as server:
        can = opened(server.base).capabilities()

    assert can.update_create is None
    assert can.quirks.headers == {}
    assert can.product == "unknown"


@pytest.mark.parametrize(
    "rest",
    [None, "x", [], ["x"], [{"resource": "x", "interaction": [1], "operation": {}}], [[]]],
)
def test_a_statement_of_any_shape_is_read(rest: object) -> None:
    with HostileServer([fhir(statement(rest=rest, software=[]))]) as server:
        assert not opened(server.base).capabilities().transaction


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("5.0.0", r"5\.0\.0 \(R5\)"),
        ("4.3.0", r"4\.3\.0 \(R4B\)"),
        ("3.0.2", "STU3"),
        ("6.0.0-ballot", "R6"),
        ("", "does not tell"),
        ("four <canary>", "does not tell"),
    ],
)
def test_another_fhir_version_is_named_and_refused(version: str, said: str) -> None:
    other = statement(fhirVersion=version)
    with HostileServer([fhir(other)]) as server, pytest.raises(NotFhir, match=said) as caught:
        opened(server.base).capabilities()

    assert "R4 endpoint" in str(caught.value)
    assert "canary" not in str(caught.value)


NOT_FHIR = {
    "login page": (Says(b"<html>", headers={"Content-Type": "text/html"}), "web page"),
    "xml": (Says(b"<a/>", headers={"Content-Type": "application/fhir+xml"}), "XML"),
    "not there": (Says(b"<html>", status=404), "check the base"),
    "server error": (Says(status=500), "check the base"),
    "redirect": (Says(status=301, headers={"Location": "/other"}), "as the base"),
    "other json": (fhir({"hello": "world"}), "is no FHIR server"),
    "a list": (fhir([1, 2]), "is no FHIR server"),
    "text": (Says(b"hello"), "does not answer in FHIR JSON"),
    "empty": (Says(b""), "does not answer in FHIR JSON"),
    "dstu2": (fhir({"resourceType": "Conformance", "fhirVersion": "1.0.2"}), "DSTU2"),
    "deep": (Says(b"[" * 3_000 + b"]" * 3_000), "does not answer in FHIR JSON"),
}


@pytest.mark.parametrize(("answer", "said"), NOT_FHIR.values(), ids=NOT_FHIR)
def test_what_is_no_fhir_r4_server_in_json_ends_in_one_sentence_that_says_what_to_do(
    answer: Says, said: str
) -> None:
    with HostileServer([answer]) as server, pytest.raises(NotFhir, match=said) as caught:
        opened(server.base).capabilities()

    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_server_that_stays_busy_is_unreachable_and_not_no_server() -> None:
    with HostileServer([Says(status=503)]) as server, pytest.raises(DestinationUnreachable):
        opened(server.base).capabilities()


def test_the_clock_of_the_server_is_compared_with_ours() -> None:
    with HostileServer([fhir(statement(), Date="Sun, 22 Nov 2026 06:10:01 GMT")]) as server:
        asked = opened(server.base)
        assert asked.clock_skew_seconds() is None
        asked.capabilities()

        assert asked.clock_skew_seconds() == 600
