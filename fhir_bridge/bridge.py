"""
The only wiring: opens everything from the settings, and closes it.

Doors hand over here and get back plain facts. No rule of the field is decided
in this room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import msgspec

from fhir_bridge import lossless
from fhir_bridge.audit import Said
from fhir_bridge.bundles import check_reasons
from fhir_bridge.clock import Clock
from fhir_bridge.errors import SettingsError
from fhir_bridge.fhir_server import Capabilities, Write
from fhir_bridge.journey import (
    ConsentRules,
    Office,
    Parties,
    Progress,
    carry,
    preview,
    settle,
)
from fhir_bridge.journey.ordering import Settled
from fhir_bridge.kinds import KindBook
from fhir_bridge.ledger import Event
from fhir_bridge.manifest import Gap
from fhir_bridge.providers import Providers, Servers
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.references import ClosurePolicy
from fhir_bridge.sensitivity import SensitivityBook
from fhir_bridge.settings import Settings
from fhir_bridge.store import LineRow, Ruling, Store, TransferRow, may_decide
from fhir_bridge.store import Verified as VerifiedLog
from fhir_bridge.transfer import ENDED, Order, Requested, State, TransferId
from fhir_bridge.wire import Side
from fhir_bridge.witnessing import Witnessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a transfer stands, for whoever asked."""

    transfer: TransferId
    state: State
    preview: bool
    custodian: str
    recipient: str
    lines: tuple[LineRow, ...]
    gaps: tuple[Gap, ...]
    images: tuple[Gap, ...]
    authored: tuple[RecordRef, ...]
    log: str
    entries: int
    """Entries of the log about this transfer."""
    checkpoint: str
    """The text of the newest checkpoint, whose signature was verified; without the signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a server is."""

    base: str
    loopback: bool
    capabilities: Capabilities
    answered_ms: float


