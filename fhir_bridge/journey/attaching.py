"""
Fetch the attachments that released records show: bytes, once per URL.

Those of a withheld record are never fetched. Bytes stay in memory, under a cap,
and what a hash promised is checked before anything is sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from fhir_bridge import lossless
from fhir_bridge.errors import ForeignLink, OversizedAnswer
from fhir_bridge.fhir_server import Absent, AttachmentBytes, FhirServer
from fhir_bridge.journey.deciding import Decided, Decisions
from fhir_bridge.journey.examining import Shown
from fhir_bridge.journey.gathering import Found
from fhir_bridge.manifest import Decision, Gap
from fhir_bridge.records import RecordRef, Resource, Sha256
from fhir_bridge.references import Foreign, Local, target

ATTACHMENT_BYTES_MAX = 32 * 2**20
"""One attachment. Larger ones are a named gap; they would not fit a FHIR server either."""

TRANSFER_BYTES_MAX = 256 * 2**20
"""All attachments of a transfer: they are held in memory, never in a file."""

_SHA1_BYTES, _SHA256_BYTES = 20, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The bytes behind one URL."""

    ref: RecordRef
    """``Binary/x``, or the holder and path when the URL is no FHIR resource."""
    url: str
    data: bytes
    content_type: str
    binary: Resource | None
    """The Binary as received, when the URL is one."""
    holder: RecordRef

    @property
    def digest(self) -> Sha256:
        """Return the SHA-256 of the bytes."""
        return Sha256(hashlib.sha256(self.data).hexdigest())


@dataclass(slots=True)
class Attachments:
    """What the released records show, as far as it could be had."""

    by_url: dict[str, Attached] = field(default_factory=dict[str, Attached])
    unobtained: set[str] = field(default_factory=set[str])
    """URLs at the source that gave nothing: their copies must not dangle."""
    gaps: list[Gap] = field(default_factory=list[Gap])
    holds: dict[RecordRef, Decided] = field(default_factory=dict[RecordRef, Decided])
    notes: dict[RecordRef, str] = field(default_factory=dict[RecordRef, str])
    """What was seen about a hash that does not stop the record."""


def fetch(server: FhirServer, found: Found, decisions: Decisions, have: Attachments) -> Attachments:
    """
    Fetch what the released records show.

    Args:
        server: The source.
        found: What was gathered.
        decisions: Only released resources are looked at.
        have: What an earlier round fetched; nothing is fetched twice.

    Returns:
        The attachments with gaps for what could not be had, and holds for
        records whose hash differs from the bytes.

    Raises:
        SourceUnreachable: Try again later.
    """
    total = sum(len(one.data) for one in have.by_url.values())
    for ref, shown in _to_fetch(found, decisions):
        assert shown.url is not None
        if shown.url in have.unobtained:
            continue
        where = target(shown.url, server.base)
        if isinstance(where, Foreign):
            _gap(
                have, shown, ref, "foreign-link", "lies at another server, which is not registered"
            )
            continue
        if shown.url not in have.by_url:
            one = _get(server, ref, shown, have, TRANSFER_BYTES_MAX - total)
            if one is None:
                continue
            have.by_url[shown.url] = one
            total += len(one.data)
        _check_hash(have, ref, shown, have.by_url[shown.url].data)
    return have


def hash_verdict(promised: str, data: bytes) -> str:
    """
    Compare bytes with the hash that a record promises for them.

    Args:
        promised: Attachment.hash as the source wrote it.
        data: The bytes.

    Returns:
        ``equal`` (SHA-1, base64 as R4 says, or hexadecimal), ``equal-sha256``,
        ``not-understood`` (neither form), or ``differs`` (a well-formed SHA-1
        of other bytes).

    Source:
        https://hl7.org/fhir/R4/datatypes.html#Attachment; accepting the other
        forms is our own rule, because real servers write them.
    """
    for raw in _readings(promised):
        if len(raw) == _SHA1_BYTES:
            same = raw == hashlib.sha1(data, usedforsecurity=False).digest()
            return "equal" if same else "differs"
        if len(raw) == _SHA256_BYTES and raw == hashlib.sha256(data).digest():
            return "equal-sha256"
    return "not-understood"


def _readings(promised: str) -> Iterable[bytes]:
    text = "".join(promised.split())
    try:
        yield bytes.fromhex(text)
    except ValueError:
        try:
            yield base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return


def _to_fetch(found: Found, decisions: Decisions) -> Iterable[tuple[RecordRef, Shown]]:
    for ref in sorted(decisions.of):
        if decisions.released(ref):
            for shown in found.examined[ref].attachments:
                if shown.url:
                    yield ref, shown


def _get(
    server: FhirServer, ref: RecordRef, shown: Shown, have: Attachments, room_bytes: int
) -> Attached | None:
    assert shown.url is not None
    bytes_max = min(ATTACHMENT_BYTES_MAX, room_bytes)
    try:
        answer = server.attachment(shown.url, shown.content_type, bytes_max=bytes_max)
        return _attached(ref, shown, server.base, answer)
    except Absent:
        _gap(
            have, shown, ref, "not-found", "is not at the first provider, which answers 404 for it"
        )
    except OversizedAnswer:
        limit = "a transfer may hold" if room_bytes < ATTACHMENT_BYTES_MAX else "one attachment may"
        _gap(have, shown, ref, "over-the-cap", f"is larger than {limit} ({bytes_max // 2**20} MiB)")
    except ForeignLink:
        _gap(have, shown, ref, "foreign-link", "lies outside the first provider's FHIR base")
    return None


def _attached(ref: RecordRef, shown: Shown, base: str, answer: AttachmentBytes) -> Attached:
    assert shown.url is not None
    where = target(shown.url, base)
    name = where.ref if isinstance(where, Local) else RecordRef(f"{ref}#{shown.path}")
    return Attached(
        ref=name,
        url=shown.url,
        data=answer.data,
        content_type=answer.content_type or shown.content_type or "application/octet-stream",
        binary=answer.binary,
        holder=ref,
    )


def _gap(have: Attachments, shown: Shown, ref: RecordRef, reason: str, what: str) -> None:
    assert shown.url is not None
    have.unobtained.add(shown.url)
    have.gaps.append(
        Gap(
            ref=_named(shown.url, ref, shown.path),
            reason=reason,
            sentence=f"the attachment at {shown.path} of {ref} {what} → ask the first provider",
            at="source",
            referrer=ref,
        )
    )


def _named(url: str, ref: RecordRef, path: str) -> str:
    """Name an attachment without its URL, which may hold a token or a name."""
    tail = url.rpartition("/Binary/")[2] if "/Binary/" in url else url.removeprefix("Binary/")
    return f"Binary/{tail}" if tail != url and tail.isascii() else f"{ref}#{path}"


def _check_hash(have: Attachments, ref: RecordRef, shown: Shown, data: bytes) -> None:
    if shown.hash is None:
        return
    verdict = hash_verdict(shown.hash, data)
    if verdict == "differs":
        have.holds[ref] = Decided(
            decision=Decision.HELD,
            rule="hash-mismatch",
            sentence=f"the bytes of {shown.path} are not those its hash promises"
            " → ask the first provider which is right",
        )
    elif verdict != "equal":
        have.notes[ref] = verdict


def binary_json(one: Attached, id_: str) -> bytes:
    """Write a Binary of our own around bytes that are no FHIR resource at the source."""
    return lossless.encode(
        {
            "resourceType": "Binary",
            "id": id_,
            "contentType": one.content_type,
            "data": base64.b64encode(one.data).decode(),
        }
    )
