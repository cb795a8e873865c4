"""
One server's connections: keep-alive, bounded, and never led astray.

No redirects, no proxies or netrc of the environment, no cookies, and never
``Cache-Control: no-store`` (HAPI 8.8.0 then answers the first 100 matches as
if they were all, seen 2026-11).
"""

from __future__ import annotations

import copy
import gzip
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from threading import Lock
from typing import Any, TypedDict, Unpack
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3

from fhir_bridge import spans
from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError, ForeignLink, Throttled
from fhir_bridge.wire import links
from fhir_bridge.wire.answer import Answer, Body, Limits, OverTotal, Side, Told
from fhir_bridge.wire.credential import Credential, NoCredential
from fhir_bridge.wire.failures import TRANSPORT, AnswerLost, Faults
from fhir_bridge.wire.gate import LEAVE_ALONE, Gate
from fhir_bridge.wire.patience import PATIENT, Patience, Retry, http_date, retry_after_seconds
from fhir_bridge.wire.sockets import Adapter
from fhir_bridge.wire.tracing import trace_headers

FHIR_JSON = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"

_POOL = 16
_PIECE_BYTES = 64 * 1024
_GZIP_FROM_BYTES = 64 * 1024
_UNREACHABLE_ATTEMPTS = 3
_ALWAYS = {"Accept-Encoding": "gzip", "User-Agent": "fhir-bridge"}

Params = Mapping[str, str | Sequence[str]]

# It writes each URL with its query at debug level.
urllib3.connectionpool.log.disabled = True


class Parts(TypedDict, total=False):
    """What a request has besides method, target and what it accepts."""

    params: Params | None
    """Query."""
    body: bytes | None
    """Not compressed."""
    content_type: str
    """Of the body; default: FHIR JSON."""
    headers: Mapping[str, str] | None
    """More of them."""
    read_seconds: float | None
    """Silence to bear."""
    bytes_max: int | None
    """Longest answer."""
    retry: Retry
    """What is tried again; default: patient."""


