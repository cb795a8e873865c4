"""
Opening a bridge for a command, and the commands that run until they are told to stop.

What runs beside a service tells no progress: its lines name records, which a
terminal may show and a service's log may not hold.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge
    from fhir_bridge.journey.parties import Progress


def opened(arguments: argparse.Namespace, tell: Callable[[Progress], None]) -> Bridge:
    """
    Open a bridge by the settings that a command names.

    Args:
        arguments: Of the command.
        tell: Is told each finished step.
    """
    from fhir_bridge.bridge import Bridge
    from fhir_bridge.settings import environment, load

    settings = load(arguments.settings, store=arguments.store, environ=environment())
    return Bridge.open(settings, actor=actor(), tell=tell)


def actor() -> str:
    """Return the account that runs the command, as the log names actors."""
    account = getpass.getuser()
    return "cli:" + "".join(char if char.isalnum() or char in "._-" else "-" for char in account)


def show(text: str) -> None:
    """Write a result; at once, because who started a service waits for its first line."""
    print(text, flush=True)  # noqa: T201 - this is the door


def work(arguments: argparse.Namespace) -> int:
    """Run a worker."""
    from fhir_bridge.doors.working import work as run

    with opened(arguments, _untold) as bridge:
        return run(bridge, say=show)


def serve(arguments: argparse.Namespace) -> int:
    """Run the API, a worker, or both."""
    from fhir_bridge.doors.serving import serve as run
    from fhir_bridge.doors.serving import settled

    with opened(arguments, _untold) as bridge:
        return run(bridge, settled(arguments, bridge.settings.api), arguments.role, say=show)


def keys(arguments: argparse.Namespace) -> int:
    """Make, list or revoke keys of the API."""
    from fhir_bridge.doors.calling import run

    with opened(arguments, _untold) as bridge:
        return run(arguments, bridge, actor=actor(), show=show, note=_note)


def sandbox(arguments: argparse.Namespace) -> int:
    """Run two servers in memory."""
    from fhir_bridge.doors.trying import sandbox as run

    return run(arguments.story, arguments.port, show=show)


def _untold(_: Progress) -> None:
    """Tell nobody."""


def _note(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - this is the door
