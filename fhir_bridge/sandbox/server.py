"""One sandbox: its address, what it holds, what was asked of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from fhir_bridge.clock import Clock
from fhir_bridge.records import Json
from fhir_bridge.sandbox import routes
from fhir_bridge.sandbox.faults import Call, Dropped, Faults
from fhir_bridge.sandbox.holdings import Holdings
from fhir_bridge.sandbox.listening import Listener
from fhir_bridge.sandbox.outcomes import Problem, Reply, reply_to
from fhir_bridge.sandbox.profile import Profile
from fhir_bridge.sandbox.service import Service

_PREFIX = "/fhir"
_NOT_IN_AN_ID = re.compile(r"[^a-z0-9.]+")
Body = bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that was made, and how it was answered."""

    method: str
    path: str
    """Below the base, without the query."""
    query: str
    status: int
    """0 when the connection was broken instead."""
    bytes: int
    """Size of the request's body."""
    headers: dict[str, str]
    body: Body | None
    """Kept only when the sandbox was told so."""


class Sandbox:
    """
    A FHIR server that lives as long as a ``with`` block.

    with Sandbox(name="first") as source:
        source.load([{"resourceType": "Patient", "id": "p1"}])
        ...  # any FHIR client may talk to source.base
    """

    def __init__(
        self,
        *,
        name: str,
        port: int = 0,
        faults: Faults | None = None,
        profile: Profile | None = None,
        clock: Clock | None = None,
        keeps_bodies: bool = False,
    ) -> None:
        """
        Take an address; nothing is answered before `start`.

        Args:
            name: Shows, as far as FHIR allows, in the ids that the server makes.
            port: 0 for any free one.
            faults: What goes wrong. Several sandboxes may share one.
            profile: What the server can do.
            clock: Where versions and the Date header get their time.
            keeps_bodies: Keep the bodies of requests in `requests`.
        """
        self.name = name
        self.profile = profile or Profile()
        self.faults = faults or Faults()
        self.requests: list[Seen] = []
        """What was asked, in the order of the answers."""
        self._clock = clock or Clock()
        self._keeps_bodies = keeps_bodies
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._listener = Listener(port, self._respond, self._date)
        self.base = f"http://127.0.0.1:{self._listener.port}{_PREFIX}"
        self._holdings = Holdings(self.base, self._clock)
        self._service = Service(
            base=self.base,
            name=_NOT_IN_AN_ID.sub("-", name.lower())[:40],
            holdings=self._holdings,
            profile=self.profile,
            clock=self._clock,
        )
        self._service.writer.refusal = self.faults.refusal

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Begin to answer."""
        self._listener.start()

    def stop(self) -> None:
        """Close every connection; what is held stays readable."""
        self._stopping.set()
        self._listener.stop()

    @property
    def resources(self) -> Holdings:
        """The current resources by reference, each parsed anew when it is read."""
        return self._holdings

    def versions(self, ref: str) -> int:
        """Return how many versions a resource has; 0 when it was never stored."""
        held = self._holdings.held(ref)
        return len(held.versions) if held else 0

    def load(self, resources: Iterable[Json]) -> None:
        """
        Store resources directly, whatever they refer to.

        Args:
            resources: Each with its resourceType and id.
        """
        with self._lock:
            for content in resources:
                self._holdings.put(f"{content['resourceType']}/{content['id']}", content)

    def remove(self, ref: str) -> None:
        """Delete a resource directly."""
        with self._lock:
            self._holdings.delete(ref)

    def _date(self) -> float:
        return self._clock.now().timestamp() + self.profile.clock_skew_seconds

    def _respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        parts = urlsplit(target)
        call = Call(
            number=self.faults.next_number(),
            server=self.name,
            method=method,
            path=unquote(parts.path).removeprefix(_PREFIX).strip("/"),
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers=headers,
            body=body,
            stopping=self._stopping,
        )
        try:
            reply = self._with_faults(call, below=parts.path.startswith(_PREFIX))
        except Dropped:
            self._note(call, parts.query, 0)
            raise
        self._note(call, parts.query, reply.status)
        return reply

    def _with_faults(self, call: Call, *, below: bool) -> Reply:
        failures = self.faults.due(call)
        for failure in failures:
            if early := failure.before(call):
                return early
        reply = self._answer(call, below=below)
        for failure in failures:
            reply = failure.after(call, reply)
        return reply

    def _answer(self, call: Call, *, below: bool) -> Reply:
        wanted = self.profile.authorization
        if not below:
            return reply_to(Problem(404, "not-found", "there is no FHIR server at this path"))
        if wanted is not None and call.headers.get("authorization") != wanted:
            return reply_to(Problem(401, "login", "this server needs a credential"))
        try:
            with self._lock:
                return routes.answer(self._service, call)
        except Problem as problem:
            return reply_to(problem)

    def _note(self, call: Call, query: str, status: int) -> None:
        body = call.body if self._keeps_bodies else None
        seen = Seen(call.method, call.path, query, status, len(call.body), call.headers, body)
        with self._lock:
            self.requests.append(seen)
