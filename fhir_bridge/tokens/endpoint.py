"""
Where a token is asked for, and how.

The request carries a secret or a signed assertion, so it goes to one address
only, over TLS, and follows no redirect. Each attempt brings a new request: a
server refuses an assertion that it has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

from fhir_bridge.clock import Clock
from fhir_bridge.errors import BadRecord, CredentialRefused
from fhir_bridge.settings import ServerSettings
from fhir_bridge.tokens.answering import BYTES_MAX, Expected, Token, read_token
from fhir_bridge.wire import ONCE, Answer, AnswerLost, Limits, Side, Wire, retry_after_seconds

_ATTEMPTS = 3
_TOO_MANY = 429
_LIMITS = Limits(
    page_bytes_max=BYTES_MAX, read_seconds=10.0, header_seconds=15.0, total_seconds=20.0
)

Question = Callable[[], tuple[Mapping[str, str], Mapping[str, str]]]
"""Makes the form and the headers of one attempt."""


class TokenEndpoint:
    """One server's token endpoint."""

    def __init__(self, url: str, server: ServerSettings, *, side: Side, clock: Clock) -> None:
        """
        Make ready; nothing is sent.

        Args:
            url: The whole address.
            server: For whose records tokens are asked.
            side: Errors are named after it.
            clock: Tells the time and waits.
        """
        parts = urlsplit(url)
        self.url = url
        self.who = f"the token endpoint of {server.name} ({parts.netloc})"
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._target = parts.path + (f"?{parts.query}" if parts.query else "")
        self._server = server
        self._side = side
        self._clock = clock

    def ask(self, question: Question, expected: Expected) -> Token:
        """
        Ask for a token.

        Raises:
            CredentialRefused: None was given, or not what was asked.
            SettingsError: The address is plain http to another machine, or its
                certificate is not accepted.
            Unreachable: By side; nothing is known to be wrong with the credential.
            Throttled: The endpoint asks to wait longer than this call may.
        """
        wire = Wire(
            self._origin,
            side=self._side,
            limits=_LIMITS,
            clock=self._clock,
            ca_file=self._server.trusted(),
        )
        try:
            return read_token(self._answer(wire, question), expected)
        finally:
            wire.close()

    def _answer(self, wire: Wire, question: Question) -> Answer:
        for attempt in range(1, _ATTEMPTS + 1):
            answer = self._once(wire, question)
            if answer is not None and answer.status < 500 and answer.status != _TOO_MANY:  # noqa: PLR2004
                return answer
            if attempt < _ATTEMPTS:
                headers = {} if answer is None else answer.headers
                wire.patience.wait(retry_after_seconds(headers, self._clock.now()), attempt)
        raise wire.faults.unreachable(
            f"{self.who} does not answer: nothing is lost, continue later with resume"
        )

    def _once(self, wire: Wire, question: Question) -> Answer | None:
        """Return the answer of one attempt; None when it was lost on its way."""
        form, headers = question()
        try:
            answer = wire.exchange(
                "POST",
                self._target,
                body=urlencode(form).encode(),
                content_type="application/x-www-form-urlencoded",
                accept="application/json",
                headers=headers,
                retry=ONCE,
            )
        except AnswerLost:
            return None
        except BadRecord as error:
            raise CredentialRefused(
                f"{self.who} answered what is no token: check its address"
            ) from error
        if 300 <= answer.status < 400:  # noqa: PLR2004 - RFC 9110 15.4
            raise CredentialRefused(
                f"{self.who} sends the bridge elsewhere ({answer.status}), and the bridge follows"
                " no redirect: name the address that it leads to as token_url"
            )
        return answer
