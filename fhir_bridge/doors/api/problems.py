"""
Everything that can be wrong with a request, and how it is answered.

One table: a stable code, the HTTP status, FHIR's issue type and one sentence
that says what to do. Errors of the bridge have their row here too. A sentence
is fixed, so it cannot repeat what was sent or what a record holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError

SYSTEM = "urn:fhir-bridge:problem"
"""Code system of the codes below."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one problem is answered."""

    status: int
    issue: str
    """Code of http://hl7.org/fhir/issue-type."""
    sentence: str


class Problem(Enum):
    """What can be wrong. A value is the stable code's row."""

    # Who may
    UNAUTHENTICATED = Row(401, "login", "Show a valid key or token: Authorization: Bearer …")
    EXPIRED = Row(401, "expired", "The key or token has expired or was revoked: get a new one.")
    FORBIDDEN = Row(403, "forbidden", "Your role may not do this.")
    TOO_MANY_REQUESTS = Row(429, "throttled", "Too many requests: wait as Retry-After says.")
    BUSY = Row(429, "throttled", "Too much of this runs already: wait as Retry-After says.")

    # Where to
    NOT_FOUND = Row(404, "not-found", "There is nothing here, or it is not yours to see.")
    METHOD_NOT_ALLOWED = Row(405, "not-supported", "This path has other methods: see Allow.")

    # What was sent
    MEDIA_TYPE = Row(
        415, "not-supported", "The body must be JSON: Content-Type: application/json, UTF-8."
    )
    BODY_TOO_LONG = Row(413, "too-long", "The body is longer than is read here.")
    BODY_TOO_SLOW = Row(408, "timeout", "The body did not come to its end in 30 seconds.")
    BODY_MISSING = Row(400, "required", "This needs a body of JSON.")
    BODY_TOO_DEEP = Row(400, "too-long", "The body is nested more than 64 levels deep.")
    BODY_NOT_UTF8 = Row(400, "structure", "The body is not UTF-8, or starts with a mark.")
    BODY_NOT_JSON = Row(400, "structure", "The body is not JSON.")
    BODY_HALF_SURROGATE = Row(
        400, "structure", "The body is not JSON, or holds half a surrogate pair."
    )
    BODY_MEMBER_TWICE = Row(400, "structure", "The body holds the same member twice.")
    BODY_NUMBER = Row(
        400, "structure", "The body holds a number that JSON or this bridge does not know."
    )
    BODY_INVALID = Row(422, "invalid", "The body is not as this route describes it.")
    QUERY_INVALID = Row(400, "invalid", "A query parameter is unknown, repeated or malformed.")
    HEADER_INVALID = Row(400, "invalid", "A header is not as this route describes it.")
    CURSOR_INVALID = Row(
        400, "invalid", "The cursor belongs to another search, or is none: begin again without."
    )

    # Triggers
    IDEMPOTENCY_KEY_MISSING = Row(
        400,
        "required",
        "Send Idempotency-Key: 1 to 255 visible ASCII characters, another for each referral.",
    )
    IDEMPOTENCY_KEY_REUSED = Row(
        422, "conflict", "This Idempotency-Key was sent with another body: use a new key."
    )
    IDEMPOTENCY_KEY_IN_FLIGHT = Row(
        409, "transient", "The first request with this Idempotency-Key still runs: ask again."
    )
    SERVER_UNKNOWN = Row(
        422, "not-found", "The source or destination is not the alias of a registered server."
    )
    REASON_UNKNOWN = Row(422, "code-invalid", "A reason is not of the bridge's list.")

    # State
    NOT_NOW = Row(409, "conflict", "The transfer's state does not allow this now.")
    ERASED = Row(409, "deleted", "What was asked in this transfer was erased: ask anew.")
    LINE_UNDECIDABLE = Row(
        422, "not-found", "A reference is not a line or gap of this transfer that waits for you."
    )
    LINE_DENIED = Row(
        422, "business-rule", "A Consent denies this record: no person may release it."
    )
    NO_RECEIPT = Row(404, "not-found", "There is no receipt of this transfer yet.")
    SERVER_IN_SETTINGS = Row(
        409, "conflict", "This server stands in the settings file: change it there."
    )

    # Errors of the bridge
    CONSENT_REFUSED = Row(
        422,
        "forbidden",
        "The patient's consent does not permit this disclosure: ask the patient for one that does.",
    )
    RECIPIENT_UNKNOWN = Row(
        422,
        "business-rule",
        "Custodian or recipient is none of the server's organisations: name one that is.",
    )
    PATIENT_UNKNOWN = Row(422, "not-found", "The first provider's server has no such patient.")
    PATIENT_UNCLEAR = Row(
        422, "multiple-matches", "Which person is meant is not certain: a person must decide."
    )
    REFUSED = Row(422, "business-rule", "A rule forbids this: the requester or patient must act.")
    BAD_RECORD = Row(502, "invalid", "The first provider sent what cannot be carried: it must act.")
    UNREACHABLE = Row(503, "transient", "A provider's server does not answer: ask again later.")
    THROTTLED = Row(503, "throttled", "A provider's server asks to wait: ask again later.")
    STORE_UNAVAILABLE = Row(
        503, "no-store", "The bridge's store cannot be used, so nothing is done: ask again later."
    )
    NOT_READY = Row(503, "transient", "The bridge is not ready: ask again later.")
    REJECTED = Row(502, "processing", "The second provider did not take a record: it must act.")
    INCOMPLETE = Row(422, "incomplete", "The record is not whole: the records department must act.")
    TAMPERED = Row(
        503, "security", "The audit log is not what was signed: the operator must act now."
    )
    SETTINGS = Row(422, "invalid", "The bridge is not set up for this: its operator must act.")
    NOT_FHIR = Row(502, "not-supported", "A registered address is no FHIR R4 server with JSON.")
    CREDENTIAL_REFUSED = Row(
        502, "login", "A provider's server refuses the bridge's credential: its operator must act."
    )
    UNEXPECTED = Row(
        500, "exception", "An error that the bridge does not know: report its X-Request-Id."
    )

    @property
    def code(self) -> str:
        """Return the stable code."""
        return self.name.lower().replace("_", "-")


