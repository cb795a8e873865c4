"""
The log's private key in a file of the store's folder.

A key that is changed waits as ``log.key.new`` until the log says that it is the
key. What then remains of the old one is destroyed. A crash between leaves both
files, and the log tells which of them counts; another process that signed with
the old one takes the new one up.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Signer, VerifierKey
from fhir_bridge.store import keyfiles
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.logkeys import Growing, LogKeys

PASSPHRASE = "log.passphrase_env or log.passphrase_file"  # noqa: S105 - names of settings

_ANY_LOG = "log"


class Keyring(LogKeys):
    """Key files."""

    def __init__(
        self, folder: Folder, passphrase: bytes | None = None, *, where: str = PASSPHRASE
    ) -> None:
        """
        Read no key yet.

        Args:
            folder: Where the key files lie.
            passphrase: What they are encrypted under; None for plain files.
            where: How a passphrase is given, for the message.
        """
        self._folder = folder
        self._passphrase = passphrase
        self._where = where
        self._private: Ed25519PrivateKey | None = None
        self._after: Ed25519PrivateKey | None = None
        self._signers: dict[str, Signer] = {}

    def verifier(self, log: str) -> VerifierKey:
        """Return the public half of what signs a log."""
        return self._signer(log).verifier

    def sign(self, growing: Growing) -> str:
        """Return a checkpoint as a signed note, under both keys where they change."""
        text, log = str(growing.checkpoint), growing.checkpoint.origin
        note = self._signer(log).sign(text)
        if not growing.changes_key:
            return note
        assert self._after is not None, "a key was prepared"
        return note + Signer(log, self._after).line(text)

    def sign_list(self, log: str, text: str) -> str:
        """Return a list of an export's files as a signed note."""
        return self._signer(log).sign(text)

    def prepare(self, log: str) -> VerifierKey:
        """Make the key that is to follow, and keep it where it waits."""
        self._after = keyfiles.new_key()
        content = keyfiles.written(self._after, self._passphrase)
        self._folder.write_private(self._folder.log_key_new, content)
        return Signer(log, self._after).verifier

    @property
    def prepared(self) -> VerifierKey:
        """Return the public half of the key that is to follow."""
        assert self._after is not None, "a key was prepared"
        return Signer(_ANY_LOG, self._after).verifier

    def change(self, log: str) -> None:
        """Sign with the prepared key alone; destroy the other."""
        assert self._after is not None, "a key was prepared"
        self._hold(self._after)
        self._after = None
        self.settle(log)

    def take_up(self, log: str, vkey: str) -> bool:
        """Hold the key that signs a log now, from whichever file it lies in."""
        failure: SettingsError | None = None
        for path in (self._folder.log_key, self._folder.log_key_new):
            try:
                found = self._read(path)
            except SettingsError as error:
                # What was half destroyed is no key any more; the other file has it.
                failure = failure or error
                continue
            if found is not None and vkey in {"", str(Signer(log, found).verifier)}:
                self._hold(found)
                return True
        if failure is not None:
            raise failure
        return False

    @property
    def is_settled(self) -> bool:
        """Say whether there is one key file, under its own name."""
        return self.is_here and not self._folder.log_key_new.exists()

    @property
    def is_here(self) -> bool:
        """Say whether there is a key file under its own name."""
        return self._folder.log_key.exists()

    def begin(self) -> bool:
        """Make the key of a log that has no entry yet, or take up the one that waits."""
        if self.is_here:
            return False
        path = self._folder.log_key_new
        found = self._read(path)
        if found is None:
            found = keyfiles.new_key()
            self._folder.write_private(path, keyfiles.written(found, self._passphrase))
        self._hold(found)
        return True

    def settle(self, log: str) -> None:
        """Leave one key file, the one that is held; what lies in the other is destroyed."""
        folder = self._folder
        if self._has(folder.log_key, log):
            folder.destroy(folder.log_key_new)
        elif self._has(folder.log_key_new, log):
            folder.destroy(folder.log_key)
            folder.rename(folder.log_key_new, folder.log_key)

    @property
    def place(self) -> str:
        """Name the key file."""
        return str(self._folder.log_key)

    def _signer(self, log: str) -> Signer:
        found = self._signers.get(log)
        if found is None:
            assert self._private is not None, "a key was taken up"
            found = self._signers[log] = Signer(log, self._private)
        return found

    def _has(self, path: Path, log: str) -> bool:
        """Say whether a file has the key that is held; what is no key has none."""
        try:
            found = self._read(path)
        except SettingsError:
            return False
        return found is not None and Signer(log, found).verifier == self.verifier(log)

    def _read(self, path: Path) -> Ed25519PrivateKey | None:
        content = self._folder.read_private(path)
        if content is None:
            return None
        return keyfiles.read(content, self._passphrase, name=path.name, where=self._where)

    def _hold(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._signers = {}
