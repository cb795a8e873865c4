"""
Sign what is done with a transfer outside its journey: decide, look, hand out, erase.

These acts need no server: who takes part is read from the transfer's own first
entry. Looking is an act too; what cannot be signed is not shown.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from fhir_bridge.audit import Act, Opened, Said, Scene, opened, write
from fhir_bridge.clock import Clock
from fhir_bridge.errors import Refused
from fhir_bridge.ledger import Entry, Event, NewEntry, event_id, timestamp
from fhir_bridge.store import Store, TransferRow
from fhir_bridge.transfer import ENDED, State


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the log remembers of a transfer, for its later acts."""

    scene: Scene
    subject: str | None
    purpose: str | None
    custodian: str | None
    recipient: str | None


class Office:
    """The records department's pen."""

    def __init__(self, store: Store, clock: Clock, *, actor: str, trace: str | None = None) -> None:
        """
        Take up the pen.

        Args:
            store: Holds the log.
            clock: Tells the time.
            actor: Who acts, as the log names actors.
            trace: The caller's trace, 32 hexadecimal digits.
        """
        self._store = store
        self._clock = clock
        self._actor = actor
        self._trace = trace

    def decided(self, transfer: str, type_: Event, said: Said) -> int:
        """
        Sign a person's decision.

        Args:
            transfer: Its id.
            type_: What was decided.
            said: By whom, why, about which lines or gaps.

        Returns:
            The entry's index. The same said again, while nothing was decided
            otherwise in between, is one act.
        """
        row = self._store.read_transfer(transfer)
        id_ = self.id_of(row, type_, said)
        return self._store.append(
            self.entry(row, type_, Act(said=said), id_=id_), event_id=id_
        ).first

    def id_of(self, row: TransferRow, type_: Event, said: Said) -> str:
        """Return what makes a decision the same one: its words, and what it found decided."""
        rulings = self._store.rulings(row.id)
        before = [rulings[ref].word if ref in rulings else "" for ref in said.refs]
        words = msgspec.json.encode([said.by, said.reason, list(said.refs), before])
        return event_id(row.id, str(type_), row.attempt, hashlib.sha256(words).hexdigest())

    def entry(self, row: TransferRow, type_: Event, act: Act, *, id_: str) -> NewEntry:
        """
        Write an act about a transfer, for the store to append.

        Args:
            row: The transfer.
            type_: What happened.
            act: What its AuditEvent says of it.
            id_: The act's event id.
        """
        known = self._known(row.id)
        return NewEntry(
            type=type_,
            actor=self._actor,
            transfer=row.id,
            attempt=row.attempt,
            source=row.source,
            destination=row.destination,
            purpose=known.purpose,
            custodian=known.custodian,
            recipient=known.recipient,
            subject=known.subject,
            trace=self._trace,
            audit_event=self._body(known.scene, type_, act, id_),
        )

    def viewed(self, transfers: Sequence[str], *, command: str) -> None:
        """
        Sign that what the bridge holds about transfers is shown.

        Args:
            transfers: Their ids; each gets an entry of its own, so that it is
                erased with it. None: one entry that names no patient.
            command: What shows it, e.g. ``show``.

        Raises:
            StoreUnavailable: Not signed; nothing may be shown.
        """
        act = Act(details={"command": command})
        for transfer in transfers:
            self._sign(transfer, Event.ACCESS_VIEWED, act)
        if not transfers:
            self._sign(None, Event.ACCESS_VIEWED, act)

    def exported(
        self, *, log: str, first: int, end: int, bodies: bool, transfer: str | None = None
    ) -> int:
        """
        Sign that a part of a log is handed out.

        Args:
            log: Its name.
            first: Index of the first entry.
            end: Index after the last.
            bodies: What the entries commit to is handed out too.
            transfer: Of these entries, only those of this transfer.

        Returns:
            The entry's index.
        """
        details: dict[str, str | int] = {"log": log, "first": first, "end": end}
        details["bodies"] = "true" if bodies else "false"
        return self._sign(transfer, Event.EXPORT_MADE, Act(details=details))

    def issued(self, transfer: str | None, *, log: str, entry: int) -> int:
        """
        Sign that the proof of an entry is handed out.

        Args:
            transfer: What the entry is about; None when it is about none.
            log: The log's name.
            entry: Its index there.

        Returns:
            The new entry's index.
        """
        return self._sign(transfer, Event.RECEIPT_ISSUED, Act(details={"log": log, "entry": entry}))

    def erase(self, transfer: str, said: Said) -> None:
        """
        Erase what a transfer can be read by, and sign who did it and why.

        Args:
            transfer: Its id.
            said: By whom, and why. It stays.

        Raises:
            Refused: The transfer has not ended; what runs would write it again.
        """
        row = self._store.read_transfer(transfer)
        if row.joined is not None:
            raise Refused(f"this request turned out to be transfer {row.joined}: erase that one")
        if State(row.state) not in ENDED:
            raise Refused(
                f"the transfer has not ended, it is {row.state}: resume it first, then erase it"
            )
        id_ = event_id(transfer, "erase", row.attempt, uuid.uuid4().hex)
        # Without the patient: this body is there to stay.
        scene = Scene(host=self._host(), actor=self._actor, transfer=transfer, trace=self._trace)
        body = self._body(scene, Event.ERASURE_DONE, Act(said=said), id_)
        self._store.erase(transfer, actor=self._actor, audit_event=body, trace=self._trace, act=id_)

    def key_changed(self) -> bytes:
        """Write that the log's key is changed, for the store to sign under both keys."""
        scene = Scene(host=self._host(), actor=self._actor, trace=self._trace)
        return self._body(scene, Event.KEY_ROTATED, Act(), str(uuid.uuid4()))

    def _sign(self, transfer: str | None, type_: Event, act: Act) -> int:
        """Sign an act that is another one each time it is done."""
        once = uuid.uuid4()
        if transfer is not None:
            row = self._store.read_transfer(transfer)
            if row.joined is not None:  # its entries are those of the transfer that it joined
                row = self._store.read_transfer(row.joined)
            id_ = event_id(row.id, str(type_), row.attempt, once.hex)
            new = self.entry(row, type_, act, id_=id_)
        else:
            id_ = str(uuid.uuid5(once, str(type_)))
            scene = Scene(host=self._host(), actor=self._actor, trace=self._trace)
            new = NewEntry(
                type=type_,
                actor=self._actor,
                trace=self._trace,
                audit_event=self._body(scene, type_, act, id_),
            )
        return self._store.append(new, event_id=id_).first

    def _body(self, scene: Scene, type_: Event, act: Act, id_: str) -> bytes:
        return write(scene, act, event=type_, id_=id_, recorded=timestamp(self._clock.now()))

    def _host(self) -> str:
        return self._store.log.partition("/")[0]

    def _opened(self, entry: Entry) -> Opened | None:
        """Read an entry's body; None when it was erased, or is of the first form."""
        if entry.body is None or entry.body.type != "AuditEvent":
            return None
        body = self._store.body(entry.idx, entry.log)
        return None if body is None else opened(body)

    def _known(self, transfer: str) -> _Known:
        """Read who takes part from the entry that the transfer began with."""
        entries = self._store.entries(transfer)
        first = next((one for one in entries if one.type is Event.TRANSFER_REQUESTED), None)
        body = None if first is None else self._opened(first)
        scene = Scene(
            host=self._host(),
            actor=self._actor,
            transfer=transfer,
            trace=self._trace,
            purpose=(first.purpose if first else None) or "",
            custodian=(first.custodian if first else None) or "",
            recipient=(first.recipient if first else None) or "",
            patient=None if body is None else body.patient,
            test_data=body is not None and body.test_data,
        )
        return _Known(
            scene=scene,
            subject=first.subject if first else None,
            purpose=first.purpose if first else None,
            custodian=first.custodian if first else None,
            recipient=first.recipient if first else None,
        )
