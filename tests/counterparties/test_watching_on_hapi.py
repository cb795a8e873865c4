"""A real HAPI server is watched: what an office orders there becomes a transfer, once."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from fhir_bridge.bridge import Bridge
from fhir_bridge.settings import Organisation, ServerSettings, Settings, WatchSettings
from fhir_bridge.store import TransferRow
from fhir_bridge.transfer import State
from tests.benchmarks import floor, patients
from tests.simulators.servers import hapi_bases

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("hapi-transfers")]


def order(name: str, **changes: object) -> dict[str, object]:
    return {
        "resourceType": "ServiceRequest",
        "id": f"{name}-wish",
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "77406008"}]},
        "subject": {"reference": f"Patient/{name}"},
        **changes,
    }


def server(name: str, base: str, party: tuple[str, str]) -> ServerSettings:
    organisation = Organisation(system=party[0], value=party[1])
    return ServerSettings(name=name, base=base, identity=base, organisations=(organisation,))


def asked_for(bridge: Bridge, name: str) -> list[TransferRow]:
    """Other tests write to these servers too."""
    rows = list(bridge.store.transfers())
    return [row for row in rows if bridge._order(row.id).patient == f"Patient/{name}"]


def test_an_order_at_hapi_becomes_one_transfer_and_what_we_deliver_becomes_none(
    tmp_path: Path,
) -> None:
    source, destination = hapi_bases()
    name = f"w{uuid.uuid4().hex[:12]}"
    with requests.Session() as session:
        session.trust_env = False
        floor.load(session, source, patients.record(name, 54))
        floor.load(session, destination, patients.destination(name))
        floor.load(session, source, [order(name)])
    settings = Settings(
        store=tmp_path / "store",
        log_origin="test.example",
        servers={
            "first": server("first", source, patients.CUSTODIAN),
            "second": server("second", destination, patients.RECIPIENT),
        },
        watches=(
            WatchSettings(source="first", destination="second"),
            WatchSettings(source="second", destination="first"),
        ),
    )
    with Bridge.open(settings, actor="cli:test", tell=lambda _: None) as bridge:
        bridge.watch()
        (row,) = asked_for(bridge, name)
        assert bridge.carry(row.id).state is State.CLOSED
        for watch in settings.watches:
            place = bridge.store.watch_place(watch.name)
            assert place is not None
            since = datetime.fromisoformat(place.since)
            bridge.store.watch_moved(watch.name, since=since, looked=since - timedelta(hours=1))
        with requests.Session() as session:
            session.trust_env = False
            floor.load(session, source, [order(name, priority="urgent")])

        looked = bridge.watch()

        assert looked.found >= 2
        assert [one.id for one in asked_for(bridge, name)] == [row.id]
