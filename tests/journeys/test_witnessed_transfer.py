"""A transfer whose log is witnessed by the bridge that receives the records."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import Unreachable
from fhir_bridge.journey.proving import intent_proof
from fhir_bridge.ledger import (
    Checkpoint,
    Event,
    NewEntry,
    Note,
    Receipt,
    VerifierKey,
    decode_entry,
    event_id,
    is_included,
    leaf_hash,
)
from fhir_bridge.store import Store
from fhir_bridge.transfer import State
from fhir_bridge.witnessing import BeingWitness
from tests.journeys.world import World
from tests.simulators.process import free_port
from tests.simulators.ticking import Ticking
from tests.simulators.witnesses import Running, ours


@contextmanager
def second_bridge(folder: Path, log: VerifierKey, port: int = 0) -> Iterator[Running]:
    with Store.open(folder / "second", log_origin="second.example") as store:
        being = BeingWitness(store, Clock(), store.cosigner("second.example/witness"), [log])
        with ours(being, port) as running:
            yield running


def our_key(world: World) -> VerifierKey:
    with world.bridge() as bridge:
        return bridge.verify_log().key


def asking(running: Running, without: str) -> str:
    return f'ask = [{{ vkey = "{running.key}", url = "{running.url}" }}]\nwithout = "{without}"\n'


@pytest.mark.parametrize("without", ["go-on", "stop"])
def test_a_transfer_ends_with_its_log_cosigned(tmp_path: Path, without: str) -> None:
    with World(tmp_path / "first", "amelia") as world:
        with second_bridge(tmp_path, our_key(world)) as running:
            world.written["witness"] = asking(running, without)
            assert world.transfer().state is State.CLOSED
        with world.bridge() as bridge:
            store = bridge._store
            size = store.checkpoint().size
            assert store.last_cosigned(store.log) == size
            note = dict(store.notes(store.log))[size]
        assert running.key.cosigned(Note.parse(note)) is not None


def test_without_a_witness_a_transfer_goes_on_where_the_settings_say_so(tmp_path: Path) -> None:
    with World(tmp_path / "first", "amelia") as world:
        with second_bridge(tmp_path, our_key(world)) as running:
            pass
        world.written["witness"] = asking(running, "go-on")
        assert world.transfer().state is State.CLOSED


def test_without_its_witness_nothing_leaves_where_the_settings_say_stop(tmp_path: Path) -> None:
    port = free_port()
    with World(tmp_path / "first", "amelia") as world:
        key = our_key(world)
        with second_bridge(tmp_path, key, port) as running:
            pass
        world.written["witness"] = asking(running, "stop")
        with pytest.raises(Unreachable, match="1 witnesses must cosign"):
            world.transfer()
        assert {seen.path for seen in world.second.requests} <= {"metadata"}
        assert world.arrived() == set()
        (transfer,) = world.transfers()
        with second_bridge(tmp_path, key, port):
            assert world.resume(transfer).state is State.CLOSED


def test_the_delivery_carries_the_proof_that_its_disclosure_is_in_the_sender_s_log(
    tmp_path: Path,
) -> None:
    with World(tmp_path / "first", "amelia") as world:
        report = world.transfer()
        key = our_key(world)
        (written,) = [ref for ref in report.authored if ref.startswith("Provenance/")]
        (signature,) = world.second.resources[written]["signature"]
    receipt = Receipt.parse(base64.b64decode(signature["data"]).decode())
    checkpoint = Checkpoint.parse(key.open(receipt.note))
    assert is_included(
        leaf_hash(receipt.entry),
        receipt.index,
        receipt.proof,
        size=checkpoint.size,
        root=checkpoint.root,
    )
    entry = decode_entry(receipt.entry)
    assert (entry.type, entry.transfer) == (
        Event.DISCLOSURE_INTENT,
        f"urn:uuid:{report.transfer}",
    )
    assert receipt.body is None


def test_the_proof_of_an_intent_of_last_year_is_by_last_year_s_log(tmp_path: Path) -> None:
    transfer = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
    act = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=transfer)
    ticking = Ticking()
    with Store.open(tmp_path / "store", log_origin="a.example", clock=ticking.clock()) as store:
        intent = store.append(act, event_id=event_id(transfer, "intent")).first
        ticking.moment = datetime(2027, 1, 1, tzinfo=UTC)
        result = replace(act, type=Event.DISCLOSURE_RESULT)
        store.append(result, event_id=event_id(transfer, "result"))
        receipt = Receipt.parse(intent_proof(store, transfer, intent))
    checkpoint = Checkpoint.parse(Note.parse(receipt.note).text)
    assert checkpoint.origin == "a.example/audit/2026"
    assert is_included(
        leaf_hash(receipt.entry),
        receipt.index,
        receipt.proof,
        size=checkpoint.size,
        root=checkpoint.root,
    )
