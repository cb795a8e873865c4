"""Two FHIR servers in memory with an invented patient, for trying the API out."""

from __future__ import annotations

from collections.abc import Callable

from fhir_bridge import stories
from fhir_bridge.doors.stopping import Stopping
from fhir_bridge.sandbox import Sandbox


def sandbox(name: str, port: int, *, show: Callable[[str], None]) -> int:
    """
    Run both servers until SIGTERM or SIGINT; they forget everything.

    Args:
        name: A story of `fixtures/`.
        port: Of the first server; the second has the next one. 0 for free ones.
        show: Writes a line.

    Returns:
        The exit code.

    Raises:
        SettingsError: There is no such story, or a port is taken.
    """
    story = stories.load(name)
    stopping = Stopping()
    stopping.listen()
    with (
        Sandbox(name=story.custodian.name, port=port) as first,
        Sandbox(name=story.recipient.name, port=port + 1 if port else 0) as second,
    ):
        first.load(story.source)
        second.load(story.destination)
        show(f'Story "{story.name}": {story.title}')
        show(f"First provider   {first.base}   {story.custodian.identifier}")
        show(f"Second provider  {second.base}   {story.recipient.identifier}")
        show(f"Patient          {story.patient}")
        show("For trying out only: both forget everything when this command ends.")
        stopping.wait()
    return 0
