"""
Opening a store: its folder, its tables, its keys, its log.

Keys are made for an empty log only. The log's own key lies under another name
until the first entry is on the disk; afterwards a key without a log, or a log
without its key, means that something was taken away, and is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import select

from fhir_bridge.clock import Clock
from fhir_bridge.errors import AlteredLog, SettingsError, Tampered
from fhir_bridge.settings import LOG_ORIGIN, Settings
from fhir_bridge.store import growth, schema
from fhir_bridge.store.api_keys import ApiKeys
from fhir_bridge.store.database import VERSION, Database, Opened
from fhir_bridge.store.erasure import Erasure
from fhir_bridge.store.folder import Folder, locked_for_opening
from fhir_bridge.store.keyring import Keyring
from fhir_bridge.store.leases import Leases
from fhir_bridge.store.listing import Listing
from fhir_bridge.store.log import Log
from fhir_bridge.store.logkeys import LogKeys
from fhir_bridge.store.manifests import Manifests
from fhir_bridge.store.outbox import Outbox
from fhir_bridge.store.pace import Pace
from fhir_bridge.store.pairings import Pairings
from fhir_bridge.store.peers import Peers
from fhir_bridge.store.remote import RemoteKeys
from fhir_bridge.store.repositories import Repositories
from fhir_bridge.store.rotation import Rotation
from fhir_bridge.store.rulings import Rulings
from fhir_bridge.store.runs import Runs
from fhir_bridge.store.seal import KEY_BYTES, Seal
from fhir_bridge.store.servers import Servers
from fhir_bridge.store.sqlite import SqliteDatabase
from fhir_bridge.store.statements import Statements
from fhir_bridge.store.trees import Trees
from fhir_bridge.store.triggers import Triggers
from fhir_bridge.store.watches import Watches


class Store(
    Leases,
    Runs,
    Outbox,
    Watches,
    Erasure,
    Listing,
    Manifests,
    Rulings,
    Pairings,
    Pace,
    Trees,
    Repositories,
    Peers,
    ApiKeys,
    Servers,
    Triggers,
    Rotation,
):
    """The bridge's own memory; safe for several threads and several processes."""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        log_origin: str,
        clock: Clock | None = None,
        database: str = "",
        passphrase: bytes | None = None,
        signer: Path | None = None,
    ) -> Self:
        """
        Open the store in a folder, making it when there is none.

        Args:
            path: The folder: keys, and SQLite's file. Made with rights for its owner alone.
            log_origin: Host in the log's name. Empty: as the store has it already;
                a log that is begun gets a name for this machine only.
            clock: Where the time comes from.
            database: URL of a PostgreSQL database; empty for SQLite in the folder.
            passphrase: Encrypts the log's key file; None for a plain one.
            signer: Socket of the process that has the log's key; None for a key file.

        Raises:
            SettingsError: Folder, key or tables cannot be used; says what to do.
            AlteredLog: The log is not the one that the key signed.
            StoreUnavailable: The disk failed.
        """
        clock = clock or Clock()
        folder = Folder.prepare(path)
        keys = _keys(folder, passphrase, signer)
        connected = _connected(folder, database)
        try:
            if connected.version() != VERSION or not keys.is_settled or _head(connected) is None:
                with locked_for_opening(folder, clock):
                    connected.upgrade()
                    _settle_keys(folder, keys, connected, clock, log_origin)
            return cls._take_up(
                Opened(
                    folder=folder,
                    database=connected,
                    clock=clock,
                    seal=Seal(_kept(folder, folder.seal_key)),
                    keys=keys,
                ),
                log_origin,
            )
        except BaseException:
            connected.close()
            keys.close()
            raise

    @classmethod
    def settled(
        cls, settings: Settings, *, environ: Mapping[str, str], clock: Clock | None = None
    ) -> Self:
        """
        Open the store that the settings name.

        Args:
            settings: What the operator has written down.
            environ: The environment, where a passphrase may stand.
            clock: Where the time comes from.

        Raises:
            BridgeError: As of `open`.
        """
        secret = settings.log_passphrase
        return cls.open(
            settings.store,
            log_origin=settings.log_origin,
            clock=clock,
            database=settings.database,
            passphrase=None if secret is None else secret.read(environ).encode(),
            signer=settings.log_signer,
        )

    @classmethod
    def _take_up(cls, opened: Opened, origin: str) -> Self:
        """Go on with a log that has a head."""
        head = _head(opened.database)
        if head is None:
            raise AlteredLog(
                f"{opened.keys.place} is there, but its log is empty: someone removed the log."
                " Put the store back from a backup, or move the folder away to begin a new log"
            )
        if origin and not head.log.startswith(f"{origin}/audit/"):
            raise SettingsError(
                f"the store's log is {head.log}, but the settings' log.origin is {origin}:"
                " set it back, or name another folder with --store"
            )
        if not opened.keys.take_up(head.log, head.vkey):
            _look_again(opened)
        store = cls(opened)
        store.resume()
        return store

    @property
    def statements(self) -> Statements:
        """Return what servers said of themselves within the hour."""
        return Statements(self._opened.folder, self._opened.clock)

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()


