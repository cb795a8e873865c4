"""Each error says who must act, whether waiting helps, and how the command ends."""

from __future__ import annotations

import inspect

import pytest

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError, DestinationRefused, Throttled

ISSUE_TYPES = {
    "business-rule",
    "exception",
    "forbidden",
    "incomplete",
    "invalid",
    "login",
    "multiple-matches",
    "no-store",
    "not-found",
    "not-supported",
    "processing",
    "security",
    "structure",
    "throttled",
    "too-long",
    "transient",
}
"""The codes of http://hl7.org/fhir/issue-type that errors use."""

EXIT_CODES = {
    "Refused": 3,
    "BadRecord": 5,
    "Unreachable": 6,
    "Rejected": 7,
    "Incomplete": 4,
    "Tampered": 8,
    "SettingsError": 2,
}

ALL = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, BridgeError)
]
GROUPS = [getattr(errors, name) for name in EXIT_CODES]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_error_has_an_issue_type_of_fhir(error: type[BridgeError]) -> None:
    assert error.issue in ISSUE_TYPES


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_error_belongs_to_the_one_who_must_act(error: type[BridgeError]) -> None:
    groups = [group for group in GROUPS if issubclass(error, group)]
    if error is BridgeError:
        assert groups == []
        assert error.exit_code == 70
    else:
        assert len(groups) == 1
        assert error.exit_code == EXIT_CODES[groups[0].__name__]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_waiting_helps_only_when_nobody_must_act(error: type[BridgeError]) -> None:
    assert error.retryable is issubclass(error, errors.Unreachable)


def test_throttled_says_how_long_to_wait() -> None:
    error = Throttled("the first provider asks to wait", wait_seconds=90)
    assert (str(error), error.wait_seconds) == ("the first provider asks to wait", 90)


def test_refusal_of_the_destination_keeps_codes_and_no_text() -> None:
    error = DestinationRefused("refused", status=422, codes=("invalid", "HAPI-1821"))
    assert (error.status, error.codes) == (422, ("invalid", "HAPI-1821"))
    assert DestinationRefused("refused", status=400).codes == ()
