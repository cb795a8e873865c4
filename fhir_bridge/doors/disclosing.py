"""The accounting of disclosures as people and programs read it: text, JSON, a page to print."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from fhir_bridge.errors import SettingsError

if TYPE_CHECKING:
    from fhir_bridge.accounting import Disclosure
    from fhir_bridge.bridge import Bridge

_PURPOSES = {
    "TREAT": "treatment",
    "PATRQT": "at the patient's request",
    "COC": "coordination of care",
}
_ENDINGS = {
    "complete": "complete",
    "incomplete": "incomplete: something did not arrive",
    "stopped": "stopped: a consent changed or it was cancelled; the rest was not sent",
    "unknown": "not known: no result is signed yet, and up to all of it may have gone",
}
_PRIVATE = 0o600


def show(arguments: argparse.Namespace, bridge: Bridge) -> str:
    """
    Answer ``audit disclosures``; who looked is signed before anything is shown.

    Raises:
        SettingsError: The page's file exists, or cannot be written.
    """
    found = bridge.accounts.of(
        arguments.patient, source=arguments.source or "", day=arguments.since or ""
    )
    transfers = list(dict.fromkeys(one.transfer for one in found))
    bridge.office.viewed(transfers, command="audit disclosures")
    if arguments.html is not None:
        _refuse_taken(arguments.html)
        _write(arguments.html, page(arguments.patient, found, _receipts(bridge, found)))
        return f"{len(found)} disclosures are in {arguments.html}; print it with any browser."
    if arguments.json:
        told = as_object(arguments.patient, found, _receipts(bridge, found))
        return json.dumps(told, ensure_ascii=False)
    return "\n".join(_lines(arguments.patient, found))


def _receipts(bridge: Bridge, found: Sequence[Disclosure]) -> list[str]:
    """Hand out the proof of each line: of its result, else of its announcement."""
    proven = [
        (one.log, one.entry) if one.result is None else (one.result_log, one.result)
        for one in found
    ]
    return [str(bridge.receipt_of(log, idx)) for log, idx in proven]


def as_object(patient: str, found: Sequence[Disclosure], receipts: Sequence[str]) -> dict[str, Any]:
    """Return the documented, stable JSON object of an accounting; README lists the members."""
    lines = zip(found, receipts, strict=True)
    return {"patient": patient, "disclosures": [_object(one, receipt) for one, receipt in lines]}


def _object(one: Disclosure, receipt: str) -> dict[str, Any]:
    return {
        "date": one.at,
        "recipient": {
            "identifier": one.recipient.identifier,
            "name": one.recipient.name or None,
            "address": one.recipient.address or None,
        },
        "custodian": one.custodian,
        "what": {
            "records": one.lines,
            "bytes": one.size_bytes,
            "kinds": dict(one.kinds),
            "new": one.new,
            "identifiers_only": one.identifiers_only,
        },
        "purpose": one.purpose,
        "basis": one.basis,
        "consents": [{"ref": ref, "version": version} for ref, version in one.consents],
        "ended": str(one.ending),
        "images_not_sent": one.images,
        "erased": one.erased,
        "transfer": one.transfer,
        "proof": {
            "log": one.log,
            "entry": one.entry,
            "result": one.result,
            "checkpoint": str(one.checkpoint),
        },
        "receipt": receipt,
    }


def _lines(patient: str, found: Sequence[Disclosure]) -> Iterator[str]:
    if not found:
        yield f"The log has no disclosure about {patient}. It may know the patient by another name."
        return
    yield f"{len(found)} disclosures about {patient}, oldest first; times are UTC."
    for one in found:
        yield ""
        yield f"{_day(one)}  to {_recipient(one)}"
        for name, value in _told(one):
            yield f"  {name:<8} {value}"


def _told(one: Disclosure) -> Iterator[tuple[str, str]]:
    yield "what", _what(one)
    yield "purpose", _purpose(one)
    yield "basis", _basis(one)
    yield "ended", _ended(one)
    yield "proof", _proof(one)


def _day(one: Disclosure) -> str:
    return one.at.replace("T", " ")[:19]


def _recipient(one: Disclosure) -> str:
    named = [one.recipient.name, one.recipient.address]
    parts = [*filter(None, named), f"[{one.recipient.identifier}]"]
    return ", ".join(parts[:-1]) + f" {parts[-1]}" if len(parts) > 1 else parts[-1]


def _what(one: Disclosure) -> str:
    if one.identifiers_only:
        return "identifiers of the patient only, to find the patient there"
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(one.kinds.items()))
    text = f"{one.lines} records and documents"
    text += f" ({kinds})" if kinds else ""
    text += f", {one.size_bytes} bytes"
    known = one.new is not None and one.new != one.lines
    return f"{text}; {one.new} of them sent now, the others earlier" if known else text


def _purpose(one: Disclosure) -> str:
    words = _PURPOSES.get(one.purpose)
    return f"{words} ({one.purpose})" if words else one.purpose or "not said"


def _basis(one: Disclosure) -> str:
    named = ", ".join(f"{ref} version {version}" for ref, version in one.consents)
    if one.basis == "treatment":
        return f"treatment{f'; in force beside it: {named}' if named else ''}"
    return f"the patient's consent: {named}" if named else "the patient's consent"


def _ended(one: Disclosure) -> str:
    text = _ENDINGS[str(one.ending)]
    if one.images:
        text += f"; the images of {one.images} studies stayed behind"
    return f"{text}; details were erased" if one.erased else text


def _proof(one: Disclosure) -> str:
    entries = f"entry {one.entry}" if one.result is None else f"entries {one.entry}, {one.result}"
    root = base64.b64encode(one.checkpoint.root).decode()
    return f"{entries} of log {one.log}, under its checkpoint of size {one.checkpoint.size} {root}"


_STYLE = """
body { font: 11pt/1.4 sans-serif; margin: 2em; color: #000; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #666; padding: 0.4em; text-align: left; vertical-align: top; }
td.proof { font-size: 8pt; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; margin: 0; }
tr { page-break-inside: avoid; }
@page { size: landscape; margin: 1.5cm; }
"""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '$hash'">
<title>Accounting of disclosures: $patient</title>
<style>$style</style>
</head>
<body>
<h1>Accounting of disclosures</h1>
<p>Patient: $patient. $count disclosures, oldest first; times are UTC. From the signed log; names
and addresses are those known today.</p>
<table>
<thead><tr><th>Date</th><th>Recipient</th><th>What</th><th>Purpose</th><th>Basis</th>
<th>Ended</th><th>Proof</th></tr></thead>
<tbody>
$rows
</tbody>
</table>
</body>
</html>
""")


def page(patient: str, found: Sequence[Disclosure], receipts: Sequence[str]) -> str:
    """Return a page to print: no script, nothing loaded, everything in it escaped."""
    digest = hashlib.sha256(_STYLE.encode()).digest()
    return _PAGE.substitute(
        hash=f"sha256-{base64.b64encode(digest).decode()}",
        style=_STYLE,
        patient=escape(patient),
        count=len(found),
        rows="\n".join(map(_row, found, receipts)),
    )


def _row(one: Disclosure, receipt: str) -> str:
    cells = [_day(one), _recipient(one), *(value for _, value in _told(one))]
    *plain, proof = (escape(cell) for cell in cells)
    kept = f"<details><summary>Receipt</summary><pre>{escape(receipt)}</pre></details>"
    told = "".join(f"<td>{cell}</td>" for cell in plain)
    return f'<tr>{told}<td class="proof">{proof}{kept}</td></tr>'


def _refuse_taken(path: Path) -> None:
    """Look before receipts are handed out that nobody would get."""
    if path.exists():
        raise SettingsError(f"{path} is there already: name a new file")


def _write(path: Path, text: str) -> None:
    """Write for the caller's account alone: the page names a patient."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SettingsError(f"{path} is there already: name a new file") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: name another file") from error
