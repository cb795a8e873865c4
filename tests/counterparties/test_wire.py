"""The wire against a server that means no good, and against bad lines."""

from __future__ import annotations

import gzip
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_bridge.errors import (
    BridgeError,
    CredentialRefused,
    DestinationUnreachable,
    ForeignLink,
    MalformedJson,
    NotFhir,
    OversizedAnswer,
    SourceUnreachable,
)
from fhir_bridge.tokens import Basic, Bearer
from fhir_bridge.wire import ONCE, AnswerLost, Limits, OverTotal, Side, Wire
from tests.simulators.hostile_server import HANG_UP, HostileServer, Says, fhir
from tests.simulators.ticking import Ticking

OK = fhir({"resourceType": "Patient", "id": "1"})
TOO_MANY = Says(status=429, headers={"Retry-After": "7"})
CANARY = "canary-7Q"


@pytest.fixture
def time() -> Ticking:
    return Ticking()


def wire_to(server: HostileServer, time: Ticking, **options: object) -> Wire:
    options = {"side": Side.SOURCE, "clock": time.clock(), **options}
    return Wire(server.base, **options)  # type: ignore[arg-type]


def small(**limits: object) -> Limits:
    return Limits(**limits)  # type: ignore[arg-type]


# To whom


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed_and_takes_neither_token_nor_body_along(
    status: int, time: Ticking
) -> None:
    with HostileServer([OK]) as other, HostileServer(lambda _: away) as server:
        away = Says(status=status, headers={"Location": other.base + "/Patient/1"})
        wire = wire_to(server, time, credential=Bearer(CANARY))
        with pytest.raises(ForeignLink, match="follows no redirect"):
            wire.request("POST", "Patient", body=b"{}")

        assert other.asked == []
        assert len(server.asked) == 1


def test_each_token_is_seen_at_its_own_server_only(time: Ticking) -> None:
    with HostileServer([OK]) as first, HostileServer([OK]) as second:
        wire_to(first, time, credential=Bearer("canary-first")).request("GET", "Patient/1")
        wire_to(second, time, credential=Basic("u", "canary-second")).request("GET", "Patient/1")

        assert "canary-first" in str(first.asked)
        assert "canary-first" not in str(second.asked)
        assert second.asked[0].headers["authorization"].startswith("Basic ")


def test_a_link_of_an_answer_to_another_port_is_not_asked(time: Ticking) -> None:
    with HostileServer([OK]) as server, HostileServer([OK]) as other:
        with pytest.raises(ForeignLink):
            wire_to(server, time).request("GET", other.base + "/Patient/1")

        assert other.asked == server.asked == []


def test_a_cookie_is_not_kept(time: Ticking) -> None:
    with HostileServer([fhir({}, **{"Set-Cookie": "session=1; Path=/"})]) as server:
        wire = wire_to(server, time)
        wire.request("GET", "Patient/1")
        wire.request("GET", "Patient/1")

        assert "cookie" not in server.asked[1].headers


