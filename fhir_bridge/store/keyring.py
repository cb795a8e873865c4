"""The log's private key, under the name of whichever year's log it signs."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.ledger import Signer


class Keyring:
    """What signs the log."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        """Keep the key."""
        self._private = private
        self._signers: dict[str, Signer] = {}

    def signer(self, log: str) -> Signer:
        """Return what signs a log: the key under the log's name."""
        found = self._signers.get(log)
        if found is None:
            found = self._signers[log] = Signer(log, self._private)
        return found
