"""A server is looked for in the settings first, then among those registered while running."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError, Throttled
from fhir_bridge.journey import Provider
from fhir_bridge.ledger import Event
from fhir_bridge.providers import Providers, Servers
from fhir_bridge.sandbox import Faults, Sandbox, Status
from fhir_bridge.settings import Settings, read_server
from fhir_bridge.store import Store
from fhir_bridge.wire import Side
from tests.journeys.world import FIRST, SECOND, World
from tests.simulators.ticking import Ticking


def described(base: str, **more: object) -> str:
    return json.dumps({"base": base, **more})


def test_the_settings_win_over_what_was_registered(tmp_path: Path) -> None:
    settings = Settings(
        store=tmp_path / "store",
        servers={"lab": read_server("lab", {"base": "https://lab.example/fhir"})},
    )
    with Store.open(settings.store, log_origin=settings.log_origin) as store:
        store.register_server("lab", described("https://evil.example/fhir"), None)
        store.register_server("ward", described("https://ward.example/fhir"), None)
        servers = Servers(settings, store)

        assert servers.server("lab").base == "https://lab.example/fhir"
        assert servers.server("ward").base == "https://ward.example/fhir"
        assert servers.server("ward").registered
        assert not servers.server("https://ward.example/fhir").registered
        with pytest.raises(SettingsError, match="neither a server"):
            servers.server("unknown")


def test_a_server_registered_anew_is_opened_anew(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "store")
    with Store.open(settings.store, log_origin=settings.log_origin) as store:
        store.register_server("lab", described("https://lab.example/fhir"), None)
        providers = Providers(Servers(settings, store), Clock())
        first = providers.provider("lab", Side.SOURCE)
        again = providers.provider("lab", Side.SOURCE)
        assert connections(again) is connections(first)

        bearer = described("https://lab.example/fhir", credential={"kind": "bearer"})
        store.register_server("lab", bearer, "token")
        second = providers.provider("lab", Side.SOURCE)

        assert connections(second) is not connections(first)
        providers.close()


def connections(provider: Provider) -> object:
    return provider.server._wire._session


def test_what_a_server_may_take_is_counted_anew_for_each_use(tmp_path: Path) -> None:
    ticking, faults = Ticking(), Faults()
    faults.at(lambda call: call.number % 2 == 1, Status(503, retry_after="100"), times=None)
    with Sandbox(name=FIRST, faults=faults, clock=ticking.clock()) as sandbox:
        settings = Settings(
            store=tmp_path / "store", servers={"lab": read_server("lab", {"base": sandbox.base})}
        )
        with Store.open(settings.store, log_origin=settings.log_origin) as store:
            providers = Providers(Servers(settings, store), ticking.clock())
            for _ in range(20):
                providers.provider("lab", Side.SOURCE).server.counts([("Patient", {})])
            one = providers.provider("lab", Side.SOURCE).server
            for _ in range(8):
                one.counts([("Patient", {})])
            with pytest.raises(Throttled):
                one.counts([("Patient", {})])
            providers.close()


def test_a_transfer_goes_between_registered_servers(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        settings = replace(world.settings, servers={})
        with Store.open(settings.store, log_origin=settings.log_origin) as store:
            for name, sandbox, party in (
                (FIRST, world.first, world.story.custodian),
                (SECOND, world.second, world.story.recipient),
            ):
                organisation = {"identifier": party.identifier, "name": party.name}
                store.register_server(
                    name, described(sandbox.base, organisations=[organisation]), None
                )
        with Bridge.open(
            settings, actor="cli:test", tell=lambda _: None, clock=world.time.clock()
        ) as bridge:
            report = bridge.transfer(world.order())

    assert report.recipient == world.story.recipient.name
    assert report.state == "closed"


def test_who_asked_and_their_trace_stand_in_each_entry(tmp_path: Path) -> None:
    with World(tmp_path, "amelia") as world:
        trace = "0af7651916cd43dd8448eb211c80319c"
        with world.bridge() as bridge:
            report = bridge.acting("key:0123456789ab", trace=trace).transfer(world.order())
            report = bridge.show(report.transfer)
            entries = list(world.mortal.entries(report.transfer))

    assert {entry.actor for entry in entries} == {"key:0123456789ab"}
    assert {entry.trace for entry in entries} == {trace}
    assert entries[-1].type is Event.TRANSFER_CLOSED
