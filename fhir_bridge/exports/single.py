"""
Checking single entries: a receipt by itself, and the receipts of one transfer.

A receipt proves that its entry is in the log that was signed. That a transfer
has no other entries follows from their numbers; that the log has no other
history follows from no receipt.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from fhir_bridge.errors import AlteredLog, MalformedReceipt
from fhir_bridge.exports import layout
from fhir_bridge.exports.archive import Archive
from fhir_bridge.exports.checkpoints import Signed, check_checkpoint, parse_checkpoint, read_file
from fhir_bridge.exports.layout import Manifest
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.exports.report import Facts, Finding
from fhir_bridge.exports.trust import Trust
from fhir_bridge.ledger import (
    Checkpoint,
    Entry,
    Event,
    Policy,
    Receipt,
    decode_entry,
    is_included,
    leaf_hash,
    transfer_urn,
)
from fhir_bridge.ledger.policy import NO_QUORUM

RECEIPT_BYTES_MAX = 32 * 1024 * 1024

_ITS_CHECKPOINT = "the checkpoint of the receipt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An entry that is proved, and what it commits to as far as it is shown."""

    entry: Entry
    body: bytes | None
    """None when the entry commits to nothing, or when it was erased or left out."""
    checkpoint: Checkpoint
    signed: Signed
    policy: Policy

    @property
    def is_closed(self) -> bool:
        """Say whether the entry commits to something that is not shown."""
        return self.entry.body is not None and self.body is None


def check_receipt(text: str, trust: Trust) -> Shown:
    """
    Check a receipt.

    Args:
        text: Untrusted.
        trust: From outside the receipt.

    Raises:
        Found: It proves nothing, or what it shows is not what the entry commits to.
    """
    try:
        receipt = Receipt.parse(text)
    except MalformedReceipt as error:
        raise Found(Reason.NOT_A_RECEIPT, detail=error) from error
    note, checkpoint = parse_checkpoint(receipt.note, _ITS_CHECKPOINT)
    policy = trust.policy_for(checkpoint.origin, receipt.policy)
    signed = check_checkpoint(note, checkpoint, policy, _ITS_CHECKPOINT)
    if not is_included(
        leaf_hash(receipt.entry),
        receipt.index,
        receipt.proof,
        size=checkpoint.size,
        root=checkpoint.root,
    ):
        raise Found(Reason.PROOF_WRONG)
    entry = _read(receipt, checkpoint)
    _check_body(receipt, entry)
    return Shown(
        entry=entry, body=receipt.body, checkpoint=checkpoint, signed=signed, policy=policy
    )


def _read(receipt: Receipt, checkpoint: Checkpoint) -> Entry:
    try:
        entry = decode_entry(receipt.entry)
    except AlteredLog as error:
        raise Found(Reason.ENTRY_ALTERED, idx=receipt.index, detail=error) from error
    if entry.idx != receipt.index:
        raise Found(Reason.ENTRY_MOVED, idx=receipt.index, found=entry.idx)
    if entry.log != checkpoint.origin:
        raise Found(Reason.ENTRY_OF_OTHER_LOG, idx=receipt.index)
    return entry


def _check_body(receipt: Receipt, entry: Entry) -> None:
    if receipt.salt is None or receipt.body is None:
        return
    if entry.body is None:
        raise Found(Reason.BODY_ADDED, idx=entry.idx)
    digest = hashlib.sha256(receipt.salt + receipt.body).digest()
    if base64.b64encode(digest).decode() != entry.body.digest:
        raise Found(Reason.BODY_ALTERED, idx=entry.idx)


def limits(facts: Facts, policy: Policy) -> Iterator[Finding]:
    """Say how far copies of the log outside the custodian's house reach."""
    if policy.quorum == NO_QUORUM:
        if not facts.pinned:
            yield Finding.limit(Reason.NO_OUTSIDE_COPY)
    elif not facts.witnessed:
        yield Finding.limit(Reason.NO_QUORUM)
    elif max(facts.witnessed, facts.pinned) < facts.entries:
        count = facts.entries - facts.witnessed
        yield Finding.limit(Reason.TAIL_UNWITNESSED, count=count, size=facts.witnessed)


