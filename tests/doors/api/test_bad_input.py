"""Whatever is sent: one code, one sentence, nothing of it repeated, and never a 5xx."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from fhir_bridge.doors.api.bodies import LARGE, SMALL
from fhir_bridge.doors.api.roles import Role
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.store import Store
from tests.simulators.reception import Reception, code

CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def reception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reception]:
    with Reception(tmp_path_factory.mktemp("bad")) as reception:
        yield reception


def sent(reception: Reception, content: bytes, **headers: str) -> httpx.Response:
    return reception.client.post(
        "/v1/transfers",
        content=content,
        headers={
            "Content-Type": "application/json",
            **reception.as_(Role.INTEGRATOR),
            "Idempotency-Key": "order-1",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )


def deep(levels: int) -> bytes:
    return b'{"consent":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


BODIES = {
    "empty": (b"", 400, "body-missing"),
    "blank": (b" ", 400, "body-not-json"),
    "cut": (b'{"source":"canary-7f3a', 400, "body-not-json"),
    "web page": (b"<html>canary-7f3a</html>", 400, "body-not-json"),
    "two values": (b"{}{}", 400, "body-not-json"),
    "form": (b"source=canary-7f3a", 400, "body-not-json"),
    "member twice": (b'{"source":"a","source":"canary-7f3a"}', 400, "body-member-twice"),
    "inner member twice": (b'{"patient":{"value":"a","value":"b"}}', 400, "body-member-twice"),
    "NaN": (b'{"source":NaN}', 400, "body-number"),
    "Infinity": (b'{"source":-Infinity}', 400, "body-number"),
    "endless number": (b'{"source":' + b"9" * 5000 + b"}", 400, "body-number"),
    "half a surrogate pair": (b'{"source":"\\ud800canary-7f3a"}', 400, "body-half-surrogate"),
    "Latin-1": ('{"source":"é"}'.encode("latin-1"), 400, "body-not-utf8"),
    "UTF-16": ('{"source":"a"}'.encode("utf-16"), 400, "body-not-utf8"),
    "UTF-8 surrogate": (b'{"source":"\xed\xa0\x80"}', 400, "body-not-utf8"),
    "byte order mark": (b"\xef\xbb\xbf{}", 400, "body-not-utf8"),
    "65 levels": (deep(64), 400, "body-too-deep"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, 400, "body-too-deep"),
    "100,000 levels, never closed": (b"[" * 100_000, 400, "body-not-json"),
    "list": (b"[]", 422, "body-invalid"),
    "text": (b'"canary-7f3a"', 422, "body-invalid"),
    "null": (b"null", 422, "body-invalid"),
    "fraction": (b"1.5", 422, "body-invalid"),
    "unknown member": (b'{"canary-7f3a":1}', 422, "body-invalid"),
    "nothing asked": (b"{}", 422, "body-invalid"),
}


@pytest.mark.parametrize(("content", "status", "expected"), BODIES.values(), ids=BODIES)
def test_a_body_is_refused_by_the_name_of_its_fault(
    reception: Reception, content: bytes, status: int, expected: str
) -> None:
    answer = sent(reception, content)

    assert (answer.status_code, code(answer)) == (status, expected)
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    "media",
    ["", "text/plain", "application/xml", "application/fhir+xml", "multipart/form-data",
     "application/json; charset=utf-16", "application/x-www-form-urlencoded", "canary-7f3a",
     "application/json, text/html", "application/jsonx"],
)  # fmt: skip
def test_another_media_type_is_refused(reception: Reception, media: str) -> None:
    answer = sent(reception, b"{}", Content_Type=media)

    assert (answer.status_code, code(answer)) == (415, "media-type")
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    "media",
    ["application/json", "Application/JSON;charset=UTF-8", 'application/json; charset="utf-8"',
     "application/fhir+json", "application/fhir+json; fhirVersion=4.0"],
)  # fmt: skip
def test_json_by_any_of_its_names_is_read(reception: Reception, media: str) -> None:
    assert code(sent(reception, b"{}", Content_Type=media)) == "body-invalid"


def test_a_compressed_body_is_not_unpacked(reception: Reception) -> None:
    bomb = gzip.compress(b"0" * 50_000_000)

    answer = sent(reception, bomb, Content_Encoding="gzip")

    assert (answer.status_code, code(answer)) == (415, "media-type")


def test_a_body_over_the_limit_is_not_read_to_its_end(reception: Reception) -> None:
    told = sent(reception, b"x" * (LARGE + 1))

    def pieces() -> Iterator[bytes]:
        for _ in range(LARGE // 65536 + 2):
            yield b"x" * 65536

    untold = reception.client.post(
        "/v1/transfers",
        content=pieces(),
        headers={"Content-Type": "application/json", **reception.as_(Role.INTEGRATOR)},
    )

    for answer in (told, untold):
        assert (answer.status_code, code(answer)) == (413, "body-too-long")
    decision = reception.client.post(
        f"/v1/transfers/{'0' * 8}-0000-0000-0000-{'0' * 12}/release",
        content=b"x" * (SMALL + 1),
        headers={"Content-Type": "application/json", **reception.as_(Role.RECORDS_OFFICER)},
    )
    assert (decision.status_code, code(decision)) == (413, "body-too-long")


def test_who_calls_is_asked_before_the_body_is_read(reception: Reception) -> None:
    answer = reception.client.post(
        "/v1/transfers", content=b"x" * (LARGE + 1), headers={"Content-Type": "text/plain"}
    )

    assert code(answer) == "unauthenticated"


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", f"/{CANARY}", 404, "not-found"),
        ("GET", f"/v1/transfers/{CANARY}", 404, "not-found"),
        ("GET", "/v1/transfers/..%2f..%2fetc%2fpasswd", 404, "not-found"),
        ("GET", "/v1/transfers/%00", 404, "not-found"),
        ("GET", "/v1/transfers/", 404, "not-found"),
        ("GET", "/v1/transfers/0197C2A4-5D1E-4C2B-9A77-3F0D5B1C2E90", 404, "not-found"),
        ("GET", "/v1/transfers/0197c2a4-5d1e-4c2b-9a77-3f0d5b1c2e90%0a", 404, "not-found"),
        ("GET", "/v1/transfers/0197c2a4-5d1e-4c2b-9a77-3f0d5b1c2e90", 404, "not-found"),
        ("GET", "/docs", 404, "not-found"),
        ("GET", "/fhir/Patient/1", 404, "not-found"),
        ("DELETE", "/v1/transfers", 405, "method-not-allowed"),
        ("TRACE", "/v1/transfers", 405, "method-not-allowed"),
        ("PATCH", "/v1/transfers/x", 405, "method-not-allowed"),
        ("GET", f"/v1/transfers?{CANARY}=1", 400, "query-invalid"),
        ("GET", f"/healthz?{CANARY}=1", 400, "query-invalid"),
        ("GET", "/v1/transfers?limit=%ff", 400, "query-invalid"),
        ("GET", "/v1/transfers?" + "a" * 8000, 400, "query-invalid"),
    ],
)
def test_a_path_method_or_query_that_is_not_served_is_answered_in_the_same_form(
    reception: Reception, method: str, path: str, status: int, expected: str
) -> None:
    answer = reception.client.request(method, path, headers=reception.as_(Role.INTEGRATOR))

    assert (answer.status_code, code(answer)) == (status, expected)
    assert CANARY not in answer.text
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize("id_", ["-1", "x", "1" * 16, CANARY, "1.0", "\xb2"])
def test_a_last_event_id_that_is_no_number_is_refused(reception: Reception, id_: str) -> None:
    transfer = reception.trigger()

    answer = reception.client.get(
        f"/v1/transfers/{transfer}/events",
        headers=[
            *((k.encode(), v.encode()) for k, v in reception.as_(Role.INTEGRATOR).items()),
            (b"Last-Event-ID", id_.encode("latin-1")),
        ],
    )

    assert (answer.status_code, code(answer)) == (400, "header-invalid")


def test_a_request_id_is_taken_over_only_when_it_is_an_id(reception: Reception) -> None:
    id_ = "0197C2A4-5d1e-4c2b-9a77-3f0d5b1c2e90"

    taken = reception.client.get("/healthz", headers={"X-Request-Id": id_})
    made = reception.client.get("/healthz", headers={"X-Request-Id": CANARY})
    zero = reception.client.get("/healthz", headers={"traceparent": f"00-{'0' * 32}-{'0' * 16}-01"})

    assert taken.headers["x-request-id"] == id_
    assert taken.headers["traceparent"][3:35] == id_.replace("-", "").lower()
    assert CANARY not in str(made.headers)
    assert set(zero.headers["x-request-id"]) != {"0"}
    assert made.headers["cache-control"] == "no-store"
    assert made.headers["x-content-type-options"] == "nosniff"


def test_an_error_nobody_foresaw_is_500_with_an_id_and_no_words_of_its_own(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError(CANARY)

    monkeypatch.setattr(Store, "list_transfers", fail)
    answer = reception.get("/v1/transfers", reception.as_(Role.INTEGRATOR))

    assert (answer.status_code, code(answer)) == (500, "unexpected")
    assert CANARY not in answer.text
    assert CANARY not in reception.log.getvalue()
    failed = [one for one in reception.lines() if one["event"] == "request.failed"]
    assert failed[-1]["error"] == "zerodivisionerror"
    assert failed[-1]["place"].startswith("test_bad_input.py:")
    assert failed[-1]["trace"] == answer.headers["x-request-id"]


def test_a_store_that_is_gone_is_503_and_nothing_was_begun(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable(CANARY)

    who = reception.as_(Role.INTEGRATOR)
    monkeypatch.setattr(Store, "request_transfer", fail)
    answer = reception.post("/v1/transfers", reception.asked(), who, key="order-gone")
    monkeypatch.undo()
    again = reception.post("/v1/transfers", reception.asked(), who, key="order-gone")

    assert (answer.status_code, code(answer)) == (503, "store-unavailable")
    assert answer.headers["retry-after"]
    assert CANARY not in answer.text
    assert again.status_code == 202


def test_every_answer_has_a_line_that_names_the_operation_and_never_the_path(
    reception: Reception,
) -> None:
    reception.get(f"/v1/transfers?{CANARY}=1", reception.as_(Role.INTEGRATOR))
    reception.client.get(f"/{CANARY}")

    lines = [one for one in reception.lines() if one["event"] == "request.answered"]
    assert [(one["operation"], one["status"]) for one in lines[-2:]] == [
        ("transfers.list", 400),
        ("none", 404),
    ]
    assert CANARY not in json.dumps(lines)
    assert reception.allow_list.dropped == 0
