"""
What this bridge, as a witness, cosigned last for each log of others.

The comparison and the new head are one commit: a witness that could forget
what it signed would sign two histories of one log.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select, update

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Checkpoint, Cosigner, Note, timestamp
from fhir_bridge.store import schema
from fhir_bridge.store.database import Part

_PEER = schema.peer_log


class Peers(Part):
    """The heads of other bridges' logs, and the key that cosigns them."""

    def cosigner(self, name: str) -> Cosigner:
        """
        Return the key that this bridge cosigns with; it is made when it is first asked for.

        Args:
            name: The witness's name.

        Raises:
            SettingsError: The key cannot be used, or is gone although logs were cosigned.
        """
        folder = self._opened.folder
        pem = folder.read_private(folder.witness_key)
        if pem is None:
            with self._database.reading() as connection:
                if connection.execute(select(_PEER.c.log).limit(1)).one_or_none() is not None:
                    raise SettingsError(
                        f"{folder.witness_key} is missing, and logs were cosigned with it: put it"
                        " back from a backup"
                    )
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            folder.write_private(folder.witness_key, pem)
        private = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise SettingsError(f"{folder.witness_key} is not an Ed25519 key: put it back")
        return Cosigner(name, private)

    def peer_checkpoint(self, log: str) -> Checkpoint | None:
        """Return what was cosigned last for a log; None for nothing."""
        with self._database.reading() as connection:
            note = connection.execute(select(_PEER.c.note).where(_PEER.c.log == log))
            found = note.scalar_one_or_none()
        return None if found is None else Checkpoint.parse(Note.parse(found).text)

    def advance_peer(
        self, note: str, checkpoint: Checkpoint, judge: Callable[[Checkpoint | None], None]
    ) -> None:
        """
        Remember a checkpoint as the last one cosigned, durably, if it continues the one before.

        Args:
            note: The checkpoint with its log's signature.
            checkpoint: Read from it, its signature verified.
            judge: Is given what was cosigned last, while nobody else may write;
                raises when the checkpoint does not continue it.

        Raises:
            StoreUnavailable: Not written: the cosignature must not be given.
        """
        table, log = _PEER, checkpoint.origin
        row = {"note": note, "at": timestamp(self._clock.now())}
        with self._database.writing() as connection:
            found = connection.execute(
                select(table.c.note).where(table.c.log == log)
            ).scalar_one_or_none()
            judge(None if found is None else Checkpoint.parse(Note.parse(found).text))
            if found is None:
                connection.execute(insert(table), {"log": log, **row})
            else:
                connection.execute(update(table).where(table.c.log == log), row)
