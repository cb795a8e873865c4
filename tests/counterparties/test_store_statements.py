"""What a server said of itself counts for an hour; whatever is wrong with it, it is asked anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge.clock import Clock
from fhir_bridge.fhir_server import FhirServer
from fhir_bridge.sandbox import Profile, Sandbox
from fhir_bridge.store import Store
from fhir_bridge.wire import Side, Wire
from tests.journeys.world import FIRST, World

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)


class Hours:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def clock(self) -> Clock:
        return Clock(now=lambda: self.now)


@pytest.fixture
def hours() -> Hours:
    return Hours()


def asked(sandbox: Sandbox) -> int:
    return sum(one.path == "metadata" for one in sandbox.requests)


def capabilities(folder: Path, sandbox: Sandbox, hours: Hours) -> Any:
    with Store.open(folder, log_origin="test.example", clock=hours.clock()) as store:
        wire = Wire(sandbox.base, side=Side.DESTINATION, clock=hours.clock())
        server = FhirServer(wire, statements=store.statements)
        found = server.capabilities()
        assert wire.gzip_requests == found.quirks.gzip_requests
        server.close()
        return found


def kept(folder: Path) -> Path:
    (file,) = (folder / "servers").iterdir()
    return file


def test_a_statement_counts_for_an_hour_and_then_the_server_is_asked_anew(
    tmp_path: Path, hours: Hours
) -> None:
    hapi = Profile(software="HAPI FHIR Server", software_version="8.8.0")
    with Sandbox(name="second", profile=hapi) as sandbox:
        first = capabilities(tmp_path, sandbox, hours)
        hours.now += timedelta(minutes=59)

        assert capabilities(tmp_path, sandbox, hours) == first
        assert asked(sandbox) == 1

        hours.now += timedelta(minutes=1)

        assert capabilities(tmp_path, sandbox, hours) == first
        assert asked(sandbox) == 2


def test_a_statement_of_the_future_does_not_count(tmp_path: Path, hours: Hours) -> None:
    with Sandbox(name="second") as sandbox:
        capabilities(tmp_path, sandbox, hours)
        hours.now -= timedelta(minutes=1)
        capabilities(tmp_path, sandbox, hours)

        assert asked(sandbox) == 2


def test_one_server_does_not_speak_for_another(tmp_path: Path, hours: Hours) -> None:
    singly = Profile(transactions=False)
    with Sandbox(name="first") as first, Sandbox(name="second", profile=singly) as second:
        assert capabilities(tmp_path, first, hours).transaction
        assert not capabilities(tmp_path, second, hours).transaction
        assert capabilities(tmp_path, first, hours).transaction


def no_json(_: dict[str, Any]) -> bytes:
    return b"{"


def another_claim(content: dict[str, Any]) -> bytes:
    content["statement"]["software"]["name"] = "HAPI FHIR Server"
    return json.dumps(content).encode()


def later(content: dict[str, Any]) -> bytes:
    content["asked"] = "2099-01-01T00:00:00.000Z"
    return json.dumps(content).encode()


def no_time(content: dict[str, Any]) -> bytes:
    content["asked"] = 5
    return json.dumps(content).encode()


def another_base(content: dict[str, Any]) -> bytes:
    content["base"] = "https://elsewhere.example/fhir"
    return json.dumps(content).encode()


def a_list(_: dict[str, Any]) -> bytes:
    return b"[]"


@pytest.mark.parametrize(
    "spoil",
    [no_json, another_claim, later, no_time, another_base, a_list],
    ids=lambda f: f.__name__,
)
def test_a_kept_statement_that_was_altered_does_not_count(
    tmp_path: Path, hours: Hours, spoil: Callable[[dict[str, Any]], bytes]
) -> None:
    with Sandbox(name="second") as sandbox:
        first = capabilities(tmp_path, sandbox, hours)
        file = kept(tmp_path)
        file.write_bytes(spoil(json.loads(file.read_bytes())))

        assert capabilities(tmp_path, sandbox, hours) == first
        assert asked(sandbox) == 2


def test_a_kept_statement_that_others_may_write_does_not_count(
    tmp_path: Path, hours: Hours
) -> None:
    with Sandbox(name="second") as sandbox:
        capabilities(tmp_path, sandbox, hours)
        kept(tmp_path).chmod(0o666)
        capabilities(tmp_path, sandbox, hours)

        assert asked(sandbox) == 2
        assert kept(tmp_path).stat().st_mode & 0o077 == 0


def test_nothing_is_kept_but_what_is_read(tmp_path: Path, hours: Hours) -> None:
    with Sandbox(name="second") as sandbox:
        capabilities(tmp_path, sandbox, hours)

        said = json.loads(kept(tmp_path).read_bytes())["statement"]
        assert set(said) == {"software", "fhirVersion", "rest"}
        (rest,) = said["rest"]
        assert set(rest) <= {"interaction", "operation", "resource"}


def test_a_whole_transfer_within_the_hour_asks_neither_server_again(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        world.transfer()
        world.transfer()

        assert (asked(world.first), asked(world.second)) == (1, 1)


def test_check_always_asks_anew(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        for _ in range(2):
            with world.bridge() as bridge:
                assert bridge.check(FIRST).capabilities.transaction

        assert asked(world.first) == 2
