"""Everything opened from the settings, for as long as one command or one worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from types import TracebackType
from typing import Self

import msgspec

from fhir_bridge.accounts import Accounts
from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError, StoreUnavailable, Tampered
from fhir_bridge.fhir_server import FhirServer
from fhir_bridge.gates import Gates
from fhir_bridge.journey import ConsentRules, Office, Parties, Progress
from fhir_bridge.kinds import KindBook
from fhir_bridge.providers import Providers, Servers
from fhir_bridge.references import ClosurePolicy
from fhir_bridge.repository import LIMITS, Repository
from fhir_bridge.sensitivity import SensitivityBook
from fhir_bridge.settings import Settings, environment
from fhir_bridge.store import Store, TransferRow
from fhir_bridge.transfer import Order
from fhir_bridge.wire import Side
from fhir_bridge.witnessing import Witnessing


class Opened:
    """Settings, store and servers, and in whose name they are used."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        actor: str,
        tell: Callable[[Progress], None],
        clock: Clock,
    ) -> None:
        """Use `Bridge.open`."""
        self._settings = settings
        self._store = store
        self._actor = actor
        self._tell = tell
        self._clock = clock
        self._servers = Servers(settings, store)
        gates = Gates(store, clock, folder=settings.store, database=settings.database)
        self._providers = Providers(self._servers, clock, store.statements, gates)
        self._witnessing = Witnessing(settings.witnessing, store, clock)
        self._trace: str | None = None
        self._lease_seconds = 900.0

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        actor: str,
        tell: Callable[[Progress], None],
        clock: Clock | None = None,
    ) -> Self:
        """
        Open the store; servers are opened when they are first named.

        Raises:
            SettingsError: The store's keys are missing or readable by others.
            StoreUnavailable: The store cannot be written.
        """
        clock = clock or Clock()
        store = Store.settled(settings, environ=environment(), clock=clock)
        return cls(settings, store, actor=actor, tell=tell, clock=clock)

    @property
    def store(self) -> Store:
        """Return what the bridge remembers."""
        return self._store

    @property
    def settings(self) -> Settings:
        """Return what the operator has settled."""
        return self._settings

    @property
    def clock(self) -> Clock:
        """Return what the bridge knows of time."""
        return self._clock

    @property
    def office(self) -> Office:
        """Return the pen for what is done with transfers outside their journey."""
        return Office(self._store, self._clock, actor=self._actor, trace=self._trace)

    @property
    def accounts(self) -> Accounts:
        """Return what left about a patient, from the log."""
        return Accounts(self._settings, self._store, self._servers, self._providers)

    @property
    def repository(self) -> Repository:
        """Return the audit repository that gets a copy of each AuditEvent, if there is one."""
        name = self._settings.audit_repository

        def server() -> FhirServer:
            return self._providers.provider(name, Side.DESTINATION, LIMITS).server

        return Repository(name, self._store, self._clock, server)

    @contextmanager
    def copying(self) -> Iterator[None]:
        """
        Send the audit repository its copies when what is done inside has ended.

        A refusal is an act too. Where the store failed, nothing can be read.
        """
        try:
            yield
        except (StoreUnavailable, Tampered):
            raise
        except BridgeError:
            self.repository.send()
            raise
        self.repository.send()

    def __enter__(self) -> Self:
        """Return the bridge itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close servers and store."""
        self._providers.close()
        self._witnessing.close()
        self._store.close()

    def acting(self, actor: str, *, trace: str | None = None) -> Self:
        """
        Return this bridge for another caller: the same store, the same connections.

        Args:
            actor: Who asks, as the log names actors.
            trace: The caller's trace, 32 hexadecimal digits, for the log.
        """
        other = copy(self)
        other._actor, other._trace = actor, trace  # noqa: SLF001 - it is one of us
        return other

    def _carrying(self, transfer: str) -> TransferRow:
        """Return the transfer that a request turned out to be; most are their own."""
        row = self._store.read_transfer(transfer)
        return row if row.joined is None else self._store.read_transfer(row.joined)

    def _order(self, transfer: str) -> Order:
        return msgspec.json.decode(self._store.request(transfer), type=Order)

    def _parties(self, order: Order) -> Parties:
        return Parties(
            source=self._providers.provider(order.source, Side.SOURCE),
            destination=self._providers.provider(order.destination, Side.DESTINATION),
            store=self._store,
            clock=self._clock,
            sensitivity=SensitivityBook.load(
                self._settings.sensitivity_answers, programs=self._settings.part2_programs
            ),
            kinds=KindBook.load(),
            closure=ClosurePolicy.load(),
            consent_rules=ConsentRules(
                accepted_policies=self._settings.accepted_policies,
                waive_paper=self._settings.waive_paper,
            ),
            actor=self._actor,
            tell=self._tell,
            before_leaving=self._witnessing.before_leaving,
            lease_seconds=self._lease_seconds,
            trace=self._trace,
        )
