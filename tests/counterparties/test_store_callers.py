"""What the store keeps of callers: keys as digests, secrets sealed, triggers once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError
from fhir_bridge.store import ApiKeyRow, Claim, Claimed, Store
from fhir_bridge.store.triggers import IN_FLIGHT_SECONDS_MAX
from tests.simulators.stores import Place
from tests.simulators.ticking import START, Ticking

KEY = ApiKeyRow(
    id="0123456789ab",
    tenant="urn:oid:1.2|first",
    roles=("integrator", "auditor"),
    label="their system",
    created="2026-11-25T09:00:00.000Z",
    expires="2027-02-23T09:00:00.000Z",
    revoked=None,
    digest=b"d" * 32,
)


@pytest.fixture
def time() -> Ticking:
    return Ticking()


@pytest.fixture
def store(place: Place, time: Ticking) -> Iterator[Store]:
    with place.open(time) as store:
        yield store


def test_a_key_is_found_by_its_name_and_its_secrets_digest_only(store: Store) -> None:
    store.add_api_key(KEY)

    assert store.api_key(KEY.id, KEY.digest) == KEY
    assert store.api_key(KEY.id, b"e" * 32) is None
    assert store.api_key("another", KEY.digest) is None


def test_a_revoked_key_stays_in_the_list(store: Store) -> None:
    store.add_api_key(KEY)
    store.add_api_key(replace(KEY, id="another", created="2026-11-26T09:00:00.000Z"))

    store.revoke_api_key(KEY.id)
    revoked = store.api_keys()[0].revoked
    store.revoke_api_key(KEY.id)

    assert revoked is not None
    assert [(row.id, row.revoked) for row in store.api_keys()] == [
        (KEY.id, revoked),
        ("another", None),
    ]
    assert store.count_api_keys() == 1
    with pytest.raises(SettingsError, match="no such key"):
        store.revoke_api_key("unknown")


def test_a_servers_secret_is_kept_sealed_and_gone_with_the_server(
    store: Store, place: Place
) -> None:
    store.register_server("lab", '{"base":"https://lab.example/fhir"}', "canary-secret")
    first = store.registered_server("lab")
    assert first is not None
    assert first.secret == "canary-secret"
    assert "canary" not in repr(first)
    assert b"canary" not in place.everything()

    store.register_server("lab", '{"base":"https://lab.example/r4"}', None)
    second = store.registered_server("lab")
    assert second is not None
    assert second.secret is None
    assert second.updated > first.updated
    assert store.registered_servers() == (second,)

    store.unregister_server("lab")
    assert store.registered_server("lab") is None
    with pytest.raises(SettingsError, match="no such registered server"):
        store.unregister_server("lab")


def test_the_same_trigger_of_the_same_caller_is_one_transfer(store: Store) -> None:
    new = store.claim_trigger("key:a", "order-1", b"body")
    assert new.found is Claimed.NEW
    assert store.claim_trigger("key:a", "order-1", b"body").found is Claimed.IN_FLIGHT

    store.settle_trigger(new.transfer)

    assert store.claim_trigger("key:a", "order-1", b"body") == Claim(Claimed.SAME, new.transfer)
    assert store.claim_trigger("key:a", "order-1", b"other").found is Claimed.OTHER
    assert store.claim_trigger("key:b", "order-1", b"body").found is Claimed.NEW
    assert store.claim_trigger("key:a", "order-2", b"body").found is Claimed.NEW


def test_a_trigger_whose_process_died_is_taken_over_with_the_same_transfer(
    store: Store, time: Ticking
) -> None:
    dead = store.claim_trigger("key:a", "order-1", b"body")

    time.moment += timedelta(seconds=IN_FLIGHT_SECONDS_MAX + 1)

    assert store.claim_trigger("key:a", "order-1", b"body") == Claim(Claimed.NEW, dead.transfer)
    assert store.claim_trigger("key:a", "order-1", b"body").found is Claimed.IN_FLIGHT


def test_a_transfer_that_was_made_settles_its_trigger(store: Store) -> None:
    new = store.claim_trigger("key:a", "order-1", b"body")
    store.create_transfer(
        key="ab" * 32,
        state="requested",
        source="first",
        destination="second",
        request=b"{}",
        transfer=new.transfer,
    )

    assert store.claim_trigger("key:a", "order-1", b"body") == Claim(Claimed.SAME, new.transfer)
    store.release_trigger(new.transfer)
    assert store.claim_trigger("key:a", "order-1", b"body") == Claim(Claimed.SAME, new.transfer)


def test_a_trigger_that_failed_may_be_asked_again(store: Store) -> None:
    failed = store.claim_trigger("key:a", "order-1", b"body")
    store.release_trigger(failed.transfer)

    again = store.claim_trigger("key:a", "order-1", b"corrected")
    assert again.found is Claimed.NEW
    store.settle_trigger(again.transfer)
    store.release_trigger(again.transfer)

    assert store.claim_trigger("key:a", "order-1", b"corrected").found is Claimed.SAME


def test_a_thousand_equal_triggers_at_once_claim_one_transfer(place: Place) -> None:
    still = Clock(now=lambda: START)
    with (
        Store.open(
            place.folder, clock=still, log_origin="bridge.example", database=place.url
        ) as store,
        ThreadPoolExecutor(16) as threads,
    ):
        claims = list(
            threads.map(lambda _: store.claim_trigger("key:a", "order-1", b"body"), range(1000))
        )

    assert [one.found for one in claims].count(Claimed.NEW) == 1
    assert len({one.transfer for one in claims}) == 1


def test_a_trigger_is_kept_as_digests_only(store: Store, place: Place) -> None:
    store.claim_trigger("key:a", "canary-key", b"canary-body")

    assert b"canary" not in place.everything()
