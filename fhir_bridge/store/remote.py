"""The log's key in a signer process of this machine: asked over a unix socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fhir_bridge.errors import AlteredLog, StoreUnavailable
from fhir_bridge.ledger import VerifierKey
from fhir_bridge.store import signer_wire as wire
from fhir_bridge.store.logkeys import Growing, LogKeys, Unwritten

_SECONDS = 10.0


class RemoteKeys(LogKeys):
    """What a signer process signs."""

    def __init__(self, path: Path) -> None:
        """
        Ask nothing yet.

        Args:
            path: Of the signer's socket.
        """
        self._path = path
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._public: bytes | None = None

    def close(self) -> None:
        """Hang up; asked again, the signer is connected to again."""
        with self._lock:
            self._hang_up()

    def verifier(self, log: str) -> VerifierKey:
        """Return the public half of the signer's key."""
        if self._public is None:
            self._public = self._key(wire.AskKey())
        return VerifierKey(log, self._public)

    def sign(self, growing: Growing) -> str:
        """Have a checkpoint signed."""
        answer = self._ask(
            wire.AskSign(
                log=growing.checkpoint.origin,
                size=growing.before.size,
                peaks=bytes(growing.before),
                hashes=list(growing.hashes),
                root=growing.checkpoint.root,
                confirmed=growing.confirmed,
                packed=growing.pack(),
                changes_key=growing.changes_key,
            )
        )
        if isinstance(answer, wire.Ahead):
            raise Unwritten(answer.commits)
        return self._note(answer)

    def unwritten(self, log: str, size: int) -> Sequence[tuple[str, bytes]]:
        """Return what was signed that the database does not have."""
        answer = self._ask(wire.AskUnwritten((log, size)))
        return answer.commits if isinstance(answer, wire.Ahead) else ()

    def sign_list(self, log: str, text: str) -> str:
        """Have a list of an export's files signed."""
        return self._note(self._ask(wire.AskList(log, text)))

    def prepare(self, log: str) -> VerifierKey:
        """Have the key made that is to follow."""
        return VerifierKey(log, self._key(wire.AskPrepare()))

    def change(self, log: str) -> None:
        """Ask anew which key signs: the signer changed when it signed."""
        self._public = None
        self.verifier(log)

    def take_up(self, log: str, vkey: str) -> bool:
        """Say whether the signer's key signs a log now."""
        self._public = None
        return vkey in {"", str(self.verifier(log))}

    @property
    def is_settled(self) -> bool:
        """Leave it to the signer."""
        return True

    @property
    def is_here(self) -> bool:
        """Leave it to the signer."""
        return True

    def begin(self) -> bool:
        """Begin with the key that the signer has; it signs no second beginning."""
        return True

    def settle(self, log: str) -> None:
        """Leave it to the signer."""

    @property
    def place(self) -> str:
        """Name the signer."""
        return f"the signer {self._path}"

    def _note(self, answer: wire.Answer) -> str:
        if isinstance(answer, wire.Refused):
            raise AlteredLog(f"the signer refuses: {answer.sentence}")
        if not isinstance(answer, wire.Note):
            raise self._silent()
        return answer.note

    def _key(self, ask: wire.Ask) -> bytes:
        answer = self._ask(ask)
        if not isinstance(answer, wire.Key):
            raise self._silent()
        return answer.public

    def _ask(self, ask: wire.Ask) -> wire.Answer:
        """Ask; a signer that was started anew meanwhile is connected to again."""
        with self._lock:
            try:
                return self._once(ask)
            except (OSError, msgspec.DecodeError):
                self._hang_up()
            try:
                return self._once(ask)
            except (OSError, msgspec.DecodeError) as error:
                self._hang_up()
                raise self._silent() from error

    def _once(self, ask: wire.Ask) -> wire.Answer:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(_SECONDS)
            self._connection.connect(str(self._path))
        wire.send(self._connection, ask)
        return wire.read_answer(self._connection)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _silent(self) -> StoreUnavailable:
        return StoreUnavailable(f"the signer {self._path} does not answer: nothing was sent")
