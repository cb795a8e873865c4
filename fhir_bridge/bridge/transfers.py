"""
Asking for a transfer, and carrying it.

A request is written down and talks to no server: whoever asks has an answer at
once, and whatever happens afterwards, the request is not lost. Which transfer
it is (the referral's key) is settled when it is carried, because only the first
provider knows the patient.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from fhir_bridge.audit import Act
from fhir_bridge.bridge.reports import Report, Reports
from fhir_bridge.bundles import check_reasons
from fhir_bridge.errors import Cancelled, SettingsError
from fhir_bridge.journey import Parties, carry, preview, settle
from fhir_bridge.journey.ordering import Settled, check_parties
from fhir_bridge.journey.signing import trace_of
from fhir_bridge.ledger import Event, event_id
from fhir_bridge.store import LineRow, TransferRow
from fhir_bridge.transfer import ENDED, Order, Requested, State, TransferId


class Transfers(Reports):
    """Carries transfers."""

    def request(
        self, order: Order, *, tenant: str = "", new: bool = False, transfer: str | None = None
    ) -> TransferRow:
        """
        Write a request down for the workers; no server is asked.

        Args:
            order: What is asked.
            tenant: The organisation that answers for the records, ``system|value``.
            new: A new transfer although the same referral was made before.
            transfer: Its id, a random UUID, when it was settled before. Asked
                twice under one id, it is one request.

        Raises:
            SettingsError: An alias or a reason is unknown, or it is a preview.
            RecipientUnknown: No organisation of the servers may send or receive it.
            StoreUnavailable: It was not written down.
        """
        check_reasons(order.reasons)
        order.check()
        if order.preview:
            raise SettingsError("a preview sends nothing, so no worker carries it")
        parties = self._parties(order)
        check_parties(order, parties)
        return self._store.request_transfer(
            state=State.REQUESTED,
            source=parties.source.name,
            destination=parties.destination.name,
            request=msgspec.json.encode(replace(order, new=new)),
            tenant=tenant,
            transfer=transfer,
            actor=self._actor,
            trace=self._trace,
        )

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
        order.check()
        order = replace(order, preview=preview)
        parties = self._parties(order)
        settled = settle(order, parties, new=new or preview)
        requested = self._requested(settled, parties)
        if preview:
            return self._previewed(requested, settled, parties)
        return self._carried(requested, settled, parties)

    def carry(self, transfer: str) -> Report:
        """
        Carry a transfer as far as it goes without a person; one that has ended is left alone.

        Raises:
            Cancelled: A person wants it to stop; nothing more was sent.
            SettingsError: There is no such transfer, or it was a preview.
            BridgeError: Grouped by who must act; nothing is lost.
        """
        with self.copying():
            return self._carry(transfer)

    def _carry(self, transfer: str) -> Report:
        row = self._carrying(transfer)
        if State(row.state) in ENDED:
            return self.show(transfer)
        order = self._order(row.id)
        if order.preview:
            raise SettingsError(
                "this was a preview, which sends nothing: run the transfer without --preview"
            )
        if row.cancelled is not None and not self._announced(row):
            self._stop(row)
        parties = self._parties(order)
        trace = parties.trace or trace_of(row.id, row.attempt)
        settled = settle(order, parties.traced(trace), new=order.new)
        if not row.settled:
            row = self._store.settle_transfer(row.id, settled.key)
            if State(row.state) in ENDED:
                return self.show(transfer)
        settled = replace(settled, key=row.key)
        report = self._carried(settled.requested(TransferId(row.id), row.attempt), settled, parties)
        return replace(report, transfer=TransferId(transfer))

    def reopen(self, transfer: str, *, for_workers: bool = True) -> TransferRow:
        """
        Begin a new attempt of a transfer that ended or was parked; one under way goes on now.

        Args:
            transfer: Its id.
            for_workers: A worker is to carry it, and not the caller.

        Raises:
            SettingsError: There is no such transfer.
        """
        return self._store.reopen_transfer(self._carrying(transfer).id, for_workers=for_workers)

    def resume(self, transfer: str) -> Report:
        """
        Go on with a transfer where it stopped.

        Raises:
            SettingsError: There is no such transfer, or it was a preview.
        """
        if not self._order(self._carrying(transfer).id).preview:
            self.reopen(transfer, for_workers=False)
        return self.carry(transfer)

    def _announced(self, row: TransferRow) -> bool:
        """Tell whether something may have left in this attempt."""
        return any(
            entry.type is Event.DISCLOSURE_INTENT and entry.attempt == row.attempt
            for entry in self._store.entries(row.id)
        )

    def _stop(self, row: TransferRow) -> None:
        """
        End a cancelled transfer of which nothing has left.

        Raises:
            Cancelled: Always.
        """
        id_ = event_id(row.id, str(Event.TRANSFER_CLOSED), row.attempt, State.CANCELLED)
        act = Act(details={"state": State.CANCELLED})
        entry = self.office.entry(row, Event.TRANSFER_CLOSED, act, id_=id_)
        self._store.append(replace(entry, outcome="4"), event_id=id_)
        self._store.set_state(row.id, State.CANCELLED)
        raise Cancelled("the transfer was cancelled: nothing was sent")

    def _carried(self, requested: Requested, settled: Settled, parties: Parties) -> Report:
        ended = carry(requested, parties, settled.patient)
        self._witnessing.asked.ask()
        authored = ended.authored if ended is not None else ()
        return replace(self.show(requested.id), authored=authored)

    def _previewed(self, requested: Requested, settled: Settled, parties: Parties) -> Report:
        released = preview(requested, parties, settled.patient)
        row = self._store.read_transfer(requested.id)
        key = self._store.transfer_key(requested.id)
        lines = [LineRow.of(line, key) for line in released.manifest.lines]
        return self._report(row, lines=lines, gaps=released.gaps)

    def _requested(self, settled: Settled, parties: Parties) -> Requested:
        row = self._store.create_transfer(
            key=settled.key,
            state=State.REQUESTED,
            source=parties.source.name,
            destination=parties.destination.name,
            request=msgspec.json.encode(settled.order),
            tenant=settled.custodian.identifier,
        )
        # What had ended and is asked for again is a new attempt of it.
        if State(row.state) in ENDED:
            row = self._store.reopen_transfer(row.id, for_workers=False)
        return settled.requested(TransferId(row.id), row.attempt)
