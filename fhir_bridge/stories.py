"""
The stories that ship with the bridge: invented people on whom anyone may try it.

A story is a folder of `fixtures/`: what the first provider holds, what the
second already knows, who asks for what, and how it must end. It is read and
never written; nothing here talks to a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_bridge import codes, lossless
from fhir_bridge.errors import BridgeError, SettingsError
from fhir_bridge.records import Json, Kind, RecordRef
from fhir_bridge.transfer import Party

_FILES = ("story.json", "source.json", "destination.json", "expected.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One invented patient who wants a second opinion."""

    name: str
    title: str
    """Why, in one sentence that may be shown."""
    patient: RecordRef
    """The patient at the first provider."""
    at_destination: RecordRef
    """The same person at the second provider."""
    custodian: Party
    recipient: Party
    purpose: str
    kinds: tuple[Kind, ...]
    reasons: tuple[str, ...]
    question: str
    source: tuple[Json, ...]
    """What the first provider holds; numbers as written in the file."""
    destination: tuple[Json, ...]
    """What the second provider holds before anything arrives."""
    source_bundle: bytes
    """The same as one transaction of PUTs, to send as it is."""
    destination_bundle: bytes
    expected: Json
    """How the transfer must end: state, counts, and one line for each resource."""


def names() -> tuple[str, ...]:
    """
    Return the names of all stories, sorted.

    Raises:
        SettingsError: The installation has no stories.
    """
    return tuple(
        sorted(path.parent.name for path in codes.shipped("fixtures").glob("*/story.json"))
    )


def load(name: str) -> Story:
    """
    Read a story.

    Args:
        name: As `names` gives it; anything else, such as a path, is refused.

    Raises:
        SettingsError: No such story, or its files cannot be read.
    """
    if name not in (known := names()):
        raise SettingsError(f"there is no story {name!r}; there are {', '.join(known)}")
    raw = _read(codes.shipped("fixtures") / name)
    try:
        return _story(raw)
    except (BridgeError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"story {name} is damaged: install fhir-bridge again") from error


def _read(folder: Path) -> dict[str, bytes]:
    try:
        return {file: (folder / file).read_bytes() for file in _FILES}
    except OSError as error:
        raise SettingsError(f"story {folder.name} is damaged: install fhir-bridge again") from error


def _story(raw: dict[str, bytes]) -> Story:
    head: dict[str, Any] = lossless.decode(raw["story.json"])
    return Story(
        name=head["name"],
        title=head["title"],
        patient=RecordRef(head["patient"]),
        at_destination=RecordRef(head["at_destination"]),
        custodian=Party(**head["custodian"]),
        recipient=Party(**head["recipient"]),
        purpose=head["purpose"],
        kinds=tuple(Kind(kind) for kind in head["kinds"]),
        reasons=tuple(head["reasons"]),
        question=head["question"],
        source=_resources(raw["source.json"]),
        destination=_resources(raw["destination.json"]),
        source_bundle=raw["source.json"],
        destination_bundle=raw["destination.json"],
        expected=lossless.decode(raw["expected.json"]),
    )


def _resources(bundle: bytes) -> tuple[Json, ...]:
    return tuple(entry["resource"] for entry in lossless.decode(bundle)["entry"])
