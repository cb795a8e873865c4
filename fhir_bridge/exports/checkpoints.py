"""Checking one signed checkpoint: by the keys of its size, and by the witnesses of the policy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from fhir_bridge.errors import AlteredLog, Tampered
from fhir_bridge.exports.archive import Archive
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import Checkpoint, Note, Policy
from fhir_bridge.ledger.note import NOTE_CHARS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A checkpoint whose signatures are right."""

    size: int
    root: bytes
    witnessed: Mapping[str, int]
    """When each witness of the policy that cosigned did, in seconds since 1970."""
    is_met: bool
    """The witnesses are as many as the policy asks for."""


def read_note(archive: Archive, name: str, what: str, digest: str | None = None) -> str:
    """
    Return a file that holds a signed checkpoint.

    Args:
        archive: The export.
        name: Of the file.
        what: How to name the checkpoint to an officer.
        digest: SHA-256 that the manifest gives, in hexadecimal.

    Raises:
        Found: It is missing, not the one listed, or not text.
    """
    try:
        return read_file(archive, name, NOTE_CHARS_MAX, digest).decode()
    except UnicodeDecodeError as error:
        raise Found(Reason.CHECKPOINT_MALFORMED, what=what) from error


def read_file(archive: Archive, name: str, bytes_max: int, digest: str | None) -> bytes:
    """
    Return a file that is the one listed.

    Args:
        archive: The export.
        name: Of the file.
        bytes_max: What a file of its kind can have.
        digest: SHA-256 that the manifest gives, in hexadecimal; None: not compared.

    Raises:
        Found: It is missing, too large, or not the one listed.
    """
    content = archive.read(name, bytes_max)
    if digest is not None and not has_digest(content, digest):
        raise Found(Reason.FILE_ALTERED, file=name)
    return content


def has_digest(content: bytes, digest: str) -> bool:
    """Say whether SHA-256 of a file's content is, in hexadecimal, what the manifest gives."""
    return hashlib.sha256(content).hexdigest() == digest


def parse_checkpoint(text: str, what: str) -> tuple[Note, Checkpoint]:
    """
    Read a signed checkpoint, of which nothing is verified yet.

    Args:
        text: The note. Untrusted.
        what: How to name it to an officer.

    Raises:
        Found: It is not written as one.
    """
    try:
        note = Note.parse(text)
        return note, Checkpoint.parse(note.text)
    except Tampered as error:
        raise Found(Reason.CHECKPOINT_MALFORMED, what=what) from error


def check_checkpoint(note: Note, checkpoint: Checkpoint, policy: Policy, what: str) -> Signed:
    """
    Check a checkpoint's signatures.

    Args:
        note: Untrusted.
        checkpoint: What it says; of a log that the policy speaks of.
        policy: From the auditor, or signed by his root key.
        what: How to name the checkpoint to an officer.

    Raises:
        Found: A key of this size did not sign it, or a signature is wrong.
    """
    log = checkpoint.origin
    for epoch in policy.epochs_at(log, checkpoint.size):
        if not note.by(epoch.key):
            raise _unsigned(note, log, policy, what)
        try:
            epoch.key.open_read(note)
        except AlteredLog as error:
            raise Found(Reason.CHECKPOINT_FORGED, what=what) from error
    if not policy.epochs_at(log, checkpoint.size):
        raise _unsigned(note, log, policy, what)
    witnessed = _witnessed(note, policy, what)
    return Signed(
        size=checkpoint.size,
        root=checkpoint.root,
        witnessed=witnessed,
        is_met=policy.is_met(witnessed.keys()),
    )


def _unsigned(note: Note, log: str, policy: Policy, what: str) -> Found:
    """Tell a key of another time, which is the log's, from a stranger's."""
    keys = (epoch.key for epoch in policy.epochs if epoch.key.name == log)
    for key in keys:
        if any(key.has_signed(note.text.encode(), value) for value in note.by(key)):
            return Found(Reason.KEY_OUT_OF_EPOCH, what=what)
    return Found(Reason.CHECKPOINT_UNSIGNED, what=what, log=log)


def _witnessed(note: Note, policy: Policy, what: str) -> dict[str, int]:
    witnessed = {}
    for name, key in policy.witnesses.items():
        try:
            time = key.cosigned(note)
        except AlteredLog as error:
            raise Found(Reason.COSIGNATURE_FORGED, what=what) from error
        if time is not None:
            witnessed[name] = time
    return witnessed
