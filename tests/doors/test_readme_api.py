"""README's tables of the API are the code's own: routes, roles, problems, figures, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_bridge.doors.api.configuration import Table
from fhir_bridge.doors.api.operations import ANYWHERE, TO_BODIES, TO_CALLERS
from fhir_bridge.doors.api.problems import OF_ERRORS, Problem
from fhir_bridge.doors.api.roles import Role
from fhir_bridge.doors.arguments import ROLES
from fhir_bridge.errors import BridgeError
from fhir_bridge.logs import Log
from fhir_bridge.spans import ATTRIBUTES
from tests.house.checkout import ROOT
from tests.simulators.reception import Reception

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("### The API")[1].split("\n### ")[0].split("\n## ")[0]


@pytest.fixture(scope="module")
def reception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reception]:
    with Reception(tmp_path_factory.mktemp("readme")) as reception:
        yield reception


@pytest.fixture(scope="module")
def document(reception: Reception) -> dict[str, Any]:
    found = reception.client.get("/openapi.json").json()
    assert isinstance(found, dict)
    return found


def rows(header: str) -> list[list[str]]:
    """The rows of the table that begins so."""
    table = SECTION.split(header)[1].split("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()[2:]
        if line
    ]


def routes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            yield f"{method.upper()} {path}", one


def test_every_route_is_in_readme_with_who_may_use_it(document: dict[str, Any]) -> None:
    written = {words[0].strip("` "): words[1] for words in rows("| route |")}
    served = {name: ", ".join(one["x-roles"]) or "anyone" for name, one in routes(document)}

    assert written == served


def test_every_role_is_in_readme() -> None:
    assert [words[0].strip("`") for words in rows("| role |")] == [str(role) for role in Role]
    assert set(ROLES) == set(Role)


def test_every_problem_is_in_readme_with_its_status() -> None:
    written = [(words[0].strip("`"), int(words[1]), words[2]) for words in rows("| code |")]
    known = [(one.code, one.value.status, one.value.sentence) for one in Problem]

    assert written == sorted(known, key=lambda row: (row[1], row[0]))


def test_every_figure_is_in_readme(reception: Reception) -> None:
    reception.client.get("/healthz")
    reception.client.get("/nothing")
    text = reception.service.metrics.text().decode()
    names = re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)
    shown = {name for name in names if not name.endswith("_created")}

    assert {words[0].strip("`") for words in rows("| figure |")} == shown


def test_every_setting_of_the_api_is_in_readme() -> None:
    for name in Table.__struct_fields__:
        assert f"`api.{name}`" in README, name


def test_every_error_of_the_bridge_has_a_problem() -> None:
    def classes(kind: type[BridgeError]) -> Iterator[type[BridgeError]]:
        yield kind
        for one in kind.__subclasses__():
            yield from classes(one)

    ours = {one for one in classes(BridgeError) if one.__module__ == BridgeError.__module__}
    for kind in ours:
        found = next(OF_ERRORS[one] for one in kind.__mro__ if one in OF_ERRORS)
        assert found is not Problem.UNEXPECTED or kind is BridgeError, kind


def test_every_problem_is_answered_by_some_route(document: dict[str, Any]) -> None:
    told = {
        code
        for _, one in routes(document)
        for answer in one["responses"].values()
        for code in answer.get("content", {}).get("application/fhir+json", {}).get("examples", {})
    }

    anywhere = {one.code for one in (*ANYWHERE, *TO_CALLERS, *TO_BODIES)}
    assert anywhere <= told
    unnamed = {one.code for one in Problem} - told
    # The first is of a path and not of a route, the second of workers alone.
    assert unnamed <= {"method-not-allowed", "rejected"}, unnamed


def test_every_route_and_answer_has_an_example(document: dict[str, Any]) -> None:
    for name, one in routes(document):
        body = one.get("requestBody", {}).get("content", {})
        assert all(media["example"] for media in body.values()), name
        for status, answer in one["responses"].items():
            for media in answer.get("content", {}).values():
                assert media.get("example") is not None or media["examples"], (name, status)


def test_every_event_of_the_log_is_a_plain_word() -> None:
    for event in Log:
        assert re.fullmatch(r"[a-z]+\.[a-z]+", event), event


def test_every_attribute_of_a_span_is_in_readme() -> None:
    said = SECTION.split("A span says ")[1].split(", and nothing else")[0]

    assert re.findall(r"`([a-z_.]+)`", said) == sorted(ATTRIBUTES)


def test_labels_of_figures_are_few(reception: Reception) -> None:
    for path in ("/v1/transfers", "/v1/x", "/healthz", *(f"/{number}" for number in range(50))):
        reception.client.get(path)
    text = reception.service.metrics.text().decode()

    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(series) < 500
