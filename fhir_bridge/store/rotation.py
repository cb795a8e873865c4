"""
Changing the log's key: the log says so under both keys, then the old one is destroyed.

Whoever steals a key later cannot sign what was signed before, because the key
of that time is nowhere any more.
"""

from __future__ import annotations

from sqlalchemy import func, select

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Epoch, Event, NewEntry, VerifierKey, decode_entry
from fhir_bridge.store import schema
from fhir_bridge.store.batch import Batch
from fhir_bridge.store.folder import locked_for_opening
from fhir_bridge.store.history import read_epochs
from fhir_bridge.store.log import Log


class Rotation(Log):
    """The keys of the log."""

    def rotate_key(
        self, *, actor: str, audit_event: bytes | None = None, trace: str | None = None
    ) -> VerifierKey:
        """
        Have another key sign the log from here on, and destroy the one that did.

        A crash leaves a store that opens: the log says which key counts.

        Args:
            actor: Who changes it, as the log names actors.
            audit_event: The change as an AuditEvent.
            trace: The caller's trace.

        Returns:
            The new key's public half.

        Raises:
            SettingsError: The log began before keys could be changed.
            StoreUnavailable: The disk failed; which key counts, the next
                opening finds out.
            AlteredLog: The log is not the one this key signed last.
        """
        entry = NewEntry(type=Event.KEY_ROTATED, actor=actor, audit_event=audit_event, trace=trace)
        keys = self._opened.keys
        with locked_for_opening(self._opened.folder, self._clock):
            self._refuse_unnamed()
            with self._database.writing() as connection:
                signed = Batch(self._opened, self._trust, connection).change_key(entry)
            keys.change(signed.checkpoint.origin)
            self._trust.remember(signed)
        return self.verifier

    def epochs(self) -> tuple[Epoch, ...]:
        """
        Return the keys of all logs with the sizes that each signs, oldest first.

        Raises:
            AlteredLog: The entries are not what was signed.
        """
        newest = self.checkpoint()
        key = self._opened.keys.verifier(newest.origin)
        with self._database.reading() as connection:
            found = read_epochs(connection, newest, key)
        return tuple(epoch for epochs in found.values() for epoch in epochs.all)

    def write_file(self, name: str, content: bytes) -> None:
        """
        Write a file into the store's folder; it is there whole and on the disk, or not at all.

        Raises:
            StoreUnavailable: It could not be written.
        """
        folder = self._opened.folder
        folder.write_private(folder.path / name, content)

    def _refuse_unnamed(self) -> None:
        """Refuse where the first entry does not name the key: nobody could tell it later."""
        newest = select(func.max(schema.head.c.year)).scalar_subquery()
        table = schema.entry
        first = select(table.c.leaf).where(table.c.year == newest, table.c.idx == 0)
        with self._database.reading() as connection:
            leaf = connection.execute(first).scalar_one_or_none()
        if leaf is None or decode_entry(leaf).vkey is None:
            raise SettingsError(
                "this log began before keys could be changed: the next year's log can"
            )
