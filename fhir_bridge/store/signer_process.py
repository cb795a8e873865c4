"""
The signer: a process of its own, under its own account, with its own memory.

It holds the log's key and the tree as it signed it last, and signs nothing but
what that tree grows into. So neither the bridge nor whoever owns its database
can have a second history signed, or an older one. It sees hashes, and keeps
what it signed last until the database has it: that is sealed, and it lacks the
key.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from fhir_bridge.errors import BridgeError, SettingsError
from fhir_bridge.ledger import Checkpoint, Frontier, VerifierKey
from fhir_bridge.store import signer_wire as wire
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.keyring import Keyring
from fhir_bridge.store.logkeys import Growing

_LISTED = "fhir-bridge/audit-export/v1\n"
_NO_LOG = "signer"


class Kept(msgspec.Struct, frozen=True):
    """A commit that was signed, until the database has it."""

    log: str
    before: int
    """Size that it grew from."""
    size: int
    note: str
    packed: bytes


class Memory(msgspec.Struct, frozen=True):
    """What was signed last."""

    log: str = ""
    """Empty before the first."""
    size: int = 0
    peaks: bytes = b""
    public: bytes = b""
    """Of the key that signs now."""
    kept: tuple[Kept, ...] = ()


class _No(Exception):
    """Nothing is signed, and the sentence says why."""


class SignerProcess:
    """Signs what grows from what it signed."""

    def __init__(self, folder: Folder, keys: Keyring, *, take_up: bool = False) -> None:
        """
        Take up key and memory; both are made where there is neither.

        Args:
            folder: Of the signer alone.
            keys: Its key files, in that folder.
            take_up: A key was moved here from a bridge; the first log that is
                shown is believed.

        Raises:
            SettingsError: A key without its memory, or a memory without its key.
        """
        self._folder = folder
        self._keys = keys
        self._lock = threading.Lock()
        raw = folder.read_private(self._path)
        if raw is None:
            raw = self._first(take_up=take_up)
        self._memory = msgspec.msgpack.decode(raw, type=Memory)
        log = self._memory.log or _NO_LOG
        public = self._memory.public
        if not keys.take_up(log, str(VerifierKey(log, public))):
            raise SettingsError(
                f"the key that {self._path} remembers is missing: put both back from one backup"
            )
        keys.settle(log)

    @property
    def public(self) -> bytes:
        """Return the public half of the key."""
        return self._keys.verifier(_NO_LOG).public

    def serve(self, listening: socket.socket) -> None:
        """
        Answer until the socket is closed.

        Args:
            listening: A unix socket that only the bridge's account and this one may open.
        """
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def answer(self, ask: wire.Ask) -> wire.Answer:
        """Answer one question, after all that was asked before."""
        with self._lock:
            try:
                return self._answer(ask)
            except (_No, BridgeError) as error:
                return wire.Refused(str(error))

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, msgspec.DecodeError):
            while (ask := wire.read_ask(connection)) is not None:
                wire.send(connection, self.answer(ask))

    def _answer(self, ask: wire.Ask) -> wire.Answer:
        match ask:
            case wire.AskKey():
                return wire.Key(self.public)
            case wire.AskPrepare():
                return wire.Key(self._keys.prepare(_NO_LOG).public)
            case wire.AskList():
                if not ask.text.startswith(_LISTED):
                    raise _No("only a list of an export's files is signed so")
                return wire.Note(self._keys.sign_list(ask.log, ask.text))
            case wire.AskUnwritten():
                return wire.Ahead(self._unwritten(ask.confirmed))
            case wire.AskSign():
                return self._sign(ask)

    def _sign(self, ask: wire.AskSign) -> wire.Answer:
        kept = tuple(one for one in self._memory.kept if _is_after(one, ask.confirmed))
        before = self._before(ask, is_ahead=bool(kept))
        if before is None:
            unwritten = self._unwritten(ask.confirmed)
            if not unwritten:
                raise _No("the log is shorter than what was signed: it was set back")
            return wire.Ahead(unwritten)
        after = before
        for one in ask.hashes:
            after = after.appended(one)
        checkpoint = Checkpoint(origin=ask.log, size=after.size, root=after.root())
        if checkpoint.root != ask.root or not ask.hashes:
            raise _No("what is to be signed does not follow from the entries that are added")
        growing = Growing(
            before=before,
            hashes=ask.hashes,
            checkpoint=checkpoint,
            confirmed=ask.confirmed,
            pack=bytes,
            changes_key=ask.changes_key,
        )
        note = self._keys.sign(growing)
        self._remember(after, Kept(ask.log, before.size, after.size, note, ask.packed), kept, ask)
        return wire.Note(note)

    def _unwritten(self, confirmed: tuple[str, int]) -> list[tuple[str, bytes]]:
        """Return what follows what the database has; nothing where more is missing than is kept."""
        log, size = confirmed
        kept = [one for one in self._memory.kept if _is_after(one, confirmed)]
        if not kept or kept[0].before != size or log not in {"", kept[0].log}:
            return []
        return [(one.note, one.packed) for one in kept]

    def _before(self, ask: wire.AskSign, *, is_ahead: bool) -> Frontier | None:
        """Return the tree that grows, as it is remembered; None when the database is behind."""
        memory = self._memory
        asked = Frontier.of(ask.size, ask.peaks)
        if asked is None:
            raise _No("the tree that is to grow is none")
        if not memory.log:
            return asked
        if ask.log != memory.log:
            return self._next(ask, is_ahead=is_ahead)
        if ask.size < memory.size:
            return None
        if (ask.size, ask.peaks) != (memory.size, memory.peaks):
            raise _No("the log has another history than what was signed")
        return asked

    def _next(self, ask: wire.AskSign, *, is_ahead: bool) -> Frontier | None:
        """Return the empty tree of a later year's log; None when the database is behind."""
        origin, _, year = ask.log.rpartition("/")
        known, _, last = self._memory.log.rpartition("/")
        if origin != known or not year.isdecimal():
            raise _No("the key signs another log")
        if int(year) < int(last) or (is_ahead and not ask.confirmed[0]):
            return None
        if ask.size:
            raise _No("the log has another history than what was signed")
        return Frontier()

    def _remember(
        self, after: Frontier, new: Kept, kept: Sequence[Kept], ask: wire.AskSign
    ) -> None:
        """Keep what is signed, on the disk, before anybody gets to see it."""
        public = self._keys.prepared.public if ask.changes_key else self._memory.public
        self._memory = Memory(ask.log, after.size, bytes(after), public, (*kept, new))
        self._folder.write_private(self._path, msgspec.msgpack.encode(self._memory))
        if ask.changes_key:
            self._keys.change(ask.log)

    def _first(self, *, take_up: bool) -> bytes:
        if not self._keys.begin():
            if not take_up:
                raise SettingsError(
                    f"{self._path} is missing, and there is a key: put it back from a backup, or"
                    " say --take-up when the key was just moved here from a bridge"
                )
            self._keys.take_up(_NO_LOG, "")
        self._keys.settle(_NO_LOG)
        raw = msgspec.msgpack.encode(Memory(public=self.public))
        self._folder.write_private(self._path, raw)
        return raw

    @property
    def _path(self) -> Path:
        return self._folder.path / "signer.memory"


def _is_after(one: Kept, confirmed: tuple[str, int]) -> bool:
    """Say whether a commit is later than what the database has."""
    log, size = confirmed
    if one.log == log:
        return one.size > size
    return not log or one.log[-4:] > log[-4:]
