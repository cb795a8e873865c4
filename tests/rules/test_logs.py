from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.logs import MEMBERS, AllowList, Log, configure, mute_libraries

CANARY = "Amelia Brandt 1971-04-09"


def test_an_event_that_is_not_listed_is_dropped_and_counted() -> None:
    stream = io.StringIO()
    allow = configure(stream)

    structlog.get_logger().info(CANARY, transfer="a")

    assert stream.getvalue() == ""
    assert allow.dropped == 1


def test_a_listed_event_keeps_its_listed_members_and_loses_the_others() -> None:
    stream = io.StringIO()
    allow = configure(stream)

    structlog.get_logger().info(Log.COMMAND_ENDED, transfer="0197-a", count=3, patient=CANARY)

    written = json.loads(stream.getvalue())
    assert written["event"] == "command.ended"
    assert written["transfer"] == "0197-a"
    assert written["count"] == 3
    assert "patient" not in written
    assert allow.dropped == 1


@given(st.sampled_from(sorted(MEMBERS)), st.text())
def test_a_value_that_is_not_a_short_code_does_not_get_through(member: str, value: str) -> None:
    allow = AllowList()
    event = allow(None, "info", {"event": Log.COMMAND_ENDED, member: f"{CANARY}{value}"})

    assert member not in event
    assert allow.dropped == 1


def test_an_event_without_a_name_is_dropped() -> None:
    with pytest.raises(structlog.DropEvent):
        AllowList()(None, "info", {"count": 1})


def test_a_library_is_named_when_it_warns_and_never_quoted() -> None:
    stream = io.StringIO()
    configure(stream)
    mute_libraries()
    try:
        logger = logging.Logger.manager.getLogger("some.library")
        logger.warning("canary %s", "canary")
        logger.info("canary")
        logger.error("canary %d", "canary")  # cannot be formatted: its arguments would be printed
    finally:
        logging.basicConfig(handlers=[], force=True)
        structlog.reset_defaults()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["event"] for line in lines} == {"library.warned"}
    assert len(lines) == 2
    assert all(line["place"].startswith("some.library:") for line in lines)
    assert "canary" not in stream.getvalue()
