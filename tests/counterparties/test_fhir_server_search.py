"""A search brings everything, or says in a word why it may not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fhir_bridge.errors import MalformedJson, SourceUnreachable
from fhir_bridge.fhir_server import FhirServer
from fhir_bridge.sandbox import DropAfter, DropBefore, Faults, Profile, Sandbox, Status
from fhir_bridge.sandbox.lies import (
    endless_next,
    foreign_next,
    gzip_bomb,
    lost_next,
    lying_total,
    proxied_next,
    self_next,
)
from fhir_bridge.wire import Limits, OverTotal, Side, Wire
from tests.simulators.hostile_server import Asked, HostileServer, Says, bundle, fhir
from tests.simulators.ticking import Ticking

STATEMENT = fhir({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"})
HAPI = "HAPI FHIR Server"


def opened(base: str, *, limits: Limits | None = None) -> FhirServer:
    return FhirServer(
        Wire(base, side=Side.SOURCE, clock=Ticking().clock(), limits=limits or Limits())
    )


def observation(number: int, patient: str = "p", **more: object) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number:03}",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


@pytest.fixture(params=["some other server", HAPI])
def source(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    profile = Profile(software=request.param, page_size=5, page_size_max=5)
    with Sandbox(name="first", faults=Faults(), profile=profile) as sandbox:
        sandbox.load([{"resourceType": "Patient", "id": "p"}])
        sandbox.load([{"resourceType": "Patient", "id": "q"}])
        sandbox.load(observation(number) for number in range(23))
        sandbox.load([observation(100, patient="q")])
        yield sandbox


def is_page_two(call: Any) -> bool:
    return any(name in {"_offset", "page", "_page", "_getpages"} for name, _ in call.query) and (
        ("_offset", "0") not in call.query
    )


def test_a_search_brings_every_page(source: Sandbox) -> None:
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert [one.id for one in answer.resources] == [f"o{number:03}" for number in range(23)]
    assert answer.matches == answer.total == 23
    assert answer.shortfall is None
    assert "patient" in answer.self_link_params


def test_a_search_by_post_says_no_value_in_a_url(source: Sandbox) -> None:
    answer = opened(source.base).search("Patient", {"_id": "p"}, post=True)

    assert [one.ref for one in answer.resources] == ["Patient/p"]
    assert [one.query for one in source.requests if one.path == "Patient/_search"] == [""]


def test_a_long_search_goes_by_post(source: Sandbox) -> None:
    ids = ",".join(f"o{number:03}" for number in range(900))
    answer = opened(source.base).search("Observation", {"_id": ids})

    assert answer.matches == 24
    assert [one.method for one in source.requests if "page" not in one.query][1:2] == ["POST"]


def test_included_resources_are_no_matches(source: Sandbox) -> None:
    source.load(
        [
            {
                "resourceType": "Provenance",
                "id": "v",
                "target": [{"reference": "Observation/o001"}],
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{"who": {"display": "x"}}],
            }
        ]
    )
    query = {"patient": "p", "_revinclude": "Provenance:target"}
    answer = opened(source.base).search("Observation", query)

    assert answer.matches == 23
    assert [one.ref for one in answer.resources][-1] == "Provenance/v"


def test_everything_brings_the_patient_too(source: Sandbox) -> None:
    answer = opened(source.base).everything("p", ["Patient", "Observation"])

    assert answer.matches == 24
    assert answer.shortfall is None


def test_counts_are_asked_without_reading_a_record(source: Sandbox) -> None:
    counts = opened(source.base).counts([("Observation", {"patient": "p"}), ("Consent", {})])

    assert counts == [23, 0]


def test_a_total_that_promises_more_than_came_is_told(source: Sandbox) -> None:
    source.faults.at(lambda call: call.path == "Observation", lying_total(2), times=None)
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert (answer.shortfall, answer.matches) == ("total-mismatch", 23)


def test_a_next_link_that_is_lost_is_told_by_the_total(source: Sandbox) -> None:
    source.faults.at(lambda call: call.path == "Observation", lost_next(), times=None)
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert (answer.shortfall, answer.matches) == ("total-mismatch", 5)


@pytest.mark.parametrize("netloc", ["10.1.2.3:8080", "127.0.0.1:443:443", "inner.example"])
def test_a_next_link_with_the_host_a_proxy_hides_is_asked_on_our_base(
    source: Sandbox, netloc: str
) -> None:
    source.faults.at(lambda _: True, proxied_next(netloc), times=None)
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert (answer.shortfall, answer.matches) == (None, 23)


def test_a_next_link_to_another_server_is_a_named_gap_and_not_asked() -> None:
    with (
        HostileServer([STATEMENT]) as other,
        Sandbox(
            name="first", faults=Faults(), profile=Profile(page_size=5, page_size_max=5)
        ) as source,
    ):
        source.load(observation(number) for number in range(23))
        source.faults.at(lambda _: True, foreign_next(other.base + "x/other"), times=None)
        answer = opened(source.base).search("Observation", {"patient": "p"})

        assert answer.shortfall == "foreign-next-link"
        assert other.asked == []


@pytest.mark.parametrize("lie", [self_next(), endless_next()], ids=["self", "endless"])
def test_pages_that_never_end_are_left(source: Sandbox, lie: Any) -> None:
    source.faults.at(lambda call: call.method == "GET", lie, times=None)
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert answer.shortfall is not None or answer.matches == answer.total
    assert len(source.requests) < 30


def test_new_pages_without_end_are_left_at_the_limit() -> None:
    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return STATEMENT
        number = len(server.asked)
        return bundle(observation(number), next=f"{server.base}/Observation?page={number}")

    with HostileServer(script) as server:
        answer = opened(server.base, limits=Limits(pages_max=20)).search("Observation", {})

    assert answer.shortfall == "page-limit"
    assert answer.matches == 20


def test_a_total_that_is_far_too_high_is_not_asked_for_page_by_page() -> None:
    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return fhir({**hapi, "resourceType": "CapabilityStatement"})
        query = parse_qs(urlsplit(asked.target).query)
        more = f"{server.base}/Observation?_offset=1"
        if query.get("_offset") == ["0"]:
            return bundle(observation(1), total=10**9, next=more)
        return bundle(total=10**9)

    hapi = {"fhirVersion": "4.0.1", "software": {"name": HAPI}}
    with HostileServer(script) as server:
        answer = opened(server.base).search("Observation", {})

        assert answer.shortfall == "total-mismatch"
        assert len(server.asked) < 10


def test_pages_that_expire_are_asked_again_from_the_start(source: Sandbox) -> None:
    source.faults.at(is_page_two, Status(410), times=1)
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert source.faults.fired == 1
    assert (answer.shortfall, answer.matches) == (None, 23)


def test_pages_that_expire_again_and_again_are_told(source: Sandbox) -> None:
    source.faults.at(is_page_two, Status(410), times=None)
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert answer.shortfall == "pages-expired"
    assert answer.resources == []


@pytest.mark.parametrize("failure", [DropBefore(), DropAfter(), Status(504), Status(503, "2")])
def test_a_page_that_fails_for_a_moment_is_asked_again(source: Sandbox, failure: Any) -> None:
    source.faults.at(is_page_two, failure, times=2)
    answer = opened(source.base).search("Observation", {"patient": "p"})

    assert source.faults.fired == 2
    assert (answer.shortfall, answer.matches) == (None, 23)


def test_a_server_fault_on_a_page_is_not_asked_for_ever(source: Sandbox) -> None:
    source.faults.at(is_page_two, Status(500, code="exception"), times=None)
    with pytest.raises(SourceUnreachable, match="500; exception"):
        opened(source.base).search("Observation", {"patient": "p"})

    assert source.faults.fired <= 8


def test_a_page_over_the_cap_is_asked_again_with_a_quarter_of_the_count() -> None:
    profile = Profile(software="some other server")
    with Sandbox(name="first", profile=profile) as source:
        text = [{"text": "x" * 10_000}]
        source.load(observation(number, note=text) for number in range(40))
        answer = opened(source.base, limits=Limits(page_bytes_max=100_000)).search(
            "Observation", {"patient": "p"}
        )

        assert (answer.shortfall, answer.matches) == (None, 40)
        counts = [parse_qs(one.query).get("_count") for one in source.requests[1:]]
        assert counts[:4] == [["500"], ["125"], ["31"], ["7"]]


def test_only_the_single_resource_over_the_cap_is_missing() -> None:
    rows = [observation(number) for number in range(3)]
    rows[1]["note"] = [{"text": "x" * 200_000}]

    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return STATEMENT
        if "_elements=id" in asked.target:
            return bundle(*[{"resourceType": "Observation", "id": one["id"]} for one in rows])
        by_id = {f"/fhir/Observation/{one['id']}": fhir(one) for one in rows}
        return by_id.get(asked.target, bundle(*rows))

    with HostileServer(script) as server:
        answer = opened(server.base, limits=Limits(page_bytes_max=100_000)).search(
            "Observation", {"patient": "p"}
        )

    assert answer.shortfall == "unreadable"
    assert answer.oversized == ["Observation/o001"]
    assert [one.id for one in answer.resources] == ["o000", "o002"]
    assert b"final" in answer.resources[0].raw


def test_a_gzip_bomb_instead_of_pages_ends_in_one_sentence(source: Sandbox) -> None:
    source.faults.at(lambda call: call.path != "metadata", gzip_bomb(2_000_000), times=None)
    with pytest.raises(Exception, match="longer than 1 MiB"):
        opened(source.base, limits=Limits(page_bytes_max=2**20)).search("Observation", {})


def test_a_search_that_brings_too_much_in_all_is_not_begun_again(source: Sandbox) -> None:
    with pytest.raises(OverTotal):
        opened(source.base, limits=Limits(total_bytes_max=30_000)).search(
            "Observation", {"patient": "p"}
        )

    assert len(source.requests) < 12


def test_one_record_that_is_not_fhir_does_not_hide_the_others() -> None:
    answers = [STATEMENT, bundle(observation(1), {"resourceType": "Observation", "id": "a b"}, 7)]
    with HostileServer(answers) as server:
        answer = opened(server.base).search("Observation", {})

    assert [one.ref for one in answer.resources] == ["Observation/o001"]
    assert answer.shortfall == "unreadable"


def test_one_record_that_is_not_json_does_not_hide_the_others() -> None:
    """A member twice: two readers of the same bytes would see two records."""
    twice = b'{"resourceType":"Observation","id":"o002","status":"final","status":"amended"}'
    one = b'{"resourceType":"Observation","id":"o001","status":"final"}'

    def page(*rows: bytes) -> Says:
        entries = b",".join(b'{"resource":' + row + b"}" for row in rows)
        return Says(b'{"resourceType":"Bundle","total":2,"entry":[' + entries + b"]}")

    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return STATEMENT
        if "_elements=id" in asked.target:
            return page(one, b'{"resourceType":"Observation","id":"o002"}')
        if asked.target.endswith("o001"):
            return Says(one)
        return Says(twice) if asked.target.endswith("o002") else page(one, twice)

    with HostileServer(script) as server:
        answer = opened(server.base).search("Observation", {})

    assert [one.ref for one in answer.resources] == ["Observation/o001"]
    assert answer.oversized == ["Observation/o002"]
    assert answer.shortfall == "unreadable"


@pytest.mark.parametrize("content", [[], 7, {"resourceType": "Patient"}, {"entry": []}])
def test_an_answer_that_is_no_bundle_is_not_taken_for_an_empty_one(content: object) -> None:
    with HostileServer([STATEMENT, fhir(content)]) as server, pytest.raises(MalformedJson):
        opened(server.base).search("Observation", {})


def test_an_outcome_among_the_matches_is_no_record() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": []}
    with HostileServer([STATEMENT, bundle(observation(1), outcome, total=1)]) as server:
        answer = opened(server.base).search("Observation", {})

    assert [one.ref for one in answer.resources] == ["Observation/o001"]
    assert answer.shortfall is None


def test_every_search_asks_the_server_to_be_strict(source: Sandbox) -> None:
    opened(source.base).search("Observation", {"patient": "p"})

    searches = [one for one in source.requests if one.path == "Observation"]
    assert {one.headers["prefer"] for one in searches} == {"handling=strict"}


def test_a_server_that_says_it_left_out_our_filter_is_told() -> None:
    answers = [STATEMENT, bundle(observation(1), self="/fhir/Observation?_count=500")]
    with HostileServer(answers) as server:
        answer = opened(server.base).search("Observation", {"patient": "p"})

    assert answer.shortfall == "parameters-ignored"
    assert answer.self_link_params == {"_count"}


def test_a_modifier_in_the_self_link_is_the_same_parameter() -> None:
    answers = [STATEMENT, bundle(observation(1), self="/fhir/Observation?patient:Patient=p")]
    with HostileServer(answers) as server:
        assert opened(server.base).search("Observation", {"patient": "p"}).shortfall is None


@pytest.mark.parametrize("status", [400, 404, 405, 422, 501])
def test_a_search_that_the_server_does_not_know_is_a_named_gap(status: int) -> None:
    with HostileServer([STATEMENT, fhir({}, status)]) as server:
        answer = opened(server.base).search("ImagingStudy", {"patient": "p"})

    assert (answer.shortfall, answer.resources) == ("search-refused", [])


def test_a_count_that_the_server_does_not_give_is_none() -> None:
    with HostileServer([STATEMENT, fhir({}, 400), fhir([]), fhir({"resourceType": "Bundle"})]) as s:
        server = opened(s.base)
        assert [server.counts([("Patient", {})])[0] for _ in range(3)] == [None] * 3


def test_the_same_record_on_two_pages_is_one_match() -> None:
    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return STATEMENT
        if "page=2" in asked.target:
            return bundle(observation(2), observation(3), total=3)
        return bundle(observation(1), observation(2), total=3, next="Observation?page=2")

    with HostileServer(script) as server:
        answer = opened(server.base).search("Observation", {})

    assert answer.matches == 3
    assert answer.shortfall is None


def test_something_written_between_two_offset_pages_is_found_by_the_servers_own_pages() -> None:
    """Offsets are no snapshot: a row that moves up is missed, and the count tells it."""

    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return fhir({"resourceType": "CapabilityStatement", **hapi})
        query = parse_qs(urlsplit(asked.target).query)
        if "_offset" not in query:
            return bundle(*[observation(number) for number in range(3)], total=3)
        if query["_offset"] == ["0"]:
            return bundle(observation(0), observation(1), total=3, next="Observation?_offset=2")
        return bundle(observation(1), total=3)

    hapi = {"fhirVersion": "4.0.1", "software": {"name": HAPI}}
    with HostileServer(script) as server:
        answer = opened(server.base).search("Observation", {})

    assert (answer.matches, answer.shortfall) == (3, None)


def test_a_server_fault_at_the_first_page_is_unreachable_and_no_gap() -> None:
    with HostileServer([STATEMENT, fhir({}, 500)]) as server, pytest.raises(SourceUnreachable):
        opened(server.base).search("Observation", {})


def test_entries_that_are_no_list_are_no_bundle() -> None:
    odd = fhir({"resourceType": "Bundle", "entry": {"resource": observation(1)}})
    with HostileServer([STATEMENT, odd]) as server, pytest.raises(MalformedJson):
        opened(server.base).search("Observation", {})


@pytest.mark.parametrize("link", ["https://[::1", "", 7])
def test_a_self_link_that_is_no_url_says_nothing(link: Any) -> None:
    with HostileServer([STATEMENT, bundle(observation(1), self=link)]) as server:
        answer = opened(server.base).search("Observation", {"patient": "p"})

    assert (answer.shortfall, answer.self_link_params) == (None, frozenset())


def test_two_pages_that_lead_to_each_other_are_left() -> None:
    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return STATEMENT
        number = len(server.asked)
        return bundle(observation(number), next=f"Observation?page={number % 2}")

    with HostileServer(script) as server:
        answer = opened(server.base).search("Observation", {})

    assert answer.shortfall == "next-link-loop"
    assert len(server.asked) < 6


def test_offset_pages_without_end_are_left_at_the_limit() -> None:
    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return fhir({"resourceType": "CapabilityStatement", **hapi})
        offset = int(parse_qs(urlsplit(asked.target).query)["_offset"][0])
        return bundle(observation(offset), total=10**6, next="Observation?_offset=1")

    hapi = {"fhirVersion": "4.0.1", "software": {"name": HAPI}}
    with HostileServer(script) as server:
        answer = opened(server.base, limits=Limits(pages_max=10)).search("Observation", {})

    assert answer.shortfall == "page-limit"
    assert len(server.asked) < 20


def test_a_search_by_links_that_brings_too_much_in_all_ends_even_when_read_one_by_one() -> None:
    ids = bundle(*[{"resourceType": "Observation", "id": f"o{n}"} for n in range(9)])

    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return STATEMENT
        if "_elements=id" in asked.target:
            return ids
        return Says(b"x" * 9_000 if "?" in asked.target else b"x" * 900)

    limits = Limits(page_bytes_max=2_000, total_bytes_max=4_000)
    with HostileServer(script) as server, pytest.raises(OverTotal):
        opened(server.base, limits=limits).search("Observation", {})
