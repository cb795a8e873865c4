"""A client certificate: who we are is shown while the connection is made (mutual TLS)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fhir_bridge.errors import SettingsError
from fhir_bridge.tokens.keys import private_pem
from fhir_bridge.wire import Credential

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class ClientCertificate(Credential):
    """
    A certificate with its private key, each in a file of its own.

    Source:
        RFC 8446 4.3.2; the key never leaves this process.
    """

    certificate_file: Path
    key_file: Path

    def __post_init__(self) -> None:
        """
        Check both files now: a key with a passphrase would ask for it on the terminal.

        Raises:
            SettingsError: A file cannot be read, others may read the key, or
                the two do not belong together.
        """
        self._check()

    @property
    def secret(self) -> bool:
        """Return that it needs TLS."""
        return True

    @property
    def certificate(self) -> tuple[str, str]:
        """Return both files."""
        return str(self.certificate_file), str(self.key_file)

    def ends(self) -> datetime:
        """
        Return the moment from which the certificate no longer counts.

        Raises:
            SettingsError: The file cannot be read any more.
        """
        return _certificate(self.certificate_file).not_valid_after_utc

    def _check(self) -> None:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(private_pem(self.key_file).encode(), password=None)
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"the key file {self.key_file} is not a private key as PEM without passphrase"
            ) from error
        if _certificate(self.certificate_file).public_key() != key.public_key():
            raise SettingsError(
                f"the certificate {self.certificate_file} does not belong to the key"
                f" {self.key_file}"
            )


def _certificate(file: Path) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"the certificate file {file} is not a certificate as PEM") from error
