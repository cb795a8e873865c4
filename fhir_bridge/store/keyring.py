"""
The log's private key, under the name of whichever year's log it signs.

A key that is changed waits as ``log.key.new`` until the log says that it is the
key. What then remains of the old one is destroyed. A crash between leaves both
files, and the log tells which of them counts; another process that signed with
the old one takes the new one up.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger import Signer
from fhir_bridge.store import keyfiles
from fhir_bridge.store.folder import Folder

PASSPHRASE = "log.passphrase_env or log.passphrase_file"  # noqa: S105 - names of settings


class Keyring:
    """What signs the log."""

    def __init__(self, folder: Folder, passphrase: bytes | None = None) -> None:
        """
        Read no key yet.

        Args:
            folder: Where the key files lie.
            passphrase: What they are encrypted under; None for plain files.
        """
        self._folder = folder
        self._passphrase = passphrase
        self._private: Ed25519PrivateKey | None = None
        self._signers: dict[str, Signer] = {}

    def signer(self, log: str) -> Signer:
        """Return what signs a log: the key under the log's name."""
        found = self._signers.get(log)
        if found is None:
            assert self._private is not None, "a key was taken up"
            found = self._signers[log] = Signer(log, self._private)
        return found

    def begin(self) -> None:
        """
        Make the key of a log that has no entry yet, or take up the one that waits.

        Raises:
            StoreUnavailable: It could not be written.
        """
        path = self._folder.log_key_new
        found = self._read(path)
        if found is None:
            found = keyfiles.new_key()
            self._folder.write_private(path, keyfiles.written(found, self._passphrase))
        self.hold(found)

    def prepare(self) -> Ed25519PrivateKey:
        """
        Make the key that is to follow, and keep it where it waits.

        Raises:
            StoreUnavailable: It could not be written.
        """
        private = keyfiles.new_key()
        content = keyfiles.written(private, self._passphrase)
        self._folder.write_private(self._folder.log_key_new, content)
        return private

    def take_up(self, log: str, vkey: str) -> bool:
        """
        Hold the key that signs a log now, from whichever file it lies in.

        Args:
            log: The log's name.
            vkey: The key's line, as the log's head says; empty where an old log says none.

        Returns:
            False when no file has it; what was held before stays.

        Raises:
            SettingsError: A key file cannot be read, and no other has the key.
        """
        failure: SettingsError | None = None
        for path in (self._folder.log_key, self._folder.log_key_new):
            try:
                found = self._read(path)
            except SettingsError as error:
                # What was half destroyed is no key any more; the other file has it.
                failure = failure or error
                continue
            if found is not None and vkey in {"", str(Signer(log, found).verifier)}:
                self.hold(found)
                return True
        if failure is not None:
            raise failure
        return False

    def settle(self, log: str) -> None:
        """
        Leave one key file, the one that is held; what lies in the other is destroyed.

        Raises:
            StoreUnavailable: The disk failed; done again at the next opening.
        """
        folder = self._folder
        if self._has(folder.log_key, log):
            folder.destroy(folder.log_key_new)
        elif self._has(folder.log_key_new, log):
            folder.destroy(folder.log_key)
            folder.rename(folder.log_key_new, folder.log_key)

    def _has(self, path: Path, log: str) -> bool:
        """Say whether a file has the key that is held; what is no key has none."""
        try:
            found = self._read(path)
        except SettingsError:
            return False
        return found is not None and Signer(log, found).verifier == self.signer(log).verifier

    def _read(self, path: Path) -> Ed25519PrivateKey | None:
        content = self._folder.read_private(path)
        if content is None:
            return None
        return keyfiles.read(content, self._passphrase, name=path.name, where=PASSPHRASE)

    def hold(self, private: Ed25519PrivateKey) -> None:
        """Sign with this key from now on."""
        self._private = private
        self._signers = {}
