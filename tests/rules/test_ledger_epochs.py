"""Which key signs a log at which size, as the log's own entries say."""

from __future__ import annotations

import pytest

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Entry, Epoch, Event, NewEntry, Place
from fhir_bridge.ledger.epochs import Epochs
from tests.rules.test_ledger_policy import LOG, A, B, C, log_key


def entry(idx: int, type_: Event, vkey: object = None) -> Entry:
    place = Place(log=LOG, idx=idx, t="2026-11-25T09:00:00.000Z", seq=None)
    made = NewEntry(type=type_, actor="svc:fhir-bridge", vkey=None if vkey is None else str(vkey))
    return made.at(place, None)


def opened() -> Epochs:
    epochs = Epochs(LOG)
    epochs.read(entry(0, Event.LOG_OPENED, A))
    return epochs


def test_the_key_that_opens_a_log_signs_every_size_until_another_begins() -> None:
    epochs = opened()
    epochs.read(entry(1, Event.LOG_HEARTBEAT))

    assert epochs.log == LOG
    assert epochs.all == (Epoch(key=A),)
    assert [epochs.signers(size) for size in (1, 2, 1000)] == [(A,)] * 3


def test_the_checkpoint_over_a_change_is_signed_by_both_keys_and_the_next_by_the_new_one() -> None:
    epochs = opened()
    epochs.read(entry(4, Event.KEY_ROTATED, B))
    epochs.read(entry(9, Event.KEY_ROTATED, C))

    assert [epochs.signers(size) for size in (4, 5, 6, 9, 10, 11)] == [
        (A,),
        (A, B),
        (B,),
        (B,),
        (B, C),
        (C,),
    ]


def test_a_log_whose_first_entry_names_no_key_has_the_one_it_is_known_by() -> None:
    epochs = Epochs(LOG, unnamed=log_key("a", "another.example/audit/2026"))
    epochs.read(entry(0, Event.LOG_OPENED))

    assert epochs.signers(1) == (A,)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (entry(0, Event.LOG_HEARTBEAT, A), "does not open the log"),
        (entry(0, Event.LOG_OPENED), "a key that is none"),
        (entry(0, Event.LOG_OPENED, "no+key"), "a key that is none"),
        (entry(0, Event.LOG_OPENED, log_key("a", "another.example/audit")), "of another log"),
    ],
    ids=["another act", "no key", "not a key", "another log's"],
)
def test_a_log_that_does_not_begin_with_its_own_key_is_altered(first: Entry, why: str) -> None:
    with pytest.raises(AlteredLog, match=why):
        Epochs(LOG).read(first)


def test_a_change_to_the_key_of_another_log_is_an_alteration() -> None:
    epochs = opened()

    with pytest.raises(AlteredLog, match="of another log"):
        epochs.read(entry(3, Event.KEY_ROTATED, log_key("b", "another.example/audit/2026")))
