"""
Logs that cannot hold a patient's data, because only what is listed gets through.

An event has a name from `Log`, members from a short list, and values that are
numbers or short codes. Anything else is dropped and counted, never shortened
or masked: what is not understood is not written. Exceptions are named by their
class and place; their text could repeat what a server sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any, TextIO

import structlog

_VALUE = re.compile(r"[a-z0-9][a-z0-9_.:\-]{0,63}\Z")

MEMBERS = frozenset(
    {
        "bytes",
        "code",
        "count",
        "error",
        "exit_code",
        "held",
        "operation",
        "place",
        "released",
        "requests",
        "seconds",
        "server",
        "state",
        "status",
        "step",
        "trace",
        "transfer",
        "withheld",
    }
)
"""Members an event may have besides its name, level and time."""


class Log(StrEnum):
    """Everything that may be logged."""

    COMMAND_ENDED = "command.ended"
    WORKER_STARTED = "worker.started"
    WORKER_STOPPED = "worker.stopped"
    WORKER_DIED = "worker.died"
    WORKER_STALLED = "worker.stalled"
    TURN_ENDED = "turn.ended"
    TURN_FAULT = "turn.fault"
    ROUND_FAILED = "round.failed"
    REQUEST_ANSWERED = "request.answered"
    REQUEST_FAILED = "request.failed"
    LIBRARY_WARNED = "library.warned"


class AllowList:
    """The last processor before an event is written."""

    def __init__(self) -> None:
        """Start with nothing dropped."""
        self.dropped = 0
        """Members and events that did not get through; more than 0 is a fault of ours."""

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """
        Let through what is listed.

        Raises:
            structlog.DropEvent: The event's name is not one of `Log`.
        """
        name = event.get("event")
        if not (isinstance(name, str) and name in set(Log)):
            self.dropped += 1
            raise structlog.DropEvent
        kept: dict[str, Any] = {"event": str(name)}
        for member, value in event.items():
            if member in {"level", "timestamp"}:
                kept[member] = value
            elif member in MEMBERS and _is_plain(value):
                kept[member] = str(value) if isinstance(value, StrEnum) else value
            elif member != "event":
                self.dropped += 1
        return kept


def configure(stream: TextIO) -> AllowList:
    """
    Write one JSON object a line to a stream.

    Returns:
        The allow-list in force, for its count of what was dropped.
    """
    allow = AllowList()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            allow,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    return allow


def mute_libraries() -> None:
    """
    Let no library write a line of its own; from a warning on it is named, not quoted.

    The message of a library, and its arguments, may repeat what was sent.
    """
    logging.raiseExceptions = False  # it would print the arguments of a line it cannot format
    logging.basicConfig(handlers=[_Muted()], level=logging.WARNING, force=True)


class _Muted(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Say where a library wanted to say something."""
        place = f"{record.name}:{record.lineno}".lower().replace(" ", "-")
        structlog.get_logger().warning(Log.LIBRARY_WARNED, place=place)


def _is_plain(value: object) -> bool:
    if isinstance(value, bool | int | float):
        return True
    return isinstance(value, str) and _VALUE.match(value) is not None
