"""Read back what we wrote about an act, for those who have to account for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir_bridge.audit import codings
from fhir_bridge.audit.acting import NamedConsent
from fhir_bridge.errors import AlteredLog
from fhir_bridge.records import Json, RecordRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What an AuditEvent of ours says."""

    patient: Json | None
    """Reference to the patient at the source."""
    details: dict[str, str]
    """Codes and counts; the last of several with one name."""
    refs: tuple[str, ...]
    person: str
    """Who answered for it by name; empty when nobody had to."""
    consents: tuple[NamedConsent, ...]
    test_data: bool


def opened(body: bytes) -> Opened:
    """
    Read an AuditEvent that `write` wrote.

    Args:
        body: The stored bytes, already compared with the log's commitment.

    Raises:
        AlteredLog: It is none of ours.
    """
    try:
        content: Any = msgspec.json.decode(body)
        entities: list[Json] = content.get("entity", [])
        found = list(_details(entities))
        return Opened(
            patient=next((one["what"] for one in entities if one["type"] == codings.PERSON), None),
            details=dict(found),
            refs=tuple(value for name, value in found if name == "ref"),
            consents=tuple(_consents(entities)),
            person=next((one["name"] for one in content["agent"] if "name" in one), ""),
            test_data=codings.TEST_DATA in content.get("meta", {}).get("security", []),
        )
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise AlteredLog("what belongs to an entry is not an AuditEvent of ours") from error


def _consents(entities: list[Json]) -> Iterator[NamedConsent]:
    for entity in entities:
        if entity["type"] == codings.CONSENT:
            said = {one["type"]: one["valueString"] for one in entity.get("detail", [])}
            ref = RecordRef(f"Consent/{entity['what']['identifier']['value']}")
            yield NamedConsent(ref=ref, **said)


def _details(entities: list[Json]) -> Iterator[tuple[str, str]]:
    for entity in entities:
        if entity["type"] == codings.OTHER:
            for one in entity.get("detail", []):
                yield one["type"], one["valueString"]