OF_ERRORS: Mapping[type[BridgeError], Problem] = {
    errors.BridgeError: Problem.UNEXPECTED,
    errors.Refused: Problem.REFUSED,
    errors.ConsentRefused: Problem.CONSENT_REFUSED,
    errors.RecipientUnknown: Problem.RECIPIENT_UNKNOWN,
    errors.PatientUnknown: Problem.PATIENT_UNKNOWN,
    errors.PatientUnclear: Problem.PATIENT_UNCLEAR,
    errors.BadRecord: Problem.BAD_RECORD,
    errors.Unreachable: Problem.UNREACHABLE,
    errors.Throttled: Problem.THROTTLED,
    errors.StoreUnavailable: Problem.STORE_UNAVAILABLE,
    errors.Rejected: Problem.REJECTED,
    errors.Incomplete: Problem.INCOMPLETE,
    errors.Tampered: Problem.TAMPERED,
    errors.SettingsError: Problem.SETTINGS,
    errors.NotFhir: Problem.NOT_FHIR,
    errors.CredentialRefused: Problem.CREDENTIAL_REFUSED,
}
"""Errors of the bridge; a class without a row is answered as the class above it."""


class Answered(Exception):
    """Ends a request with a problem."""

    def __init__(
        self, problem: Problem, *, expression: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """
        Keep how it is answered.

        Args:
            problem: What is wrong.
            expression: The element at fault, in this route's own words; never
                from the request.
            headers: More of the answer's headers.
        """
        super().__init__(problem.code)
        self.problem = problem
        self.expression = expression
        self.headers = dict(headers or {})


def of_error(error: BridgeError) -> Answered:
    """Return how an error of the bridge is answered."""
    problem = next(OF_ERRORS[kind] for kind in type(error).__mro__ if kind in OF_ERRORS)
    wait = error.wait_seconds if isinstance(error, errors.Throttled) else 30.0
    headers = {"Retry-After": str(max(1, round(wait)))} if error.retryable else {}
    return Answered(problem, headers=headers)


def outcome(problem: Problem, expression: str = "") -> dict[str, Any]:
    """Return the OperationOutcome of a problem."""
    issue: dict[str, Any] = {
        "severity": "error",
        "code": problem.value.issue,
        "details": {
            "coding": [{"system": SYSTEM, "code": problem.code}],
            "text": problem.value.sentence,
        },
    }
    if expression:
        issue["expression"] = [expression]
    return {"resourceType": "OperationOutcome", "issue": [issue]}
