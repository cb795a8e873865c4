"""
Signatures that a target can check with any library of Standard Webhooks.

Source:
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md,
    symmetric signatures (``v1``).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from datetime import datetime

from fhir_bridge.errors import SettingsError

_PREFIX = "whsec_"
_KEY_BYTES, _KEY_BYTES_MIN, _KEY_BYTES_MAX = 32, 24, 64


def new_secret() -> str:
    """Return a new secret, as it is written down at both ends."""
    return _PREFIX + base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def keys(text: str, where: str) -> tuple[bytes, ...]:
    """
    Read a target's secrets; while one is exchanged there are several.

    Args:
        text: ``whsec_…``, and others after white space.
        where: Named in the message.

    Raises:
        SettingsError: None, or one is not written as the convention says.
    """
    words = text.split()
    if not words:
        raise SettingsError(f"the secret of {where} is empty")
    return tuple(_key(word, where) for word in words)


def signed_headers(
    message_id: str, at: datetime, body: bytes, secrets: Sequence[bytes]
) -> Mapping[str, str]:
    """
    Return the headers that prove where a message comes from and when it was sent.

    Args:
        message_id: The same each time the message is sent.
        at: Now; a target refuses what is more than a few minutes old.
        body: The message.
        secrets: One signature is made with each.
    """
    moment = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), moment.encode(), body))
    signatures = (hmac.new(secret, content, hashlib.sha256).digest() for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(
            "v1," + base64.b64encode(signature).decode() for signature in signatures
        ),
    }


def _key(word: str, where: str) -> bytes:
    try:
        key = base64.b64decode(word.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(where) from error
    if not word.startswith(_PREFIX) or not _KEY_BYTES_MIN <= len(key) <= _KEY_BYTES_MAX:
        raise _malformed(where)
    return key


def _malformed(where: str) -> SettingsError:
    return SettingsError(
        f"the secret of {where} is not whsec_ and {_KEY_BYTES_MIN} to {_KEY_BYTES_MAX} bytes in"
        " base64: make one with fhir-bridge webhooks new-secret FILE"
    )
