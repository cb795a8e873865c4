"""
Every error the bridge can raise, grouped by who must act.

* BridgeError
  + Refused              the requester or the patient must act; never retried
    - ConsentRefused
    - Cancelled
    - RecipientUnknown
    - PatientUnknown
    - PatientUnclear
  + BadRecord            the first provider (custodian) must act; never retried
    - MalformedJson
    - ForeignLink
    - OversizedAnswer
    - UnfilteredAnswer
  + Unreachable          nobody must act yet; waiting helps
    - SourceUnreachable
    - DestinationUnreachable
    - Throttled
    - StoreUnavailable
    - Busy
  + Rejected             the second provider must act
    - DestinationRefused
  + Incomplete           the records department must act
  + Tampered             the operator must act; the bridge stops signing
    - MalformedCheckpoint
    - MalformedReceipt
    - AlteredLog
  + SettingsError        the operator must act, before anything starts
    - NotFhir
    - CredentialRefused

An error carries the FHIR issue type a caller sees (`issue`), whether waiting
helps (`retryable`) and the exit code of the command line (`exit_code`). It
knows nothing of HTTP. A message holds references, counts and what to do next,
never a value taken from a record, so that it may be shown and logged as it is.
"""

from __future__ import annotations

from typing import ClassVar


class BridgeError(Exception):
    """Base of every error the bridge raises on purpose."""

    issue: ClassVar[str] = "exception"
    """Code from http://hl7.org/fhir/issue-type."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 70


class Refused(BridgeError):
    """A rule forbids this transfer."""

    issue = "business-rule"
    exit_code = 3


class ConsentRefused(Refused):
    """The patient's consent does not permit this disclosure."""

    issue = "forbidden"


class Cancelled(Refused):
    """A person cancelled the transfer; nothing was sent after that was known."""


class RecipientUnknown(Refused):
    """No organisation is named that may receive the records."""


class PatientUnknown(Refused):
    """The first provider's server does not hold this patient."""

    issue = "not-found"


class PatientUnclear(Refused):
    """Which person is meant cannot be decided by a machine."""

    issue = "multiple-matches"


class BadRecord(BridgeError):
    """The first provider's server sent something the bridge cannot carry."""

    issue = "invalid"
    exit_code = 5


class MalformedJson(BadRecord):
    """An answer is not JSON that can be carried without loss."""

    issue = "structure"

    def __init__(self, message: str, *, fault: str = "syntax") -> None:
        """Keep what is wrong: syntax, encoding, surrogate, duplicate-member or number."""
        super().__init__(message)
        self.fault = fault


class ForeignLink(BadRecord):
    """A link in a server's answer leads away from that server."""

    issue = "security"


class OversizedAnswer(BadRecord):
    """An answer is longer, deeper or has more pages than the limit set for it."""

    issue = "too-long"


class UnfilteredAnswer(BadRecord):
    """A search for one patient returned another: the server does not filter."""

    issue = "security"


class Unreachable(BridgeError):
    """A server did not answer, or asked the bridge to come back later."""

    issue = "transient"
    retryable = True
    exit_code = 6


class SourceUnreachable(Unreachable):
    """The first provider's server did not answer."""


class DestinationUnreachable(Unreachable):
    """The second provider's server did not answer."""


class Throttled(Unreachable):
    """A server asked the bridge to wait longer than this call may wait."""

    issue = "throttled"

    def __init__(self, message: str, *, wait_seconds: float) -> None:
        """Keep how long the server asked to wait, in seconds."""
        super().__init__(message)
        self.wait_seconds = wait_seconds


class StoreUnavailable(Unreachable):
    """The bridge's own store cannot be written, so nothing may leave."""

    issue = "no-store"


class Busy(StoreUnavailable):
    """Another process does what only one may do at a time; it will end."""


class Rejected(BridgeError):
    """The second provider's server did not take a record."""

    issue = "processing"
    exit_code = 7


class DestinationRefused(Rejected):
    """The destination answered with an error that waiting does not cure."""

    def __init__(self, message: str, *, status: int, codes: tuple[str, ...] = ()) -> None:
        """Keep the HTTP status and the OperationOutcome's codes, never its text."""
        super().__init__(message)
        self.status = status
        self.codes = codes


class Incomplete(BridgeError):
    """The second provider does not hold the complete data set."""

    issue = "incomplete"
    exit_code = 4


class Tampered(BridgeError):
    """The audit log does not match what the bridge signed."""

    issue = "security"
    exit_code = 8


class MalformedCheckpoint(Tampered):
    """A checkpoint is not written as https://c2sp.org/tlog-checkpoint says."""


class MalformedReceipt(Tampered):
    """A receipt is not written as https://c2sp.org/tlog-proof says, or not as the bridge does."""


class AlteredLog(Tampered):
    """An entry of the log was altered, dropped, added or moved."""


class SettingsError(BridgeError):
    """A setting or an argument is missing or wrong."""

    issue = "invalid"
    exit_code = 2


class NotFhir(SettingsError):
    """The address does not answer as a FHIR R4 server that speaks JSON."""

    issue = "not-supported"


class CredentialRefused(SettingsError):
    """The server does not accept the credential configured for it."""

    issue = "login"
