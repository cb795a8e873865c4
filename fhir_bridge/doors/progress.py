"""Progress on standard error: one line a step, and nothing that a log may not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from fhir_bridge.journey.parties import Progress


def listener(stream: TextIO) -> Callable[[Progress], None]:
    """Return what shows each finished step on a stream."""

    def tell(progress: Progress) -> None:
        stream.write(f"{str(progress.step).capitalize():<13}{progress.sentence}\n")
        stream.flush()

    return tell
