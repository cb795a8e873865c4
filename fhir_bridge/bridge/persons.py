"""What a person decides about a transfer; each decision is signed."""

from __future__ import annotations

from collections.abc import Sequence

from fhir_bridge.audit import Act, Said
from fhir_bridge.bridge.opened import Opened
from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Event
from fhir_bridge.store import Ruling, TransferRow, gap_key, may_be_accepted, ruling_on
from fhir_bridge.transfer import check_words


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
        check_words({"--by": by, "--reason": reason})
        transfer = self._carrying(transfer).id
        lines = {row.ref: row for row in self._store.manifest(transfer)}
        gaps = self._store.gaps(transfer)
        rulings = [ruling_on(ref, lines, gaps, release=release) for ref in refs]
        type_ = Event.RECORD_RELEASED if release else Event.RECORD_WITHHELD
        self.office.decided(transfer, type_, Said(by=by, reason=reason, refs=refs))
        self._store.remember_rulings(transfer, rulings)

    def accept(self, transfer: str, gap: str, *, by: str, reason: str) -> None:
        """
        Sign that a gap is accepted: of delivery, so that the doctor may be told, or gone.

        Raises:
            SettingsError: There is no such transfer, or it has no such gap.
        """
        check_words({"--by": by, "--reason": reason})
        transfer = self._carrying(transfer).id
        known = [one for one in self._store.gaps(transfer) if may_be_accepted(one)]
        meant = [one for one in known if one.ref == gap]
        if not meant:
            names = ", ".join(sorted({one.ref for one in known})) or "none"
            raise SettingsError(
                f"{gap} is not a gap of delivery of this transfer; they are: {names}"
            )
        said = Said(by=by, reason=reason, refs=[gap])
        self.office.decided(transfer, Event.GAP_ACCEPTED, said)
        self._store.remember_rulings(
            transfer, [Ruling(ref=gap_key(one), word="accepted") for one in meant]
        )

    def cancel(self, transfer: str, *, by: str, reason: str) -> TransferRow:
        """
        Sign that a person wants a transfer to stop; from now on nothing more of it leaves.

        A request that is on its way ends. Whoever carries the transfer then signs
        what had gone, and ends it: until that, the row tells when it was cancelled.

        Raises:
            SettingsError: There is no such transfer, or it has ended.
        """
        check_words({"--by": by, "--reason": reason})
        row, type_ = self._carrying(transfer), Event.TRANSFER_CANCELLED
        said = Said(by=by, reason=reason)
        id_ = self.office.id_of(row, type_, said)
        entry = self.office.entry(row, type_, Act(said=said), id_=id_)
        self._store.cancel_transfer(row.id, entry, event_id=id_)
        return self._store.read_transfer(transfer)
