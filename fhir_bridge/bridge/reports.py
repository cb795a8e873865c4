"""How a transfer stands, from the store alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fhir_bridge.bridge.opened import Opened
from fhir_bridge.errors import SettingsError
from fhir_bridge.journey.remaining import NOTICE, still_there
from fhir_bridge.manifest import Gap
from fhir_bridge.providers import identity
from fhir_bridge.records import RecordRef
from fhir_bridge.store import LineRow, TransferRow, is_accepted
from fhir_bridge.transfer import Order, State, TransferId

_IMAGES = "images"


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
    notes: tuple[Gap, ...]
    """What stops nothing and somebody should know: wider Consents, what is still there."""
    authored: tuple[RecordRef, ...]
    log: str
    entries: int
    """Entries of the log about this transfer."""
    checkpoint: str
    """The newest checkpoint as a signed note, its signature verified."""


class Reports(Opened):
    """Says how transfers stand."""

    def show(self, transfer: str) -> Report:
        """
        Say how a transfer stands, from the store alone.

        Raises:
            SettingsError: There is no such transfer.
        """
        row = self._store.read_transfer(transfer)
        carried = row.joined or row.id
        gaps = self._store.gaps(carried)
        rulings = self._store.rulings(carried)
        return self._report(
            row,
            lines=self._store.manifest(carried),
            gaps=[replace(gap, accepted=is_accepted(gap, rulings)) for gap in gaps],
        )

    def _report(self, row: TransferRow, *, lines: Sequence[LineRow], gaps: Iterable[Gap]) -> Report:
        gaps = tuple(gaps)
        order = self._order(row.joined or row.id)
        remaining = self._remaining(row, order, lines)
        return Report(
            transfer=TransferId(row.id),
            state=State(row.state),
            preview=order.preview,
            custodian=self._organisation(order.source, order.custodian),
            recipient=self._organisation(order.destination, order.recipient),
            lines=tuple(lines),
            gaps=tuple(gap for gap in gaps if gap.at not in {_IMAGES, NOTICE}),
            images=tuple(gap for gap in gaps if gap.at == _IMAGES),
            notes=(*(gap for gap in gaps if gap.at == NOTICE), *remaining),
            authored=(),
            log=self._store.log,
            entries=sum(1 for _ in self._store.entries(row.joined or row.id)),
            checkpoint=self._store.note(),
        )

    def _remaining(
        self, row: TransferRow, order: Order, lines: Sequence[LineRow]
    ) -> tuple[Gap, ...]:
        """Name what is still at the destination; copies are found by both servers' names."""
        try:
            source = identity(self._servers.server(order.source))
            destination = identity(self._servers.server(order.destination))
        except SettingsError:
            return ()  # one of them is no longer named; what was sent is to be shown all the same
        return tuple(
            still_there(
                self._store, row.joined or row.id, lines, source=source, destination=destination
            )
        )

    def _organisation(self, server: str, identifier: str | None) -> str:
        """Name an organisation as the operator does; by its identifier or server otherwise."""
        try:
            known = self._servers.server(server).organisations
        except SettingsError:
            known = ()  # the server is no longer named
        for one in known:
            if identifier in {None, one.identifier} and one.name:
                return one.name
        return identifier or server
