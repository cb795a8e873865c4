"""The whole transfer on one machine: two servers in memory, an invented patient, a verified log."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from fhir_bridge import stories
from fhir_bridge.bridge import Bridge
from fhir_bridge.doors.progress import listener
from fhir_bridge.doors.report import exit_code, render
from fhir_bridge.sandbox import Sandbox
from fhir_bridge.settings import Organisation, ServerSettings, Settings
from fhir_bridge.stories import Story
from fhir_bridge.transfer import Order, Party

_SOURCE, _DESTINATION = "first-provider", "second-provider"


def demo(name: str, store: Path | None, *, actor: str, show: Callable[[str], None]) -> int:
    """
    Carry one story between two servers in memory, and verify the log.

    Args:
        name: A story of `fixtures/`.
        store: Where the demo's log is kept; None makes a folder of its own, so
            that a real log is never mixed with invented data.
        actor: Who asked, for the log.
        show: Prints one line on standard output.

    Returns:
        The exit code of the transfer.
    """
    story = stories.load(name)
    store = store or Path(tempfile.mkdtemp(prefix="fhir-bridge-demo-"))
    with (
        Sandbox(name=story.custodian.name) as first,
        Sandbox(name=story.recipient.name) as second,
    ):
        first.load(story.source)
        second.load(story.destination)
        show(
            "Two FHIR servers are running on this machine:"
            f" {story.custodian.name} ({first.base}) and {story.recipient.name} ({second.base})."
        )
        show(f'Story "{story.name}": {story.title}\n')
        settings = _settings(story, store, first.base, second.base)
        with Bridge.open(settings, actor=actor, tell=listener(sys.stdout)) as bridge:
            report = bridge.transfer(_order(story))
            verified = bridge.verify_log()
    show("")
    show(render(report, store=store))
    show(f"  Verified just now                    {verified.entries} entries,")
    show(f"{'':39}{verified.checkpoints} checkpoints, each signature and each entry")
    show("  The same between your own servers    fhir-bridge check https://your.server/fhir")
    return exit_code(report)


def _settings(story: Story, store: Path, first: str, second: str) -> Settings:
    return Settings(
        store=store,
        log_origin="demo.fhir-bridge.example",
        servers={
            _SOURCE: _server(_SOURCE, first, story.custodian),
            _DESTINATION: _server(_DESTINATION, second, story.recipient),
        },
    )


def _server(name: str, base: str, party: Party) -> ServerSettings:
    # The identity must not hold the port, which is another at each run.
    return ServerSettings(
        name=name,
        base=base,
        identity=f"https://{party.value}.example.org/fhir",
        organisations=(Organisation(system=party.system, value=party.value, name=party.name),),
    )


def _order(story: Story) -> Order:
    return Order(
        source=_SOURCE,
        destination=_DESTINATION,
        patient=story.patient,
        kinds=story.kinds,
        purpose=story.purpose,
        reasons=story.reasons,
        question=story.question,
    )
