"""
How the bridge signs in at a server, as the operator wrote it down.

Nothing secret stands here: a secret is named by the variable or the file that
holds it, and a private key by its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.settings.tables import refuse_unknown

_SECRET = {"secret_env", "secret_file"}

KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "none": (frozenset(), frozenset()),
    "basic": (frozenset({"user"}), frozenset(_SECRET)),
    "bearer": (frozenset(), frozenset(_SECRET)),
}
"""Each kind, with the members it must have and those it may have besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret is to be found; it is read when it is needed."""

    env: str | None = None
    file: Path | None = None
    value: str | None = field(default=None, repr=False)
    """Of a server registered through the API, which the store keeps sealed."""

    def read(self, environ: Mapping[str, str]) -> str:
        """
        Return the secret.

        Raises:
            SettingsError: The variable is not set or the file cannot be read.
        """
        if self.value is not None:
            return self.value
        if self.env is not None:
            if not (value := environ.get(self.env)):
                raise SettingsError(f"environment variable {self.env} is not set")
            return value
        assert self.file is not None
        try:
            return self.file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the secret file {self.file} cannot be read") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSettings:
    """How the bridge signs in at a server; which members count depends on the kind."""

    kind: str = "none"
    """One of `KINDS`."""
    user: str = ""
    secret: Secret | None = None


def secret(where: str, entry: Mapping[str, Any], *, kept: str | None = None) -> Secret:
    """
    Read where a secret is to be found.

    Args:
        where: Named in the message.
        entry: A table with ``secret_env`` or ``secret_file``.
        kept: The secret itself when it stands in the store; the table then names none.

    Raises:
        SettingsError: Not exactly one is named.
    """
    env, file = entry.get("secret_env"), _path(entry.get("secret_file"))
    if [env, file, kept].count(None) != 2:  # noqa: PLR2004
        raise SettingsError(f"{where} needs one of secret_env and secret_file")
    return Secret(env=None if env is None else str(env), file=file, value=kept)


def credential(where: str, entry: Any, *, kept: str | None = None) -> CredentialSettings:
    """
    Read the credential of one server.

    Args:
        where: Named in the message.
        entry: The table.
        kept: Its secret when it stands in the store; the table then names none.

    Raises:
        SettingsError: It names the member that is wrong, missing or unknown.
    """
    if not isinstance(entry, dict):
        raise SettingsError(f"{where} must be a table")
    kind = str(entry.get("kind", "none"))
    if kind not in KINDS:
        raise SettingsError(f"{where}.kind is one of {', '.join(KINDS)}")
    required, optional = KINDS[kind]
    refuse_unknown(entry, required | optional | {"kind"}, f"{where}.")
    if missing := sorted(name for name in required if not entry.get(name)):
        raise SettingsError(f"{where} of kind {kind} needs {missing[0]}")
    return CredentialSettings(
        kind=kind,
        user=str(entry.get("user", "")),
        secret=secret(where, entry, kept=kept) if optional & _SECRET else None,
    )


def _path(value: Any) -> Path | None:
    return None if value is None else Path(str(value)).expanduser()
