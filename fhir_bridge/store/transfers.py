"""
Where each transfer stands, and what was asked, sealed.

A transfer's key is 32 random bytes: digests are stored and printed only under
it, so that erasing it leaves numbers that say nothing.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, or_, select, update

from fhir_bridge.errors import Refused, SettingsError
from fhir_bridge.ledger import timestamp
from fhir_bridge.store import schema
from fhir_bridge.store.events import write_event
from fhir_bridge.store.log import Log
from fhir_bridge.store.subjects import pseudonym
from fhir_bridge.transfer import ENDED, State

_KEY_BYTES = 32

COLUMNS = tuple(c for c in schema.transfer.c if c.name not in {"request", "transfer_key"})
"""What a row tells; the rest is sealed."""

UNSETTLED = "unsettled:"
"""Begins what stands in a key's place until the first provider has named the patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRow:
    """Where a transfer stands."""

    id: str
    """A random UUID."""
    key: str
    """What makes two requests the same transfer: 64 hexadecimal digits."""
    attempt: int
    state: str
    source: str
    """Alias of the server, else its host."""
    destination: str
    created: str
    """UTC, as in the log."""
    updated: str
    manifest: int
    """Number of the last manifest; 0 while there is none."""
    tenant: str = ""
    """Identifier of the organisation that answers for the records, ``system|value``."""
    joined: str | None = None
    """The transfer that this request turned out to be; its state is then that one's."""
    actor: str | None = None
    """Who asked, as the log names actors; None when whoever asked carried it himself."""
    trace: str | None = None
    wait_until: str | None = None
    """When a worker goes on; UTC, as in the log."""
    wait_reason: str | None = None
    """Code of what is waited for, or of why it is parked, e.g. ``throttled``."""
    trouble: str | None = None
    """The same in words; holds references, never a value from a record."""
    cancelled: str | None = None
    """When a person cancelled it; its state is ``cancelled`` when it has been stopped."""
    run: int = 0
    """How often it was given to the workers; 0 when the command line carries it."""
    waits: int = 0
    """How often in a row it could not go on and had to wait."""
    trouble_since: str | None = None
    """When it had to wait first."""
    deaths: int = 0
    """How many workers died over it, one after the other; one more while it is carried."""

    @property
    def settled(self) -> bool:
        """Return whether its key is known: a request's is when it is first carried."""
        return not self.key.startswith(UNSETTLED)


_AT_WORK = {"wait_until": None, "wait_reason": None, "trouble": None}


