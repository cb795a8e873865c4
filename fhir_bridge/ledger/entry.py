"""
An entry of the log, version 1: one act, in the one form it can be written in.

JSON as RFC 8785 writes it, within a subset where every writer agrees: ASCII
member names, integers, no fractions. Reading is typed and strict, and what was
read must write itself back to the same bytes, so that a second spelling, a
repeated member or an added one is found without a rule for each.

The index and the log's name stand in the entry: moved or copied elsewhere, it
is wrong by itself.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from fhir_bridge.errors import AlteredLog, SettingsError

VERSION: Literal["fhir-bridge/audit/v1"] = "fhir-bridge/audit/v1"

LEAF_BYTES_MAX = 65_535
"""The tile layout (https://c2sp.org/tlog-tiles) writes an entry's length in 16 bits."""

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _matching(pattern: str) -> Any:
    return Meta(pattern=rf"\A(?:{pattern})\Z")


_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""What every reader of JSON holds exactly."""

VISIBLE = r"[!-~]"
"""One character of a word."""
SHOWN = r"[^\x00-\x1f\x7f]"
"""One character of a line."""

_Code = Annotated[str, _matching(r"[a-z0-9][a-z0-9_.:\-]{0,63}")]
_Word = Annotated[str, _matching(rf"{VISIBLE}{{1,255}}")]
_Line = Annotated[str, _matching(rf"{SHOWN}{{1,400}}")]
_Hash = Annotated[str, _matching(r"[A-Za-z0-9+/]{43}=")]
_Hex = Annotated[str, _matching(r"[0-9a-f]{64}")]
_Note = Annotated[str, _matching(r"[^\x00-\x09\x0b-\x1f\x7f]{1,8192}")]
_Time = Annotated[
    str, _matching(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z")
]


class Event(StrEnum):
    """What happened."""

    LOG_OPENED = "log.opened"
    LOG_HEARTBEAT = "log.heartbeat"
    LOG_CLOSED = "log.closed"
    KEY_ROTATED = "key.rotated"
    WITNESS_COSIGNED = "witness.cosigned"
    CONFIG_CHANGED = "config.changed"
    ACCESS_VIEWED = "access.viewed"
    EXPORT_MADE = "export.made"
    RECEIPT_ISSUED = "receipt.issued"
    INTEGRITY_ALARM = "integrity.alarm"
    TRANSFER_REQUESTED = "transfer.requested"
    CONSENT_VERIFIED = "consent.verified"
    CONSENT_DENIED = "consent.denied"
    CONSENT_REVOKED = "consent.revoked"
    RECORDS_FETCHED = "records.fetched"
    PATIENT_ASKED = "patient.asked"
    PATIENT_MATCHED = "patient.matched"
    DISCLOSURE_INTENT = "disclosure.intent"
    DISCLOSURE_RESULT = "disclosure.result"
    DELIVERY_CONFIRMED = "delivery.confirmed"
    RECORD_RELEASED = "record.released"
    RECORD_WITHHELD = "record.withheld"
    GAP_ACCEPTED = "gap.accepted"
    TRANSFER_CANCELLED = "transfer.cancelled"
    TRANSFER_CLOSED = "transfer.closed"
    ERASURE_DONE = "erasure.done"


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commitment to what belongs to the entry and can be erased without harm to the tree."""

    digest: _Hash
    """Base64 of SHA-256 over 32 random bytes and the stored bytes."""
    type: Literal["AuditEvent", "Statement"]
    """``Statement`` is what a person said when deciding: who, and why."""
    alg: Literal["sha256-salted"]


class ConsentSeen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Consent that a decision rested on."""

    id: _Word
    """Reference at the source, e.g. ``Consent/c1``."""
    version: _Line
    """Version at the source; ``-`` when the server names none."""
    commitment: _Hex
    """HMAC-SHA-256 of its digest under the transfer's key."""


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is disclosed: only released lines count."""

    count: _Count = msgspec.field(name="n")
    size_bytes: _Count = msgspec.field(name="bytes")
    root: _Hash
    """Base64 of the manifest's Merkle root."""

    @classmethod
    def of(cls, *, count: int, size_bytes: int, root: bytes) -> Self:
        """
        Describe released lines.

        Args:
            count: Number of released lines.
            size_bytes: Sum of their sizes.
            root: Their Merkle root, 32 bytes.
        """
        return cls(count=count, size_bytes=size_bytes, root=base64.b64encode(root).decode())


class Entry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One act. A member that does not apply is absent, never null."""

    v: Literal["fhir-bridge/audit/v1"]
    log: _Word
    idx: _Count
    t: _Time
    """UTC, milliseconds; never before the entry that precedes."""
    type: Event
    actor: Annotated[str, _matching(rf"(cli|key|svc):{VISIBLE}{{1,64}}")]
    outcome: Literal["0", "4", "8", "12"]
    """http://hl7.org/fhir/audit-event-outcome: success, minor, serious, major failure."""
    transfer: Annotated[str, _matching(rf"urn:uuid:{UUID}")] | None = None
    seq: _Count | None = None
    """Number within the transfer, from 0 without holes; there when `transfer` is."""
    step: _Code | None = None
    attempt: _Count | None = None
    basis: Literal["consent", "treatment"] | None = None
    purpose: Annotated[str, _matching(r"[A-Z0-9]{1,32}")] | None = None
    custodian: _Line | None = None
    """Organisation identifier, ``system|value``."""
    recipient: _Line | None = None
    source: _Word | None = msgspec.field(name="from", default=None)
    """Alias of the server, else its host."""
    destination: _Word | None = msgspec.field(name="to", default=None)
    consent: Annotated[tuple[ConsentSeen, ...], Meta(max_length=64)] = ()
    content: Content | None = None
    subject: Annotated[str, _matching(r"hmac-sha256:[0-9a-f]{64}")] | None = None
    """The patient, under a key of his own that can be erased, other in each transfer."""
    trace: Annotated[str, _matching(r"[0-9a-f]{32}")] | None = None
    entries: _Count | None = None
    """How many entries the transfer has, this one included; where it is closed."""
    vkey: _Word | None = None
    """A key of the log from here on, as a C2SP verifier key; where one begins."""
    checkpoint: _Note | None = None
    """A signed note of another log: the former year's last, or a peer's."""
    body: Body | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an entry stands: given by the log, never by who writes."""

    log: str
    idx: int
    t: str
    seq: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """
    An act to be written down; index, time and number within the transfer come from the log.

    `type`, `actor` and the rest mean what they mean in `Entry`.
    """

    type: Event
    actor: str
    transfer: str | None = None
    """The transfer's UUID, without ``urn:uuid:``."""
    outcome: Literal["0", "4", "8", "12"] = "0"
    step: str | None = None
    attempt: int | None = None
    basis: str | None = None
    purpose: str | None = None
    custodian: str | None = None
    recipient: str | None = None
    source: str | None = None
    destination: str | None = None
    consent: tuple[ConsentSeen, ...] = ()
    content: Content | None = None
    subject: str | None = None
    trace: str | None = None
    entries: int | None = None
    vkey: str | None = None
    checkpoint: str | None = None
    statement: Mapping[str, Any] | None = None
    """What a person said (``by``, ``reason``, ``refs``): committed to, kept sealed, erasable."""
    audit_event: bytes | None = None
    """
    The act as a FHIR AuditEvent: exactly these bytes are committed to, kept
    sealed, erasable. Never together with `statement`.
    """

    def __post_init__(self) -> None:
        """Refuse two bodies: an entry commits to one."""
        assert self.statement is None or self.audit_event is None, "an entry has one body"

    def at(self, place: Place, body: Body | None) -> Entry:
        """
        Return the entry as it stands at one place of the log.

        Raises:
            SettingsError: A member is not written as the log demands. The
                message names the member.
        """
        members = {
            "v": VERSION,
            "log": place.log,
            "idx": place.idx,
            "t": place.t,
            "type": self.type,
            "actor": self.actor,
            "outcome": self.outcome,
            "transfer": None if self.transfer is None else transfer_urn(self.transfer),
            "seq": place.seq,
            "step": self.step,
            "attempt": self.attempt,
            "basis": self.basis,
            "purpose": self.purpose,
            "custodian": self.custodian,
            "recipient": self.recipient,
            "from": self.source,
            "to": self.destination,
            "consent": msgspec.to_builtins(self.consent),
            "content": msgspec.to_builtins(self.content),
            "subject": self.subject,
            "trace": self.trace,
            "entries": self.entries,
            "vkey": self.vkey,
            "checkpoint": self.checkpoint,
            "body": msgspec.to_builtins(body),
        }
        try:
            return msgspec.convert(members, Entry)
        except msgspec.ValidationError as error:
            raise SettingsError(
                f"the audit log cannot take this entry: {_member(error)} is not as it must be"
            ) from error


_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """
    Write an entry.

    Raises:
        SettingsError: It is longer than 65,535 bytes.
    """
    leaf = _encoder.encode(entry)
    if len(leaf) > LEAF_BYTES_MAX:
        raise SettingsError(f"an entry of the audit log has at most {LEAF_BYTES_MAX} bytes")
    return leaf


def decode_entry(leaf: bytes) -> Entry:
    """
    Read an entry.

    Args:
        leaf: Untrusted.

    Raises:
        AlteredLog: Not an entry of version 1, or not in its one written form.
    """
    if len(leaf) > LEAF_BYTES_MAX:
        raise AlteredLog(f"it is longer than {LEAF_BYTES_MAX} bytes")
    try:
        entry = _decoder.decode(leaf)
        datetime.fromisoformat(entry.t)
    except msgspec.ValidationError as error:
        raise AlteredLog(f"it is not as version 1 demands at {_member(error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AlteredLog("it is not JSON") from error
    except ValueError as error:
        raise AlteredLog("it has a time that does not exist") from error
    if _encoder.encode(entry) != leaf:
        raise AlteredLog("it is not in its one written form")
    if (entry.transfer is None) != (entry.seq is None):
        raise AlteredLog("it has one of transfer and seq without the other")
    return entry


def event_id(transfer: str, step: str, attempt: int = 1, phase: str = "") -> str:
    """
    Return what makes two appends the same act.

    Args:
        transfer: The transfer's UUID.
        step: What is done, e.g. ``deliver.3``.
        attempt: Which try.
        phase: E.g. ``intent`` or ``result``.

    Returns:
        A UUID (version 5): asked again after a crash, the log gives the entry
        that it has already, instead of a second one.
    """
    return str(uuid.uuid5(uuid.UUID(transfer), f"{step}/{attempt}/{phase}"))


def timestamp(moment: datetime) -> str:
    """Write a moment as the log does: UTC, milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def transfer_urn(transfer: str) -> str:
    """Write a transfer's UUID as entries name it."""
    return f"urn:uuid:{transfer}"


def _member(error: msgspec.ValidationError) -> str:
    """Name the member at fault, and nothing else: the message could repeat its value."""
    found = re.search(r"`(\$[^`]*)`\Z", str(error))
    return found[1] if found else "$"
