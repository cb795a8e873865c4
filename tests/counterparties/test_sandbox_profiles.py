"""A sandbox can be every kind of server that the bridge must live with."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.sandbox import Profile, Sandbox
from tests.simulators.counterparty import Counterparty, counterparty, entry, found, link

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@contextmanager
def like(profile: Profile, clock: Clock | None = None) -> Iterator[tuple[Sandbox, Counterparty]]:
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(name="odd", profile=profile, clock=clock))
        yield sandbox, stack.enter_context(counterparty("sandbox", sandbox.base))


def patient(id_: str) -> dict[str, str]:
    return {"resourceType": "Patient", "id": id_}


def test_a_server_may_have_no_transactions_or_no_batches() -> None:
    with like(Profile(transactions=False, batch=False)) as (_, client):
        assert client.transact(entry(patient("p"))).status_code == 400
        assert client.transact(entry(patient("p")), kind="batch").status_code == 400
        assert "interaction" not in client.read("metadata")["rest"][0]


def test_a_server_may_take_at_most_25_entries() -> None:
    with like(Profile(entry_limit=25)) as (sandbox, client):
        entries = [entry(patient(f"p{i}")) for i in range(26)]

        assert client.transact(*entries).status_code == 413
        assert client.transact(*entries[1:]).status_code == 200
        assert len(sandbox.resources) == 25


def test_a_server_may_limit_the_bytes_of_a_request() -> None:
    with like(Profile(byte_limit=60)) as (_, client):
        assert client.put(patient("p")).status_code == 201
        assert client.put(patient("p" * 60)).status_code == 413


def test_a_server_may_forbid_that_clients_choose_ids() -> None:
    with like(Profile(update_create=False)) as (sandbox, client):
        sandbox.load([patient("here")])

        assert client.put(patient("new")).status_code == 405
        assert client.put({**patient("here"), "gender": "male"}).status_code == 200


def test_a_server_may_have_no_conditional_writes() -> None:
    with like(Profile(conditional_create=False, conditional_update=False)) as (_, client):
        asked = {"If-None-Exist": "identifier=a|b"}
        where = {"identifier": "a|b"}

        created = client.ask("POST", "Patient", body={"resourceType": "Patient"}, headers=asked)
        updated = client.ask("PUT", "Patient", body={"resourceType": "Patient"}, params=where)

        assert (created.status_code, updated.status_code) == (412, 412)


def test_a_server_may_have_no_everything() -> None:
    with like(Profile(everything=False)) as (sandbox, client):
        sandbox.load([patient("p")])

        assert client.status("Patient/p/$everything") == 400


def test_a_server_may_be_silent_about_what_it_can() -> None:
    with like(Profile(undeclared=frozenset({"update_create", "batch"}))) as (_, client):
        rest = client.read("metadata")["rest"][0]

        assert all("updateCreate" not in one for one in rest["resource"])
        assert [one["code"] for one in rest["interaction"]] == ["transaction"]
        assert client.put(patient("p")).status_code == 201


def test_a_server_may_not_check_references_and_take_numeric_ids() -> None:
    with like(Profile(integrity=False, numeric_ids=True)) as (_, client):
        result = {**client.observation("o", "Patient/absent"), "id": "123"}

        assert client.put(result).status_code == 201


def test_a_server_may_merge_labels_unless_told_to_replace_them() -> None:
    labelled = {**patient("p"), "meta": {"security": [{"system": "urn:s", "code": "secret"}]}}
    with like(Profile(merges_labels=True)) as (sandbox, client):
        client.put(labelled)

        client.put(patient("p"))
        kept = client.read("Patient/p")["meta"].get("security")
        client.put(patient("p"), X_Meta_Snapshot_Mode="TAG,SECURITY_LABEL,PROFILE")
        replaced = client.read("Patient/p")["meta"].get("security")

        assert (kept, replaced) == ([{"system": "urn:s", "code": "secret"}], None)
        assert sandbox.versions("Patient/p") == 2


def test_a_server_may_answer_a_stale_if_match_with_409() -> None:
    with like(Profile(stale_status=409)) as (sandbox, client):
        sandbox.load([patient("p")])

        assert client.put(patient("p"), If_Match='W/"7"').status_code == 409


def test_a_server_may_have_pages_of_its_own_size() -> None:
    with like(Profile(page_size=2, page_size_max=3)) as (sandbox, client):
        sandbox.load([patient(f"p{i}") for i in range(5)])

        assert len(found(client.search("Patient"))) == 2
        assert len(found(client.search("Patient", _count="500"))) == 3


def test_a_server_may_not_know_offset_nor_posted_searches() -> None:
    with like(Profile(offset_paging=False, post_search=False, page_size=1)) as (sandbox, client):
        sandbox.load([patient("a"), patient("b")])

        assert "_getpages" in (link(client.search("Patient", _offset="0"), "next") or "")
        assert client.ask("POST", "Patient/_search", body=b"_id=a").status_code == 405


def test_a_server_may_ignore_the_patient_and_then_its_self_link_says_so() -> None:
    with like(Profile(ignored_parameters=frozenset({"patient"}))) as (sandbox, client):
        results = [client.observation(name, f"Patient/{name}") for name in ("a", "b")]
        sandbox.load([*results, patient("a"), patient("b")])
        strict = {"Prefer": "handling=strict"}

        bundle = client.search("Observation", patient="Patient/a")

        assert len(found(bundle)) == 2
        assert "patient" not in (link(bundle, "self") or "")
        params = {"patient": "Patient/a"}
        assert client.ask("GET", "Observation", params=params, headers=strict).status_code == 400


def test_a_server_may_want_a_credential() -> None:
    with like(Profile(authorization="Bearer right")) as (_, client):
        given = {"Authorization": "Bearer right"}

        assert client.status("metadata") == 401
        assert client.ask("GET", "metadata", headers=given).status_code == 200


def test_a_servers_clock_may_be_wrong() -> None:
    clock = replace(Clock(), now=lambda: NOON)
    with like(Profile(clock_skew_seconds=400), clock) as (_, client):
        answer = client.put(patient("p"))

        ahead = parsedate_to_datetime(answer.headers["Date"]) - NOON
        assert ahead.total_seconds() == 400
        assert client.read("Patient/p")["meta"]["lastUpdated"] == "2026-01-02T12:00:00.000Z"


def test_what_is_loaded_is_not_checked_and_what_is_read_may_be_changed() -> None:
    with like(Profile()) as (sandbox, client):
        sandbox.load([client.observation("o", "Patient/absent")])
        ref = f"Observation/{client.id('o')}"

        sandbox.resources[ref]["status"] = "amended"  # type: ignore[index]

        assert client.read(ref)["status"] == "final"
        sandbox.remove(ref)
        assert client.status(ref) == 410
        assert (len(sandbox.resources), sandbox.versions(ref)) == (0, 2)


def test_ids_that_a_server_makes_show_its_name_and_are_ids() -> None:
    patient = {"resourceType": "Patient"}
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(name="St. Anna's Clinic"))
        client = stack.enter_context(counterparty("sandbox", sandbox.base))
        made = [client.ask("POST", "Patient", body=patient).json()["id"] for _ in range(2)]

    assert made == ["st.-anna-s-clinic-1", "st.-anna-s-clinic-2"]


def test_requests_are_remembered_and_their_bodies_on_demand() -> None:
    with Sandbox(name="seen", keeps_bodies=True) as sandbox:
        with counterparty("sandbox", sandbox.base) as client:
            client.put(patient("p"))
            client.search("Patient", _id="p")

        first, second = sandbox.requests
        assert (first.method, first.path, first.status) == ("PUT", "Patient/p", 201)
        assert first.body == b'{"resourceType":"Patient","id":"p"}'
        assert first.bytes == len(first.body)
        assert (second.path, second.query) == ("Patient", "_id=p")


@pytest.mark.parametrize(
    "path", ["Nonsense/1", "Patient/_nonsense", "Patient/p/$nonsense", "a/b/c/d/e"]
)
def test_an_unknown_path_is_an_error_that_fhir_knows(path: str) -> None:
    with like(Profile()) as (_, client):
        answer = client.ask("GET", path)

        assert answer.status_code in {404, 405}
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_what_lies_beside_the_base_is_not_found() -> None:
    with like(Profile()) as (_, client):
        assert client.status(client.base.removesuffix("/fhir") + "/other/metadata") == 404


def test_many_sandboxes_start_and_stop_at_once_within_a_second() -> None:
    started = time.monotonic()
    with ExitStack() as stack:
        for number in range(10):
            stack.enter_context(Sandbox(name=f"s{number}"))
        assert time.monotonic() - started < 1


def test_the_sandbox_brings_no_third_party_library_besides_the_json_reader() -> None:
    asked = (
        "import sys; before = set(sys.modules); import fhir_bridge.sandbox;"
        "print(*{name.partition('.')[0] for name in sys.modules} - before"
        " - set(sys.stdlib_module_names))"
    )

    said = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)

    assert set(said.stdout.split()) <= {"fhir_bridge", "msgspec", "typing_extensions"}
