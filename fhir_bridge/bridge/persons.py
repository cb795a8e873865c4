"""What a person decides about a transfer; each decision is signed."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_bridge.audit import Act, Said
from fhir_bridge.bridge.opened import Opened
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Event
from fhir_bridge.records import RecordRef
from fhir_bridge.store import Ruling, TransferRow, may_decide


class Persons(Opened):
    """Takes the decisions of persons."""

    def decide(
        self, transfer: str, refs: Sequence[str], *, release: bool, by: str, reason: str
    ) -> None:
        """
        Sign a person's decision about held lines; `resume` acts on it.

        Raises:
            SettingsError: No such line, or it is not held.
            Refused: A Consent denies it; no person may release it.
        """
        transfer = self._carrying(transfer).id
        lines = {row.ref: row for row in self._store.manifest(transfer)}
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
        transfer = self._carrying(transfer).id
        known = {one.ref for one in self._store.gaps(transfer) if one.at == "destination"}
        if gap not in known:
            names = ", ".join(sorted(known)) or "none"
            raise SettingsError(
                f"{gap} is not a gap of delivery of this transfer; they are: {names}"
            )
        said = Said(by=by, reason=reason, refs=[gap])
        self.office.decided(transfer, Event.GAP_ACCEPTED, said)
        self._store.remember_rulings(transfer, [Ruling(ref=gap, word="accepted")])

    def cancel(self, transfer: str, *, by: str, reason: str) -> TransferRow:
        """
        Sign that a person wants a transfer to stop; from now on nothing more of it leaves.

        A request that is on its way ends. Whoever carries the transfer then signs
        what had gone, and ends it: until that, the row tells when it was cancelled.

        Raises:
            SettingsError: There is no such transfer, or it has ended.
        """
        row, type_ = self._carrying(transfer), Event.TRANSFER_CANCELLED
        said = Said(by=by, reason=reason)
        id_ = self.office.id_of(row, type_, said)
        entry = self.office.entry(row, type_, Act(said=said), id_=id_)
        self._store.cancel_transfer(row.id, entry, event_id=id_)
        return self._store.read_transfer(transfer)
