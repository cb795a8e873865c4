"""
What can go wrong with a server, to be switched on in tests and demonstrations.

    faults = Faults()
    faults.at(3, DropAfter())                          # the third call: done, but no answer
    faults.at(lambda call: call.method == "POST", Status(503, retry_after="1"))
    with Sandbox(name="second", faults=faults) as server: ...

The same `Faults` may serve several sandboxes: calls are then counted over all
of them, so that a table can walk every call of a journey x {failed, failed but done}.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from fhir_bridge import lossless
from fhir_bridge.records import Json
from fhir_bridge.sandbox.outcomes import Problem, Reply, outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request as a sandbox received it."""

    number: int
    """Counted from 1 over all sandboxes that share the faults."""
    server: str
    """Name of the sandbox."""
    method: str
    path: str
    """Below the base, without a leading slash: ``Patient/1``, or empty."""
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""
    stopping: threading.Event
    """Set when the sandbox is being stopped."""

    @property
    def brings_records(self) -> bool:
        """Say whether the request may change what the server holds."""
        return self.method in {"PUT", "DELETE"} or (
            self.method == "POST" and not self.path.endswith(("_search", "$everything"))
        )


class Dropped(Exception):
    """The connection is closed without an answer."""


class Failure:
    """Something that goes wrong with one call; by itself, nothing does."""

    def before(self, call: Call) -> Reply | None:
        """Act before the call has any effect; an answer given here is final."""
        del call
        return None

    def after(self, call: Call, reply: Reply) -> Reply:
        """Change the answer after the call had its effect."""
        del call
        return reply


When = int | Callable[[Call], bool]


@dataclass(slots=True)
class _Planned:
    when: When
    failure: Failure
    left: float

    def due(self, call: Call) -> bool:
        if self.left <= 0:
            return False
        return self.when == call.number if isinstance(self.when, int) else self.when(call)


class Faults:
    """Which calls fail, and how."""

    def __init__(self) -> None:
        """Start with nothing wrong."""
        self.calls = 0
        """How many calls there were."""
        self.fired = 0
        """How many calls had a failure."""
        self._planned: list[_Planned] = []
        self._refused: dict[str, Problem] = {}
        self._lock = threading.Lock()

    def at(self, when: When, failure: Failure, *, times: int | None = 1) -> None:
        """
        Plan a failure.

        Args:
            when: The number of a call, or what a call must be like.
            failure: What goes wrong.
            times: How often; None means always.
        """
        left = float("inf") if times is None else times
        with self._lock:
            self._planned.append(_Planned(when, failure, left))

    def refuse(self, what: str, *, status: int = 422, code: str = "business-rule") -> None:
        """
        Refuse to store a resource or a type, by itself or inside a transaction.

        Args:
            what: ``Observation/lab-1``, or ``Observation`` for all of them.
            status: HTTP status of the answer.
            code: Code from http://hl7.org/fhir/issue-type.
        """
        self._refused[what] = Problem(status, code, "this server does not take the resource")

    def clear(self) -> None:
        """Mend everything; the count goes on."""
        with self._lock:
            self._planned.clear()
            self._refused.clear()

    def refusal(self, ref: str) -> Problem | None:
        """Return why a resource may not be stored."""
        return self._refused.get(ref) or self._refused.get(ref.partition("/")[0])

    def next_number(self) -> int:
        """Count a call."""
        with self._lock:
            self.calls += 1
            return self.calls

    def due(self, call: Call) -> list[Failure]:
        """Return what goes wrong with a call, and count it as happened."""
        with self._lock:
            due = [planned for planned in self._planned if planned.due(call)]
            for planned in due:
                planned.left -= 1
            self.fired += bool(due)
        return [planned.failure for planned in due]


@dataclass(frozen=True, slots=True)
class Status(Failure):
    """An HTTP error, before anything is done."""

    status: int
    retry_after: str | None = None
    """Seconds or an HTTP date."""
    code: str = "transient"

    def before(self, call: Call) -> Reply:
        """Answer with the error."""
        del call
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        said = outcome(self.code, f"planned failure {self.status}")
        return Reply(status=self.status, body=lossless.encode(said), headers=headers)


@dataclass(frozen=True, slots=True)
class StatusAfter(Status):
    """An HTTP error though the work was done, as a gateway answers when it lost patience."""

    def before(self, call: Call) -> None:  # type: ignore[override]
        """Let the call do its work."""
        del call

    def after(self, call: Call, reply: Reply) -> Reply:
        """Answer with the error all the same."""
        del reply
        return Status.before(self, call)


class DropBefore(Failure):
    """The connection breaks before the server did anything."""

    def before(self, call: Call) -> Reply | None:
        """Break the connection."""
        del call
        raise Dropped


class DropAfter(Failure):
    """The server did its work, and the answer is lost."""

    def after(self, call: Call, reply: Reply) -> Reply:
        """Break the connection."""
        del call, reply
        raise Dropped


@dataclass(frozen=True, slots=True)
class Slow(Failure):
    """The server takes its time before it starts."""

    seconds: float

    def before(self, call: Call) -> Reply | None:
        """Wait, but not longer than the sandbox lives."""
        call.stopping.wait(self.seconds)
        return None


@dataclass(frozen=True, slots=True)
class SlowAfter(Failure):
    """The server is done, and the answer takes its time."""

    seconds: float

    def after(self, call: Call, reply: Reply) -> Reply:
        """Wait, but not longer than the sandbox lives."""
        call.stopping.wait(self.seconds)
        return reply


@dataclass(frozen=True, slots=True)
class Watch(Failure):
    """Nothing fails: a test looks, or changes something, just before the call has its effect."""

    look: Callable[[Call], object]

    def before(self, call: Call) -> Reply | None:
        """Let the test look."""
        self.look(call)
        return None


@dataclass(frozen=True, slots=True)
class Says(Failure):
    """A fixed answer instead of the right one."""

    reply: Reply

    def before(self, call: Call) -> Reply:
        """Give the fixed answer."""
        del call
        return self.reply


@dataclass(frozen=True, slots=True)
class ChangedBundle(Failure):
    """An answer that is a Bundle is changed on its way out."""

    change: Callable[[Json, Call], None]

    def after(self, call: Call, reply: Reply) -> Reply:
        """Change the Bundle; other answers stay as they are."""
        if b'"resourceType":"Bundle"' not in reply.body[:64]:
            return reply
        content = lossless.decode_own(reply.body)
        self.change(content, call)
        return replace(reply, body=lossless.encode(content))
