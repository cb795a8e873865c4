"""What people outside need to check the log: the witnesses' word, and the page for a receipt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fhir_bridge.bridge import Bridge
from fhir_bridge.errors import SettingsError

PAGE = Path(__file__).with_name("receipt.html")

_NOT_REACHED = 6


def ask_witnesses(bridge: Bridge) -> tuple[str, int]:
    """
    Ask each witness for its signature under the newest checkpoint.

    Returns:
        The text to show, and the exit code: 6 when one did not sign.
    """
    heard = bridge.witnessing.asked.ask()
    lines = [
        f"{one.witness}  has cosigned {one.size or 0} entries"
        + (f"; {one.failure}" if one.failure else ", all that there are")
        for one in heard
    ] or ["No witness is asked: see witness.ask in README."]
    lines += _being(bridge)
    return "\n".join(lines), _NOT_REACHED if any(one.failure for one in heard) else 0


def _being(bridge: Bridge) -> Iterator[str]:
    being = bridge.witnessing.being()
    if being is not None:
        yield f"This bridge cosigns as  {being.verifier}"


def write_page(path: Path) -> None:
    """
    Write the page on which a patient checks a receipt.

    Raises:
        SettingsError: It is there already, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(PAGE.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be written, or is there already") from error
