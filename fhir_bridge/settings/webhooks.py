"""Who is told when a transfer changes, as the operator wrote it down: nobody else ever is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.addresses import checked_url, trusted
from fhir_bridge.settings.credentials import Secret, read_secret
from fhir_bridge.settings.tables import refuse_unknown

KEYS = frozenset({"name", "url", "secret_env", "secret_file", "events", "tenant", "ca_file"})

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """One target."""

    name: str
    """What the outbox and metrics know it by."""
    url: str
    secret: Secret
    events: tuple[str, ...] = ()
    """States that it is told of; empty for all."""
    tenant: str = ""
    """The organisation whose transfers it is told of, ``system|value``; empty for all."""
    ca_file: Path | None = None
    """Certificates to trust instead of the public ones."""

    def trusted(self) -> str | None:
        """
        Return the file of the certificates to trust; None for the public ones.

        Raises:
            SettingsError: It cannot be read.
        """
        return trusted(f"webhooks.{self.name}", self.ca_file)

    @property
    def host(self) -> str:
        """Return the host and port, which may be shown."""
        return urlsplit(self.url).netloc


def webhooks(value: Any) -> tuple[WebhookSettings, ...]:
    """
    Read the targets.

    Raises:
        SettingsError: It names the member that is wrong, missing or unknown.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise SettingsError("webhooks are written as [[webhooks]], one table for each target")
    read = tuple(_webhook(one) for one in value)
    names = [one.name for one in read]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"two webhooks have the name {twice[0]}")
    return read


def _webhook(entry: dict[str, Any]) -> WebhookSettings:
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.match(name):
        raise SettingsError("each of webhooks needs a name of small letters, digits and hyphens")
    where = f"webhooks.{name}"
    refuse_unknown(entry, KEYS, f"{where}.")
    if not entry.get("url"):
        raise SettingsError(f"{where} needs url")
    events = entry.get("events", [])
    if not isinstance(events, list) or not all(isinstance(one, str) for one in events):
        raise SettingsError(f"{where}.events is a list of states, e.g. ['closed', 'held']")
    return WebhookSettings(
        name=name,
        url=checked_url(f"{where}.url", entry["url"]),
        secret=read_secret(where, entry),
        events=tuple(events),
        tenant=str(entry.get("tenant", "")),
        ca_file=Path(str(entry["ca_file"])).expanduser() if "ca_file" in entry else None,
    )
