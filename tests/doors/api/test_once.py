"""A thousand equal triggers at once are one transfer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fhir_bridge.doors.api.roles import Role
from tests.simulators.reception import Reception

COUNT = 1_000
AT_ONCE = 32


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


def test_a_thousand_equal_triggers_at_once_make_one_transfer(reception: Reception) -> None:
    headers = {**reception.as_(Role.INTEGRATOR), "Idempotency-Key": "order-8812"}
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    with (
        httpx.Client(base_url=reception.base, timeout=60, limits=limits) as client,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        answers = list(
            threads.map(
                lambda _: client.post("/v1/transfers", json=reception.asked(), headers=headers),
                range(COUNT),
            )
        )

    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 202, 409}
    assert statuses[202] == 1
    made = {answer.json()["transfer"] for answer in answers if answer.status_code != 409}
    assert len(made) == 1
    assert [row.id for row in reception.bridge.store.transfers()] == list(made)


def test_the_same_referral_under_other_keys_joins_the_first(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    made = [
        reception.post("/v1/transfers", reception.asked(), who, key=f"order-{at}").json()
        for at in range(3)
    ]
    reception.runner.run()

    shown = [reception.get(f"/v1/transfers/{one['transfer']}", who).json() for one in made]
    assert [one["state"] for one in shown] == ["closed"] * 3
    carried = [one["transfer"] for one in shown if one["joined"] is None]
    assert len(carried) == 1
    assert [one["joined"] for one in shown if one["joined"]] == carried * 2
    assert [one["counts"]["identical"] for one in shown] == [60] * 3
    sent = [one for one in reception.bridge.store.entries() if one.type == "disclosure.result"]
    assert len(sent) == 1
