"""Transfers are found page by page, each organisation's by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge.errors import Tampered
from fhir_bridge.store import Store, TransferRow, Wanted
from tests.journeys.world import World
from tests.simulators.ticking import Ticking

MINE, THEIRS = "urn:oid:1.2|first", "urn:oid:1.2|other"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    clock = Ticking().clock()
    with Store.open(tmp_path / "store", clock=clock, log_origin="bridge.example") as store:
        yield store


def create(store: Store, number: int, tenant: str = MINE, source: str = "first") -> TransferRow:
    return store.create_transfer(
        key=f"{number:064x}",
        state="requested",
        source=source,
        destination="second",
        request=b"{}",
        tenant=tenant,
    )


def test_pages_show_each_transfer_once_newest_first_also_while_new_ones_come(store: Store) -> None:
    rows = [create(store, number) for number in range(7)]
    seen: list[TransferRow] = []

    after = None
    for number in range(4):
        page = store.list_transfers(Wanted(tenant=MINE), limit=2, after=after)
        seen += page
        create(store, 100 + number)
        after = (page[-1].created, page[-1].id)

    assert seen == rows[::-1]


def test_another_organisations_transfers_are_not_listed(store: Store) -> None:
    mine, _ = create(store, 1), create(store, 2, tenant=THEIRS)

    assert store.list_transfers(Wanted(tenant=MINE), limit=9) == [mine]
    assert store.list_transfers(Wanted(tenant=""), limit=9) == []


def test_transfers_are_found_by_state_servers_and_time(store: Store) -> None:
    old, new = create(store, 1), create(store, 2, source="lab")
    store.set_state(old.id, "closed")

    def found(**wanted: str) -> list[str]:
        return [row.id for row in store.list_transfers(Wanted(tenant=MINE, **wanted), limit=9)]

    assert found(state="closed") == [old.id]
    assert found(source="lab") == [new.id]
    assert found(destination="lab") == []
    assert found(since=new.created) == [new.id]
    assert found(until=new.created) == [old.id]
    assert found(since="2026", until="2027") == [new.id, old.id]
    assert store.count_states() == {"closed": 1, "requested": 1}


def test_a_transfer_may_be_given_its_id(store: Store) -> None:
    id_ = "0197c2a4-5d1e-4c2b-9a77-3f0d5b1c2e90"
    row = store.create_transfer(
        key="ab" * 32, state="requested", source="a", destination="b", request=b"{}", transfer=id_
    )

    assert row.id == id_
    assert store.find_transfer(id_) == row
    assert store.find_transfer("another") is None


def test_what_is_given_away_sealed_opens_for_the_same_purpose_only(store: Store) -> None:
    sealed = store.sealed("cursor/a", b"place")

    assert store.unsealed("cursor/a", sealed) == b"place"
    for purpose, altered in (("cursor/b", sealed), ("cursor/a", sealed[:-1]), ("cursor/a", b"")):
        with pytest.raises(Tampered):
            store.unsealed(purpose, altered)


def test_a_transfer_belongs_to_the_organisation_that_answers_for_the_records(
    tmp_path: Path,
) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()

        assert [row.tenant for row in world.rows()] == [world.story.custodian.identifier]