class Transfers(Log):
    """Transfers, beside the log that says what they did."""

    def create_transfer(  # noqa: PLR0913 - a transfer has these from its first moment
        self,
        *,
        key: str,
        state: str,
        source: str,
        destination: str,
        request: bytes,
        tenant: str = "",
        transfer: str | None = None,
    ) -> TransferRow:
        """
        Remember a new transfer, or return the one that has this key already.

        Of the same transfer what was asked last counts: a basis, a consent or a
        patient named later must hold when it is taken up again.

        Args:
            key: `transfer.referral_key`.
            state: A word of `transfer.State`.
            source: Alias of the server, else its host.
            destination: Alias of the server, else its host.
            request: What was asked. Kept sealed only.
            tenant: The organisation that answers for the records, ``system|value``.
            transfer: Its id when it was settled before; a random UUID.
        """
        now = timestamp(self._clock.now())
        row = {
            "key": key,
            "attempt": 1,
            "state": state,
            "source": source,
            "destination": destination,
            "created": now,
            "updated": now,
            "manifest": 0,
            "tenant": tenant,
        }
        row |= self._sealed(transfer or str(uuid.uuid4()), request)
        same = select(*COLUMNS).where(schema.transfer.c.key == key)
        with self._database.writing() as connection:
            found = connection.execute(same).one_or_none()
            if found is None:
                found = self._insert(connection, row)
            else:
                self._ask_anew(connection, found.id, request)
        return transfer_row(found)

    def _insert(self, connection: Connection, row: dict[str, Any]) -> Row[Any]:
        connection.execute(insert(schema.transfer), row)
        inserted = one_row(connection, row["id"], select(*COLUMNS))
        _tell(connection, inserted, at=row["created"])
        return inserted

    def _sealed(self, id_: str, request: bytes) -> dict[str, Any]:
        """Return a new transfer's id and what is kept sealed under it."""
        return {
            "id": id_,
            "request": self._seal.close(f"request/{id_}", request),
            "transfer_key": self._seal.close(f"transfer-key/{id_}", os.urandom(_KEY_BYTES)),
        }

    def _ask_anew(self, connection: Connection, transfer: str, request: bytes) -> None:
        """Replace what was asked; what was erased stays so."""
        table = schema.transfer
        sealed = self._seal.close(f"request/{transfer}", request)
        connection.execute(
            update(table).where(table.c.id == transfer, table.c.request.is_not(None)),
            {"request": sealed},
        )

    def find_by_key(self, key: str) -> TransferRow | None:
        """Return the transfer of a referral key; None when it is new."""
        with self._database.reading() as connection:
            rows = connection.execute(select(*COLUMNS).where(schema.transfer.c.key == key))
            found = rows.one_or_none()
        return None if found is None else transfer_row(found)

    def read_transfer(self, transfer: str) -> TransferRow:
        """
        Return a transfer.

        Raises:
            SettingsError: There is none with this id.
        """
        with self._database.reading() as connection:
            return transfer_row(one_row(connection, transfer, select(*COLUMNS)))

    def transfers(self) -> tuple[TransferRow, ...]:
        """Return all transfers, oldest first."""
        rows = select(*COLUMNS).order_by(schema.transfer.c.created, schema.transfer.c.id)
        with self._database.reading() as connection:
            return tuple(map(transfer_row, connection.execute(rows)))

    def set_state(self, transfer: str, state: str, *, attempt: int | None = None) -> None:
        """
        Write down where a transfer stands.

        Args:
            transfer: Its id.
            state: A word of `transfer.State`.
            attempt: Its new attempt; None leaves it. What has ended moves only
                with a new one: whoever comes late must not undo the end.
        """
        with self._database.writing() as connection:
            row = one_row(connection, transfer, select(*COLUMNS))
            if attempt is not None or State(row.state) not in ENDED:
                self._move(connection, row, state, attempt=attempt or row.attempt)

    def _move(
        self, connection: Connection, row: Row[Any], state: str, *, attempt: int, **more: Any
    ) -> None:
        """Change the state of a transfer and of all requests that joined it, and tell each."""
        table, now = schema.transfer, timestamp(self._clock.now())
        changes = {"state": state, "attempt": attempt, "updated": now} | _AT_WORK | more
        together = or_(table.c.id == row.id, table.c.joined == row.id)
        connection.execute(update(table).where(together), changes)
        if (row.state, row.attempt) != (state, attempt):
            for moved in connection.execute(select(*COLUMNS).where(together)).all():
                _tell(connection, moved, at=now)

    def request(self, transfer: str) -> bytes:
        """
        Return what was asked, as `create_transfer` was given it.

        Raises:
            Refused: It was erased.
            SettingsError: There is no such transfer.
        """
        return self._unsealed(transfer, "request", schema.transfer.c.request)

    def transfer_key(self, transfer: str) -> bytes:
        """
        Return the key that a transfer's digests are stored and printed under: 32 bytes.

        Raises:
            Refused: It was erased.
            SettingsError: There is no such transfer.
        """
        return self._unsealed(transfer, "transfer-key", schema.transfer.c.transfer_key)

    def subject(self, patient: str, transfer: str) -> str:
        """
        Return what entries of a transfer name the patient by.

        Args:
            patient: Identity of the source and reference, ``<identity>/Patient/1``.
            transfer: The transfer's id.

        Returns:
            ``hmac-sha256:`` and 64 digits. Without the patient's key, which can
            be erased, entries of two transfers cannot be tied together.
        """
        with self._database.writing() as connection:
            return pseudonym(connection, self._seal, patient, transfer)

    def _unsealed(self, transfer: str, purpose: str, column: Any) -> bytes:
        with self._database.reading() as connection:
            sealed = one_row(connection, transfer, select(column))[0]
        if sealed is None:
            raise Refused(f"what was asked in transfer {transfer} was erased: ask anew, with --new")
        return self._seal.open(f"{purpose}/{transfer}", sealed)


def one_row(connection: Connection, transfer: str, columns: Select[Any]) -> Row[Any]:
    """
    Return columns of one transfer.

    Raises:
        SettingsError: There is none with this id.
    """
    found = connection.execute(columns.where(schema.transfer.c.id == transfer)).one_or_none()
    if found is None:
        raise SettingsError(f"the store knows no transfer {transfer}")
    return found


def transfer_row(row: Row[Any]) -> TransferRow:
    """Read a row of `COLUMNS`."""
    return TransferRow(**row._asdict())


def _tell(connection: Connection, row: Row[Any], *, at: str) -> None:
    write_event(
        connection,
        transfer=row.id,
        at=at,
        state=row.state,
        attempt=row.attempt,
        tenant=row.tenant,
    )
