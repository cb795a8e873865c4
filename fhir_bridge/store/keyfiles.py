"""A private key in a file: PKCS#8, plain under 0600 or encrypted under a passphrase."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.errors import SettingsError

_BEGINS = b"-----BEGIN "


def new_key() -> Ed25519PrivateKey:
    """Make a key."""
    return Ed25519PrivateKey.generate()


def written(private: Ed25519PrivateKey, passphrase: bytes | None) -> bytes:
    """
    Write a key as a file's content.

    Args:
        private: The key.
        passphrase: Encrypts it; None leaves it plain.
    """
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase),
    )


def read(content: bytes, passphrase: bytes | None, *, name: str, where: str) -> Ed25519PrivateKey:
    """
    Read a key from a file's content.

    Args:
        content: Of the file.
        passphrase: What it is encrypted under; None for a plain one.
        name: The file's, for the message.
        where: How a passphrase is given, for the message.

    Raises:
        SettingsError: It is no such key, holds two, or the passphrase does not
            open it.
    """
    if content.count(_BEGINS) > 1:
        raise SettingsError(f"{name} holds two keys: leave the one that signs the log")
    is_encrypted = b"ENCRYPTED" in content
    if is_encrypted and passphrase is None:
        raise SettingsError(f"{name} is encrypted: give its passphrase with {where}")
    if not is_encrypted and passphrase is not None and _BEGINS in content:
        raise SettingsError(
            f"{name} is not encrypted, but {where} gives a passphrase: encrypt it with"
            " openssl pkcs8 -topk8, or leave the passphrase out"
        )
    try:
        private = serialization.load_pem_private_key(content, password=passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"the passphrase does not open {name}"
            if is_encrypted
            else f"{name} is not a key: put it back from a backup"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"{name} is not an Ed25519 key: put it back from a backup")
    return private