def check_transfer(
    archive: Archive,
    manifest: Manifest,
    policy: Policy,
    newest: Checkpoint,
    pin: Checkpoint | None,
) -> tuple[Facts, list[Finding]]:
    """
    Check the entries of one transfer, each by its receipt.

    Args:
        archive: The export, whose list of files is known to be the bridge's.
        manifest: That list.
        policy: What counts.
        newest: The export's checkpoint; its signatures were checked.
        pin: A checkpoint that the auditor kept.

    Returns:
        What was counted, and what limits the proof.

    Raises:
        Found: An entry is not proved, or the transfer's entries are not whole.
    """
    shown = [_shown(archive, manifest, policy, index) for index in manifest.receipts]
    facts = Facts(
        log=newest.origin,
        entries=newest.size,
        root=newest.root,
        checkpoints=len({one.checkpoint.size for one in shown}),
        transfers=1,
        bodies_checked=manifest.bodies,
        bodies_opened=sum(one.body is not None for one in shown),
        bodies_erased=sum(one.is_closed for one in shown) if manifest.bodies else 0,
        bodies_erased_first=[one.entry.idx for one in shown if one.is_closed][:20],
    )
    _check_whole(manifest, shown)
    events = [one.entry.type for one in shown]
    if events.count(Event.DISCLOSURE_INTENT) > events.count(Event.DISCLOSURE_RESULT):
        facts.unanswered, facts.unanswered_count = [str(manifest.transfer)], 1
    return facts, list(_transfer_limits(facts, policy, newest, pin, shown))


def _shown(archive: Archive, manifest: Manifest, policy: Policy, index: int) -> Shown:
    name = layout.receipt_file(index)
    raw = read_file(archive, name, RECEIPT_BYTES_MAX, manifest.files[name])
    try:
        shown = check_receipt(raw.decode(), Trust(policy=policy))
    except UnicodeDecodeError as error:
        raise Found(Reason.NOT_A_RECEIPT, detail="it is not text") from error
    if shown.entry.idx != index or shown.checkpoint.origin != manifest.log:
        raise Found(Reason.ENTRY_MOVED, idx=index, found=shown.entry.idx)
    return shown


def _check_whole(manifest: Manifest, shown: list[Shown]) -> None:
    """Check that the transfer's entries follow each other and are as many as it closed with."""
    urn = transfer_urn(str(manifest.transfer))
    for expected, one in enumerate(shown):
        entry = one.entry
        if entry.transfer != urn:
            raise Found(Reason.ENTRY_OF_OTHER_TRANSFER, idx=entry.idx)
        if entry.seq != expected:
            raise Found(Reason.NUMBER_MISSING, idx=entry.idx, found=entry.seq, expected=expected)
        if entry.entries is not None and entry.entries != expected + 1:
            raise Found(
                Reason.COUNT_WRONG, idx=entry.idx, found=entry.entries, expected=expected + 1
            )


def _transfer_limits(
    facts: Facts,
    policy: Policy,
    newest: Checkpoint,
    pin: Checkpoint | None,
    shown: list[Shown],
) -> Iterator[Finding]:
    if pin is not None and pin.size == newest.size:
        if pin.root != newest.root:
            raise Found(Reason.HISTORY_REWRITTEN, pinned=pin.size)
        facts.pinned = pin.size
    elif pin is not None:
        yield Finding.limit(Reason.PIN_NOT_COMPARED)
    if policy.quorum != NO_QUORUM and all(one.signed.is_met for one in shown):
        facts.witnessed = facts.entries
    yield from limits(facts, policy)
    if facts.bodies_erased:
        yield Finding.limit(Reason.BODIES_ERASED, count=facts.bodies_erased)