class Wire:
    """Speaks HTTP to one server, and to no other."""

    trace: str = ""
    """What joins the server's log with ours; set on a view (`traced`)."""

    def __init__(  # noqa: PLR0913 - what may differ between servers
        self,
        base: str,
        *,
        side: Side,
        credential: Credential | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        insecure: bool = False,
        ca_file: str | None = None,
        on_request: Told | None = None,
        gate: Gate | None = None,
    ) -> None:
        """
        Make ready; nothing is sent.

        Args:
            base: The FHIR base, as the operator wrote it.
            side: Which provider's server it is.
            credential: What is shown with each request.
            limits: How long and how much.
            clock: Tells the time and waits.
            insecure: Plain http is allowed (never with a credential).
            ca_file: Certificates to trust instead of the public ones.
            on_request: Is told method and kind before each request.
            gate: Passed with each request, by every process that asks this server.

        Raises:
            SettingsError: The base is none, or plain http is not allowed.
        """
        self._credential = shown = credential or NoCredential()
        self.base = links.normalised_base(base, insecure=insecure, with_credential=shown.secret)
        self.side = side
        self.limits = limits or Limits()
        self.clock = clock or Clock()
        self.faults = Faults(side, urlsplit(self.base).netloc)
        self.patience = self._new_patience()
        self.server_time: tuple[datetime, datetime] | None = None
        """The newest Date header, and our time when it came."""
        self.gzip_requests = False
        """Set when the server is known to accept compressed requests."""
        self._told = on_request
        self._gate = gate
        self._verify: bool | str = ca_file or True
        self._session = _session(self.limits)
        self._read_bytes = 0
        self._lock = Lock()

    def request(
        self, method: str, target: str, *, accept: str = FHIR_JSON, **parts: Unpack[Parts]
    ) -> Answer:
        """
        Ask the server and read its answer to the end.

        Args:
            method: GET, POST or PUT.
            target: Relative to the base (empty for itself), or a link of an answer.
            accept: With FHIR JSON, a web page or XML is an error.
            **parts: What else the request has.

        Raises:
            Unreachable: By side; `AnswerLost` when it may have been done.
            Throttled: The server asks to wait longer than this call may.
            CredentialRefused: 401 or 403, or no token was given.
            NotFhir: A web page, or XML.
            OversizedAnswer: The connection was closed.
            ForeignLink: `target` or a redirect leads to another server.
        """
        answer = self.exchange(method, target, accept=accept, **parts)
        if (fault := self.faults.in_answer(answer, accept)) is not None:
            raise fault
        return answer

    def exchange(
        self, method: str, target: str, *, accept: str = FHIR_JSON, **parts: Unpack[Parts]
    ) -> Answer:
        """
        Ask like `request`, and return the answer whatever it means.

        A 401 is asked again once when the credential can be renewed: it says
        that nothing was done.

        Args:
            method: GET, POST or PUT.
            target: Relative to the base (empty for itself), or a link of an answer.
            accept: Media type wanted.
            **parts: What else the request has.

        Raises:
            Unreachable: By side; `AnswerLost` when it may have been done.
            Throttled: The server asks to wait longer than this call may.
            OversizedAnswer: The connection was closed.
            ForeignLink: `target` leads to another server.
        """
        body, retry = parts.get("body"), parts.get("retry", PATIENT)
        url = self._url(target, parts.get("params"))
        wanted = {**_ALWAYS, "Accept": accept, **(parts.get("headers") or {})}
        if body is not None:
            wanted["Content-Type"] = parts.get("content_type", FHIR_JSON)
        packed = self._packed(body, wanted)
        shown: Mapping[str, str] = {}

        def once() -> Answer:
            nonlocal shown
            shown = self._credential.headers()
            limits = parts.get("read_seconds"), parts.get("bytes_max")
            with spans.begun(spans.Kind.CALL, self.trace) as span:
                span.say(http__request__method=method, fhir_bridge__side=self.side)
                headers = {**wanted, **trace_headers(self.trace, span.id), **shown}
                answer = self._once(method, url, packed, headers, *limits)
                span.answered(answer.status)
            return answer

        answer = self._with_retries(once, retry)
        if answer.status == 401 and self._credential.renew(shown):  # noqa: PLR2004 - RFC 9110 15.5.2
            answer = self._with_retries(once, retry)
        return answer

    def traced(self, request_id: str) -> Wire:
        """
        Return the same connections, for requests that bear an id of their own.

        Args:
            request_id: 32 hexadecimal digits, sent as ``X-Request-Id`` and as the
                trace's id in ``traceparent``; joins the server's log with ours.
        """
        view = copy.copy(self)
        view.trace = request_id
        return view

    def fresh(self) -> Wire:
        """Return the same connections, with all of the limits still to be used."""
        view = copy.copy(self)
        view.patience = self._new_patience()
        view._read_bytes = 0  # noqa: SLF001 - it is one of us
        view._lock = Lock()  # noqa: SLF001 - it is one of us
        return view

    def _new_patience(self) -> Patience:
        return Patience(
            self.clock,
            who=self.faults.who,
            each_max=self.limits.wait_seconds_max,
            all_max=self.limits.waits_seconds_max,
        )

    def follow(self, link: str) -> str:
        """
        Return the URL of a link in this server's answer.

        Raises:
            ForeignLink: It leads elsewhere.
        """
        return links.follow(self.base, link)

    def page(self, link: str, asked: str) -> str:
        """
        Return the URL of a page link, also when a proxy wrote another host into it.

        Args:
            link: As the server wrote it.
            asked: What was asked first, relative to the base.

        Raises:
            ForeignLink: It leads elsewhere and cannot be a page of ours.
        """
        try:
            return links.follow(self.base, link)
        except ForeignLink:
            return links.rebuild(self.base, link, asked)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _packed(self, body: bytes | None, headers: dict[str, str]) -> bytes | None:
        """Compress a long body where that is known to be taken."""
        if body is None or not self.gzip_requests or len(body) < _GZIP_FROM_BYTES:
            return body
        headers["Content-Encoding"] = "gzip"
        return gzip.compress(body, 1, mtime=0)

    def _url(self, target: str, params: Params | None) -> str:
        url = links.follow(self.base, target) if target else self.base
        if params:
            query = urlencode(params, doseq=True, quote_via=quote, safe=",:/")
            url = f"{url}?{query}"
        return url

    def _with_retries(self, once: Callable[[], Answer], retry: Retry) -> Answer:
        for attempt in range(1, retry.attempts + 1):
            last = attempt == retry.attempts
            try:
                answer = once()
            except BridgeError as error:
                if last or not self._may_resend(error, attempt, retry):
                    raise
                self.patience.wait(None, attempt)
                continue
            if answer.status not in retry.statuses:
                return answer
            asked = retry_after_seconds(answer.headers, self.clock.now())
            if last:
                raise self._given_up(answer.status, asked)
            self.patience.wait(asked, attempt)
        raise self.faults.lost()

    def _may_resend(self, error: BridgeError, attempt: int, retry: Retry) -> bool:
        """Tell whether asking again can help and cannot do the same thing twice."""
        if isinstance(error, Throttled) or not error.retryable or attempt >= _UNREACHABLE_ATTEMPTS:
            return False
        return retry.resend or not isinstance(error, AnswerLost)

    def _given_up(self, status: int, asked: float | None) -> BridgeError:
        text = f"{self.faults.who} still answers {status}: nothing is lost, continue with resume"
        if status == 429:  # noqa: PLR2004 - RFC 6585 4
            return Throttled(text, wait_seconds=asked or 0.0)
        return self.faults.unreachable(text)

    def _once(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        read_seconds: float | None,
        bytes_max: int | None,
    ) -> Answer:
        self.patience.hold()
        if self._gate is None:
            return self._sent(method, url, body, headers, read_seconds, bytes_max)
        with self._gate.passing():
            answer = self._sent(method, url, body, headers, read_seconds, bytes_max)
        if answer.status in LEAVE_ALONE:
            asked = retry_after_seconds(answer.headers, self.clock.now())
            if asked:
                self._gate.push_back(asked)
        return answer

    def _sent(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        read_seconds: float | None,
        bytes_max: int | None,
    ) -> Answer:
        if self._told is not None:
            self._told(method, _kind(self.base, url))
        started = self.clock.monotonic()
        timeout = (self.limits.connect_seconds, read_seconds or self.limits.read_seconds)
        try:
            asked = requests.Request(method, url, headers, data=body).prepare()
            response = self._session.send(
                asked,
                stream=True,
                allow_redirects=False,
                timeout=timeout,
                verify=self._verify,
                cert=self._credential.certificate,
            )
            try:
                content = self._read(response, started, read_seconds, bytes_max)
            except BaseException:
                response.raw.close()  # the rest of this answer must not begin the next one
                raise
            response.raw.release_conn()
        except TRANSPORT as error:
            raise self.faults.on_the_way(error) from error
        return self._answer(response, content, started)

    def _read(
        self,
        response: requests.Response,
        started: float,
        read_seconds: float | None,
        bytes_max: int | None,
    ) -> bytes:
        encoding = response.headers.get("Content-Encoding", "")
        body = Body(encoding, bytes_max or self.limits.page_bytes_max)
        deadline = started + max(self.limits.total_seconds, read_seconds or 0.0)
        raw: Any = response.raw
        while piece := raw.read1(_PIECE_BYTES, decode_content=False):
            body.add(piece)
            if self.clock.monotonic() > deadline:
                raise self.faults.lost()
        content = body.end()
        with self._lock:
            self._read_bytes += len(content)
        if self._read_bytes > self.limits.total_bytes_max:
            raise OverTotal(
                f"{self.faults.who} has sent more than {self.limits.total_bytes_max // 2**20} MiB"
                " in all: narrow the transfer with --kinds"
            )
        return content

    def _answer(self, response: requests.Response, content: bytes, started: float) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        if (moment := http_date(headers.get("date", ""))) is not None:
            self.server_time = (moment, self.clock.now())
        return Answer(
            status=response.status_code,
            headers=headers,
            body=content,
            seconds=self.clock.monotonic() - started,
        )


def _session(limits: Limits) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = Adapter(connections=_POOL, header_seconds_max=limits.header_seconds)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _kind(base: str, url: str) -> str:
    """Name what is asked without saying about whom."""
    path = url.partition("?")[0].removeprefix(base).strip("/")
    first, _, rest = path.partition("/")
    operation = rest.rpartition("/")[2]
    return operation if operation.startswith("$") else first
