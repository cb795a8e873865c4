"""
Figures for Prometheus, with labels of which there are few.

A label is an operation's name, a method, a class of status, a state, a
problem's code or a webhook target's name in the settings: lists of ours, never
anything that was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fhir_bridge.logs import AllowList
from fhir_bridge.store import Store
from fhir_bridge.transfer import State

MEDIA = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


Deliveries = Callable[[], Mapping[tuple[str, str], int]]
"""Requests to webhook targets, by target and ending, since the process began."""


def _none() -> Mapping[tuple[str, str], int]:
    """No worker runs in this process."""
    return {}


class Metrics:
    """What is counted, and what is looked up when it is asked for."""

    def __init__(
        self,
        store: Store,
        allow_list: AllowList,
        *,
        targets: Sequence[str] = (),
        deliveries: Deliveries = _none,
    ) -> None:
        """
        Start at nothing.

        Args:
            store: Holds what is looked up.
            allow_list: Counts what it did not let through.
            targets: Names of the webhook targets.
            deliveries: What this process's worker counts.
        """
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "fhir_bridge_http_requests",
            "Requests answered",
            ("operation", "status_class"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "fhir_bridge_http_request_seconds",
            "Time to the answer",
            ("operation",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._problems = Counter(
            "fhir_bridge_http_problems",
            "Requests answered with a problem",
            ("code",),
            registry=self.registry,
        )
        self._streams = Gauge(
            "fhir_bridge_http_streams", "Streams of events now open", registry=self.registry
        )
        self.registry.register(_Looked(store, allow_list))
        self.registry.register(_Told(store, targets, deliveries))

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._answers.labels(operation, f"{status // 100}xx").inc()
        self._seconds.labels(operation).observe(seconds)

    def problem(self, code: str) -> None:
        """Count one problem."""
        self._problems.labels(code).inc()

    def stream_opened(self) -> None:
        """Count a stream that opens."""
        self._streams.inc()

    def stream_closed(self) -> None:
        """Count a stream that closes."""
        self._streams.dec()

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        return generate_latest(self.registry)


class _Looked(Collector):
    """Figures that stand in the store."""

    def __init__(self, store: Store, allow_list: AllowList) -> None:
        self._store = store
        self._allow_list = allow_list

    def collect(self) -> Iterable[Metric]:
        """Look them up."""
        states = self._store.count_states()
        transfers = GaugeMetricFamily(
            "fhir_bridge_transfers", "Transfers by state", labels=("state",)
        )
        for state in State:
            transfers.add_metric((state,), states.get(state, 0))
        yield transfers
        head = self._store.checkpoint()
        yield GaugeMetricFamily(
            "fhir_bridge_audit_tree_size", "Entries of the signed log", value=head.size
        )
        yield GaugeMetricFamily(
            "fhir_bridge_api_keys", "Keys not revoked", value=self._store.count_api_keys()
        )
        yield GaugeMetricFamily(
            "fhir_bridge_log_dropped_fields",
            "Members and events that a log line may not hold",
            value=self._allow_list.dropped,
        )

    def describe(self) -> Iterable[Metric]:
        """Name nothing ahead: the store is not asked before it must be."""
        return []


class _Told(Collector):
    """How it stands with each webhook target."""

    def __init__(self, store: Store, targets: Sequence[str], deliveries: Deliveries) -> None:
        self._store = store
        self._targets = targets
        self._deliveries = deliveries

    def collect(self) -> Iterable[Metric]:
        """Look it up."""
        requests = CounterMetricFamily(
            "fhir_bridge_webhook_requests",
            "Requests to a webhook target by how they ended, of this process's worker",
            labels=("target", "ending"),
        )
        for (target, ending), number in sorted(self._deliveries().items()):
            requests.add_metric((target, ending), number)
        yield requests
        counts = {target: self._store.outbox_of(target) for target in self._targets}
        depth = GaugeMetricFamily(
            "fhir_bridge_outbox_depth",
            "Messages that wait for a webhook target",
            labels=("target",),
        )
        dead = GaugeMetricFamily(
            "fhir_bridge_outbox_dead",
            "Messages that a webhook target did not take, put aside",
            labels=("target",),
        )
        for target, count in counts.items():
            depth.add_metric((target,), count.waiting)
            dead.add_metric((target,), count.dead)
        yield depth
        yield dead

    def describe(self) -> Iterable[Metric]:
        """Name nothing ahead: the store is not asked before it must be."""
        return []