class Bridge:
    """Everything opened, for as long as one command or one worker runs."""

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
        self._providers = Providers(self._servers, clock)
        self._witnessing = Witnessing(settings.witnessing, store, clock)
        self._trace: str | None = None

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
        store = Store.open(
            settings.store,
            clock=clock,
            log_origin=settings.log_origin,
            database=settings.database,
        )
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
    def office(self) -> Office:
        """Return the pen for what is done with transfers outside their journey."""
        return Office(self._store, self._clock, actor=self._actor, trace=self._trace)

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

    def transfer(self, order: Order, *, preview: bool = False, new: bool = False) -> Report:
        """
        Carry a transfer, or say what it would carry.

        Args:
            order: What is asked.
            preview: Send nothing.
            new: A new transfer although the same referral was made before.

        Raises:
            BridgeError: Grouped by who must act; nothing is lost.
        """
        check_reasons(order.reasons)
        order = replace(order, preview=preview)
        parties = self._parties(order)
        settled = settle(order, parties, new=new or preview)
        requested = self._requested(settled, parties)
        if preview:
            return self._previewed(requested, settled, parties)
        return self._carried(requested, settled, parties)

    def resume(self, transfer: str) -> Report:
        """
        Go on with a transfer where it stopped.

        Raises:
            SettingsError: There is no such transfer, or it was a preview.
        """
        row = self._store.read_transfer(transfer)
        order = self._order(transfer)
        if order.preview:
            raise SettingsError(
                "this was a preview, which sends nothing: run the transfer without --preview"
            )
        parties = self._parties(order)
        settled = replace(settle(order, parties), key=row.key)
        return self._carried(self._attempt(settled, row), settled, parties)

    def show(self, transfer: str) -> Report:
        """
        Say how a transfer stands, from the store alone.

        Raises:
            SettingsError: There is no such transfer.
        """
        row = self._store.read_transfer(transfer)
        gaps = self._store.gaps(transfer)
        rulings = self._store.rulings(transfer)
        return self._report(
            row,
            lines=self._store.manifest(transfer),
            gaps=[
                replace(gap, accepted=gap.ref in rulings and rulings[gap.ref].word == "accepted")
                for gap in gaps
            ],
        )

    def decide(
        self, transfer: str, refs: Sequence[str], *, release: bool, by: str, reason: str
    ) -> None:
        """
        Sign a person's decision about held lines; `resume` acts on it.

        Raises:
            SettingsError: No such line, or it is not held.
            Refused: A Consent denies it; no person may release it.
        """
        lines = {row.ref: row for row in self._store.manifest(transfer)}
        self._store.read_transfer(transfer)
        for ref in refs:
            may_decide(ref, lines.get(RecordRef(ref)), release=release)
        type_ = Event.RECORD_RELEASED if release else Event.RECORD_WITHHELD
        self.office.decided(transfer, type_, Said(by=by, reason=reason, refs=refs))
        word = "released" if release else "withheld"
        self._store.remember_rulings(
            transfer,
            [Ruling(ref=ref, word=word, mac=lines[RecordRef(ref)].mac) for ref in refs],
        )

    def accept(self, transfer: str, gap: str, *, by: str, reason: str) -> None:
        """
        Sign that a gap of delivery is accepted, so that the doctor may be told.

        Raises:
            SettingsError: There is no such transfer, or it has no such gap.
        """
        self._store.read_transfer(transfer)
        known = {one.ref for one in self._store.gaps(transfer) if one.at == "destination"}
        if gap not in known:
            names = ", ".join(sorted(known)) or "none"
            raise SettingsError(
                f"{gap} is not a gap of delivery of this transfer; they are: {names}"
            )
        said = Said(by=by, reason=reason, refs=[gap])
        self.office.decided(transfer, Event.GAP_ACCEPTED, said)
        self._store.remember_rulings(transfer, [Ruling(ref=gap, word="accepted")])

    def verify_log(self) -> VerifiedLog:
        """
        Recompute the whole log from its rows.

        Raises:
            AlteredLog: It is not what was signed; the message names the first fault.
        """
        return self._store.verify()

    @property
    def witnessing(self) -> Witnessing:
        """Return the witnesses of our log, and this bridge as a witness for its peers."""
        return self._witnessing

    def check(self, name: str) -> Checked:
        """Ask a server what it is."""
        provider = self._providers.provider(name, Side.DESTINATION)
        start = time.monotonic()
        capabilities = provider.server.capabilities()
        return Checked(
            base=provider.server.base,
            loopback=provider.loopback,
            capabilities=capabilities,
            answered_ms=(time.monotonic() - start) * 1000,
        )

    def seed(self, name: str, resources: Iterable[Json]) -> int:
        """
        Load invented records into a server; what is there already is left as it is.

        Raises:
            DestinationRefused: The server does not take one of them.
        """
        provider = self._providers.provider(name, Side.DESTINATION)
        writes = [
            Write(
                ref=RecordRef(f"{one['resourceType']}/{one['id']}"),
                body=lossless.encode(one),
                group=0,
            )
            for one in resources
        ]
        for stored in provider.server.store(writes, before_send=lambda _: None):
            if stored.error is not None:
                raise stored.error
        return len(writes)

    def _carried(self, requested: Requested, settled: Settled, parties: Parties) -> Report:
        ended = carry(requested, parties, settled.patient)
        self._witnessing.asked.ask()
        return replace(self.show(requested.id), authored=ended.authored)

    def _previewed(self, requested: Requested, settled: Settled, parties: Parties) -> Report:
        released = preview(requested, parties, settled.patient)
        row = self._store.read_transfer(requested.id)
        key = self._store.transfer_key(requested.id)
        lines = [LineRow.of(line, key) for line in released.manifest.lines]
        return self._report(row, lines=lines, gaps=released.gaps)

    def _report(self, row: TransferRow, *, lines: Sequence[LineRow], gaps: Iterable[Gap]) -> Report:
        gaps = tuple(gaps)
        order = self._order(row.id)
        checkpoint = self._store.checkpoint()
        return Report(
            transfer=TransferId(row.id),
            state=State(row.state),
            preview=order.preview,
            custodian=self._organisation(order.source, order.custodian),
            recipient=self._organisation(order.destination, order.recipient),
            lines=tuple(lines),
            gaps=tuple(gap for gap in gaps if gap.at != "images"),
            images=tuple(gap for gap in gaps if gap.at == "images"),
            authored=(),
            log=self._store.log,
            entries=sum(1 for _ in self._store.entries(row.id)),
            checkpoint=str(checkpoint),
        )

    def _organisation(self, server: str, identifier: str | None) -> str:
        """Name an organisation as the operator does; by its identifier or server otherwise."""
        known = self._servers.server(server).organisations
        for one in known:
            if identifier in {None, one.identifier} and one.name:
                return one.name
        return identifier or server

    def _requested(self, settled: Settled, parties: Parties) -> Requested:
        row = self._store.create_transfer(
            key=settled.key,
            state=State.REQUESTED,
            source=parties.source.name,
            destination=parties.destination.name,
            request=msgspec.json.encode(settled.order),
            tenant=settled.custodian.identifier,
        )
        return self._attempt(settled, row)

    def _attempt(self, settled: Settled, row: TransferRow) -> Requested:
        """A transfer that had ended and is asked for again is a new attempt of it."""
        attempt = row.attempt
        if State(row.state) in ENDED:
            attempt += 1
            self._store.set_state(row.id, State.REQUESTED, attempt=attempt)
        return settled.requested(TransferId(row.id), attempt)

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
            trace=self._trace,
        )
