"""The service as a witness for the bridges that send records here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Event, NewEntry, VerifierKey, WitnessKey
from fhir_bridge.store import Store
from fhir_bridge.wire import Side, Wire
from fhir_bridge.witness import Witness
from fhir_bridge.witnessing import Asked
from tests.simulators.reception import Reception, code

NAME = "second.example/witness"


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "sender", log_origin="first.example") as store:
        yield store


def key_of(store: Store) -> VerifierKey:
    return store.verify().key


@pytest.fixture
def reception(tmp_path: Path, sender: Store) -> Iterator[Reception]:
    reception = Reception(tmp_path / "reception")
    reception.world.written["witness"] = f'name = "{NAME}"\npeers = ["{key_of(sender)}"]\n'
    with reception:
        yield reception


def witness_key(reception: Reception) -> WitnessKey:
    being = reception.bridge.witnessing.being()
    assert being is not None
    return being.verifier


def test_a_peers_log_is_cosigned_and_stands_in_ours(reception: Reception, sender: Store) -> None:
    wire = Wire(f"{reception.base}/witness", side=Side.DESTINATION)
    asked = Asked(sender, Clock(), [Witness(wire, witness_key(reception))])
    (heard,) = asked.ask()
    wire.close()

    assert (heard.failure, heard.size) == ("", sender.checkpoint().size)
    kept = [one for one in reception.world.entries() if one.type is Event.WITNESS_COSIGNED]
    assert [one.checkpoint for one in kept] == [sender.note()]
    answered = [one for one in reception.lines() if one["event"] == "request.answered"]
    assert answered[-1]["operation"] == "witness.add-checkpoint"


def test_a_log_that_was_set_back_is_told_so_over_http(reception: Reception, sender: Store) -> None:
    wire = Wire(f"{reception.base}/witness", side=Side.DESTINATION)
    witness = Witness(wire, witness_key(reception))
    before = sender.note()
    sender.append(
        NewEntry(type=Event.ACCESS_VIEWED, actor="cli:records"), event_id=str(uuid.uuid4())
    )
    Asked(sender, Clock(), [witness]).ask()

    with pytest.raises(AlteredLog, match="set back"):
        witness.cosign(before, last=0, proof=lambda _old, _new: [])
    wire.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"old 0\n\nother.example/audit/2026\n0\n" + b"A" * 44 + b"\n", 400),
        (b"x" * 70_000, 413),
    ],
)
def test_what_is_no_submission_is_refused(reception: Reception, body: bytes, status: int) -> None:
    answer = reception.client.post("/witness/add-checkpoint", content=body)

    assert (answer.status_code, answer.content) == (status, b"")


def test_a_bridge_that_is_no_witness_has_no_such_route(tmp_path: Path) -> None:
    with Reception(tmp_path / "other") as reception:
        answer = reception.client.post("/witness/add-checkpoint", content=b"old 0\n\n")

    assert (answer.status_code, code(answer)) == (404, "not-found")
