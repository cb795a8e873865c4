"""
Spans for OpenTelemetry, which cannot hold a patient's data: only what is listed gets in.

Nothing of OpenTelemetry is imported before `configure` finds that the operator
wants spans and has installed ``fhir-bridge[otel]``. The provider is ours alone
and not the process's: no library can add a span or an attribute to what leaves.
A span bears the trace's id that stands in our logs and in ``traceparent``; no
URL, no header, no text of an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from importlib.metadata import entry_points
from threading import Lock
from typing import TYPE_CHECKING, Any

from fhir_bridge.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

_WORD = re.compile(r"[a-z][a-z0-9_.\-]{0,63}\Z")
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\Z")
_NUMBER = re.compile(r"[0-9]{1,6}\Z")
ATTRIBUTES = {
    "error.type": _WORD,
    "fhir_bridge.attempt": _NUMBER,
    "fhir_bridge.operation": _WORD,
    "fhir_bridge.side": re.compile(r"(source|destination|other)\Z"),
    "fhir_bridge.state": _WORD,
    "fhir_bridge.transfer": _UUID,
    "http.request.method": re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)\Z"),
    "http.response.status_code": _NUMBER,
}
"""What a span may say, and how it must look; what does not is left out."""

_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}\Z")
_GROUP = "opentelemetry_traces_exporter"
_OTLP = {"": "otlp_proto_http", "http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_FAULT_FROM = 500


class Kind(StrEnum):
    """What a span stands for."""

    REQUEST = "request"
    """One that was made of the service."""
    TRANSFER = "transfer"
    """One turn of a transfer."""
    CALL = "call"
    """One request of ours to another server."""


class Span:
    """One span; where no spans are wanted, nothing."""

    def __init__(self, span: Any = None) -> None:
        """Take what the library made."""
        self._span = span

    @property
    def id(self) -> str:
        """Return its id as ``traceparent`` has it; empty where there is none."""
        return "" if self._span is None else f"{self._span.get_span_context().span_id:016x}"

    def say(self, **attributes: object) -> None:
        """
        Add attributes.

        Args:
            **attributes: Of `ATTRIBUTES`, with ``__`` for a point; None says nothing.
        """
        if self._span is None:
            return
        for name, value in attributes.items():
            key = name.replace("__", ".")
            allowed = ATTRIBUTES.get(key)
            if value is not None and allowed is not None and allowed.match(str(value)):
                plain = value if isinstance(value, int) else str(value)
                self._span.set_attribute(key, plain)

    def named(self, operation: str) -> None:
        """Give it an operation's name."""
        if self._span is not None and _WORD.match(operation):
            self._span.update_name(operation)
            self.say(fhir_bridge__operation=operation)

    def answered(self, status: int) -> None:
        """Say how it was answered."""
        self.say(http__response__status_code=status)
        if status >= _FAULT_FROM:
            self.failed(str(status))

    def failed(self, what: str) -> None:
        """Say that it failed."""
        if self._span is None:
            return
        from opentelemetry.trace import StatusCode

        self.say(error__type=what)
        self._span.set_status(StatusCode.ERROR)


class _Spans:
    """The tracer, and which span is open for a trace in this process."""

    def __init__(self, processor: SpanProcessor, resource: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        wanted: ContextVar[str] = ContextVar("wanted", default="")

        class Ids(RandomIdGenerator):
            def generate_trace_id(self) -> int:
                return int(wanted.get(), 16) if wanted.get() else super().generate_trace_id()

        self._wanted = wanted
        self._provider = TracerProvider(
            resource=Resource.create(dict(resource)), id_generator=Ids()
        )
        self._provider.add_span_processor(processor)
        self._tracer: Tracer = self._provider.get_tracer("fhir-bridge")
        self._open: dict[str, str] = {}
        self._lock = Lock()

    def close(self) -> None:
        self._provider.shutdown()

    @contextmanager
    def begun(self, kind: Kind, trace: str, parent: str) -> Iterator[Span]:
        span = Span(self._started(kind, trace, parent or self._open.get(trace, "")))
        if trace and kind is not Kind.CALL:
            with self._lock:
                self._open[trace] = span.id
        try:
            yield span
        except BaseException as error:
            span.failed(type(error).__name__.lower())
            raise
        finally:
            with self._lock:
                if self._open.get(trace) == span.id:
                    del self._open[trace]
            span._span.end()  # noqa: SLF001 - it is one of us

    def _started(self, kind: Kind, trace: str, parent: str) -> Any:
        """Begin a span of a trace, below another one where that is known."""
        from opentelemetry import trace as library
        from opentelemetry.context import Context

        kinds = {Kind.REQUEST: library.SpanKind.SERVER, Kind.CALL: library.SpanKind.CLIENT}
        context = Context()
        if parent:
            above = library.SpanContext(
                trace_id=int(trace, 16),
                span_id=int(parent, 16),
                is_remote=True,
                trace_flags=library.TraceFlags(library.TraceFlags.SAMPLED),
            )
            context = library.set_span_in_context(library.NonRecordingSpan(above), context)
        token = self._wanted.set(trace)
        try:
            return self._tracer.start_span(
                str(kind), context, kinds.get(kind, library.SpanKind.INTERNAL)
            )
        finally:
            self._wanted.reset(token)


_NOTHING = Span()
_spans: list[_Spans] = []
"""None, or the one that is in force."""


@contextmanager
def begun(kind: Kind, trace: str, *, parent: str = "") -> Iterator[Span]:
    """
    Begin a span, and end it.

    Args:
        kind: What it stands for.
        trace: 32 hexadecimal digits; a trace of its own without them.
        parent: Id of the caller's span, 16 hexadecimal digits.

    Returns:
        To be told what became of it. An exception is named by its class.
    """
    if not _spans:
        yield _NOTHING
        return
    known = trace if _TRACE.match(trace) else ""
    with _spans[-1].begun(kind, known, parent if known else "") as span:
        yield span


def wanted(environ: Mapping[str, str]) -> bool:
    """Tell whether the operator wants spans."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    return named != "none" and bool(named or any(environ.get(one) for one in _ENDPOINTS))


def configure(environ: Mapping[str, str]) -> bool:
    """
    Send spans where the operator wants them, from now on.

    Args:
        environ: ``OTEL_TRACES_EXPORTER`` or ``OTEL_EXPORTER_OTLP_ENDPOINT`` says
            that spans are wanted; the library reads the rest of ``OTEL_*`` by itself.

    Raises:
        SettingsError: They are wanted, and there is nothing to send them with.

    Source:
        https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if not wanted(environ):
        return False
    name = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if name == "otlp":
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", ""
        )
        name = _OTLP.get(protocol.strip(), "")
    found = [one for one in entry_points(group=_GROUP) if one.name == name]
    try:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = found[0].load()()
    except (ImportError, IndexError) as error:
        raise SettingsError(
            "OTEL_* asks for spans, and there is no such exporter here: pip install"
            " 'fhir-bridge[otel]' has otlp over http/protobuf; OTEL_SDK_DISABLED=true sends none"
        ) from error
    start(BatchSpanProcessor(exporter), environ)
    return True


def start(processor: SpanProcessor, environ: Mapping[str, str]) -> None:
    """Give every span to a processor, from now on; one that was there before is closed."""
    stop()
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    _spans.append(_Spans(processor, {} if named else {"service.name": "fhir-bridge"}))


def stop() -> None:
    """Send what waits, and no more after it."""
    while _spans:
        _spans.pop().close()
