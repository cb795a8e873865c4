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
from fhir_bridge.settings.addresses import checked_url
from fhir_bridge.settings.tables import refuse_unknown

_SECRET = {"secret_env", "secret_file"}

KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "none": (frozenset(), frozenset()),
    "basic": (frozenset({"user"}), frozenset(_SECRET)),
    "bearer": (frozenset(), frozenset(_SECRET)),
    "client-credentials": (
        frozenset({"client_id", "token_url"}),
        frozenset({"scopes", "method"} | _SECRET),
    ),
    "smart": (frozenset({"client_id", "scopes", "key_file"}), frozenset({"kid", "token_url"})),
    "mtls": (frozenset({"certificate_file", "key_file"}), frozenset()),
}
"""Each kind, with the members it must have and those it may have besides."""

METHODS = ("basic", "post")
_SCOPE_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F))) - {'"', "\\"}


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
    """A password, a token, or a private key as PEM."""
    client_id: str = ""
    token_url: str = ""
    """Empty: a SMART server is asked for it."""
    scopes: tuple[str, ...] = ()
    method: str = "basic"
    """Where OAuth2 client credentials stand: in a header (``basic``) or the form (``post``)."""
    kid: str = ""
    """Empty: the key's thumbprint."""
    certificate_file: Path | None = None


def read_secret(where: str, entry: Mapping[str, Any], *, kept: str | None = None) -> Secret:
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
    if kind == "smart" and kept is not None:
        required -= {"key_file"}
    refuse_unknown(entry, required | optional | {"kind"}, f"{where}.")
    if missing := sorted(name for name in required if not entry.get(name)):
        raise SettingsError(f"{where} of kind {kind} needs {missing[0]}")
    method = str(entry.get("method", METHODS[0]))
    if method not in METHODS:
        raise SettingsError(f"{where}.method is one of {', '.join(METHODS)}")
    return CredentialSettings(
        kind=kind,
        user=str(entry.get("user", "")),
        secret=_secret(where, entry, kind, kept),
        client_id=_line(f"{where}.client_id", entry.get("client_id", "")),
        token_url=_token_url(where, entry),
        scopes=_scopes(f"{where}.scopes", entry.get("scopes", [])),
        method=method,
        kid=_line(f"{where}.kid", entry.get("kid", "")),
        certificate_file=_path(entry.get("certificate_file")),
    )


def _secret(where: str, entry: Mapping[str, Any], kind: str, kept: str | None) -> Secret | None:
    if kind in {"smart", "mtls"}:
        return Secret(file=_path(entry.get("key_file")), value=kept)
    return read_secret(where, entry, kept=kept) if KINDS[kind][1] & _SECRET else None


def _path(value: Any) -> Path | None:
    return None if value is None else Path(str(value)).expanduser()


def _line(where: str, value: Any) -> str:
    """An id goes into a header or a claim as it is."""
    if not isinstance(value, str) or not value.isprintable():
        raise SettingsError(f"{where} is one line of text")
    return value


def _scopes(where: str, value: Any) -> tuple[str, ...]:
    """RFC 6749 3.3: each is one word, and they are sent with a space between them."""
    if not isinstance(value, list) or not all(_is_scope(one) for one in value):
        raise SettingsError(f"{where} is a list of words, e.g. ['system/*.rs']")
    return tuple(dict.fromkeys(value))


def _is_scope(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and _SCOPE_CHARACTERS.issuperset(value)


def _token_url(where: str, entry: Mapping[str, Any]) -> str:
    """The client's secret or assertion goes there."""
    value = entry.get("token_url", "")
    return "" if value == "" else checked_url(f"{where}.token_url", value)
