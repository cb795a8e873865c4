"""Leases: one writer for each patient at each destination, whatever dies."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry
from tests.simulators.stores import Place

ID = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"

HOLDING = """
import sys
from pathlib import Path
from fhir_bridge.store import Store

store = Store.open(Path(sys.argv[1]), log_origin="bridge.example", database=sys.argv[2])
with store.lease("second", "Patient/1"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_writer_for_each_patient_at_each_destination(place: Place) -> None:
    waits: list[str] = []
    with place.open() as store, store.lease("second", "Patient/1"):
        with store.lease("second", "Patient/2"), store.lease("third", "Patient/1"):
            pass
        with (
            pytest.raises(StoreUnavailable, match="waited 5 seconds"),
            store.lease(
                "second", "Patient/1", wait_seconds=5, on_wait=lambda: waits.append("waited")
            ),
        ):
            pass

    assert waits == ["waited"]


def test_a_lease_given_back_is_free_also_after_an_error(place: Place) -> None:
    with place.open() as store:
        with pytest.raises(KeyError), store.lease("second", "Patient/1"):
            raise KeyError
        with store.lease("second", "Patient/1", wait_seconds=0):
            pass


def test_whoever_waits_for_a_lease_gets_it_when_it_is_given_back(place: Place) -> None:
    order: list[str] = []
    waiting = threading.Event()
    with place.open_by_the_clock() as store:

        def second() -> None:
            with store.lease("second", "Patient/1", on_wait=waiting.set):
                order.append("second")

        thread = threading.Thread(target=second)
        with store.lease("second", "Patient/1"):
            thread.start()
            assert waiting.wait(10)
            order.append("first")
        thread.join(10)

    assert order == ["first", "second"]


def test_a_lease_of_a_process_that_was_killed_is_free(place: Place) -> None:
    place.open().close()
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(place.folder), place.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    with place.open_by_the_clock() as store, child.stdout, child.stdin:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StoreUnavailable), store.lease("second", "Patient/1", wait_seconds=0.1):
            pass
        child.kill()
        child.wait(10)
        with store.lease("second", "Patient/1", wait_seconds=10):
            pass


def test_an_intent_is_signed_while_the_lease_is_held(place: Place) -> None:
    intent = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada")
    with place.open() as store, store.lease("second", "Patient/1"):
        assert store.append(intent, event_id=ID).first == 1


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_lock_that_cannot_be_taken_stops_the_bridge(place: Place) -> None:
    with place.open() as store:
        (place.folder / "locks" / "opening").unlink()
        (place.folder / "locks").rmdir()
        (place.folder / "locks").write_bytes(b"")
        with pytest.raises(StoreUnavailable, match="cannot be written"), store.lease("a", "b"):
            pass
