"""
Requests made from the OpenAPI document, right ones and wrong ones.

No answer is a 5xx, each is as described, and what is wrong is refused.
A sample in the build; 10,000 with FHIR_BRIDGE_FULL=1. The seed is printed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode

from fhir_bridge.doors.api import events
from fhir_bridge.doors.api.roles import Role
from tests.journeys.world import FIRST, SECOND
from tests.simulators.reception import Reception

CASES = 10_000 if os.environ.get("FHIR_BRIDGE_FULL") == "1" else 500
_RARER = {202, 204, 404} if CASES >= 10_000 else set()
SEED = int(os.environ.get("FHIR_BRIDGE_SEED", random.randrange(2**32)))  # noqa: S311

load_all_checks()
_CHECKS = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
        "negative_data_rejection",
        "missing_required_header",
    )
]


@pytest.fixture(scope="module")
def reception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reception]:
    with Reception(tmp_path_factory.mktemp("schemathesis"), really_waits=True) as reception:
        yield reception


def test_ten_thousand_requests_from_the_document_are_answered_as_it_says(
    reception: Reception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(events, "STREAM_SECONDS_MAX", 0.0)
    document = reception.client.get("/openapi.json").json()
    for methods in document["paths"].values():
        for one in methods.values():
            one.pop("security", None)  # who may is asked elsewhere; here everyone may
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    who = reception.as_(*(role for role in Role), tenant=reception.tenant)
    ended, fresh = reception.carried(), reception.trigger()
    with capsys.disabled():
        print(f"\n{CASES} requests over {len(operations)} routes, seed {SEED}")  # noqa: T201
    statuses: dict[int, int] = {}
    count = CASES // len(operations)
    for operation in operations:
        _ask(reception, operation, who, (ended, fresh), statuses, count=count)
    # Routes without parameters have few different requests: the others get the rest.
    rich = [one for one in operations if one.body or one.query]
    while (left := CASES - sum(statuses.values())) > 0:
        for operation in rich:
            count = max(5, left // len(rich))
            _ask(reception, operation, who, (ended, fresh), statuses, count=count)

    assert not [status for status in statuses if status >= 500], statuses
    # Which of the others come depends on the seed; with many requests each of these does.
    assert ({200, 400, 422} | _RARER) <= set(statuses), statuses
    assert reception.allow_list.dropped == 0


def _ask(
    reception: Reception,
    operation: Any,
    who: dict[str, str],
    transfers: tuple[str, str],
    statuses: dict[int, int],
    *,
    count: int,
) -> None:
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    known = st.sampled_from([None, *transfers])
    cases = st.one_of(st.tuples(right, known), st.tuples(wrong, st.none()))

    @hypothesis.seed(SEED + sum(statuses.values()))
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(cases)
    def ask(made: tuple[Any, str | None]) -> None:
        case, known = made
        if known is not None and "transfer" in case.path_parameters:
            case.path_parameters["transfer"] = known
        if known is not None and isinstance(case.body, dict) and "source" in case.body:
            case.body |= {"source": FIRST, "destination": SECOND}
        answer = case.call(base_url=reception.base, headers=who)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=_CHECKS)

    ask()
