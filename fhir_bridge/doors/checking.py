"""What a FHIR server is and what a transfer can use of it, each fact with its consequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir_bridge.bridge import Checked

_KIND_TYPES = {
    "laboratory": ("DiagnosticReport", "Observation"),
    "pathology": ("DiagnosticReport", "Specimen"),
    "imaging": ("ImagingStudy",),
}


def render(checked: Checked) -> str:
    """Return the lines of `fhir-bridge check`."""
    return "\n".join(_lines(checked))


def _lines(checked: Checked) -> Iterator[str]:
    can = checked.capabilities
    yield (
        f"{can.software or 'An unnamed server'} {can.version}, FHIR {can.fhir_version},"
        f" {checked.base}, answered in {checked.answered_ms:.0f} ms"
    )
    yield f"As source       {_source(checked)}"
    yield f"As destination  {_destination(checked)}"
    yield f"Identity        {_identity(checked)}"
    consent = "patient" in can.search_params.get("Consent", frozenset())
    yield (
        "Consent         can be searched by patient"
        if consent
        else "Consent         cannot be searched: bring one with --consent FILE"
    )
    yield f"Security        {_security(checked)}"
    yield f"Verdict         {_verdict(checked)}"


def _source(checked: Checked) -> str:
    known = checked.capabilities.search_params
    parts = [
        f"{kind} {'ok' if all(type_ in known for type_ in types) else 'not offered'}"
        for kind, types in _KIND_TYPES.items()
    ]
    everything = "$everything ok" if checked.capabilities.everything else "read by searches"
    return " · ".join([*parts, everything])


def _destination(checked: Checked) -> str:
    can = checked.capabilities
    parts = ["transactions ok" if can.transaction else "no transactions → sent one by one"]
    parts.append("client ids ok" if can.update_create else "no client ids")
    parts.append("conditional create ok" if can.conditional_create else "no conditional create")
    return " · ".join(parts)


def _identity(checked: Checked) -> str:
    if checked.capabilities.update_create:
        return "copies get ids of their own (PUT): running a transfer again changes nothing"
    if checked.capabilities.conditional_update:
        return "copies are found by their source identifier: running a transfer again adds nothing"
    return "unknown to us: one probe is made before the first record is sent"


def _security(checked: Checked) -> str:
    if checked.loopback:
        return "on this machine: no credential needed"
    return (
        "https" if checked.base.startswith("https://") else "plain http: records would be readable"
    )


def _verdict(checked: Checked) -> str:
    can = checked.capabilities
    source = "DiagnosticReport" in can.search_params
    destination = bool(can.transaction or can.update_create or can.conditional_update)
    if source and destination:
        return "can be both ends of a transfer"
    if source:
        return "can be the first provider of a transfer"
    return "can be the second provider" if destination else "cannot be used for a transfer"
