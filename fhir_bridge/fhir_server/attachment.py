"""
The bytes behind an Attachment.url.

Fetched from the server's own base only: the credential travels along. A Binary
is asked for as FHIR JSON, so that its other elements are seen too.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from fhir_bridge.errors import MalformedJson, OversizedAnswer
from fhir_bridge.fhir_server import read as reading
from fhir_bridge.fhir_server.outcome import Absent
from fhir_bridge.records import RecordRef, Resource
from fhir_bridge.wire import Wire

_BINARY = re.compile(
    r"(?P<ref>Binary/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>(?!\.{1,2}\Z)[A-Za-z0-9\-.]{1,64}))?\Z"
)
_ROOM_BYTES = 64 * 1024
"""What a Binary's JSON holds beside its data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentBytes:
    """What is behind an attachment's URL."""

    data: bytes
    content_type: str | None
    """What the server says they are."""
    binary: Resource | None
    """The Binary as received; None when the URL is no Binary."""


def fetch(wire: Wire, url: str, content_type: str | None, *, bytes_max: int) -> AttachmentBytes:
    """
    Fetch an attachment.

    Args:
        wire: To the server that sent the URL.
        url: As the record holds it.
        content_type: What the record says the bytes are.
        bytes_max: Longest bytes to take.

    Raises:
        Absent: 404 or 410.
        ForeignLink: It leads to another server, or outside the base; not asked.
        OversizedAnswer: More than `bytes_max`.
        MalformedJson: A Binary whose data is no base64, or a web page instead
            of what the record promises.
        SourceUnreachable: Try again later.
    """
    where = wire.follow(url)
    match = _BINARY.match(where.removeprefix(wire.base).lstrip("/"))
    if match is None:
        return _plain(wire, where, content_type, bytes_max)
    ref = RecordRef(match["ref"])
    binary = reading.read(
        wire, ref, version=match["version"] or "", bytes_max=bytes_max * 4 // 3 + _ROOM_BYTES
    )
    content = binary.content()
    data = _decoded(ref, content.get("data", ""))
    if len(data) > bytes_max:
        raise OversizedAnswer(f"{ref} holds more than {bytes_max} bytes")
    said = content.get("contentType")
    return AttachmentBytes(
        data=data, content_type=said if isinstance(said, str) else None, binary=binary
    )


def _plain(wire: Wire, url: str, content_type: str | None, bytes_max: int) -> AttachmentBytes:
    # HAPI 8.8.0 takes a Content-Type on a GET for an Accept, so none is sent (seen 2026-11).
    accept = f"{content_type}, */*;q=0.8" if _is_media_type(content_type) else "*/*"
    answer = wire.request("GET", url, accept=accept, bytes_max=max(bytes_max, 1))
    if answer.status in {404, 410}:
        raise Absent(None, gone=answer.status == 410)  # noqa: PLR2004 - RFC 9110 15.5.11
    if answer.status != 200:  # noqa: PLR2004 - RFC 9110 15.3.1
        raise reading.unexpected(wire, None, answer)
    if answer.media_type == "text/html" and "html" not in (content_type or ""):
        raise MalformedJson(
            f"{wire.faults.who} gave a web page, perhaps to sign in, instead of an attachment"
        )
    return AttachmentBytes(data=answer.body, content_type=answer.media_type or None, binary=None)


def _is_media_type(text: str | None) -> bool:
    return (
        text is not None
        and re.fullmatch(r"[\w.+-]{1,60}/[\w.+-]{1,80}", text, re.ASCII) is not None
    )


def _decoded(ref: RecordRef, data: object) -> bytes:
    if not isinstance(data, str):
        raise MalformedJson(f"the data of {ref} are not base64")
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (ValueError, binascii.Error) as error:
        raise MalformedJson(f"the data of {ref} are not base64") from error
