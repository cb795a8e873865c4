"""What does not travel is not named by what does: not by its words, not by a severed reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.bridge import Report
from fhir_bridge.records import RecordRef
from tests.journeys.world import World

TOLD = RecordRef("Observation/bruno-c3")
WITHHELD = "Observation/bruno-gene-test"
NAMESAKE = "Patient/celia-namesake"


def derived(words: str) -> dict[str, Any]:
    return {
        "derivedFrom": [{"reference": WITHHELD, "display": f"see {WITHHELD}"}],
        "note": [{"text": words}],
    }


def decided(report: Report, ref: str) -> tuple[str, str]:
    return next((str(one.decision), one.rule) for one in report.lines if one.ref == ref)


def arrived(world: World) -> str:
    return "".join(lossless.encode(world.second.resources[ref]).decode() for ref in world.arrived())


@pytest.mark.parametrize("words", [f"from {WITHHELD}.", f"<a href='../{WITHHELD}'>genes</a>"])
def test_a_record_whose_words_name_what_does_not_travel_is_held(tmp_path: Path, words: str) -> None:
    with World(tmp_path, "bruno") as world:
        world.first.load([{**world.first.resources[TOLD], **derived(words)}])
        report = world.transfer()

        assert decided(report, TOLD) == ("held", "carries-withheld")
        assert "bruno-gene-test" not in arrived(world)


@pytest.mark.parametrize("words", ["from a panel", f"from {WITHHELD}-2"])
def test_a_record_travels_when_only_the_removed_reference_named_it(
    tmp_path: Path, words: str
) -> None:
    with World(tmp_path, "bruno") as world:
        world.first.load([{**world.first.resources[TOLD], **derived(words)}])
        report = world.transfer()

        assert decided(report, TOLD) == ("released", "consent-permit")
        assert "bruno-gene-test" not in arrived(world).replace(f"{WITHHELD}-2", "")


def test_a_record_that_names_another_patient_anywhere_is_held(tmp_path: Path) -> None:
    ref = RecordRef("Observation/celia-calcium")
    with World(tmp_path, "celia") as world:
        world.first.load([{**world.first.resources[ref], "focus": [{"reference": NAMESAKE}]}])
        report = world.transfer()

        assert decided(report, ref) == ("held", "foreign-patient")
        assert (NAMESAKE, "foreign-patient", ref) in {
            (gap.ref, gap.reason, gap.referrer) for gap in report.gaps
        }
        assert "celia-namesake" not in arrived(world)
        assert not [seen for seen in world.first.requests if NAMESAKE in seen.path]
