"""Storing at a destination: everything it takes, each once, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.errors import (
    CredentialRefused,
    DestinationRefused,
    DestinationUnreachable,
    Refused,
    Throttled,
)
from fhir_bridge.fhir_server import FhirServer, Stored, Write, delivery
from fhir_bridge.records import RecordRef
from fhir_bridge.sandbox import (
    Call,
    DropAfter,
    DropBefore,
    Failure,
    Faults,
    Profile,
    Sandbox,
    SlowAfter,
    Status,
    StatusAfter,
    Watch,
)
from fhir_bridge.wire import Side, Wire
from tests.simulators.hostile_server import Asked, HostileServer, Says, fhir
from tests.simulators.ticking import Ticking

MIB = 2**20


def opened(base: str, time: Ticking | None = None) -> FhirServer:
    clock = (time or Ticking()).clock()
    return FhirServer(Wire(base, side=Side.DESTINATION, clock=clock))


def nothing(_: Sequence[Write]) -> None:
    """Ask nobody before sending."""


def write(content: dict[str, Any], group: int = 0, **more: Any) -> Write:
    ref = RecordRef(f"{content['resourceType']}/{content['id']}")
    return Write(ref=ref, body=lossless.encode(content), group=group, **more)


def record(count: int = 40) -> list[Write]:
    """An organisation, a patient, observations and a report on all of them."""
    organisation = {"resourceType": "Organization", "id": "org", "name": "Clinic"}
    patient = {"resourceType": "Patient", "id": "pat"}
    patient["managingOrganization"] = {"reference": "Organization/org"}  # type: ignore[assignment]
    observations = [
        {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/pat"},
        }
        for number in range(count)
    ]
    report = {
        "resourceType": "DiagnosticReport",
        "id": "rep",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/pat"},
        "result": [{"reference": f"Observation/o{number}"} for number in range(count)],
    }
    return [
        write(report, 3),
        *[write(one, 2) for one in observations],
        write(patient, 1),
        write(organisation, 0, shared=True),
    ]


@pytest.fixture
def destination() -> Iterator[Sandbox]:
    with Sandbox(name="second", faults=Faults(), keeps_bodies=True) as sandbox:
        yield sandbox


def brings(call: Call) -> bool:
    """Tell a request that carries records from a batch of reads."""
    if b'"method":"GET"' in call.body:
        return False
    return call.method == "PUT" or (call.method == "POST" and call.path == "")


def carried(sandbox: Sandbox) -> list[list[str]]:
    """What each request carried that was answered or broken off."""
    found = []
    for one in sandbox.requests:
        if one.method == "PUT":
            found.append([one.path])
        elif one.method == "POST" and one.body and b'"method":"PUT"' in one.body:
            entries = json.loads(one.body)["entry"]
            found.append([entry["request"]["url"] for entry in entries])
    return found


def all_there_once(sandbox: Sandbox, writes: Sequence[Write]) -> bool:
    return set(sandbox.resources) == {one.ref for one in writes} and all(
        sandbox.versions(one.ref) == 1 for one in writes
    )


# The straight way


def test_a_record_goes_in_one_transaction_and_what_others_share_before_it(
    destination: Sandbox,
) -> None:
    writes = record()
    stored = opened(destination.base).store(writes, before_send=nothing)

    assert [one.ref for one in stored] == [one.ref for one in writes]
    assert {one.status for one in stored} == {"created"}
    assert {one.version for one in stored} == {"1"}
    first, second = carried(destination)
    assert first == ["Organization/org"]
    assert (second[0], second[-1], len(second)) == ("Patient/pat", "DiagnosticReport/rep", 42)
    assert all_there_once(destination, writes)


def test_storing_again_makes_no_new_version(destination: Sandbox) -> None:
    writes = record()
    opened(destination.base).store(writes, before_send=nothing)
    opened(destination.base).store(writes, before_send=nothing)

    assert all_there_once(destination, writes)


def test_a_number_arrives_as_it_was_written(destination: Sandbox) -> None:
    body = b'{"resourceType":"Observation","id":"o","valueQuantity":{"value":5.10}}'
    opened(destination.base).store(
        [Write(ref=RecordRef("Observation/o"), body=body)], before_send=nothing
    )

    assert b'"value":5.10' in lossless.encode(destination.resources["Observation/o"])


def test_nothing_to_store_asks_nothing(destination: Sandbox) -> None:
    assert opened(destination.base).store([], before_send=nothing) == []
    assert carried(destination) == []


def test_headers_that_only_hapi_understands_are_sent_to_hapi_only() -> None:
    snapshot, retry = "TAG,SECURITY_LABEL,PROFILE", "retry; max-retries=5"
    shared = write({"resourceType": "Organization", "id": "org"}, shared=True)
    for software, headers in (
        ("some other", {(None, None)}),
        ("HAPI FHIR Server", {(snapshot, retry), (snapshot, None)}),
    ):
        with Sandbox(name="second", profile=Profile(software=software)) as destination:
            opened(destination.base).store([shared, *record(3)[1:]], before_send=nothing)
            sent = [one.headers for one in destination.requests if one.method in {"PUT", "POST"}]

        names = ("x-meta-snapshot-mode", "x-retry-on-version-conflict")
        assert {tuple(one.get(name) for name in names) for one in sent} == headers


def test_a_large_attachment_goes_by_itself() -> None:
    large = {"resourceType": "Binary", "id": "big", "contentType": "a/b", "data": "QUJD" * 400_000}
    with Sandbox(name="second", keeps_bodies=True) as destination:
        opened(destination.base).store([*record(3), write(large)], before_send=nothing)

        assert ["Binary/big"] in carried(destination)


def test_bytes_may_go_as_they_are() -> None:
    with HostileServer([capable(), Says(status=201, headers={"ETag": 'W/"1"'})]) as server:
        one = Write(ref=RecordRef("Binary/b"), body=b"%PDF", raw_content_type="application/pdf")
        stored = opened(server.base).store([one], before_send=nothing)

        assert server.asked[1].headers["content-type"] == "application/pdf"
        assert server.asked[1].body == b"%PDF"
    assert (stored[0].status, stored[0].version) == ("created", "1")


# Before and after each request


def test_consent_is_asked_before_each_request_that_carries_records(destination: Sandbox) -> None:
    asked: list[list[str]] = []

    def before(batch: Sequence[Write]) -> None:
        asked.append([one.ref for one in batch])
        assert len(carried(destination)) == len(asked) - 1

    destination.faults.at(brings, DropBefore(), times=1)
    opened(destination.base).store(record(), before_send=before)

    assert asked == carried(destination)
    assert len(asked) == 3


@pytest.mark.parametrize("transactions", [True, False])
def test_when_consent_is_gone_nothing_more_is_sent(transactions: bool) -> None:  # noqa: FBT001
    def before(batch: Sequence[Write]) -> None:
        if batch[0].ref != "Organization/org":
            raise Refused("revoked")

    with Sandbox(
        name="second", profile=Profile(transactions=transactions), keeps_bodies=True
    ) as destination:
        with pytest.raises(Refused):
            opened(destination.base).store(record(), before_send=before)

        assert set(destination.resources) <= {"Organization/org"}


def test_what_was_stored_is_told_request_by_request(destination: Sandbox) -> None:
    told: list[int] = []
    writes = record()

    def after(rows: Sequence[Stored]) -> None:
        told.append(len(rows))

    opened(destination.base).store(writes, before_send=nothing, after_send=after)

    assert told == [1, 42]


# Limits


@pytest.mark.parametrize("limit", [25, 7, 1])
def test_a_destination_with_an_entry_limit_ends_in_the_same_state(limit: int) -> None:
    writes = record(100)
    with Sandbox(
        name="second", profile=Profile(entry_limit=limit), keeps_bodies=True
    ) as destination:
        stored = opened(destination.base).store(writes, before_send=nothing)

        assert all(one.status == "created" for one in stored)
        assert all_there_once(destination, writes)


def test_a_limit_that_was_learnt_is_not_tried_again() -> None:
    with Sandbox(name="second", profile=Profile(entry_limit=25), keeps_bodies=True) as destination:
        server = opened(destination.base)
        server.store(record(100), before_send=nothing)
        refused = [one for one in destination.requests if one.status == 413]
        server.store(record(100), before_send=nothing)

        assert len([one for one in destination.requests if one.status == 413]) == len(refused)
        assert len(refused) <= 3


def test_a_byte_limit_is_learnt_as_one() -> None:
    notes = [{"text": "x" * 100_000}]
    writes = [
        write({"resourceType": "Basic", "id": f"b{number}", "note": notes}) for number in range(60)
    ]
    small = Profile(byte_limit=1_500_000)
    with Sandbox(name="third", profile=small, keeps_bodies=True) as destination:
        opened(destination.base).store(writes, before_send=nothing)

        assert all_there_once(destination, writes)
        assert len(carried(destination)) < 20


def test_a_limit_said_only_in_words_is_understood() -> None:
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"code": "invalid", "details": {"text": "Too many entries: 43"}}],
    }

    def script(asked: Asked) -> Says:
        if asked.method == "GET":
            return capable()
        count = asked.body.count(b'"method"')
        return fhir(outcome, 400) if count > 10 else created(asked)

    with HostileServer(script) as server:
        stored = opened(server.base).store(record(), before_send=nothing)

    assert {one.status for one in stored} == {"created"}
    assert len(server.asked) < 16


def test_cycles_stay_together_when_a_chunk_is_cut() -> None:
    pairs = [
        write({"resourceType": "Basic", "id": f"{side}{number}"}, number)
        for number in range(10)
        for side in "ab"
    ]
    with Sandbox(name="second", profile=Profile(entry_limit=7), keeps_bodies=True) as destination:
        opened(destination.base).store(pairs, before_send=nothing)
        taken = [one for one in destination.requests if one.status == 200 and one.body]

    assert all(json.loads(one.body or b"")["entry"].__len__() % 2 == 0 for one in taken)


def test_one_write_by_itself_is_a_put_and_no_transaction(destination: Sandbox) -> None:
    one = write({"resourceType": "Patient", "id": "p"})
    assert opened(destination.base).store([one], before_send=nothing)[0].status == "created"
    assert [seen.path for seen in destination.requests if seen.method == "PUT"] == ["Patient/p"]
    assert len(carried(destination)) == 1


def test_where_no_single_put_is_taken_one_write_is_a_transaction() -> None:
    def script(asked: Asked) -> Says:
        if asked.target.endswith("metadata"):
            return capable()
        return created(asked) if asked.method == "POST" else Says(status=405)

    with HostileServer(script) as server:
        destination = opened(server.base)
        for id_ in "pq":
            one = write({"resourceType": "Patient", "id": id_})
            assert destination.store([one], before_send=nothing)[0].status == "created"

    assert [asked.method for asked in server.asked].count("POST") == 2


# Without transactions


def test_a_destination_without_transactions_ends_in_the_same_state() -> None:
    writes = record()
    with Sandbox(
        name="second", profile=Profile(transactions=False), keeps_bodies=True
    ) as destination:
        stored = opened(destination.base).store(writes, before_send=nothing)

        assert {one.status for one in stored} == {"created"}
        assert all_there_once(destination, writes)
        assert len(carried(destination)) == len(writes)
        assert carried(destination)[0] == ["Organization/org"]
        assert carried(destination)[-1] == ["DiagnosticReport/rep"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_destination_that_only_says_it_has_transactions_gets_single_writes(
    status: int, destination: Sandbox
) -> None:
    writes = record()
    destination.faults.at(lambda call: brings(call) and call.path == "", Status(status), times=None)
    opened(destination.base).store(writes, before_send=nothing)

    assert all_there_once(destination, writes)


# Lost answers

FAILURES: dict[str, Callable[[], Failure]] = {
    "broken before": DropBefore,
    "broken after": DropAfter,
    "429": lambda: Status(429, "3"),
    "503": lambda: Status(503, "3"),
    "503 without Retry-After": lambda: Status(503),
    "502": lambda: Status(502),
    "504": lambda: Status(504),
    "504 after": lambda: StatusAfter(504),
    "500 after": lambda: StatusAfter(500),
    "409": lambda: Status(409),
}


@pytest.mark.parametrize("transactions", [True, False])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("times", [1, 2])
def test_a_moment_of_failure_ends_in_the_same_state_without_a_second_version(
    failure: Callable[[], Failure],
    times: int,
    transactions: bool,  # noqa: FBT001
) -> None:
    writes = record()
    with Sandbox(
        name="second", faults=Faults(), profile=Profile(transactions=transactions)
    ) as destination:
        destination.faults.at(brings, failure(), times=times)
        stored = opened(destination.base).store(writes, before_send=nothing)

        assert destination.faults.fired == times
        assert all(one.error is None for one in stored)
        assert all_there_once(destination, writes)


def test_an_answer_lost_after_commit_is_found_and_not_repeated(destination: Sandbox) -> None:
    writes = record()
    destination.faults.at(lambda call: b"DiagnosticReport" in call.body, DropAfter(), times=1)
    stored = opened(destination.base).store(writes, before_send=nothing)

    assert len(carried(destination)) == 2
    assert {one.status for one in stored} == {"created"}


def test_an_update_whose_answer_was_lost_is_found_by_its_version(destination: Sandbox) -> None:
    destination.load([{"resourceType": "Patient", "id": "p"}])
    destination.faults.at(brings, DropAfter(), times=1)
    newer = write({"resourceType": "Patient", "id": "p", "gender": "female"}, if_match="1")
    stored = opened(destination.base).store([newer], before_send=nothing)

    assert (stored[0].status, stored[0].version) == ("updated", "2")
    assert len(carried(destination)) == 1


def test_an_answer_that_says_nothing_is_an_answer_lost() -> None:
    rows: list[Says] = [Says(b"{}"), Says(b"not json"), fhir({"entry": []}), fhir([])]
    for nonsense in rows:

        def script(asked: Asked, nonsense: Says = nonsense) -> Says:
            if asked.method == "GET" and asked.target.endswith("metadata"):
                return capable()
            if "_search" in asked.target:
                return Says(status=404)
            if asked.method == "POST":
                return nonsense
            return fhir({"resourceType": "Patient", "id": asked.target.rpartition("/")[2]})

        with HostileServer(script) as server:
            writes = [write({"resourceType": "Patient", "id": id_}) for id_ in "pq"]
            stored = opened(server.base).store(writes, before_send=nothing)

        assert [one.status for one in stored] == ["created", "created"]


def test_a_destination_that_is_too_slow_is_looked_at_before_anything_is_sent_again(
    destination: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_SECONDS", 0.3)
    monkeypatch.setattr(delivery, "_SECONDS_PER_ENTRY", 0.0)
    writes = record()
    destination.faults.at(lambda call: b"DiagnosticReport" in call.body, SlowAfter(5), times=1)
    opened(destination.base).store(writes, before_send=nothing)

    assert len(carried(destination)) == 1  # the second answer was never taken
    assert all_there_once(destination, writes)


def test_a_commit_that_comes_late_is_found_before_anything_is_sent_again(
    destination: Sandbox,
) -> None:
    """A server goes on with what we gave up on: it is there at the second look only."""
    patient = {"resourceType": "Patient", "id": "p"}

    class Waits(Ticking):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            destination.load([patient])

    destination.faults.at(brings, DropBefore(), times=1)
    stored = opened(destination.base, Waits()).store([write(patient)], before_send=nothing)

    assert stored[0].status == "created"
    assert len(carried(destination)) == 1


def test_a_destination_that_fails_again_and_again_is_unreachable(destination: Sandbox) -> None:
    destination.faults.at(brings, DropBefore(), times=None)
    with pytest.raises(DestinationUnreachable, match="resume"):
        opened(destination.base).store(record(), before_send=nothing)

    assert destination.faults.fired < 30


def test_a_destination_that_asks_to_wait_too_long_is_left_alone(destination: Sandbox) -> None:
    time = Ticking()
    destination.faults.at(brings, Status(429, "600"), times=None)
    with pytest.raises(Throttled) as caught:
        opened(destination.base, time).store(record(), before_send=nothing)

    assert caught.value.wait_seconds == 600
    assert time.waited == 0
    assert len(destination.resources) == 0


def test_an_entry_that_is_throttled_inside_an_answer_of_200_is_sent_again() -> None:
    answered: list[int] = []

    def script(asked: Asked) -> Says:
        if asked.method == "GET":
            return capable()
        answered.append(asked.body.count(b'"method"'))
        if len(answered) > 1:
            return created(asked)
        rows = [{"response": {"status": "201"}}] * (answered[0] - 2)
        rows += [{"response": {"status": "429 Too Many Requests"}}] * 2
        return fhir({"resourceType": "Bundle", "entry": rows})

    writes = [write({"resourceType": "Basic", "id": f"b{n}"}) for n in range(10)]
    with HostileServer(script) as server:
        stored = opened(server.base).store(writes, before_send=nothing)

    assert answered == [10, 2]
    assert {one.status for one in stored} == {"created"}


# Refusals


@pytest.mark.parametrize("transactions", [True, False])
@pytest.mark.parametrize("refused", ["Observation/o7", "Observation/o0", "DiagnosticReport/rep"])
def test_one_refused_of_many_does_not_stop_the_others(
    refused: str,
    transactions: bool,  # noqa: FBT001
) -> None:
    writes = record()
    profile = Profile(transactions=transactions, integrity=False)
    with Sandbox(name="second", faults=Faults(), profile=profile) as destination:
        destination.faults.refuse(refused)
        stored = opened(destination.base).store(writes, before_send=nothing)

        assert [one.ref for one in stored if one.status == "refused"] == [refused]
        assert set(destination.resources) == {one.ref for one in writes} - {RecordRef(refused)}
        error = next(one.error for one in stored if one.error)
        assert (error.status, error.codes) == (422, ("business-rule",))


def test_what_refers_to_something_refused_is_refused_too_where_references_are_checked(
    destination: Sandbox,
) -> None:
    destination.faults.refuse("Observation/o7")
    stored = opened(destination.base).store(record(), before_send=nothing)

    refused = {one.ref for one in stored if one.status == "refused"}
    assert refused == {"Observation/o7", "DiagnosticReport/rep"}
    assert len(destination.resources) == 41


def test_an_entry_that_the_destination_names_is_found_at_once() -> None:
    def script(asked: Asked) -> Says:
        if asked.method == "GET":
            return capable()
        if b'"o7"' not in asked.body:
            return created(asked)
        place = f"Bundle.entry[{asked.body[: asked.body.index(b'o7')].count(b'fullUrl') - 1}]"
        issue = {"code": "value", "expression": [place + ".resource.status"]}
        return fhir({"resourceType": "OperationOutcome", "issue": [issue]}, 422)

    with HostileServer(script) as server:
        writes = [one for one in record(30) if not one.ref.startswith("Diag")]
        stored = opened(server.base).store(writes, before_send=nothing)

        assert [one.ref for one in stored if one.error] == ["Observation/o7"]
        assert len(server.asked) == 5


def test_of_a_refusal_only_codes_numbers_and_places_are_kept() -> None:
    outcome = {
        "resourceType": "OperationOutcome",
        "text": {"div": "canary"},
        "issue": [
            {
                "code": "processing",
                "diagnostics": "HAPI-1094: canary HAPI-99999",
                "details": {"text": "canary"},
                "expression": ["Patient.name[0]", "canary with blanks"],
                "location": "Patient.birthDate",
            },
            {"code": "CANARY"},
            "canary",
        ],
    }
    with HostileServer([capable(), fhir(outcome, 422)]) as server:
        stored = opened(server.base).store(
            [write({"resourceType": "Patient", "id": "p"})], before_send=nothing
        )

    error = stored[0].error
    assert error is not None
    assert error.codes == ("processing", "HAPI-1094")
    assert "Patient.name[0], Patient.birthDate" in str(error)
    assert "canary" not in str(error).lower()


def test_a_copy_that_was_changed_at_the_destination_is_not_written_over() -> None:
    for stale in (409, 412):
        with Sandbox(name="second", profile=Profile(stale_status=stale)) as destination:
            destination.load([{"resourceType": "Patient", "id": "p"}])
            destination.load([{"resourceType": "Patient", "id": "p", "gender": "female"}])
            ours = write({"resourceType": "Patient", "id": "p", "gender": "male"}, if_match="1")
            rest = [write({"resourceType": "Basic", "id": f"b{n}"}) for n in range(5)]
            stored = opened(destination.base).store([ours, *rest], before_send=nothing)

            assert destination.resources["Patient/p"]["gender"] == "female"
            assert [one.status for one in stored] == ["refused"] + ["created"] * 5


def test_a_single_write_expects_its_version_too() -> None:
    with Sandbox(name="second", profile=Profile(transactions=False)) as destination:
        destination.load([{"resourceType": "Patient", "id": "p"}])
        for version, status in (("7", "refused"), ("1", "updated")):
            ours = write({"resourceType": "Patient", "id": "p", "active": True}, if_match=version)
            stored = opened(destination.base).store([ours], before_send=nothing)

            assert stored[0].status == status


def test_an_entry_that_is_refused_inside_an_answer_of_200_is_refused_alone() -> None:
    rows = [{"response": {"status": "201"}}, {"response": {"status": "422"}}, 7]
    with HostileServer([capable(), fhir({"resourceType": "Bundle", "entry": rows})]) as server:
        writes = [write({"resourceType": "Basic", "id": f"b{n}"}) for n in range(3)]
        stored = opened(server.base).store(writes, before_send=nothing)

    assert [one.status for one in stored] == ["created", "refused", "refused"]


def test_a_conflict_that_stays_is_found_and_the_others_are_stored(destination: Sandbox) -> None:
    destination.faults.refuse("Observation/o3", status=409, code="conflict")
    writes = [one for one in record(10) if not one.ref.startswith("Diag")]
    stored = opened(destination.base).store(writes, before_send=nothing)

    assert [one.ref for one in stored if one.error] == ["Observation/o3"]


def test_data_that_hapi_answers_500_to_is_not_asked_for_ever() -> None:
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"code": "processing", "diagnostics": "HAPI-2223: canary"}],
    }

    def script(asked: Asked) -> Says:
        if asked.method == "GET":
            return capable()
        return fhir(outcome, 500) if b'"o7"' in asked.body else created(asked)

    with HostileServer(script) as server:
        writes = [one for one in record(30) if not one.ref.startswith("Diag")]
        stored = opened(server.base).store(writes, before_send=nothing)

        assert [one.ref for one in stored if one.error] == ["Observation/o7"]
        assert len(server.asked) < 20


def test_a_destination_that_answers_500_to_everything_is_unreachable(
    destination: Sandbox,
) -> None:
    destination.faults.at(brings, Status(500), times=None)
    with pytest.raises(DestinationUnreachable, match="fault of its own"):
        opened(destination.base).store(record(), before_send=nothing)

    assert len(carried(destination)) < 40


def test_a_credential_that_may_not_write_stops_everything() -> None:
    with HostileServer([capable(), Says(status=403)]) as server, pytest.raises(CredentialRefused):
        opened(server.base).store(record(), before_send=nothing)

    assert len(server.asked) == 2


@pytest.mark.parametrize("transactions", [True, False])
def test_a_destination_that_gives_out_ids_itself_says_so_before_hundreds_of_refusals(
    transactions: bool,  # noqa: FBT001
) -> None:
    less = Profile(update_create=False, transactions=transactions, software="x")
    with Sandbox(name="second", profile=less) as destination:
        with pytest.raises(DestinationRefused, match="updateCreate"):
            opened(destination.base).store(record(200), before_send=nothing)

        assert len(destination.resources) == 0
        assert len(destination.requests) < 30


def test_two_that_write_the_same_at_once_make_one_set(destination: Sandbox) -> None:
    """The other one comes in between our look and our write."""
    writes = record(5)

    def other(_: Call) -> None:
        destination.load(json.loads(one.body) for one in writes)

    destination.faults.at(brings, Watch(other), times=1)
    stored = opened(destination.base).store(writes, before_send=nothing)

    assert all(one.error is None for one in stored)
    assert all_there_once(destination, writes)


def capable() -> Says:
    """A destination that takes transactions."""
    rest = [{"interaction": [{"code": "transaction"}]}]
    return fhir({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest})


def created(asked: Asked) -> Says:
    """Everything was created."""
    if asked.method == "PUT":
        return Says(status=201)
    count = asked.body.count(b'"method":"PUT"')
    rows = [{"response": {"status": "201 Created", "etag": 'W/"1"'}}] * count
    return fhir({"resourceType": "Bundle", "type": "transaction-response", "entry": rows})
