"""
Opening a store: its folder, its tables, its keys, its log.

Keys are made for an empty log only. The log's own key lies under another name
until the first entry is on the disk; afterwards a key without a log, or a log
without its key, means that something was taken away, and is refused.
"""

from __future__ import annotations

import os
from datetime import UTC
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from fhir_bridge.clock import Clock
from fhir_bridge.errors import AlteredLog, SettingsError, Tampered
from fhir_bridge.ledger import Signer
from fhir_bridge.store import growth, schema
from fhir_bridge.store.api_keys import ApiKeys
from fhir_bridge.store.database import VERSION, Database, Opened
from fhir_bridge.store.erasure import Erasure
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.leases import Leases
from fhir_bridge.store.listing import Listing
from fhir_bridge.store.log import Log
from fhir_bridge.store.manifests import Manifests
from fhir_bridge.store.outbox import Outbox
from fhir_bridge.store.pairings import Pairings
from fhir_bridge.store.peers import Peers
from fhir_bridge.store.repositories import Repositories
from fhir_bridge.store.rulings import Rulings
from fhir_bridge.store.runs import Runs
from fhir_bridge.store.seal import KEY_BYTES, Seal
from fhir_bridge.store.servers import Servers
from fhir_bridge.store.sqlite import SqliteDatabase
from fhir_bridge.store.statements import Statements
from fhir_bridge.store.trees import Trees
from fhir_bridge.store.triggers import Triggers
from fhir_bridge.store.watches import Watches

_OPENING_SECONDS_MAX = 60.0


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
    Trees,
    Repositories,
    Peers,
    ApiKeys,
    Servers,
    Triggers,
):
    """The bridge's own memory; safe for several threads and several processes."""

    @classmethod
    def open(
        cls, path: Path, *, log_origin: str, clock: Clock | None = None, database: str = ""
    ) -> Self:
        """
        Open the store in a folder, making it when there is none.

        Args:
            path: The folder: keys, and SQLite's file. Made with rights for its owner alone.
            log_origin: Host in the log's name.
            clock: Where the time comes from.
            database: URL of a PostgreSQL database; empty for SQLite in the folder.

        Raises:
            SettingsError: The folder, a key or the tables cannot be used; says
                what to do.
            AlteredLog: The log is not the one that the key signed.
            StoreUnavailable: The disk failed.
        """
        clock = clock or Clock()
        folder = Folder.prepare(path)
        connected = _connected(folder, database)
        try:
            if connected.version() != VERSION or not folder.log_key.exists():
                with folder.locked(
                    "opening",
                    clock,
                    wait_seconds=_OPENING_SECONDS_MAX,
                    busy="another process is setting up this store",
                ):
                    connected.upgrade()
                    _settle_keys(folder, connected, clock, log_origin)
            return cls._take_up(folder, connected, clock, log_origin)
        except BaseException:
            connected.close()
            raise

    @classmethod
    def _take_up(cls, folder: Folder, database: Database, clock: Clock, origin: str) -> Self:
        """Go on with a log that has a head."""
        log = _log_name(database)
        if log is None:
            raise AlteredLog(
                f"{folder.log_key} is there, but its log is empty: someone removed the log."
                " Put the store back from a backup, or move the folder away to begin a new log"
            )
        if not log.startswith(f"{origin}/audit/"):
            raise SettingsError(
                f"the store's log is {log}, but the settings' log.origin is {origin}:"
                " set it back, or name another folder with --store"
            )
        store = cls(
            Opened(
                folder=folder,
                database=database,
                clock=clock,
                seal=Seal(_kept(folder, folder.seal_key)),
                signer=_signer(log, _kept(folder, folder.log_key)),
                log=log,
            )
        )
        store.resume()
        return store

    @property
    def statements(self) -> Statements:
        """Return what servers said of themselves within the hour."""
        return Statements(self._opened.folder, self._opened.clock)

    def close(self) -> None:
        """Close the store; it can be opened again."""
        self._database.close()

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


def _connected(folder: Folder, url: str) -> Database:
    if url:
        from fhir_bridge.store.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(url)
    folder.prepare_database()
    return SqliteDatabase(folder)


def _settle_keys(folder: Folder, database: Database, clock: Clock, origin: str) -> None:
    """Begin an empty log, or end what a crash interrupted in beginning it."""
    if folder.log_key.exists():
        return
    if _log_name(database) is None:
        _begin(folder, database, clock, origin)
    if folder.log_key_new.exists():
        # Another folder may have begun the log of a shared database a moment before.
        if not _began(folder, database):
            raise _missing(folder.log_key)
        folder.rename(folder.log_key_new, folder.log_key)


def _begin(folder: Folder, database: Database, clock: Clock, origin: str) -> None:
    """Make the keys and write the first entry."""
    log = f"{origin}/audit/{clock.now().astimezone(UTC):%Y}"
    opened = Opened(
        folder=folder,
        database=database,
        clock=clock,
        seal=Seal(_made(folder, folder.seal_key, os.urandom(KEY_BYTES))),
        signer=_signer(log, _made(folder, folder.log_key_new, _new_log_key())),
        log=log,
    )
    Log(opened).begin()


def _log_name(database: Database) -> str | None:
    """Return the log's name; None while it has no entry."""
    with database.reading() as connection:
        return connection.execute(select(schema.head.c.log).limit(1)).scalar_one_or_none()


def _began(folder: Folder, database: Database) -> bool:
    """Return whether the key that waits for its log is the one that signed the log."""
    with database.reading() as connection:
        head = growth.show_head(connection)
    try:
        verifier = _signer(head.log, _kept(folder, folder.log_key_new)).verifier
        verifier.open(head.note or "")
    except Tampered:
        return False
    return True


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


def _new_log_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _signer(log: str, pem: bytes) -> Signer:
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError("log.key is not a key: put it back from a backup") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError("log.key is not an Ed25519 key: put it back from a backup")
    return Signer(log, private)