def test_proxies_and_netrc_of_the_environment_are_not_used(
    time: Ticking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary")
    with HostileServer([OK]) as server, HostileServer([OK]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NETRC", str(netrc))
        wire_to(server, time).request("GET", "Patient/1")

        assert proxy.asked == []
        assert "authorization" not in server.asked[0].headers


def test_a_name_that_comes_to_mean_a_link_local_machine_is_not_asked(
    time: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostileServer([OK]) as server:
        wire = wire_to(server, time)
        monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("169.254.169.254", 80))
        with pytest.raises(SourceUnreachable):
            wire.request("GET", "Patient/1", retry=ONCE)

        assert server.asked == []


# How it is asked


def test_answers_are_asked_for_in_gzip_and_no_store_is_never_said(time: Ticking) -> None:
    with HostileServer([OK]) as server:
        wire_to(server, time).request("GET", "Patient/1")

        headers = server.asked[0].headers
        assert headers["accept-encoding"] == "gzip"
        assert headers["accept"] == "application/fhir+json"
        assert "cache-control" not in headers
        assert "content-type" not in headers  # HAPI takes it for an Accept


def test_requests_are_compressed_only_where_the_server_is_known_to_take_it(time: Ticking) -> None:
    body = b"x" * 100_000
    with HostileServer([OK]) as server:
        wire = wire_to(server, time)
        wire.request("POST", "", body=body)
        wire.gzip_requests = True
        wire.request("POST", "", body=body)
        wire.request("POST", "", body=b"short")

        assert [one.headers.get("content-encoding") for one in server.asked] == [None, "gzip", None]
        assert server.asked[0].body == server.asked[1].body == body


def test_one_connection_serves_many_requests(time: Ticking) -> None:
    with HostileServer([OK]) as server:
        wire = wire_to(server, time)
        for _ in range(5):
            wire.request("GET", "Patient/1")
        wire.close()

        assert server.connections == 1


def test_a_query_is_encoded_so_that_a_value_cannot_add_parameters(time: Ticking) -> None:
    with HostileServer([OK]) as server:
        wire_to(server, time).request("GET", "Observation", params={"code": "a|b&x=1 ä"})

        assert server.asked[0].target == "/fhir/Observation?code=a%7Cb%26x%3D1%20%C3%A4"


def test_requests_of_one_trace_are_spans_of_it_and_other_requests_bear_none(time: Ticking) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with HostileServer([OK]) as server:
        wire = wire_to(server, time)
        wire.request("GET", "Patient/1")
        for _ in range(2):
            wire.traced(trace).request("GET", "Patient/1")

    parents = [one.headers.get("traceparent") for one in server.asked]
    assert parents[0] is None
    assert parents[1] != parents[2]
    for parent in parents[1:]:
        assert re.fullmatch(rf"00-{trace}-(?!0{{16}})[0-9a-f]{{16}}-01", str(parent))


@pytest.mark.parametrize("id_", ["0" * 32, "A" * 32, "4bf9", "caller's own"])
def test_an_id_that_is_no_trace_is_sent_as_the_requests_id_only(id_: str, time: Ticking) -> None:
    with HostileServer([OK]) as server:
        wire_to(server, time).traced(id_).request("GET", "Patient/1")

    assert server.asked[0].headers["x-request-id"] == id_
    assert "traceparent" not in server.asked[0].headers


# How much


def test_a_gzip_bomb_is_stopped_by_what_comes_out_of_it(time: Ticking) -> None:
    bomb = Says(b" " * 8_000_000, headers={"Content-Type": "application/fhir+json"}, zipped=True)
    with (
        HostileServer([bomb]) as server,
        pytest.raises(OversizedAnswer),
    ):
        wire_to(server, time, limits=small(page_bytes_max=1_000_000)).request("GET", "Patient")


def test_an_answer_without_end_is_stopped(time: Ticking) -> None:
    endless = Says(pieces=[b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 100_000] * 50])
    with HostileServer([endless]) as server, pytest.raises(OversizedAnswer):
        wire_to(server, time, limits=small(page_bytes_max=1_000_000)).request("GET", "Patient")


def test_all_answers_together_have_a_limit(time: Ticking) -> None:
    with HostileServer([Says(b"x" * 600)]) as server:
        wire = wire_to(server, time, limits=small(total_bytes_max=1_000))
        wire.request("GET", "Patient/1")
        with pytest.raises(OverTotal):
            wire.request("GET", "Patient/1")


def test_the_rest_of_an_answer_that_was_too_long_never_begins_the_next_one(time: Ticking) -> None:
    with HostileServer([Says(b"x" * 5_000_000), OK]) as server:
        wire = wire_to(server, time, limits=small(page_bytes_max=1_000))
        with pytest.raises(OversizedAnswer):
            wire.request("GET", "Patient/1")

        assert wire.request("GET", "Patient/1").body == OK.body
        assert server.connections == 2


@pytest.mark.parametrize(
    "packed",
    [gzip.compress(b"{}")[:-6], b"not gzip at all", gzip.compress(b"{}" * 500)[:20]],
    ids=["cut", "other", "half"],
)
def test_a_damaged_compressed_answer_is_not_used(packed: bytes, time: Ticking) -> None:
    with (
        HostileServer([Says(packed, headers={"Content-Encoding": "gzip"})]) as server,
        pytest.raises(MalformedJson),
    ):
        wire_to(server, time).request("GET", "Patient/1")


def test_an_answer_in_two_gzip_members_is_read_whole(time: Ticking) -> None:
    packed = gzip.compress(b'{"a":') + gzip.compress(b"1}")
    with HostileServer([Says(packed, headers={"Content-Encoding": "gzip"})]) as server:
        assert wire_to(server, time).request("GET", "Patient/1").body == b'{"a":1}'


def test_a_compression_that_was_not_asked_for_is_refused(time: Ticking) -> None:
    with (
        HostileServer([Says(b"{}", headers={"Content-Encoding": "br"})]) as server,
        pytest.raises(MalformedJson, match="not asked for"),
    ):
        wire_to(server, time).request("GET", "Patient/1")


def test_an_answer_without_a_body_is_an_answer(time: Ticking) -> None:
    with HostileServer([Says(status=204, headers={"Content-Encoding": "gzip"})]) as server:
        assert wire_to(server, time).request("GET", "Patient/1").body == b""


# How long


def test_a_server_that_drips_its_headers_is_given_up() -> None:
    drip = Says(pieces=[b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100], between_seconds=0.05)
    with HostileServer([drip]) as server:
        wire = Wire(server.base, side=Side.SOURCE, limits=small(header_seconds=0.3))
        with pytest.raises(AnswerLost):
            wire.request("GET", "Patient/1", retry=ONCE)


def test_a_server_that_drips_its_body_is_given_up() -> None:
    drip = Says(pieces=[b"HTTP/1.1 200 OK\r\n\r\n", *[b"x"] * 100], between_seconds=0.05)
    with HostileServer([drip]) as server:
        wire = Wire(server.base, side=Side.SOURCE, limits=small(total_seconds=0.3))
        with pytest.raises(AnswerLost):
            wire.request("GET", "Patient/1", retry=ONCE)


def test_silence_is_borne_for_as_long_as_the_limit_says() -> None:
    silent = Says(pieces=[b"", b""], between_seconds=2)
    with HostileServer([silent]) as server:
        wire = Wire(server.base, side=Side.DESTINATION, limits=small(read_seconds=0.2))
        with pytest.raises(AnswerLost) as caught:
            wire.request("PUT", "Patient/1", body=b"{}", retry=ONCE)

        assert isinstance(caught.value, DestinationUnreachable)
        assert caught.value.timed_out


# What cannot be used


@pytest.mark.parametrize("status", [401, 403])
def test_a_credential_that_is_refused_says_so(status: int, time: Ticking) -> None:
    with HostileServer([fhir({}, status)]) as server, pytest.raises(CredentialRefused):
        wire_to(server, time, credential=Bearer(CANARY)).request("GET", "Patient/1")


@pytest.mark.parametrize(
    "page",
    [
        Says(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}),
        Says(b"\n  <!DOCTYPE html>", headers={"Content-Type": "application/fhir+json"}),
    ],
)
def test_a_sign_in_page_with_status_200_is_not_fhir(page: Says, time: Ticking) -> None:
    with HostileServer([page]) as server, pytest.raises(NotFhir, match="web page"):
        wire_to(server, time).request("GET", "Patient/1")


