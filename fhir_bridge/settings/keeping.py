"""Where the bridge keeps its memory, as the operator wrote it down."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.credentials import Secret
from fhir_bridge.settings.tables import refuse_unknown, table

LOG_ORIGIN = "fhir-bridge.localhost"
"""Names a log that is begun without ``log.origin``."""
_UNIX = "unix:"


_PROCESS_CHARACTERS_MAX = 40
"""PostgreSQL keeps 63 bytes of the name of a session."""


def process_name() -> str:
    """Return what this process is called where others see it; no other one is called so."""
    return f"{os.getpid()}@{socket.gethostname()}"[:_PROCESS_CHARACTERS_MAX]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The signed log."""

    origin: str = ""
    """Host in the log's name; empty: as the store has it already."""
    passphrase: Secret | None = None
    """What the key file is encrypted under; None for a plain one."""
    signer: Path | None = None
    """Socket of the process that has the key; None for a key file."""


def read_log(tree: Mapping[str, Any]) -> LogSettings:
    """
    Read the table ``log``.

    Raises:
        SettingsError: A setting is wrong; the message names it.
    """
    found = table(tree, "log")
    refuse_unknown(found, {"origin", "passphrase_env", "passphrase_file", "signer"}, "log.")
    env, file = found.get("passphrase_env"), found.get("passphrase_file")
    if env is not None and file is not None:
        raise SettingsError("log.passphrase_env and log.passphrase_file are both set: keep one")
    secret = None
    if env is not None or file is not None:
        secret = Secret(
            env=None if env is None else str(env),
            file=None if file is None else Path(str(file)).expanduser(),
        )
    signer = found.get("signer")
    if signer is not None and not str(signer).startswith(_UNIX):
        raise SettingsError("log.signer is unix:/PATH, the socket of audit signer")
    if signer is not None and secret is not None:
        raise SettingsError("log.signer and a passphrase are both set: the signer has the key")
    return LogSettings(
        origin=str(found.get("origin", "")),
        passphrase=secret,
        signer=None if signer is None else Path(str(signer).removeprefix(_UNIX)),
    )


def read_database(tree: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """
    Return the URL of the store's database; empty for SQLite in the store's folder.

    Args:
        tree: The settings, with ``database`` or ``database_env``.
        environ: The environment.

    Raises:
        SettingsError: Both are set, the variable is not, or the file holds a password.
    """
    if "database" in tree and "database_env" in tree:
        raise SettingsError("database and database_env are both set: keep one")
    if "database_env" in tree:
        return Secret(env=str(tree["database_env"])).read(environ)
    url = str(tree.get("database", ""))
    user, at, _ = url.partition("://")[2].rpartition("@")
    if (at and ":" in user) or "password=" in url:
        raise SettingsError(
            "database holds a password: put the URL into a variable and name it with database_env"
        )
    return url
