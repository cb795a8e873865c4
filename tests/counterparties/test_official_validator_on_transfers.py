"""Everything the bridge writes in whole transfers passes HL7's own validator, bundles included."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.sandbox import Seen
from tests.journeys.world import World
from tests.simulators.official_validator import OfficialValidator

pytestmark = pytest.mark.real


def plain(content: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(lossless.encode(content))
    return result


def sent(seen: Seen) -> dict[str, Any] | None:
    """The transaction that a request held, if it was one."""
    if seen.method != "POST" or seen.path or not seen.body:
        return None
    raw = gzip.decompress(seen.body) if seen.body[:2] == b"\x1f\x8b" else seen.body
    bundle: dict[str, Any] = json.loads(raw)
    return bundle if bundle.get("type") == "transaction" else None


@pytest.mark.parametrize("story", ["amelia", "celia"])
def test_nothing_that_a_transfer_writes_has_an_error(
    tmp_path: Path, validator: OfficialValidator, story: str
) -> None:
    with World(tmp_path, story, keeps_bodies=True) as world:
        report = world.transfer()
        copies = {line.destination for line in report.lines}
        authored = [ref for ref in world.arrived() if ref not in copies]
        assert {ref.partition("/")[0] for ref in authored} >= {
            "Consent",
            "DocumentReference",
            "Provenance",
            "ServiceRequest",
            "Task",
        }
        for ref in authored:
            content = plain(world.second.resources[ref])
            content.get("meta", {}).pop("versionId", None)
            assert validator.errors(content) == [], ref

        bundles = [bundle for seen in world.second.requests if (bundle := sent(seen))]
        assert len(bundles) >= 3
        for bundle in bundles:
            assert validator.errors(bundle) == []
