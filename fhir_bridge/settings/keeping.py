"""Where the bridge keeps its memory, as the operator wrote it down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.credentials import Secret


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
