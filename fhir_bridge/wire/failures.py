"""Turns what goes wrong on the way into one sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass

import requests
import urllib3.exceptions

from fhir_bridge.errors import (
    BridgeError,
    CredentialRefused,
    DestinationUnreachable,
    ForeignLink,
    NotFhir,
    SettingsError,
    SourceUnreachable,
    Unreachable,
)
from fhir_bridge.wire.answer import Answer, Side


class AnswerLost(Unreachable):
    """The request went out and no whole answer came: it may have been done or not."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        """Keep whether the server may still be at work."""
        super().__init__(message)
        self.timed_out = timed_out


class _LostAtSource(AnswerLost, SourceUnreachable):
    """The source's answer was lost."""


class _LostAtDestination(AnswerLost, DestinationUnreachable):
    """The destination's answer was lost."""


TRANSPORT = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError)
"""Everything that the libraries below raise when a request fails on its way."""

_NOT_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
)


@dataclass(frozen=True, slots=True)
class Faults:
    """Words for one server's faults. They name the host, never a URL or a header."""

    side: Side
    host: str

    @property
    def who(self) -> str:
        """Return whose server this is, with its host."""
        whose = "first" if self.side is Side.SOURCE else "second"
        return f"the {whose} provider's server ({self.host})"

    def on_the_way(self, error: Exception) -> BridgeError:
        """Return what a failed request means, by what the library below raised."""
        if _is_tls(error):
            return SettingsError(
                f"the certificate or encryption of {self.who} was not accepted, so nothing was"
                " sent: check the address, and ask its operator for a valid certificate"
            )
        if _not_sent(error):
            return self.unreachable(
                f"{self.who} cannot be reached: check the address and whether it is running"
            )
        return self.lost(timed_out=_timed_out(error))

    def lost(self, *, timed_out: bool = False) -> AnswerLost:
        """Return that a request may or may not have been done."""
        text = f"{self.who} did not answer to the end: continue later with resume"
        kind = _LostAtSource if self.side is Side.SOURCE else _LostAtDestination
        return kind(text, timed_out=timed_out)

    def unreachable(self, text: str) -> Unreachable:
        """Return that waiting helps."""
        return SourceUnreachable(text) if self.side is Side.SOURCE else DestinationUnreachable(text)

    def in_answer(self, answer: Answer, accept: str) -> BridgeError | None:
        """Return what an answer means that no caller can use; None when it can be used."""
        if answer.status in {401, 403}:
            return self._refused(answer.status)
        if 300 <= answer.status < 400:  # noqa: PLR2004 - RFC 9110 15.4
            return ForeignLink(
                f"{self.who} sends the bridge elsewhere ({answer.status}), and the bridge follows"
                " no redirect: use the address that it leads to as the base"
            )
        if answer.status < 300 and "fhir+json" in accept and answer.body:  # noqa: PLR2004
            return self._not_json(answer)
        return None

    def _refused(self, status: int) -> CredentialRefused:
        if status == 401:  # noqa: PLR2004 - RFC 9110 15.5.2
            return CredentialRefused(
                f"{self.who} does not accept the credential (401): check it in fhir-bridge.toml"
            )
        return CredentialRefused(
            f"{self.who} does not allow this to the credential (403): ask its operator for the"
            " right to read or write what a transfer needs"
        )

    def _not_json(self, answer: Answer) -> NotFhir | None:
        kind = answer.media_type
        if "html" in kind or answer.body[:64].lstrip().lower().startswith((b"<!doctype", b"<html")):
            return NotFhir(
                f"{self.who} answered with a web page instead of FHIR, perhaps to sign in: check"
                " the base and the credential"
            )
        if "xml" in kind or answer.body[:64].lstrip().startswith(b"<"):
            return NotFhir(
                f"{self.who} answered in XML: the bridge needs a server that speaks JSON"
                " (application/fhir+json); ask its operator"
            )
        return None


def _is_tls(error: Exception) -> bool:
    return isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError)


def _timed_out(error: Exception) -> bool:
    return isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError)


def _not_sent(error: Exception) -> bool:
    """Tell whether the connection was never made, so that nothing can have been done."""
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.InvalidURL)):
        return True
    inner = error.args[0] if error.args else None
    reason = getattr(inner, "reason", inner)
    return isinstance(reason, _NOT_SENT) or isinstance(error, _NOT_SENT)
