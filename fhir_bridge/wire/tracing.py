"""What joins a server's log with ours: one id for all requests of a transfer's attempt."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}\Z")
_SPAN_BYTES = 8


def trace_headers(trace: str, span: str = "") -> Mapping[str, str]:
    """
    Return the headers of one request.

    Args:
        trace: The trace's id; empty for a request of no transfer.
        span: The request's own id, when it has one.

    Source:
        https://www.w3.org/TR/trace-context/#traceparent-header. Each request
        is a span of its own, and asks to be recorded.
    """
    if not trace:
        return {}
    headers = {"X-Request-Id": trace}
    if _TRACE.match(trace):
        headers["traceparent"] = f"00-{trace}-{span or _span()}-01"
    return headers


def _span() -> str:
    """A span's id is never all zeros."""
    while not any(span := os.urandom(_SPAN_BYTES)):
        continue
    return span.hex()
