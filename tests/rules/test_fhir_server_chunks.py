"""What is sent together to a destination, and in which order."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.fhir_server import Write
from fhir_bridge.fhir_server.chunks import Chunk, Room, chunks, in_order, singles, transaction
from fhir_bridge.records import RecordRef


def write(number: int, group: int = 0, *, shared: bool = False, size: int = 2) -> Write:
    ref = RecordRef(f"Basic/{number}")
    return Write(ref=ref, body=b"{}".ljust(size), group=group, shared=shared)


groups = st.lists(st.integers(min_value=0, max_value=5), max_size=30)


@given(groups, st.integers(min_value=1, max_value=10))
def test_every_write_is_in_exactly_one_chunk_and_in_order(numbers: list[int], limit: int) -> None:
    writes = in_order(write(at, group, shared=group == 5) for at, group in enumerate(numbers))
    cut = list(chunks(writes, Room(limit, 10**9)))

    assert [one for chunk in cut for one in chunk.writes] == writes
    assert all(0 < len(chunk.writes) <= limit for chunk in cut)


@given(groups)
def test_what_refers_in_a_circle_is_never_cut_while_there_is_room(numbers: list[int]) -> None:
    writes = in_order(write(at, group) for at, group in enumerate(numbers))
    largest = max((numbers.count(group) for group in numbers), default=1)
    cut = list(chunks(writes, Room(largest, 10**9)))
    at = {one.ref: index for index, chunk in enumerate(cut) for one in chunk.writes}

    for group in set(numbers):
        assert len({at[one.ref] for one in writes if one.group == group}) == 1


def test_what_other_transfers_share_goes_first_and_by_itself() -> None:
    writes = in_order(
        [write(1, 0), write(2, 9, shared=True), write(3, 1), write(4, 3, shared=True)]
    )
    cut = [[one.ref for one in chunk.writes] for chunk in chunks(writes, Room(100, 10**9))]

    assert cut == [["Basic/4", "Basic/2"], ["Basic/1", "Basic/3"]]


def test_a_chunk_stays_under_the_byte_limit() -> None:
    writes = in_order(write(at, at, size=1_000) for at in range(20))
    cut = list(chunks(writes, Room(100, 5_000)))

    assert all(chunk.size_bytes <= 5_000 for chunk in cut)
    assert len(cut) == 5


def test_a_large_body_goes_by_itself() -> None:
    writes = in_order([write(1, 0), write(2, 1, size=2_000_000), write(3, 2)])
    cut = list(chunks(writes, Room(100, 10**9)))

    assert [chunk.alone for chunk in cut] == [False, True, False]


def test_halves_are_cut_between_two_groups() -> None:
    chunk = Chunk(tuple(write(at, group) for at, group in enumerate([0, 1, 1, 1, 1, 2])))

    assert [len(half.writes) for half in chunk.halves()] in ([1, 5], [5, 1])


def test_one_group_is_cut_in_the_middle_when_it_must_be() -> None:
    chunk = Chunk(tuple(write(at) for at in range(5)))

    assert [len(half.writes) for half in chunk.halves()] == [2, 3]
    assert Chunk((write(1),)).halves() == [Chunk((write(1),))]


def test_single_writes_of_one_level_do_not_refer_to_each_other() -> None:
    def refers(name: str, *to: str) -> Write:
        body = json.dumps([{"reference": ref} for ref in to], separators=(",", ":"))
        return Write(ref=RecordRef(name), body=body.encode())

    writes = [
        refers("Patient/p", "Organization/elsewhere"),
        refers("Observation/a", "Patient/p"),
        refers("Observation/b", "Patient/p"),
        refers("DiagnosticReport/r", "Observation/a", "Observation/b"),
    ]
    levels = [(chunk.writes[0].ref, chunk.level) for chunk in singles(writes)]

    assert levels == [
        ("Patient/p", 0),
        ("Observation/a", 1),
        ("Observation/b", 1),
        ("DiagnosticReport/r", 2),
    ]


def test_a_transaction_is_json_with_each_body_as_it_was_written() -> None:
    body = b'{"resourceType":"Observation","id":"o","valueQuantity":{"value":5.10}}'
    ref = RecordRef("Observation/o")
    chunk = Chunk((Write(ref=ref, body=body), Write(ref=ref, body=body, if_match="7")))
    written = transaction(chunk, "https://second.example/fhir")

    assert written.count(body) == 2
    entries = json.loads(written)["entry"]
    assert entries[0]["fullUrl"] == "https://second.example/fhir/Observation/o"
    assert entries[0]["request"] == {"method": "PUT", "url": "Observation/o"}
    assert entries[1]["request"]["ifMatch"] == 'W/"7"'


@given(st.integers(min_value=2, max_value=10_000), st.integers(min_value=2, max_value=2_000_000))
def test_what_was_too_large_is_never_sent_again_as_it_was(count: int, size: int) -> None:
    chunk = Chunk(tuple(write(at, size=size // count) for at in range(min(count, 50))))
    room = Room(10_000, 10**9)
    room.was_too_small(chunk)

    assert not room.holds(chunk)
    assert room.holds(Chunk((write(1, size=5_000_000),)))
