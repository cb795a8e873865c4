"""The sandbox fails when, where and how a test says, and only there."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests

from fhir_bridge.sandbox import (
    Call,
    DropAfter,
    DropBefore,
    Failure,
    Faults,
    Profile,
    Sandbox,
    Slow,
    SlowAfter,
    Status,
    StatusAfter,
    Watch,
    lies,
)
from tests.simulators.counterparty import Counterparty, counterparty, entry, found, link


@contextmanager
def failing(
    faults: Faults, profile: Profile | None = None
) -> Iterator[tuple[Sandbox, Counterparty]]:
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(name="failing", faults=faults, profile=profile))
        yield sandbox, stack.enter_context(counterparty("sandbox", sandbox.base))


def patient(id_: str) -> dict[str, str]:
    return {"resourceType": "Patient", "id": id_}


@pytest.mark.parametrize(("failure", "done"), [(DropBefore(), 0), (DropAfter(), 1)])
def test_a_dropped_connection_was_before_or_after_the_effect(failure: Failure, done: int) -> None:
    faults = Faults()
    faults.at(2, failure)
    with failing(faults) as (sandbox, client):
        client.ask("GET", "metadata")

        with pytest.raises(requests.ConnectionError):
            client.put(patient("p1"))

        assert len(sandbox.resources) == done
        assert client.put(patient("p1")).status_code in {200, 201}
        assert [seen.status for seen in sandbox.requests][1] == 0
        assert (faults.calls, faults.fired) == (3, 1)


@pytest.mark.parametrize(("failure", "done"), [(Status(503), 0), (StatusAfter(503), 1)])
def test_an_error_status_was_before_or_after_the_effect(failure: Failure, done: int) -> None:
    faults = Faults()
    faults.at(1, failure)
    with failing(faults) as (sandbox, client):
        assert client.put(patient("p1")).status_code == 503
        assert len(sandbox.resources) == done


def test_a_dropped_transaction_is_done_wholly_or_not_at_all() -> None:
    for failure, done in ((DropBefore(), 0), (DropAfter(), 2)):
        faults = Faults()
        faults.at(1, failure)
        with failing(faults) as (sandbox, client):
            with pytest.raises(requests.ConnectionError):
                client.transact(entry(patient("p1")), entry(patient("p2")))
            assert len(sandbox.resources) == done


def test_calls_are_counted_over_all_sandboxes_that_share_the_faults() -> None:
    faults = Faults()
    faults.at(2, Status(500))
    with failing(faults) as (_, first), failing(faults) as (_, second):
        statuses = [one.ask("GET", "metadata").status_code for one in (first, second, first)]

    assert statuses == [200, 500, 200]
    assert faults.calls == 3


def test_a_server_that_throttles_says_how_long_to_wait() -> None:
    faults = Faults()
    faults.at(lambda call: call.path == "metadata", Status(429, retry_after="1"), times=2)
    with failing(faults) as (_, client):
        answers = [client.ask("GET", "metadata") for _ in range(3)]

    assert [one.status_code for one in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "1"


def test_a_slow_call_ends_when_the_sandbox_is_stopped() -> None:
    faults = Faults()
    faults.at(1, Slow(0.2))
    faults.at(2, SlowAfter(0.2))
    with failing(faults) as (_, client):
        started = time.monotonic()
        assert client.ask("GET", "metadata").status_code == 200
        assert client.ask("GET", "metadata").status_code == 200
        assert time.monotonic() - started >= 0.4


def test_a_test_may_look_into_the_world_before_the_effect() -> None:
    faults, held = Faults(), []
    with failing(faults) as (sandbox, client):
        faults.at(
            lambda call: call.brings_records,
            Watch(lambda _call: held.append(len(sandbox.resources))),
        )
        client.put(patient("p1"))

    assert held == [0]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "Patient/1", False),
        ("POST", "Patient/_search", False),
        ("POST", "Patient", True),
        ("POST", "", True),
        ("PUT", "Patient/1", True),
    ],
)
def test_asking_brings_no_records(method: str, path: str, expected: bool) -> None:  # noqa: FBT001
    faults, seen = Faults(), list[Call]()
    faults.at(lambda _call: True, Watch(seen.append))
    with failing(faults) as (_, client):
        client.ask(method, path)

    assert seen[0].brings_records is expected


def test_a_refused_resource_fails_its_transaction_and_is_named() -> None:
    faults = Faults()
    faults.refuse("Patient/p2")
    with failing(faults) as (sandbox, client):
        answer = client.transact(entry(patient("p1")), entry(patient("p2")))

        assert answer.status_code == 422
        assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
        assert client.put(patient("p2")).status_code == 422
        assert client.put(patient("p1")).status_code == 201
        faults.clear()
        assert client.put(patient("p2")).status_code == 201
        assert len(sandbox.resources) == 2


def test_a_refused_type_is_refused_whatever_its_id() -> None:
    faults = Faults()
    faults.refuse("Patient", status=400)
    with failing(faults) as (_, client):
        assert client.put(patient("p1")).status_code == 400


PAGES: dict[str, tuple[Callable[[], Failure], Callable[[str | None, str | None], bool]]] = {
    "foreign": (
        lambda: lies.foreign_next("http://127.0.0.1:9/fhir"),
        lambda following, _here: (following or "").startswith("http://127.0.0.1:9/fhir?"),
    ),
    "behind a proxy": (
        lambda: lies.proxied_next("fhir.example:443:443"),
        lambda following, _here: "//fhir.example:443:443/fhir?" in (following or ""),
    ),
    "lost": (lies.lost_next, lambda following, _here: following is None),
    "to itself": (lies.self_next, lambda following, here: following == here),
    "endless": (
        lies.endless_next,
        lambda following, here: (following or "").startswith(here or "x"),
    ),
}


@pytest.mark.parametrize("lie", PAGES)
def test_the_link_to_the_next_page_may_mislead(lie: str) -> None:
    make, shows = PAGES[lie]
    faults = Faults()
    with failing(faults) as (sandbox, client):
        sandbox.load([patient(f"p{i}") for i in range(3)])
        faults.at(lambda _call: True, make(), times=None)

        bundle = client.search("Patient", _count="2")

        assert shows(link(bundle, "next"), link(bundle, "self"))
        assert len(found(bundle)) == 2


def test_the_total_may_lie() -> None:
    faults = Faults()
    faults.at(1, lies.lying_total(2))
    with failing(faults) as (sandbox, client):
        sandbox.load([patient("p1")])

        assert client.search("Patient")["total"] == 3


def test_one_entry_of_a_batch_may_be_throttled_inside_an_answer_of_200() -> None:
    faults = Faults()
    faults.at(1, lies.throttled_entry(1))
    with failing(faults) as (sandbox, client):
        sandbox.load([patient("p1"), patient("p2")])
        reads = [{"request": {"method": "GET", "url": f"Patient/p{i}"}} for i in (1, 2)]

        statuses = [
            [one["response"]["status"][:3] for one in answer.json()["entry"]]
            for answer in (client.transact(*reads, kind="batch") for _ in range(2))
        ]

    assert statuses == [["200", "429"], ["200", "200"]]


def test_a_search_that_the_server_has_forgotten_is_gone_in_the_middle() -> None:
    faults = Faults()
    with failing(faults) as (sandbox, client):
        sandbox.load([patient(f"p{i}") for i in range(3)])
        following = link(client.search("Patient", _count="2"), "next") or ""

        faults.at(lambda call: "_getpages" in dict(call.query), Status(410))

        assert client.ask("GET", following).status_code == 410
        assert client.ask("GET", following).status_code == 200


ANSWERS: dict[str, tuple[Callable[[], Failure], Callable[[requests.Response], bool]]] = {
    "a login page": (
        lies.login_page,
        lambda answer: answer.ok and "html" in answer.headers["Content-Type"],
    ),
    "XML": (lies.xml_only, lambda answer: answer.content.startswith(b"<?xml")),
    "half of a document": (lies.not_json, lambda answer: answer.content.endswith(b"[")),
    "another release": (
        lambda: lies.other_version("5.0.0"),
        lambda answer: answer.json()["fhirVersion"] == "5.0.0",
    ),
    "a redirect": (
        lambda: lies.redirect("http://127.0.0.1:9/"),
        lambda answer: answer.headers["Location"] == "http://127.0.0.1:9/",
    ),
    "nesting": (
        lambda: lies.deep_nesting(100),
        lambda answer: answer.content.count(b"[") == 100,
    ),
    "a gzip bomb": (
        lambda: lies.gzip_bomb(1_000_000),
        lambda answer: (
            len(answer.content) > 1_000_000 > 100 * int(answer.headers["Content-Length"])
        ),
    ),
}


@pytest.mark.parametrize("lie", ANSWERS)
def test_an_answer_may_be_something_else(lie: str) -> None:
    make, shows = ANSWERS[lie]
    faults = Faults()
    faults.at(1, make())
    with failing(faults) as (_, client):
        answer = client.session.get(f"{client.base}/metadata", allow_redirects=False, timeout=10)

    assert shows(answer)


def test_damaged_gzip_is_refused() -> None:
    with failing(Faults()) as (_, client):
        answer = client.ask(
            "PUT",
            "Patient/p1",
            body=gzip.compress(b"{}")[:-4],
            headers={"Content-Encoding": "gzip"},
        )

    assert answer.status_code == 400
