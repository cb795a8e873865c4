"""What every route works with, and who is let in to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Protocol

import msgspec
from fastapi import Depends, Request
from fastapi.params import Depends as DependsMarker

from fhir_bridge.bridge import Report
from fhir_bridge.clock import Clock
from fhir_bridge.doors.api.callers import Callers
from fhir_bridge.doors.api.metrics import Metrics
from fhir_bridge.doors.api.operations import Operation, query
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.doors.api.rates import Places, Rates
from fhir_bridge.doors.api.roles import Caller
from fhir_bridge.journey import Office
from fhir_bridge.ledger import Receipt
from fhir_bridge.settings import Settings
from fhir_bridge.store import Store, TransferRow
from fhir_bridge.transfer import Order
from fhir_bridge.witnessing import Witnessing


class Desk(Protocol):
    """The bridge, as far as the API hands over to it."""

    @property
    def store(self) -> Store:
        """What it remembers."""

    @property
    def settings(self) -> Settings:
        """What the operator has settled."""

    @property
    def office(self) -> Office:
        """The pen for who looks."""

    @property
    def witnessing(self) -> Witnessing:
        """The witnesses of its log, and itself as one."""

    def acting(self, actor: str, *, trace: str | None = None) -> Desk:
        """For another caller."""

    def transfer(self, order: Order, *, preview: bool = False, new: bool = False) -> Report:
        """Say what a transfer would carry."""

    def request(
        self, order: Order, *, tenant: str = "", new: bool = False, transfer: str | None = None
    ) -> TransferRow:
        """Write a request down, durably; asks no server."""

    def reopen(self, transfer: str) -> TransferRow:
        """Have a transfer taken up again."""

    def cancel(self, transfer: str, *, by: str, reason: str) -> TransferRow:
        """Have a transfer stopped before it sends anything more."""

    def decide(
        self, transfer: str, refs: Sequence[str], *, release: bool, by: str, reason: str
    ) -> None:
        """Sign a person's decision about held lines."""

    def receipt(self, transfer: str, act: str) -> Receipt:
        """Prove one act of a transfer, opened; signed."""

    def prove(self, idx: int, *, log: str | None = None) -> Receipt:
        """Prove one entry, not opened; signed."""

    def accept(self, transfer: str, gap: str, *, by: str, reason: str) -> None:
        """Sign that a gap is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything that was opened for the API."""

    desk: Desk
    knock: Callable[[], None]
    """Tells this process's worker that there is something to carry; others look by themselves."""
    callers: Callers
    rates: Rates
    metrics: Metrics
    clock: Clock
    ready: Callable[[], bool] = lambda: True
    """Whether whatever runs beside the API runs."""
    peers: tuple[IPv4Network | IPv6Network, ...] = ()
    """Who may connect besides this machine; empty: whoever can."""
    stopping: threading.Event = field(default_factory=threading.Event)
    previews: Places = field(default_factory=lambda: Places(in_all=4, each=2))
    streams: Places = field(default_factory=lambda: Places(in_all=200, each=50))

    def acting(self, caller: Caller, request: Request) -> Desk:
        """Return the bridge for one caller."""
        return self.desk.acting(caller.actor, trace=request.state.trace)


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A route without parameters."""


def opened(request: Request) -> Service:
    """Return what was opened."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


async def service(request: Request) -> Service:
    """Return what was opened, without a thread of its own."""
    return opened(request)


def admitted(operation: Operation) -> Callable[[Request], Caller]:
    """
    Return what lets a caller in to one route, or not.

    Who calls is asked before the body is read.
    """

    def admit(request: Request) -> Caller:
        serving = opened(request)
        caller = serving.callers.caller(request.headers.get("authorization", ""))
        request.state.caller = caller
        serving.rates.spend(caller.id)
        if not caller.is_any(*operation.roles):
            raise Answered(Problem.FORBIDDEN)
        query(request, operation.query or NoQuery)
        return caller

    return admit


def unasked(operation: Operation) -> Callable[[Request], None]:
    """Return what checks the query of a route that anyone may ask."""

    def check(request: Request) -> None:
        query(request, operation.query or NoQuery)

    return check


def anyone(operation: Operation) -> list[DependsMarker]:
    """Return the dependencies of a route that anyone may ask."""
    return [Depends(unasked(operation))]


Serving = Annotated[Service, Depends(service)]
"""What was opened, as a route's argument."""
