"""Who follows a transfer sees each change of its state once, in order, also after a cut."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.doors.api import events
from fhir_bridge.doors.api.rates import Places
from fhir_bridge.doors.api.roles import Role
from tests.simulators.reception import Reception, code


@pytest.fixture
def reception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reception]:
    monkeypatch.setattr(events, "POLL_SECONDS", 0.02)
    with Reception(tmp_path, really_waits=True) as reception:
        yield reception


def followed(
    reception: Reception, transfer: str, who: Mapping[str, str], last: str | None = None
) -> list[dict[str, str]]:
    """Read a stream to its end."""
    headers = {**who, **({"Last-Event-ID": last} if last is not None else {})}
    seen: list[dict[str, str]] = []
    with reception.client.stream(
        "GET", f"/v1/transfers/{transfer}/events", headers=headers
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for block in "".join(answer.iter_text()).split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "data" in lines:
                seen.append({**json.loads(lines["data"]), "id": lines["id"]})
    return seen


def test_a_stream_shows_every_state_until_the_end(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.trigger(who)
    worker = threading.Thread(target=reception.runner.run)
    worker.start()

    seen = followed(reception, transfer, who)
    worker.join()

    assert [one["state"] for one in seen] == [
        "requested",
        "permitted",
        "gathered",
        "matched",
        "announced",
        "delivered",
        "verified",
        "closed",
    ]
    assert {one["transfer"] for one in seen} == {transfer}
    numbers = [int(one["id"]) for one in seen]
    assert numbers == sorted(set(numbers))


def test_after_a_cut_it_goes_on_after_the_last_event_seen(reception: Reception) -> None:
    transfer = reception.carried()
    who = reception.as_(Role.INTEGRATOR)
    whole = followed(reception, transfer, who)

    for at, one in enumerate(whole[:-1]):
        assert followed(reception, transfer, who, one["id"]) == whole[at + 1 :]


def test_when_all_was_seen_the_client_is_told_not_to_ask_again(reception: Reception) -> None:
    transfer = reception.carried()
    who = reception.as_(Role.INTEGRATOR)
    last = followed(reception, transfer, who)[-1]["id"]

    answer = reception.get(f"/v1/transfers/{transfer}/events", {**who, "Last-Event-ID": last})

    assert answer.status_code == 204


def test_a_quiet_stream_shows_that_it_lives(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.trigger(who)

    with reception.client.stream("GET", f"/v1/transfers/{transfer}/events", headers=who) as answer:
        text = ""
        for piece in answer.iter_text():
            text += piece
            if text.count(": still here") >= 2:
                break

    assert text.startswith("retry: 2000\n\nid: 1\n")


def test_streams_end_when_the_service_stops(reception: Reception) -> None:
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.trigger(who)
    threading.Timer(0.2, reception.service.stopping.set).start()

    assert [one["state"] for one in followed(reception, transfer, who)] == ["requested"]
    clock = Clock()
    begun = clock.monotonic()
    while b"fhir_bridge_http_streams 0.0" not in reception.service.metrics.text():
        assert clock.monotonic() - begun < 10, "the stream's place was never freed"
        clock.sleep(0.02)


def test_a_caller_holds_only_so_many_streams(reception: Reception) -> None:
    object.__setattr__(reception.service, "streams", Places(in_all=9, each=1))
    who = reception.as_(Role.INTEGRATOR)
    transfer = reception.trigger(who)
    path = f"/v1/transfers/{transfer}/events"

    with reception.client.stream("GET", path, headers=who) as first:
        pieces = first.iter_text()
        next(pieces)
        second = reception.get(path, who)
        other = reception.as_(Role.AUDITOR)
        with reception.client.stream("GET", path, headers=other) as third:
            assert third.status_code == 200

    assert (second.status_code, code(second)) == (429, "busy")
    _wait_until_free(reception, path, who)


def _wait_until_free(reception: Reception, path: str, who: Mapping[str, str]) -> None:
    """A stream that was left frees its place as soon as the service notices."""
    clock = reception.world.time.clock()
    begun = clock.monotonic()
    while clock.monotonic() - begun < 10:
        with httpx.stream("GET", reception.base + path, headers=who) as answer:
            if answer.status_code == 200:
                return
        clock.sleep(0.02)
    pytest.fail("the place was never freed")
