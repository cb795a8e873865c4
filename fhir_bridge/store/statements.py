"""
What servers said they can do, kept for an hour, so that not every command asks again.

A file for each base, in the store's folder. It holds no more than what is read
of a CapabilityStatement, and nothing about any patient. Whatever is wrong with
such a file, the server is asked anew.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

from fhir_bridge import lossless
from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError
from fhir_bridge.ledger import timestamp
from fhir_bridge.records import Json
from fhir_bridge.store.folder import Folder

_KEPT = timedelta(hours=1)
_FORM = 1


class Statements:
    """Keeps what servers said of themselves."""

    def __init__(self, folder: Folder, clock: Clock) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._clock = clock

    def kept(self, base: str) -> Json | None:
        """
        Return what a server said within the last hour; None when it must be asked.

        Args:
            base: Of the server, in its one written form.
        """
        try:
            raw = self._folder.read_private(self._path(base))
            found = None if raw is None else lossless.decode(raw)
        except BridgeError:
            return None
        if not isinstance(found, dict) or not isinstance(statement := found.get("statement"), dict):
            return None
        asked = found.get("asked")
        right = self._written(base, statement, asked if isinstance(asked, str) else "")
        return statement if found == right and self._is_recent(right["asked"]) else None

    def keep(self, base: str, statement: Json) -> None:
        """
        Keep what a server said just now.

        Args:
            base: Of the server, in its one written form.
            statement: What is read of its CapabilityStatement, and no more.

        Raises:
            StoreUnavailable: It could not be written.
        """
        path = self._path(base)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        asked = timestamp(self._clock.now())
        self._folder.write_private(path, lossless.encode(self._written(base, statement, asked)))

    def _path(self, base: str) -> Path:
        return self._folder.path / "servers" / f"{hashlib.sha256(base.encode()).hexdigest()}.json"

    def _written(self, base: str, statement: Json, asked: str) -> Json:
        """Return the one form of such a file: its digest is over all the rest."""
        said = {"form": _FORM, "base": base, "asked": asked, "statement": statement}
        return {**said, "digest": hashlib.sha256(lossless.canonical(said)).hexdigest()}

    def _is_recent(self, asked: str) -> bool:
        try:
            age = self._clock.now() - datetime.fromisoformat(asked)
        except ValueError:
            return False
        return timedelta(0) <= age < _KEPT
