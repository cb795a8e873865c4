"""
Figures for Prometheus, with labels of which there are few.

A label is an operation's name, a method, a class of status, a state or a
problem's code: lists of ours, never anything that was sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fhir_bridge.clock import Clock
from fhir_bridge.logs import AllowList
from fhir_bridge.store import Store
from fhir_bridge.transfer import State

MEDIA = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What is counted, and what is looked up when it is asked for."""

    def __init__(self, store: Store, allow_list: AllowList, clock: Clock) -> None:
        """Start at nothing."""
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
        self.registry.register(_Looked(store, allow_list, clock))

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

    def __init__(self, store: Store, allow_list: AllowList, clock: Clock) -> None:
        self._store = store
        self._allow_list = allow_list
        self._clock = clock

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
