"""Source and destination are one server, as at a public sandbox: the source stays as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fhir_bridge.errors import PatientUnclear
from fhir_bridge.records import RecordRef, digest
from fhir_bridge.references import copy_id
from fhir_bridge.settings import Settings
from fhir_bridge.transfer import State
from tests.journeys.world import SECOND, World


class OneServer(World):
    """Both aliases name the first provider's server."""

    @property
    def settings(self) -> Settings:
        settings = super().settings
        second = replace(settings.servers[SECOND], base=self.first.base)
        return replace(settings, servers={**settings.servers, SECOND: second})

    def untouched(self) -> bool:
        return all(
            self.first.versions(f"{one['resourceType']}/{one['id']}") == 1
            and digest(self.first.resources[RecordRef(f"{one['resourceType']}/{one['id']}")])
            == digest(one)
            for one in self.story.source
        )


def test_a_transfer_within_one_server_never_touches_the_sources_resources(tmp_path: Path) -> None:
    with OneServer(tmp_path, "amelia") as world:
        world.first.load(world.story.destination)
        before = set(world.first.resources)

        first = world.transfer()
        after_first = set(world.first.resources)
        again = world.transfer()

        assert first.state is State.CLOSED
        assert again.state is State.CLOSED
        assert world.untouched()
        assert len(after_first - before) > 40
        assert set(world.first.resources) == after_first
        assert all(world.first.versions(ref) == 1 for ref in after_first)
        copy = RecordRef(f"Observation/{copy_id('https://first.example/fhir', _LAB)}")
        subject = world.first.resources[copy]["subject"]["reference"]
        assert subject == world.story.at_destination


def test_our_own_copies_are_not_gathered_as_records(tmp_path: Path) -> None:
    with OneServer(tmp_path, "amelia") as world:
        world.first.load(world.story.destination)
        found = {line.ref for line in world.transfer().lines}

        assert {line.ref for line in world.transfer().lines} == found


def test_the_source_patient_is_no_candidate_for_the_destination_patient(tmp_path: Path) -> None:
    with OneServer(tmp_path, "amelia") as world:
        before = set(world.first.resources)

        with pytest.raises(PatientUnclear):
            world.transfer()
        with pytest.raises(PatientUnclear):
            world.transfer(at_destination="amelia")
        assert set(world.first.resources) == before

        report = world.transfer(at_destination="create")

        assert report.state is State.CLOSED
        patients = {ref for ref in world.first.resources if ref.startswith("Patient/")}
        own = copy_id("https://first.example/fhir", RecordRef(world.story.patient))
        assert patients == {world.story.patient, f"Patient/{own}"}
        assert world.untouched()


_LAB = RecordRef("Observation/amelia-cea")