def _keys(folder: Folder, passphrase: bytes | None, signer: Path | None) -> LogKeys:
    return Keyring(folder, passphrase) if signer is None else RemoteKeys(signer)


def _connected(folder: Folder, url: str) -> Database:
    if url:
        from fhir_bridge.store.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(url)
    folder.prepare_database()
    return SqliteDatabase(folder)


def _look_again(opened: Opened) -> None:
    """Look for the key when nobody is changing it."""
    folder, keys = opened.folder, opened.keys
    with locked_for_opening(folder, opened.clock):
        Log(opened).recover()
        head = _head(opened.database)
        if head is None or keys.take_up(head.log, head.vkey):
            return
        if not keys.is_here:
            raise _missing(folder.log_key)
        # It is another key; the signature under the head will tell.
        keys.take_up(head.log, "")


def _settle_keys(
    folder: Folder, keys: LogKeys, database: Database, clock: Clock, origin: str
) -> None:
    """Begin an empty log, or end what a crash interrupted in beginning or changing its key."""
    head = _head(database)
    if head is None:
        if not keys.begin():
            return
        seal = Seal(_made(folder, folder.seal_key, os.urandom(KEY_BYTES)))
        opened = Opened(folder=folder, database=database, clock=clock, seal=seal, keys=keys)
        Log(opened).begin(origin or LOG_ORIGIN)
        head = _head(database)
    assert head is not None, "a log that was begun has a head"
    # Another folder may have begun the log of a shared database a moment before.
    if not keys.take_up(head.log, head.vkey) or not _signed(keys, head):
        if not keys.is_here:
            raise _missing(folder.log_key)
        return
    keys.settle(head.log)


def _signed(keys: LogKeys, head: growth.Head) -> bool:
    """Return whether the key that is held signed the log's head."""
    try:
        keys.verifier(head.log).open(head.note or "")
    except Tampered:
        return False
    return True


def _head(database: Database) -> growth.Head | None:
    """Return the newest log's head; None while there is none."""
    with database.reading() as connection:
        if connection.execute(select(schema.head.c.log).limit(1)).first() is None:
            return None
        return growth.show_head(connection)


def _made(folder: Folder, path: Path, content: bytes) -> bytes:
    """Return a key, made now unless an interrupted opening made it before."""
    found = folder.read_private(path)
    if found is None:
        folder.write_private(path, content)
        return content
    return found


def _kept(folder: Folder, path: Path) -> bytes:
    """Return a key that must be there."""
    found = folder.read_private(path)
    if found is None:
        raise _missing(path)
    return found


def _missing(path: Path) -> SettingsError:
    return SettingsError(
        f"{path} is missing, and the log has entries: put the key back from a backup,"
        " or begin a new log in another folder (and another database)"
    )
