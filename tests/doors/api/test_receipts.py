"""A receipt proves what was disclosed; who may not read AuditEvents gets it unopened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_bridge.doors.api.roles import Role
from fhir_bridge.exports import Trust, Verdict, verify_receipt
from fhir_bridge.ledger import Event
from tests.simulators.reception import Reception, code


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


@pytest.mark.parametrize(
    ("role", "opened"),
    [
        (Role.RECORDS_OFFICER, True),
        (Role.AUDITOR_BODIES, True),
        (Role.AUDITOR, False),
        (Role.INTEGRATOR, False),
    ],
)
def test_a_receipt_verifies_and_is_opened_for_who_may_read_it(
    reception: Reception, tmp_path: Path, role: Role, *, opened: bool
) -> None:
    transfer = reception.carried()

    answer = reception.get(f"/v1/transfers/{transfer}/receipt", reception.as_(role))

    assert answer.status_code == 200, answer.text
    file = tmp_path / "receipt"
    file.write_bytes(answer.content)
    report = verify_receipt(file, Trust.of(str(reception.bridge.store.verifier), None))
    assert report.shown is not None
    assert report.shown.entry.type is Event.DISCLOSURE_RESULT
    assert (report.shown.body is not None) is opened
    assert report.verdict in {Verdict.VERIFIED, Verdict.LIMITED}
    issued = [one for one in reception.bridge.store.entries() if one.type is Event.RECEIPT_ISSUED]
    assert len(issued) == 1


def test_before_anything_was_disclosed_there_is_no_receipt(reception: Reception) -> None:
    transfer = reception.trigger()

    answer = reception.get(f"/v1/transfers/{transfer}/receipt", reception.as_(Role.RECORDS_OFFICER))

    assert (answer.status_code, code(answer)) == (404, "no-receipt")
