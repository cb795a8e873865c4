"""
Finding a patient's transfers by his key, and erasing what they can be read by.

The log keeps its entries and still verifies; without their bodies and keys they
say who sent how much to whom and when, and no longer of whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, tuple_, update

from fhir_bridge.ledger import Event, NewEntry, decode_entry, event_id, transfer_urn
from fhir_bridge.store import schema
from fhir_bridge.store.subjects import named, patient_key, patient_keys
from fhir_bridge.store.transfers import COLUMNS, TransferRow, Transfers, transfer_row

_URN = "urn:uuid:"


class Erasure(Transfers):
    """What ties transfers to a patient, and how it is cut."""

    def transfers_about(self, patient: str) -> tuple[TransferRow, ...]:
        """
        Return a patient's transfers, oldest first.

        Args:
            patient: Identity of the source and reference, ``<identity>/Patient/1``.

        Returns:
            None of them when the patient's key was erased: nothing ties them
            to him any more.

        Raises:
            AlteredLog: An entry cannot be read.
        """
        table = schema.transfer
        with self._database.reading() as connection:
            key = patient_key(connection, self._seal, patient)
            if key is None:
                return ()
            mine = [id_ for id_, subject in _subjects(connection) if named(key, id_) == subject]
            rows = [
                connection.execute(select(*COLUMNS).where(table.c.id == id_)).one() for id_ in mine
            ]
        return tuple(map(transfer_row, rows))

    def erase(
        self,
        transfer: str,
        *,
        actor: str,
        audit_event: bytes | None = None,
        trace: str | None = None,
        act: str = "",
    ) -> None:
        """
        Erase what a transfer can be read by, and say so in the log.

        Its request, its key, the bodies of its entries with their salts, its
        manifest, gaps and rulings go; the patient's key goes with the last of
        his transfers.

        Args:
            transfer: Its id.
            actor: Who erases, as the log names actors.
            audit_event: The erasure as an AuditEvent; stays.
            trace: The caller's trace.
            act: The act's event id; the same one again erases nothing anew.

        Raises:
            SettingsError: There is no such transfer.
        """
        row = self.read_transfer(transfer)
        done = NewEntry(
            type=Event.ERASURE_DONE,
            actor=actor,
            transfer=transfer,
            source=row.source,
            destination=row.destination,
            trace=trace,
            audit_event=audit_event,
        )
        with self._database.writing() as connection:
            self._erase_patient(connection, transfer)
            _erase_rows(connection, transfer)
            appended = self._append(connection, [done], act or event_id(transfer, "erase"))
        self._remember(appended)
        self._database.forget()

    def _erase_patient(self, connection: Connection, transfer: str) -> None:
        """Erase the patient's key when no other transfer of his can still be read."""
        subjects = dict(_subjects(connection))
        keys = patient_keys(connection, self._seal)
        mine = ((tag, key) for tag, key in keys if named(key, transfer) == subjects.get(transfer))
        if (found := next(mine, None)) is None:
            return
        tag, key = found
        readable = select(schema.transfer.c.id).where(schema.transfer.c.request.is_not(None))
        others = set(connection.execute(readable).scalars()) - {transfer}
        if not any(named(key, one) == subjects.get(one) for one in others):
            connection.execute(delete(schema.patient_key).where(schema.patient_key.c.tag == tag))


def _erase_rows(connection: Connection, transfer: str) -> None:
    table, urn = schema.entry, transfer_urn(transfer)
    mine = select(table.c.year, table.c.idx, table.c.leaf).where(table.c.transfer == urn)
    body = schema.body.c
    for year, idx, leaf in connection.execute(mine).all():
        # Who erased, and why, stays: it names no patient.
        if decode_entry(leaf).type is not Event.ERASURE_DONE:
            connection.execute(delete(schema.body).where(body.year == year, body.idx == idx))
    for table in (schema.line, schema.gap, schema.ruling):
        connection.execute(delete(table).where(table.c.transfer == transfer))
    gone: dict[str, Any] = {"request": None, "transfer_key": None}
    asked = or_(schema.transfer.c.id == transfer, schema.transfer.c.joined == transfer)
    connection.execute(update(schema.transfer).where(asked), gone)


def _subjects(connection: Connection) -> Iterator[tuple[str, str]]:
    """Return each transfer's id with what its first entry names the patient by, oldest first."""
    table = schema.entry
    first = (
        select(table.c.year, func.min(table.c.idx))
        .where(table.c.transfer.is_not(None))
        .group_by(table.c.year, table.c.transfer)
    )
    rows = select(table.c.transfer, table.c.leaf).where(
        tuple_(table.c.year, table.c.idx).in_(first)
    )
    seen = set()  # a transfer over New Year has a first entry in each year
    for row in connection.execute(rows.order_by(table.c.year, table.c.idx)):
        if row.transfer not in seen and (subject := decode_entry(row.leaf).subject) is not None:
            seen.add(row.transfer)
            yield row.transfer.removeprefix(_URN), subject
