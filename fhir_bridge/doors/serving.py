"""
The service: the API, a worker, or both in one process, until it is told to stop.

It binds to this machine unless it is told otherwise, and refuses to be
reachable from elsewhere in plain text. One line at the start says what is
configured and what is not.
"""

from __future__ import annotations

import argparse
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from fhir_bridge import spans
from fhir_bridge.bridge import Bridge
from fhir_bridge.doors.api.application import OPENAPI_PATH, application
from fhir_bridge.doors.api.bearer import Bearers
from fhir_bridge.doors.api.callers import Callers
from fhir_bridge.doors.api.configuration import ApiSettings, read
from fhir_bridge.doors.api.keysets import KeySet, from_file, from_url
from fhir_bridge.doors.api.metrics import Metrics
from fhir_bridge.doors.api.rates import Rates
from fhir_bridge.doors.api.service import Service
from fhir_bridge.doors.working import Worker, work
from fhir_bridge.errors import SettingsError
from fhir_bridge.logs import AllowList, configure, mute_libraries
from fhir_bridge.settings import environment

_GRACE_SECONDS = 10


def settled(arguments: argparse.Namespace, table: Any) -> ApiSettings:
    """
    Return how the API is served: as the settings say, but for what was typed.

    Raises:
        SettingsError: It is wrong, or would be readable on the way.
    """
    api = read(table)
    changes = {
        name: value for name in ("host", "port") if (value := getattr(arguments, name)) is not None
    }
    api = replace(api, **changes)
    if arguments.role != "worker":
        api.check_binding()
    return api


def serve(bridge: Bridge, api: ApiSettings, role: str, *, say: Callable[[str], None]) -> int:
    """
    Serve until SIGTERM or SIGINT.

    Args:
        bridge: Opened; closed by the caller.
        api: How the API is served.
        role: ``api``, ``worker`` or ``all``.
        say: Shows a line to the operator.

    Returns:
        The exit code.

    Raises:
        SettingsError: The address is taken, or something must be mended first.
    """
    if role == "worker":
        return work(bridge, say=say)
    allow_list = configure(sys.stderr)
    mute_libraries()
    traced = spans.configure(environment())
    listener = _listener(api)
    worker = Worker(bridge) if role == "all" else None
    try:
        if worker is not None:
            worker.start()
        serving = _service(bridge, api, worker, allow_list)
        server = _Server(_config(serving, api), serving)
        if worker is not None:
            worker.on_broken(server.stop)
        # uvicorn sends itself the signal again when it has ended; it must not end us before
        # the worker has.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        said = [*_configured(bridge, api, role), (traced, "OpenTelemetry spans")]
        _say_start(bridge, api, said, listener, say)
        server.run(sockets=[listener])
    finally:
        listener.close()
        if worker is not None:
            worker.stop(say)
    spans.stop()
    say("Stopped.")
    return 0


class _Server(uvicorn.Server):
    """Ends streams as soon as it is told to stop: they would keep it for an hour."""

    def __init__(self, config: uvicorn.Config, serving: Service) -> None:
        super().__init__(config)
        self._serving = serving

    def stop(self) -> None:
        """Take nothing more, and end what runs."""
        self._serving.stopping.set()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on a signal; a second one ends at once."""
        self._serving.stopping.set()
        super().handle_exit(sig, frame)


def _service(
    bridge: Bridge, api: ApiSettings, worker: Worker | None, allow_list: AllowList
) -> Service:
    clock = bridge.clock
    return Service(
        desk=bridge,
        knock=_nobody if worker is None else worker.knock,
        callers=Callers(bridge.store, _bearers(bridge, api), clock),
        rates=Rates(api.rate_per_minute, clock),
        metrics=_metrics(bridge, worker, allow_list),
        clock=clock,
        peers=() if api.tls_certificate else api.trusted_proxy,
        ready=lambda: not bridge.store.stopped,
    )


def _metrics(bridge: Bridge, worker: Worker | None, allow_list: AllowList) -> Metrics:
    targets = [one.name for one in bridge.settings.webhooks]
    if worker is None:
        return Metrics(bridge.store, allow_list, targets=targets)
    return Metrics(bridge.store, allow_list, targets=targets, deliveries=worker.deliveries)


def _nobody() -> None:
    """No worker runs in this process: those elsewhere look by themselves."""


def _bearers(bridge: Bridge, api: ApiSettings) -> Bearers | None:
    if api.issuer is None:
        return None
    remote = "://" in api.jwks
    load = from_url(api.jwks, bridge.clock) if remote else from_file(Path(api.jwks).expanduser())
    return Bearers(api.issuer, KeySet(load, bridge.clock), bridge.clock)


def _listener(api: ApiSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
    try:
        listener = socket.create_server((api.host, api.port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"{api.host} port {api.port} cannot be listened on: is it taken by another program?"
            " name another one with --port"
        ) from error
    # What is accepted inherits it. asyncio sets it by itself only on sockets that name their
    # protocol, which this one does not: each answer would wait 40 ms for the caller's kernel.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _config(serving: Service, api: ApiSettings) -> uvicorn.Config:
    tls: dict[str, Any] = {}
    if api.tls_certificate is not None:
        tls = {"ssl_certfile": str(api.tls_certificate), "ssl_keyfile": str(api.tls_key)}
    if api.client_ca is not None:
        tls |= {"ssl_ca_certs": str(api.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return uvicorn.Config(
        application(serving),
        lifespan="off",
        ws="none",
        http="h11",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who connects is asked, not who a header says it is
        timeout_graceful_shutdown=_GRACE_SECONDS,
        **tls,
    )


def _say_start(
    bridge: Bridge,
    api: ApiSettings,
    said: Sequence[tuple[bool, str]],
    listener: socket.socket,
    say: Callable[[str], None],
) -> None:
    scheme = "https" if api.tls_certificate else "http"
    host = f"[{api.host}]" if ":" in api.host else api.host
    base = f"{scheme}://{host}:{listener.getsockname()[1]}"
    have = ", ".join(text for there, text in said if there)
    lack = ", ".join(text for there, text in said if not there)
    say(
        f"fhir-bridge {version('fhir-bridge')} serves {base} (what it offers: {OPENAPI_PATH})."
        f" Configured: {have}. Not configured: {lack or 'nothing more'}."
    )
    if not bridge.store.count_api_keys() and api.issuer is None:
        store = f" --store {bridge.settings.store}"
        say(
            "Nobody can call yet. The first key: fhir-bridge keys add --role integrator"
            f" --organisation 'SYSTEM|VALUE'{store}"
        )


def _configured(bridge: Bridge, api: ApiSettings, role: str) -> Iterator[tuple[bool, str]]:
    """Say of each thing whether it is there."""
    settings = bridge.settings
    servers = {*settings.servers, *(one.alias for one in bridge.store.registered_servers())}
    keys = bridge.store.count_api_keys()
    yield True, "PostgreSQL" if settings.database else f"SQLite in {settings.store}"
    yield role == "all", f"a worker for {settings.engine.transfers} transfers at once"
    yield bool(servers), f"{len(servers)} servers" if servers else "servers"
    yield bool(keys), f"{keys} keys" if keys else "keys"
    yield api.issuer is not None, "OAuth2 tokens"
    yield api.tls_certificate is not None, "TLS"
    yield api.client_ca is not None, "client certificates"
    yield bool(api.trusted_proxy), "a trusted proxy"
    yield bool(settings.webhooks), "webhooks"
    yield bool(settings.witnessing.asked), "witnesses"
    yield bool(settings.audit_repository), "an audit repository"
