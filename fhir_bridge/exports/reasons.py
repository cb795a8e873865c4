"""
Reasons: what can be wrong with an export or a receipt, in a records officer's words.

Each has a code that programs and tests hold on to, one sentence, and the exit
code: 1 what was signed is not what is here; 2 nothing can be said, because
the input cannot be used; 3 right as far as it goes, and where it ends.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

_SHOWN_CHARS_MAX = 160


class Verdict(IntEnum):
    """How a verification ends; the value is the exit code."""

    VERIFIED = 0
    TAMPERED = 1
    UNUSABLE = 2
    LIMITED = 3


class Reason(StrEnum):
    """Why a verification did not end with nothing to say."""

    # Tampered
    CHECKPOINT_MALFORMED = "checkpoint-malformed"
    CHECKPOINT_UNSIGNED = "checkpoint-unsigned"
    CHECKPOINT_FORGED = "checkpoint-forged"
    KEY_OUT_OF_EPOCH = "key-out-of-epoch"
    KEY_UNANNOUNCED = "key-unannounced"
    HANDOVER_UNSIGNED = "handover-unsigned"
    COSIGNATURE_FORGED = "cosignature-forged"
    MANIFEST_MALFORMED = "manifest-malformed"
    MANIFEST_UNSIGNED = "manifest-unsigned"
    MANIFEST_FORGED = "manifest-forged"
    MANIFEST_OF_OTHER = "manifest-of-other"
    POLICY_FORGED = "policy-forged"
    FILE_ALTERED = "file-altered"
    FILE_ADDED = "file-added"
    ENTRY_ALTERED = "entry-altered"
    ENTRY_MOVED = "entry-moved"
    ENTRY_OF_OTHER_LOG = "entry-of-other-log"
    ENTRY_OF_OTHER_TRANSFER = "entry-of-other-transfer"
    TIME_GOES_BACK = "time-goes-back"
    TIME_AFTER_WITNESS = "time-after-witness"
    NUMBER_MISSING = "number-missing"
    COUNT_WRONG = "count-wrong"
    TRANSFER_BEHEADED = "transfer-beheaded"
    ENDS_WRONG = "ends-wrong"
    HASHES_ALTERED = "hashes-altered"
    ROOT_MISMATCH = "root-mismatch"
    BODY_ALTERED = "body-altered"
    BODY_ADDED = "body-added"
    ROLLED_BACK = "rolled-back"
    HISTORY_REWRITTEN = "history-rewritten"
    PROOF_WRONG = "proof-wrong"
    # Unusable
    NOT_AN_EXPORT = "not-an-export"
    NOT_A_RECEIPT = "not-a-receipt"
    UNREADABLE = "unreadable"
    UNSAFE_NAME = "unsafe-name"
    NOT_A_FILE = "not-a-file"
    NAMED_TWICE = "named-twice"
    PACKED = "packed"
    TOO_LARGE = "too-large"
    FILE_MISSING = "file-missing"
    POLICY_MISSING = "policy-missing"
    POLICY_UNSIGNED = "policy-unsigned"
    POLICY_MALFORMED = "policy-malformed"
    LOG_UNKNOWN = "log-unknown"
    PIN_MALFORMED = "pin-malformed"
    PIN_OF_OTHER_LOG = "pin-of-other-log"
    # Limits
    NO_OUTSIDE_COPY = "no-outside-copy"
    NO_QUORUM = "no-quorum"
    TAIL_UNWITNESSED = "tail-unwitnessed"
    POLICY_OUTDATED = "policy-outdated"
    BODIES_ERASED = "bodies-erased"
    BODIES_LEFT_OUT = "bodies-left-out"
    BODY_NOT_SHOWN = "body-not-shown"
    PIN_NOT_COMPARED = "pin-not-compared"


_TAMPERED = {
    Reason.CHECKPOINT_MALFORMED: "{what} is not written as a signed checkpoint.",
    Reason.CHECKPOINT_UNSIGNED: (
        "{what} is not signed by the key that the policy gives for log {log} at this size: the"
        " bridge did not make it, or the policy is older than the key."
    ),
    Reason.CHECKPOINT_FORGED: (
        "The signature under {what} is not right: its text, or the signature, was changed."
    ),
    Reason.KEY_OUT_OF_EPOCH: (
        "{what} is signed by a key of the log that was not in use at this size: someone who has"
        " that key rewrote the log."
    ),
    Reason.KEY_UNANNOUNCED: (
        "The log does not say, at the place where the policy says so, that it passed to another"
        " key: entry {idx} is missing or was changed."
    ),
    Reason.HANDOVER_UNSIGNED: (
        "At {size} entries the log passed to another key, and the checkpoint that both keys"
        " signed is not here."
    ),
    Reason.COSIGNATURE_FORGED: (
        "A witness's signature under {what} is not right: this is not what the witness saw."
    ),
    Reason.MANIFEST_MALFORMED: "The list of files (manifest) is not written as the bridge does.",
    Reason.MANIFEST_UNSIGNED: (
        "The list of files (manifest) is not signed by a key of log {log}: someone else made it."
    ),
    Reason.MANIFEST_FORGED: (
        "The signature under the list of files (manifest) is not right: the list was changed."
    ),
    Reason.MANIFEST_OF_OTHER: (
        "The list of files (manifest) belongs to another export: it speaks of {listed}, the"
        " checkpoint of {signed}."
    ),
    Reason.POLICY_FORGED: "The signature of the root key under the policy is not right.",
    Reason.FILE_ALTERED: "File {file} is not the one that the bridge exported: it was changed.",
    Reason.FILE_ADDED: "File {file} does not belong to the export: it was added.",
    Reason.ENTRY_ALTERED: "Entry {idx} was changed: {detail}.",
    Reason.ENTRY_MOVED: "Entry {idx} was moved or dropped: what stands there is entry {found}.",
    Reason.ENTRY_OF_OTHER_LOG: "Entry {idx} comes from another log.",
    Reason.ENTRY_OF_OTHER_TRANSFER: "Entry {idx} belongs to another transfer.",
    Reason.TIME_GOES_BACK: "Entry {idx} is dated before the entry that precedes it.",
    Reason.TIME_AFTER_WITNESS: (
        "Entry {idx} is dated after the witness saw it: the entry's time, or the clock, was false."
    ),
    Reason.NUMBER_MISSING: (
        "Entry {idx} is number {found} of its transfer, and number {expected} is missing."
    ),
    Reason.COUNT_WRONG: (
        "Entry {idx} closes its transfer with {found} entries, and {expected} are there."
    ),
    Reason.TRANSFER_BEHEADED: (
        "Transfer {transfer} begins with number {found}: its first entries are missing."
    ),
    Reason.ENDS_WRONG: (
        "Entry {idx} is not as it must be: a log opens with its first entry and closes with its"
        " last, and nowhere else."
    ),
    Reason.HASHES_ALTERED: "The hashes in {file} are not those of the entries.",
    Reason.ROOT_MISMATCH: (
        "The first {size} entries do not lead to what was signed over them: one of them was"
        " changed, dropped, added or moved after the bridge signed."
    ),
    Reason.BODY_ALTERED: "What entry {idx} committed to was changed.",
    Reason.BODY_ADDED: "Something is there for entry {idx}, which committed to nothing.",
    Reason.ROLLED_BACK: (
        "This log has {size} entries. It had {pinned} when the checkpoint you kept was made: the"
        " last ones were cut off."
    ),
    Reason.HISTORY_REWRITTEN: (
        "The first {pinned} entries are not those of the checkpoint you kept: the log was"
        " rewritten by someone who has its key."
    ),
    Reason.PROOF_WRONG: "The entry of this receipt is not in the log at the place it names.",
}

_UNUSABLE = {
    Reason.NOT_AN_EXPORT: "{what} is not an export: it is neither a folder nor a zip file.",
    Reason.NOT_A_RECEIPT: "This is not a receipt: {detail}.",
    Reason.UNREADABLE: "{what} cannot be read ({detail}).",
    Reason.UNSAFE_NAME: "The export holds a name that leads out of it ({file}). Do not unpack it.",
    Reason.NOT_A_FILE: "{file} is a link, a device or a folder, not a file.",
    Reason.NAMED_TWICE: "The export holds {file} twice.",
    Reason.PACKED: "{file} is compressed or encrypted: unpack the zip file and verify the folder.",
    Reason.TOO_LARGE: "{file} is larger than it can be in an export.",
    Reason.FILE_MISSING: "File {file} is missing: the export is not complete.",
    Reason.POLICY_MISSING: (
        "The export holds no policy signed by a root key: give the policy with --policy, or the"
        " log's own key with --root-key."
    ),
    Reason.POLICY_UNSIGNED: (
        "The policy is not signed by the root key that you gave: it is another custodian's, or the"
        " key is not the right one."
    ),
    Reason.POLICY_MALFORMED: "The policy cannot be read: {detail}.",
    Reason.LOG_UNKNOWN: "The policy does not speak of log {log}.",
    Reason.PIN_MALFORMED: "The checkpoint that you kept cannot be read.",
    Reason.PIN_OF_OTHER_LOG: "The checkpoint that you kept is of log {found}, not of {log}.",
}

_LIMITS = {
    Reason.NO_OUTSIDE_COPY: (
        "Nobody outside vouches for this log: no witness signed it and you gave no checkpoint of"
        " your own. That it was rolled back, or rewritten by someone who has its key, cannot be"
        " found."
    ),
    Reason.NO_QUORUM: "The witnesses that the policy asks for have not signed any of it.",
    Reason.TAIL_UNWITNESSED: (
        "The last {count} entries are not witnessed yet: only the first {size} are."
    ),
    Reason.POLICY_OUTDATED: (
        "At entry {idx} the log passed to a key that the policy does not list: ask the custodian"
        " for the newest policy."
    ),
    Reason.BODIES_ERASED: (
        "What {count} entries committed to was erased; that they were written is still proved."
    ),
    Reason.BODIES_LEFT_OUT: "The export was made without what the entries commit to.",
    Reason.BODY_NOT_SHOWN: (
        "What this entry committed to is not shown: it was erased, or left out of the receipt."
    ),
    Reason.PIN_NOT_COMPARED: (
        "The checkpoint that you kept is of another size: it cannot be compared with single"
        " entries."
    ),
}

_SENTENCES = _TAMPERED | _UNUSABLE | _LIMITS


class Found(Exception):
    """What a verification ends with; never leaves this room."""

    def __init__(self, reason: Reason, **details: Any) -> None:
        """Keep the reason and what its sentence names."""
        super().__init__(reason)
        self.reason = reason
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Come back whole from another process."""
        return _found, (self.reason, self.details)


def _found(reason: Reason, details: dict[str, Any]) -> Found:
    return Found(reason, **details)


def sentence(reason: Reason, details: dict[str, Any]) -> str:
    """Say a reason in words; what comes from the input is made harmless and short."""
    shown = {
        name: value if isinstance(value, int) else _harmless(str(value))
        for name, value in details.items()
    }
    return _SENTENCES[reason].format(**shown)


def verdict_of(reason: Reason) -> Verdict:
    """Say how a verification that found this ends."""
    if reason in _TAMPERED:
        return Verdict.TAMPERED
    return Verdict.UNUSABLE if reason in _UNUSABLE else Verdict.LIMITED


def _harmless(text: str) -> str:
    """Show nothing that a terminal would obey."""
    plain = "".join(char if char.isprintable() else "?" for char in text[: _SHOWN_CHARS_MAX + 1])
    return plain if len(plain) <= _SHOWN_CHARS_MAX else f"{plain[:_SHOWN_CHARS_MAX]}..."
