"""What an address tells about where a server is."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhir_bridge.errors import SettingsError


def is_loopback(host: str | None) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def checked_url(where: str, value: Any) -> str:
    """
    Return an address that something secret or signed may be sent to.

    Args:
        where: Named in the message.
        value: As it was read.

    Raises:
        SettingsError: Plain http to another machine, user info, or no URL.
    """
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{where} is not a URL") from error
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise SettingsError(f"{where} starts with https:// (or http:// on this machine)")
    if not host or "@" in parts.netloc or parts.fragment or not value.isprintable():
        raise SettingsError(f"{where} names a host, and holds neither user nor fragment")
    return str(value)


def trusted(where: str, ca_file: Path | None) -> str | None:
    """
    Return the file of the certificates to trust; None for the public ones.

    Args:
        where: Named in the message.
        ca_file: As the operator named it.

    Raises:
        SettingsError: It cannot be read, or holds none.
    """
    if ca_file is None:
        return None
    try:
        ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError(f"{where}.ca_file {ca_file} holds no certificates as PEM") from error
    return str(ca_file)
