"""What a transfer's entries say of disclosures, where nothing or not everything left."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from fhir_bridge.accounting import Ending, Recipient, disclosures
from fhir_bridge.ledger import Checkpoint, Entry, Event
from tests.rules.test_ledger_entry import INTENT, PLACE


def entry(type_: Event, idx: int) -> Entry:
    content = (
        INTENT.content if type_ in {Event.DISCLOSURE_INTENT, Event.DISCLOSURE_RESULT} else None
    )
    return replace(INTENT, type=type_, content=content).at(replace(PLACE, idx=idx), None)


def told(*entries: Entry) -> list[Ending]:
    found = disclosures(
        entries,
        lambda _: None,
        lambda _: Recipient(identifier="urn:oid:1.2.4|z"),
        lambda one: Checkpoint(origin=one.log, size=one.idx + 1, root=b"r" * 32),
    )
    return [one.ending for one in found]


def test_a_transfer_that_closes_without_a_disclosure_has_no_line() -> None:
    assert told(entry(Event.RECORDS_FETCHED, 0), entry(Event.TRANSFER_CLOSED, 1)) == []


def test_what_was_announced_and_has_no_result_is_told_as_not_known_also_after_the_end() -> None:
    assert told(entry(Event.DISCLOSURE_INTENT, 0), entry(Event.TRANSFER_CLOSED, 1)) == [
        Ending.UNKNOWN
    ]


@pytest.mark.parametrize("stop", [Event.CONSENT_REVOKED, Event.TRANSFER_CANCELLED])
def test_what_was_broken_off_says_so(stop: Event) -> None:
    broken_off = msgspec.structs.replace(entry(Event.DISCLOSURE_RESULT, 2), outcome="4")

    assert told(entry(Event.DISCLOSURE_INTENT, 0), entry(stop, 1), broken_off) == [Ending.STOPPED]
    assert told(entry(Event.DISCLOSURE_INTENT, 0), broken_off) == [Ending.INCOMPLETE]
