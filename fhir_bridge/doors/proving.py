"""
Proof for people outside, at the command line: exports, receipts, and verifying both.

Verifying needs no store and no settings: only the file, and a key or a policy
that did not come with it. It has exit codes of its own.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from fhir_bridge.errors import SettingsError
from fhir_bridge.exports import Report, Trust, Verdict, verify_export, verify_receipt

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge
    from fhir_bridge.exports import Facts, Finding, ReceiptReport

_TRUST_BYTES_MAX = 256 * 1024

_HEADLINES = {
    Verdict.VERIFIED: "Verified.",
    Verdict.TAMPERED: "TAMPERED.",
    Verdict.UNUSABLE: "Cannot be verified.",
    Verdict.LIMITED: "Verified, with limits:",
}


def run(
    arguments: argparse.Namespace,
    show: Callable[[str], None],
    open_bridge: Callable[[argparse.Namespace], AbstractContextManager[Bridge]],
) -> int:
    """
    Run one of `fhir-bridge audit` that proves or verifies.

    Args:
        arguments: `act` says which.
        show: Writes a result.
        open_bridge: Opens the bridge, for those that hand out.

    Returns:
        An exit code: of `Verdict` for those that verify.

    Raises:
        SettingsError: What was given cannot be read or written.
    """
    if arguments.act in _VERIFYING:
        return _VERIFYING[arguments.act](arguments, show)
    with open_bridge(arguments) as bridge:
        show(_HANDING[arguments.act](arguments, bridge))
    return 0


def _export(arguments: argparse.Namespace, bridge: Bridge) -> str:
    checkpoint = bridge.export(
        arguments.path, log=arguments.log, bodies=arguments.bodies, transfer=arguments.transfer
    )
    return (
        f"{arguments.path} holds {checkpoint.size} entries of log {checkpoint.origin}"
        + (f", those of transfer {arguments.transfer} only" if arguments.transfer else "")
        + ". HOWTO.txt in it says how to check it without this program."
    )


def _receipt(arguments: argparse.Namespace, bridge: Bridge) -> str:
    return str(bridge.receipt(arguments.transfer, arguments.act_of)).removesuffix("\n")


def _prove(arguments: argparse.Namespace, bridge: Bridge) -> str:
    return str(bridge.prove(arguments.idx, log=arguments.log)).removesuffix("\n")


def _verify(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    report = verify_export(
        arguments.path,
        _trust(arguments),
        since=None if arguments.since is None else _read(arguments.since),
        bodies=arguments.bodies,
        processes=min(os.cpu_count() or 1, 8),
    )
    if arguments.json:
        show(json.dumps(report.as_object(), ensure_ascii=False))
    else:
        show("\n".join(_lines(report)))
    return int(report.verdict)


def _verify_receipt(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    report = verify_receipt(arguments.path, _trust(arguments))
    if arguments.json:
        show(json.dumps(report.as_object(), ensure_ascii=False))
    else:
        show("\n".join(_receipt_lines(report)))
    return int(report.verdict)


_VERIFYING: dict[str, Callable[[argparse.Namespace, Callable[[str], None]], int]] = {
    "verify": _verify,
    "verify-receipt": _verify_receipt,
}
_HANDING: dict[str, Callable[[argparse.Namespace, Bridge], str]] = {
    "export": _export,
    "receipt": _receipt,
    "prove": _prove,
}


def _trust(arguments: argparse.Namespace) -> Trust:
    policy = None if arguments.policy is None else _read(arguments.policy)
    return Trust.of(arguments.root_key, policy)


def _read(path: Path) -> str:
    """Read a small file of the auditor's own."""
    try:
        with path.open("rb") as file:
            return file.read(_TRUST_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as text") from error


def _lines(report: Report) -> Iterator[str]:
    yield from _findings(report.verdict, report.findings)
    if report.verdict in {Verdict.VERIFIED, Verdict.LIMITED}:
        yield from _facts(report.facts)


def _findings(verdict: Verdict, findings: tuple[Finding, ...]) -> Iterator[str]:
    yield _HEADLINES[verdict]
    for finding in findings:
        yield f"  {finding.sentence} [{finding.reason}]"


def _facts(facts: Facts) -> Iterator[str]:
    yield f"Log            {facts.log}"
    yield f"Entries        {facts.entries}, of {facts.transfers} transfers"
    yield f"Checkpoints    {facts.checkpoints}, each signed and led to by the entries"
    if facts.witnessed:
        yield f"Witnessed      the first {facts.witnessed} entries"
    if facts.pinned:
        yield f"Your copy      the first {facts.pinned} entries lead to the checkpoint you kept"
    if facts.bodies_checked:
        yield f"Bodies         {facts.bodies_opened} are what was committed to"
    else:
        yield "Bodies         not compared; --bodies does"
    if facts.unanswered_count:
        yield f"No result yet  {facts.unanswered_count} transfers: {', '.join(facts.unanswered)}"
    yield "Keep this, and give it with --since the next time:"
    yield (facts.checkpoint or "").rstrip("\n")


def _receipt_lines(report: ReceiptReport) -> Iterator[str]:
    yield from _findings(report.verdict, report.findings)
    if report.shown is None:
        return
    entry, checkpoint = report.shown.entry, report.shown.checkpoint
    yield f"Entry        {entry.idx} of log {entry.log}, signed over {checkpoint.size} entries"
    told = {
        "What": str(entry.type),
        "When": entry.t,
        "By": entry.actor,
        "From": entry.custodian,
        "To": entry.recipient,
        "Transfer": entry.transfer,
        "Content": None
        if entry.content is None
        else f"{entry.content.count} records, {entry.content.size_bytes} bytes",
    }
    for name, value in told.items():
        if value is not None:
            yield f"{name:<12} {value}"
    if report.shown.body is not None:
        yield f"It commits to this AuditEvent:\n{report.shown.body.decode(errors='replace')}"
