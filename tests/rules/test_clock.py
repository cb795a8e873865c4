"""Time comes from one place."""

from __future__ import annotations

from datetime import UTC, datetime

from fhir_bridge.clock import Clock


def test_the_time_of_day_carries_its_zone() -> None:
    assert Clock().now().tzinfo is UTC


def test_time_never_goes_back_and_waiting_takes_time() -> None:
    clock = Clock()
    before = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= before


def test_a_test_decides_what_time_it_is() -> None:
    slept: list[float] = []
    noon = datetime(2025, 3, 1, 12, tzinfo=UTC)
    clock = Clock(now=lambda: noon, monotonic=lambda: 7.0, sleep=slept.append)
    clock.sleep(3)
    assert (clock.now(), clock.monotonic(), slept) == (noon, 7.0, [3])
