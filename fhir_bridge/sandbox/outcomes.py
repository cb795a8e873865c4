"""How the sandbox says no: an OperationOutcome, with the error numbers that HAPI uses."""

from __future__ import annotations

from dataclasses import dataclass, field

from fhir_bridge import lossless
from fhir_bridge.records import Json

FHIR_JSON = "application/fhir+json;charset=UTF-8"


class Problem(Exception):
    """A request is answered with an error."""

    def __init__(
        self, status: int, code: str, text: str, *, expression: tuple[str, ...] = ()
    ) -> None:
        """
        Keep what the answer will say.

        Args:
            status: HTTP status.
            code: Code from http://hl7.org/fhir/issue-type.
            text: Diagnostics. May hold a HAPI error number such as HAPI-1094.
            expression: Where in the request the fault lies.
        """
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.expression = expression

    def at(self, place: str) -> Problem:
        """Return the same problem with a place in the Bundle, unless it has one."""
        if self.expression:
            return self
        return Problem(self.status, self.code, self.text, expression=(place,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = FHIR_JSON


def outcome(
    code: str, text: str, *, severity: str = "error", expression: tuple[str, ...] = ()
) -> Json:
    """Return an OperationOutcome with one issue."""
    issue: Json = {"severity": severity, "code": code, "diagnostics": text}
    if expression:
        issue["expression"] = list(expression)
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def reply_to(problem: Problem) -> Reply:
    """Return the HTTP answer that tells of a problem."""
    said = outcome(problem.code, problem.text, expression=problem.expression)
    return Reply(status=problem.status, body=lossless.encode(said))
