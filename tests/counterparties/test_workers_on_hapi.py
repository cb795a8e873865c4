"""
Three workers killed at random between two real HAPI servers: nothing lost, nothing doubled.

Method: patients of names of their own are loaded, their transfers are asked for,
three workers run, and again and again one of them gets SIGKILL and a new one
starts. The seed is printed. FHIR_BRIDGE_FULL=1: 200 kills.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fhir_bridge.manifest import Decision
from fhir_bridge.transfer import Order, State
from tests.benchmarks import floor, patients
from tests.simulators.crew import Crew, Nest
from tests.simulators.servers import hapi_bases, postgres_url
from tests.simulators.stages import Stage
from tests.simulators.stores import OVER_BOTH

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("hapi-transfers")]

FULL = os.environ.get("FHIR_BRIDGE_FULL") == "1"
SEED = 20261125
KILLS = 200 if FULL else 5
PATIENTS = 60 if FULL else 4
RESOURCES = 40
FHIR_JSON = "application/fhir+json"


@pytest.fixture(scope="module")
def nest() -> Iterator[Nest]:
    with Nest() as nest:
        yield nest


@pytest.fixture(params=OVER_BOTH)
def crew(request: pytest.FixtureRequest, nest: Nest, tmp_path: Path) -> Iterator[Crew]:
    if request.param == "postgresql":
        postgres_url()
    stage = Stage.set(nest, tmp_path / "stage", request.param)
    with stage.crew(tmp_path / "crew", settings(*hapi_bases())) as crew:
        yield crew
    stage.remove()


def settings(first: str, second: str) -> str:
    written = '[log]\norigin = "test.example"\n[engine]\ndeaths = 1000\n'
    for name, base, organisation in (
        ("first", first, patients.CUSTODIAN),
        ("second", second, patients.RECIPIENT),
    ):
        written += (
            f'[servers.{name}]\nbase = "{base}"\nidentity = "https://{name}.example/fhir"\n'
            f'organisations = [{{ identifier = "{"|".join(organisation)}" }}]\n'
        )
    return written


def test_workers_killed_at_random_lose_nothing_and_double_nothing(crew: Crew) -> None:
    first, second = hapi_bases()
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    names = [f"w{uuid.uuid4().hex[:8]}-{number}" for number in range(PATIENTS)]
    with requests.Session() as session:
        session.trust_env = False
        for name in names:
            floor.load(session, first, patients.record(name, RESOURCES))
            floor.load(session, second, patients.destination(name))
        asked = [
            crew.request(Order(source="first", destination="second", patient=f"Patient/{name}"))
            for name in names
        ]
        team = [crew.hire() for _ in range(3)]
        kills = 0
        while kills < KILLS and not ended(crew, asked):
            time.sleep(chosen.uniform(0.3, 2.0))  # noqa: TID251 - they work meanwhile
            victim = chosen.randrange(3)
            team[victim].end()
            team[victim] = crew.hire()
            kills += 1
        print(f"seed {SEED}: {kills} kills, {PATIENTS} transfers")  # noqa: T201

        assert Counter(crew.wait_for(*asked, seconds=300)) == {State.CLOSED: PATIENTS}, crew.said()
        assert crew.unanswered() == 0
        crew.bridge.verify_log()
        for transfer in asked:
            copies = [
                line.destination
                for line in crew.bridge.show(transfer).lines
                if line.decision is Decision.RELEASED and line.outcome != "theirs"
            ]
            assert len(copies) >= RESOURCES - 8
            for copy in copies:
                answer = session.get(f"{second}/{copy}", headers={"Accept": FHIR_JSON})
                assert answer.json()["meta"]["versionId"] == "1", copy


def ended(crew: Crew, asked: list[str]) -> bool:
    return all(crew.row(one).state == State.CLOSED for one in asked)