def test_xml_is_not_what_was_asked_for(time: Ticking) -> None:
    xml = Says(b"<Patient/>", headers={"Content-Type": "application/fhir+xml"})
    with HostileServer([xml]) as server, pytest.raises(NotFhir, match="XML"):
        wire_to(server, time).request("GET", "Patient/1")


FAULTS = {
    "credential": Says(status=401),
    "redirect": Says(status=302, headers={"Location": f"http://evil.example/{CANARY}"}),
    "page": Says(f"<html>{CANARY}".encode()),
    "later": Says(status=503, body=CANARY.encode()),
    "nothing": HANG_UP,
    "compression": Says(b"x", headers={"Content-Encoding": CANARY}),
    "length": Says(b"x" * 2_000),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_no_error_of_the_wire_holds_a_query_an_id_or_what_the_server_said(
    fault: Says, time: Ticking
) -> None:
    with HostileServer([fault]) as server:
        wire = wire_to(server, time, credential=Bearer(CANARY), limits=small(page_bytes_max=1_000))
        with pytest.raises(BridgeError) as caught:
            wire.request("GET", f"Patient/{CANARY}", params={"identifier": CANARY})

    assert CANARY not in str(caught.value)
    assert str(server.port) in str(caught.value) or "answer" in str(caught.value)


# What is told


def test_the_listener_is_told_the_kind_and_never_whose(time: Ticking) -> None:
    told: list[tuple[str, str]] = []
    with HostileServer([OK]) as server:
        wire = wire_to(server, time, on_request=lambda *one: told.append(one))
        wire.request("GET", "metadata")
        wire.request("GET", "Patient/canary")
        wire.request("GET", "Patient/canary/$everything")
        wire.request("GET", "Observation", params={"patient": "canary"})
        wire.request("POST", "", body=b"{}")

    assert told == [
        ("GET", "metadata"),
        ("GET", "Patient"),
        ("GET", "$everything"),
        ("GET", "Observation"),
        ("POST", ""),
    ]


def test_the_newest_date_of_the_server_is_kept(time: Ticking) -> None:
    with HostileServer([fhir({}, Date="Sun, 22 Nov 2026 06:10:00 GMT")]) as server:
        wire = wire_to(server, time)
        wire.request("GET", "Patient/1")

    assert wire.server_time is not None
    assert wire.server_time[0] == datetime(2026, 11, 22, 6, 10, tzinfo=UTC)


def test_an_unreadable_date_is_no_date(time: Ticking) -> None:
    with HostileServer([fhir({}, Date="yesterday")]) as server:
        wire = wire_to(server, time)
        wire.request("GET", "Patient/1")

    assert wire.server_time is None


def test_a_link_is_followed_by_the_wire_only_inside_its_base(time: Ticking) -> None:
    with HostileServer([OK]) as server:
        wire = wire_to(server, time)
        assert wire.follow("Binary/1") == f"{server.base}/Binary/1"
        with pytest.raises(ForeignLink):
            wire.follow("https://evil.example/fhir/Binary/1")
