"""What /metrics says of messages to other programs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.doors.api.metrics import Metrics
from fhir_bridge.doors.working import Worker
from fhir_bridge.logs import configure
from fhir_bridge.settings import load
from fhir_bridge.store import Store
from tests.counterparties.test_webhooks import SECRET, TAKEN, Desk, target
from tests.simulators.hostile_server import HostileServer, Says
from tests.simulators.ticking import Ticking


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Store.open(tmp_path / "s", clock=Ticking().clock(), log_origin="b.example") as store:
        yield Desk(store)


def figures(metrics: Metrics) -> dict[str, float]:
    lines = metrics.text().decode().splitlines()
    said = [line.rpartition(" ") for line in lines if line.startswith("fhir_bridge_")]
    kinds = ("fhir_bridge_webhook", "fhir_bridge_outbox")
    return {name: float(value) for name, _, value in said if name.startswith(kinds)}


def test_figures_say_what_was_sent_what_waits_and_what_lies_dead(desk: Desk) -> None:
    with HostileServer([TAKEN, Says(status=503)]) as server:
        hooks = desk.webhooks(target(server.base), target(server.base, name="never"))
        metrics = Metrics(
            desk.store,
            configure(io.StringIO()),
            targets=("ehr", "never"),
            deliveries=lambda: hooks.deliveries,
        )
        assert figures(metrics) == {
            f'fhir_bridge_outbox_{what}{{target="{name}"}}': 0.0
            for what in ("depth", "dead")
            for name in ("ehr", "never")
        }
        desk.transfer("permitted", "closed")
        desk.deliver(desk.webhooks(target(server.base, name="ehr")))
        hooks = desk.webhooks(target(server.base))
        desk.deliver(hooks, later_seconds=3600)
        waiting = desk.store.outbox_of("ehr").waiting
        shown = figures(metrics)

    assert waiting > 0
    assert shown['fhir_bridge_outbox_depth{target="ehr"}'] == waiting
    assert shown['fhir_bridge_outbox_depth{target="never"}'] == 0
    assert shown['fhir_bridge_webhook_requests_total{ending="away",target="ehr"}'] == 1


def test_a_worker_counts_its_requests_to_webhook_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    with HostileServer([TAKEN]) as server:
        file = tmp_path / "fhir-bridge.toml"
        file.write_text(
            f'[[webhooks]]\nname = "ehr"\nurl = "{server.base}/hook"\n'
            'secret_env = "WEBHOOK_SECRET"\n',
            encoding="utf-8",
        )
        settings = load(file, store=tmp_path / "store", environ={"WEBHOOK_SECRET": SECRET})
        with Bridge.open(settings, actor="cli:test", tell=lambda _: None) as bridge:
            worker = Worker(bridge)
            Desk(bridge.store).transfer("closed")
            rounds = {one.name: one for one in worker.rounds}
            rounds["webhooks"].act()

            assert worker.deliveries() == {("ehr", "taken"): 2}
            assert [one.name for one in worker.rounds].count("heartbeat") == 1
