"""
Whole transfers between two real HAPI servers, by the command line as a person runs it.

Method: each test has patients of its own names, so the servers are shared and
never emptied. A killed bridge is a real process killed with SIGKILL.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from fhir_bridge import lossless, stories
from fhir_bridge.records import RecordRef
from fhir_bridge.references import dangling
from tests.benchmarks import floor, patients
from tests.simulators.servers import hapi_bases

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("hapi-transfers")]

KILLS = 8
SEED = 20261125


def run(store: Path, *arguments: str, code: int | None = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "fhir_bridge", *arguments, "--store", str(store)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert "Traceback" not in done.stderr
    if code is not None:
        assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def get(url: str) -> requests.Response:
    session = requests.Session()
    session.trust_env = False
    answer = session.get(url, headers={"Accept": "application/fhir+json"}, timeout=60)
    session.close()
    return answer


def read(base: str, ref: str) -> Any:
    answer = get(f"{base}/{ref}")
    assert answer.status_code == 200, ref
    return lossless.decode(answer.content)


def asked(source: str, destination: str, story: stories.Story) -> list[str]:
    return [
        "transfer",
        "--source",
        source,
        "--destination",
        destination,
        "--patient",
        story.patient,
        "--custodian",
        story.custodian.identifier,
        "--recipient",
        story.recipient.identifier,
        "--reason",
        "cancer",
        "--question",
        story.question,
        "--json",
    ]


def test_the_story_of_amelia_arrives_whole_and_the_same_command_again_adds_nothing(
    tmp_path: Path,
) -> None:
    source, destination = hapi_bases()
    story = stories.load("amelia")
    run(tmp_path, "seed", source, "--story", "amelia")
    run(tmp_path, "seed", destination, "--story", "amelia", "--as", "destination")

    report = run(tmp_path, *asked(source, destination, story))

    assert report["state"] == "closed"
    assert report["counts"]["released"] == story.expected["counts"]["released"]
    assert report["counts"]["verified"] == report["counts"]["released"]
    assert len(report["images"]) == 2
    arrived_as_told(destination, report, story.expected)
    there = {one["ref"]: one["destination"] for one in report["records"] if one["destination"]}
    versions = {ref: read(destination, ref)["meta"]["versionId"] for ref in there.values()}

    again = run(tmp_path, *asked(source, destination, story))

    assert again["state"] == "closed"
    assert again["transfer"] == report["transfer"]
    assert {ref: read(destination, ref)["meta"]["versionId"] for ref in versions} == versions
    assert "verified" in run(tmp_path, "audit", "verify-db")


@pytest.mark.parametrize("name", ["bruno", "celia"])
def test_a_story_ends_between_real_servers_as_expected_line_by_line(
    tmp_path: Path, name: str
) -> None:
    source, destination = hapi_bases()
    story = stories.load(name)
    expected = story.expected
    run(tmp_path, "seed", source, "--story", name)
    run(tmp_path, "seed", destination, "--story", name, "--as", "destination")

    report = run(tmp_path, *asked(source, destination, story), code=expected["exit_code"])

    assert report["state"] == expected["state"]
    names = ("kind", "decision", "rule", "provision")
    lines = {one["ref"]: tuple(one[name] for name in names) for one in report["records"]}
    assert lines == {
        ref: tuple(line.get(name) for name in names) for ref, line in expected["lines"].items()
    }
    counts = report["counts"]
    assert {name: counts[name] for name in expected["counts"]} == expected["counts"]
    assert counts["verified"] == counts["released"]
    members = ("ref", "reason", "at", "referrer")
    assert {tuple(gap[one] for one in members) for gap in report["gaps"]} == {
        tuple(gap[one] for one in members) for gap in expected["gaps"]
    }
    severed = {one["ref"]: sorted(one["severed"]) for one in report["records"] if one["severed"]}
    assert severed == {ref: sorted(paths) for ref, paths in expected["severed"].items()}
    assert {one["ref"] for one in report["images"]} == set(expected["images"])
    arrived_as_told(destination, report, expected)
    assert "verified" in run(tmp_path, "audit", "verify-db")


def arrived_as_told(destination: str, report: Any, expected: Any) -> None:
    """Values, documents and references are there as they must be; what is withheld is nowhere."""
    there = {one["ref"]: one["destination"] for one in report["records"] if one["destination"]}
    refs = {RecordRef(ref) for ref in (*there.values(), *report["authored"])}
    with ThreadPoolExecutor(4) as threads:
        found = dict(zip(refs, threads.map(lambda ref: read(destination, ref), refs), strict=True))
    texts = {ref: lossless.encode(content).decode() for ref, content in found.items()}
    for ref, value in expected["texts"].items():
        assert f'"value":{value},' in texts[there[ref]]
    for ref, document in expected["documents"].items():
        data = b64decode(found[there[ref]]["data"])
        assert hashlib.sha256(data).hexdigest() == document["sha256"]
    for ref, text in texts.items():
        assert not [word for word in expected["never_at_destination"] if word in text], ref
    for suspect in dangling(found.items(), destination, set(found)):
        assert suspect.to is not None, suspect
        assert get(f"{destination}/{suspect.to}").status_code == 200, suspect


@pytest.fixture
def someone() -> tuple[str, str, str]:
    """A patient of 54 resources at the source, known at the destination under another id."""
    source, destination = hapi_bases()
    name = f"p{uuid.uuid4().hex[:12]}"
    with requests.Session() as session:
        session.trust_env = False
        floor.load(session, source, patients.record(name, 54))
        floor.load(session, destination, patients.destination(name))
    return source, destination, name


def command(source: str, destination: str, name: str) -> list[str]:
    custodian, recipient = patients.CUSTODIAN, patients.RECIPIENT
    return [
        "transfer",
        "--source",
        source,
        "--destination",
        destination,
        "--patient",
        f"Patient/{name}",
        "--custodian",
        "|".join(custodian),
        "--recipient",
        "|".join(recipient),
        "--json",
    ]


def copies(destination: str, name: str) -> dict[str, int]:
    """How many resources of each type the patient has at the destination."""
    counts = {}
    for type_ in ("Observation", "DiagnosticReport", "ImagingStudy", "ServiceRequest", "Task"):
        query = f"{type_}?patient={name}-there&_summary=count"
        counts[type_] = json.loads(get(f"{destination}/{query}").content)["total"]
    return counts


def test_ten_equal_commands_at_once_make_one_set(
    tmp_path: Path, someone: tuple[str, str, str]
) -> None:
    source, destination, name = someone
    words = command(source, destination, name)

    with ThreadPoolExecutor(10) as threads:
        reports = list(threads.map(lambda _: run(tmp_path, *words), range(10)))

    assert {one["state"] for one in reports} == {"closed"}
    assert len({one["transfer"] for one in reports}) == 1
    observations = len([r for r in patients.record(name, 54) if r["resourceType"] == "Observation"])
    found = copies(destination, name)
    assert found["Observation"] == observations
    assert (found["Task"], found["ServiceRequest"]) == (1, 1)
    assert "verified" in run(tmp_path, "audit", "verify-db")


@pytest.mark.parametrize("point", range(KILLS))
def test_a_bridge_killed_anywhere_goes_on_and_ends_the_same(
    tmp_path: Path, someone: tuple[str, str, str], point: int
) -> None:
    source, destination, name = someone
    words = command(source, destination, name)
    moment = random.Random(SEED + point).uniform(0.6, 2.4)  # noqa: S311 - a sample, not a secret
    process = subprocess.Popen(
        [sys.executable, "-m", "fhir_bridge", *words, "--store", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    report = run(tmp_path, *words)

    assert report["state"] == "closed"
    assert report["counts"]["verified"] == report["counts"]["released"]
    found = copies(destination, name)
    assert (found["Task"], found["ServiceRequest"]) == (1, 1)
    assert found["Observation"] + found["DiagnosticReport"] > 40
    assert "verified" in run(tmp_path, "audit", "verify-db")
