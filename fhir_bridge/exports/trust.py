"""
What an auditor brings along: a root key or a policy, and a checkpoint kept from before.

Nothing here comes from the export. A policy that lies in an export counts only
when the root key that the auditor gave signed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from fhir_bridge.errors import AlteredLog, BridgeError, SettingsError, Tampered
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.ledger import Checkpoint, Note, Policy, VerifierKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom an auditor believes."""

    root: VerifierKey | None = None
    """
    The custodian's root key. A key that bears the log's own name is the log's
    only key, for a custodian who has no root.
    """
    policy: Policy | None = None
    """From the auditor's own files; it wins over any other."""

    @classmethod
    def of(cls, root_key: str | None, policy: str | None) -> Self:
        """
        Read what was given.

        Args:
            root_key: A verifier key's line.
            policy: A policy's text, or the note that the root signed.

        Raises:
            SettingsError: Neither was given, or one cannot be read.
        """
        if root_key is None and policy is None:
            raise SettingsError("give the custodian's root key (--root-key) or policy (--policy)")
        root = None if root_key is None else VerifierKey.parse(root_key.strip())
        if policy is None:
            return cls(root=root)
        return cls(root=root, policy=_brought(policy, root))

    def policy_for(self, log: str, offered: str | None) -> Policy:
        """
        Return the policy that counts.

        Args:
            log: The log's name, from the checkpoint. Untrusted.
            offered: The note that the export or receipt has as its policy. Untrusted.

        Raises:
            Found: There is none, or it does not speak of this log.
        """
        policy = self.policy or self._offered(log, offered)
        if log not in policy.logs:
            raise Found(Reason.LOG_UNKNOWN, log=log)
        return policy

    def _offered(self, log: str, offered: str | None) -> Policy:
        root = self.root
        if root is not None and offered is not None and root.name != log:
            return _opened(offered, root)
        if root is None or root.name != log:
            raise Found(Reason.POLICY_MISSING)
        return Policy.of_key(root)


def _brought(text: str, root: VerifierKey | None) -> Policy:
    """Read an auditor's own policy; where he gave the root key too, the root must have signed."""
    try:
        if root is not None:
            return Policy.open(text, root)
        return Policy.parse(Note.parse(text).text if "\n\n\N{EM DASH} " in text else text)
    except Tampered as error:
        raise SettingsError(f"the policy is not signed by the root key: {error}") from error


def _opened(note: str, root: VerifierKey) -> Policy:
    try:
        read = Note.parse(note)
        if not read.by(root):
            raise Found(Reason.POLICY_UNSIGNED)
        return Policy.parse(root.open_read(read))
    except AlteredLog as error:
        raise Found(Reason.POLICY_FORGED) from error
    except BridgeError as error:
        raise Found(Reason.POLICY_MALFORMED, detail=error) from error


def read_pin(text: str, log: str) -> Checkpoint:
    """
    Read a checkpoint that the auditor kept.

    Args:
        text: Its three lines, with or without the signatures below.
        log: The log it must be of.

    Raises:
        Found: It cannot be read, or is of another log.
    """
    try:
        body = Note.parse(text).text if "\n\n" in text else f"{text.rstrip()}\n"
        pin = Checkpoint.parse(body)
    except Tampered as error:
        raise Found(Reason.PIN_MALFORMED) from error
    if not pin.size:
        # Every log continues the empty one: it vouches for nothing.
        raise Found(Reason.PIN_MALFORMED)
    if pin.origin != log:
        raise Found(Reason.PIN_OF_OTHER_LOG, found=pin.origin, log=log)
    return pin
