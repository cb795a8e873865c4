"""
What workers and persons ask of a transfer: whose turn it is, what it waits for, whether to stop.

A transfer is given to the workers by its row, in the commit that writes the
request down. So there is no moment at which it was asked for and would be
carried by nobody.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import NewEntry, timestamp
from fhir_bridge.store import schema
from fhir_bridge.store.transfers import COLUMNS, UNSETTLED, TransferRow, Transfers, one_row
from fhir_bridge.store.transfers import transfer_row as as_row
from fhir_bridge.transfer import ENDED, State

_TABLE = schema.transfer
_AT_REST = sorted(map(str, ENDED | {State.PARKED}))


@dataclass(frozen=True, slots=True)
class Turn:
    """A transfer that the workers are to carry."""

    transfer: str
    run: int
    destination: str


class Runs(Transfers):
    """Transfers as workers see them."""

    def request_transfer(  # noqa: PLR0913 - a request has these from its first moment
        self,
        *,
        state: str,
        source: str,
        destination: str,
        request: bytes,
        tenant: str,
        transfer: str | None,
        actor: str,
        trace: str | None,
    ) -> TransferRow:
        """
        Write a request down and give it to the workers, in one commit.

        Args:
            state: A word of `transfer.State`.
            source: Alias of the server, else its host.
            destination: Alias of the server, else its host.
            request: What was asked. Kept sealed only.
            tenant: The organisation that answers for the records, ``system|value``.
            transfer: Its id when it was settled before; asked again, it is the same.
            actor: Who asks, as the log names actors.
            trace: The caller's trace.
        """
        id_ = transfer or str(uuid.uuid4())
        now = timestamp(self._clock.now())
        row = {
            "key": f"{UNSETTLED}{id_}",
            "attempt": 1,
            "run": 1,
            "state": state,
            "source": source,
            "destination": destination,
            "created": now,
            "updated": now,
            "manifest": 0,
            "tenant": tenant,
            "actor": actor,
            "trace": trace,
        }
        row |= self._sealed(id_, request)
        with self._database.writing() as connection:
            same = select(*COLUMNS).where(_TABLE.c.id == id_)
            found = connection.execute(same).one_or_none()
            return as_row(found or self._insert(connection, row))

    def settle_transfer(self, transfer: str, key: str) -> TransferRow:
        """
        Give a request its key; a known key makes it the transfer that has it.

        Of that transfer what was asked last counts. When it had ended before
        this was asked, it begins a new attempt; an end since then answers this
        request too.

        Args:
            transfer: The request's id.
            key: `transfer.referral_key`.

        Returns:
            The transfer to carry.
        """
        with self._database.writing() as connection:
            row = one_row(connection, transfer, select(*COLUMNS))
            other = connection.execute(
                select(*COLUMNS).where(_TABLE.c.key == key, _TABLE.c.id != transfer)
            ).one_or_none()
            if other is None:
                changes: dict[str, Any] = {"key": key}
                connection.execute(update(_TABLE).where(_TABLE.c.id == transfer), changes)
                return as_row(one_row(connection, transfer, select(*COLUMNS)))
            self._join(connection, row, other)
            return as_row(one_row(connection, other.id, select(*COLUMNS)))

    def _join(self, connection: Connection, row: Row[Any], other: Row[Any]) -> None:
        sealed = one_row(connection, row.id, select(_TABLE.c.request))[0]
        self._ask_anew(connection, other.id, self._seal.open(f"request/{row.id}", sealed))
        if State(other.state) in ENDED and other.updated < row.created:
            self._move(
                connection, other, State.REQUESTED, attempt=other.attempt + 1, cancelled=None
            )
            other = one_row(connection, other.id, select(*COLUMNS))
        gone = {"request": None, "transfer_key": None}
        self._move(connection, row, other.state, attempt=other.attempt, joined=other.id, **gone)

    def begin_turn(self, row: TransferRow) -> TransferRow | None:
        """
        Write down that a worker carries a transfer from now on.

        Args:
            row: As it was read a moment ago.

        Returns:
            What it is now; None when it was given away since, or rests. Its
            `deaths` are those of before.
        """
        mine = _TABLE.c.id == row.id, _TABLE.c.run == row.run, _TABLE.c.state.not_in(_AT_REST)
        with self._database.writing() as connection:
            found = connection.execute(select(*COLUMNS).where(*mine)).one_or_none()
            if found is None:
                return None
            change = {"deaths": found.deaths + 1}
            connection.execute(update(_TABLE).where(_TABLE.c.id == row.id), change)
            return as_row(found)

    def end_turn(self, row: TransferRow) -> None:
        """Write down that the worker that carried a transfer has survived it."""
        mine = _TABLE.c.id == row.id, _TABLE.c.run == row.run
        with self._database.writing() as connection:
            connection.execute(update(_TABLE).where(*mine), {"deaths": 0})

    def wait(self, row: TransferRow, seconds: float, *, reason: str, trouble: str) -> None:
        """
        Give a transfer to the workers again, when its time has come.

        Args:
            row: As it was when its turn began; given away since, it stays as it is.
            seconds: From now.
            reason: Code of what is waited for.
            trouble: The same in words, without a value from a record.
        """
        now = self._clock.now()
        change = {
            "run": row.run + 1,
            "wait_until": timestamp(now + timedelta(seconds=seconds)),
            "wait_reason": reason,
            "trouble": trouble,
            "waits": row.waits + 1,
            "trouble_since": row.trouble_since or timestamp(now),
            "deaths": 0,
        }
        mine = _TABLE.c.id == row.id, _TABLE.c.run == row.run, _TABLE.c.state.not_in(_AT_REST)
        with self._database.writing() as connection:
            connection.execute(update(_TABLE).where(*mine), change)

    def park(self, transfer: str, *, reason: str, trouble: str) -> None:
        """
        Let a transfer rest until a person retries it.

        Args:
            transfer: Its id; one that has ended is left alone.
            reason: Code of why.
            trouble: The same in words, without a value from a record.
        """
        with self._database.writing() as connection:
            row = one_row(connection, transfer, select(*COLUMNS))
            if State(row.state) not in ENDED:
                why = {"wait_reason": reason, "trouble": trouble}
                self._move(connection, row, State.PARKED, attempt=row.attempt, **why)

    def end_refused(self, transfer: str, entry: NewEntry, *, event_id: str, trouble: str) -> None:
        """
        Sign that a rule ended a transfer before its journey began.

        Args:
            transfer: Its id; one that has ended is left alone.
            entry: What is signed.
            event_id: A UUID that names the act.
            trouble: Why, without a value from a record.
        """
        with self._database.writing() as connection:
            row = one_row(connection, transfer, select(*COLUMNS))
            if State(row.state) in ENDED:
                return
            appended = self._append(connection, [entry], event_id)
            why = {"wait_reason": "refused", "trouble": trouble}
            self._move(connection, row, State.REFUSED, attempt=row.attempt, **why)
        self._remember(appended)

    @property
    def stopped(self) -> bool:
        """Return whether a write failed so that this object takes no more."""
        return self._database.stopped

    @property
    def seal_name(self) -> str:
        """Return a name for the key that seals, which says nothing about it."""
        return self._seal.mac("name", b"").hex()[:8]

    def reopen_transfer(self, transfer: str, *, for_workers: bool) -> TransferRow:
        """
        Begin a new attempt of what has ended; what was parked or waits goes on now.

        Args:
            transfer: Its id.
            for_workers: A worker is to carry it.

        Raises:
            SettingsError: There is no such transfer.
        """
        with self._database.writing() as connection:
            row = one_row(connection, transfer, select(*COLUMNS))
            more: dict[str, Any] = {"waits": 0, "trouble_since": None, "deaths": 0}
            if for_workers:
                more["run"] = row.run + 1
            if State(row.state) in ENDED:
                attempt, more = row.attempt + 1, more | {"cancelled": None}
                self._move(connection, row, State.REQUESTED, attempt=attempt, **more)
            else:
                state = State.REQUESTED if row.state == State.PARKED else row.state
                self._move(connection, row, state, attempt=row.attempt, **more)
            return as_row(one_row(connection, transfer, select(*COLUMNS)))

    def cancel_transfer(self, transfer: str, entry: NewEntry, *, event_id: str) -> None:
        """
        Sign that a person wants a transfer to stop, and let whoever carries it know.

        Args:
            transfer: Its id; cancelled before, nothing changes.
            entry: What is signed.
            event_id: A UUID that names the act.

        Raises:
            SettingsError: There is no such transfer, or it has ended.
        """
        with self._database.writing() as connection:
            row = one_row(connection, transfer, select(*COLUMNS))
            if row.cancelled is not None:
                return
            if State(row.state) in ENDED:
                raise SettingsError(
                    f"the transfer has ended ({row.state}): there is nothing to cancel"
                )
            appended = self._append(connection, [entry], event_id)
            more = {"cancelled": appended.entries[0].t, "run": row.run + bool(row.run)}
            self._move(connection, row, row.state, attempt=row.attempt, **more)
        self._remember(appended)

    def is_cancelled(self, transfer: str) -> bool:
        """Return whether a person wants the transfer to stop."""
        rows = select(_TABLE.c.cancelled).where(_TABLE.c.id == transfer)
        with self._database.reading() as connection:
            return connection.execute(rows).scalar_one_or_none() is not None

    def turns(self) -> list[Turn]:
        """Return what the workers are to carry now, oldest first."""
        now = timestamp(self._clock.now())
        rows = (
            select(_TABLE.c.id, _TABLE.c.run, _TABLE.c.destination)
            .where(
                _TABLE.c.run > 0,
                _TABLE.c.state.not_in(_AT_REST),
                or_(_TABLE.c.wait_until.is_(None), _TABLE.c.wait_until <= now),
            )
            .order_by(_TABLE.c.created, _TABLE.c.id)
        )
        with self._database.reading() as connection:
            return [Turn(*row) for row in connection.execute(rows)]
