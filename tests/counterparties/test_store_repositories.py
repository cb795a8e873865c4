"""How far an audit repository has the log is remembered, and never goes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhir_bridge.store import RepositoryRow, Store
from tests.simulators.stores import Place

LOG = "bridge.example/audit/2026"


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as store:
        yield store


def test_a_repository_begins_with_nothing(store: Store) -> None:
    assert store.repository("books", LOG) == RepositoryRow()


def test_what_was_taken_is_never_forgotten(store: Store) -> None:
    store.repository_took("books", LOG, next_=9)
    store.repository_took("books", LOG, next_=4)

    assert store.repository("books", LOG).next == 9
    assert store.repository("others", LOG).next == 0
    assert store.repository("books", "another/log").next == 0


def test_what_was_refused_stays_until_it_is_taken(store: Store) -> None:
    store.repository_took("books", LOG, next_=9, refused=[3, 7])
    store.repository_took("books", LOG, next_=9, refused=[3])
    assert store.repository("books", LOG).refused == (3, 7)

    store.repository_took("books", LOG, next_=0, taken=[3])
    assert store.repository("books", LOG).refused == (7,)


def test_that_it_was_away_is_known_until_it_answers(store: Store) -> None:
    store.repository_took("books", LOG, next_=5)
    store.repository_away("books", LOG, tried="2026-11-25T09:00:00.000Z")
    row = store.repository("books", LOG)
    assert (row.next, row.tried) == (5, "2026-11-25T09:00:00.000Z")

    store.repository_took("books", LOG, next_=6)
    assert store.repository("books", LOG) == RepositoryRow(next=6)
