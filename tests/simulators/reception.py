"""
The API over two providers in memory, with callers of every role.

    with Reception(tmp_path) as reception:
        answer = reception.post("/v1/transfers", ORDER, as_=Role.INTEGRATOR)

A transfer is carried in a thread, when a test says so.
"""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import structlog
import uvicorn

from fhir_bridge.bridge import Bridge
from fhir_bridge.doors.api import api_keys
from fhir_bridge.doors.api.application import application
from fhir_bridge.doors.api.bearer import Bearers
from fhir_bridge.doors.api.callers import Callers
from fhir_bridge.doors.api.metrics import Metrics
from fhir_bridge.doors.api.rates import Rates
from fhir_bridge.doors.api.roles import OF_AN_ORGANISATION, Role
from fhir_bridge.doors.api.service import Service
from fhir_bridge.logs import configure
from tests.journeys.world import FIRST, SECOND, World

OTHER = "urn:oid:2.999.9.9|another-clinic"
"""An organisation that is none of the story's."""


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Serve an application on this machine; gives its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, ws="none"
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Promptly:
    """The workers: carry what there is to carry when a test says so."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.knocks = 0

    def knock(self) -> None:
        self.knocks += 1

    @property
    def waiting(self) -> list[str]:
        """The transfers that are to be carried."""
        return [turn.name.partition(".")[0] for turn in self._bridge.due()]

    def run(self) -> None:
        """Carry everything that waits."""
        while turns := self._bridge.due():
            for turn in turns:
                self._bridge.carry_turn(turn.name)


class Reception:
    """The API, its world and its callers."""

    def __init__(
        self,
        folder: Path,
        story: str = "amelia",
        *,
        per_minute: int = 1_000_000,
        bearers: Bearers | None = None,
        really_waits: bool = False,
    ) -> None:
        self.world = World(folder, story, really_waits=really_waits)
        self._per_minute = per_minute
        self._bearers = bearers
        self._open = ExitStack()
        self.log = io.StringIO()
        self.tenant = self.world.story.custodian.identifier

    def __enter__(self) -> Self:
        self._open.enter_context(self.world)
        self._open.callback(structlog.reset_defaults)
        allow_list = configure(self.log)
        clock = self.world.time.clock()
        self.bridge = self._open.enter_context(self.world.bridge())
        store = self.bridge.store
        self.runner = Promptly(self.bridge)
        self.service = Service(
            desk=self.bridge,
            knock=self.runner.knock,
            callers=Callers(store, self._bearers, clock),
            rates=Rates(self._per_minute, clock),
            metrics=Metrics(store, allow_list),
            clock=clock,
        )
        self.allow_list = allow_list
        self.app = application(self.service)
        self.base = self._open.enter_context(listening(self.app))
        self._open.callback(self.service.stopping.set)
        self.client = self._open.enter_context(httpx.Client(base_url=self.base, timeout=60))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def key(self, *roles: Role, tenant: str | None = None, days: int = 1) -> str:
        """Make a key, of the custodian unless another organisation is named."""
        needs = not OF_AN_ORGANISATION.isdisjoint(roles)
        key, row = api_keys.make(
            roles=roles,
            tenant=(self.tenant if needs else "") if tenant is None else tenant,
            label="a test",
            days=days,
            now=self.world.time.clock().now(),
        )
        self.bridge.store.add_api_key(row)
        return key

    def as_(self, *roles: Role, tenant: str | None = None) -> dict[str, str]:
        """Return the header of a caller with these roles."""
        return {"Authorization": f"Bearer {self.key(*roles, tenant=tenant)}"}

    def get(self, path: str, who: Mapping[str, str], **more: Any) -> httpx.Response:
        return self.client.get(path, headers=who, **more)

    def post(
        self, path: str, body: Any, who: Mapping[str, str], *, key: str | None = None
    ) -> httpx.Response:
        headers = {**who, **({"Idempotency-Key": key} if key is not None else {})}
        return self.client.post(path, json=body, headers=headers)

    def asked(self, **changes: Any) -> dict[str, Any]:
        """A trigger of the story."""
        story = self.world.story
        patient = (
            {"reference": story.patient}
            if "|" not in story.patient
            else dict(zip(("system", "value"), story.patient.split("|"), strict=True))
        )
        return {
            "source": FIRST,
            "destination": SECOND,
            "patient": patient,
            "referral": {"reasons": list(story.reasons), "question": story.question},
            "kinds": [str(kind) for kind in story.kinds],
            "purpose": story.purpose,
            **changes,
        }

    def trigger(self, who: Mapping[str, str] | None = None, **changes: Any) -> str:
        """Trigger the story's transfer; return its id."""
        headers = who or self.as_(Role.INTEGRATOR)
        answer = self.post("/v1/transfers", self.asked(**changes), headers, key="order-1")
        assert answer.status_code == 202, answer.text
        return str(answer.json()["transfer"])

    def carried(self, **changes: Any) -> str:
        """Trigger the story's transfer and carry it."""
        transfer = self.trigger(**changes)
        self.runner.run()
        return transfer

    def lines(self) -> Iterable[dict[str, Any]]:
        """The service's log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def code(answer: httpx.Response) -> str:
    """Return the stable code of an OperationOutcome."""
    assert answer.headers["content-type"] == "application/fhir+json", answer.text
    content = answer.json()
    assert content["resourceType"] == "OperationOutcome"
    return str(content["issue"][0]["details"]["coding"][0]["code"])
