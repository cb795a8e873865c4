"""
The floor: what copying costs when nothing is checked, asked or signed.

Searches per type with `_count=500`, GETs for the rest, one PUT transaction.
Plain `requests` with keep-alive, records as bytes; no consent, no closure, no
identity, no read-back.
"""

from __future__ import annotations

from typing import Any

import msgspec
import requests

_TYPES = ("Observation", "DiagnosticReport", "ImagingStudy", "DocumentReference", "Consent")
_FHIR = {"Accept": "application/fhir+json", "Accept-Encoding": "gzip"}


class Entry(msgspec.Struct):
    resource: msgspec.Raw


class Page(msgspec.Struct):
    entry: list[Entry] = []
    link: list[dict[str, str]] = []


class Head(msgspec.Struct):
    resourceType: str  # noqa: N815 - FHIR's own name
    id: str


def load(session: requests.Session, base: str, resources: list[dict[str, Any]]) -> None:
    """Put resources into a server as one transaction."""
    entries = [
        {
            "resource": one,
            "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
        }
        for one in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    _post(session, base, msgspec.json.encode(bundle))


def copy(session: requests.Session, source: str, destination: str, name: str) -> int:
    """Copy one patient; return how many resources went."""
    raw: list[bytes] = []
    for type_ in _TYPES:
        url: str | None = f"{source}/{type_}?patient={name}&_count=500"
        while url:
            page = msgspec.json.decode(_get(session, url), type=Page)
            raw += [bytes(entry.resource) for entry in page.entry]
            url = next((link["url"] for link in page.link if link["relation"] == "next"), None)
    for rest in (
        f"Patient/{name}",
        f"Practitioner/{name}-doctor",
        "Organization/bench-first",
        "Organization/bench-second",
        f"Endpoint/{name}-images",
        f"Binary/{name}-pdf",
    ):
        raw.append(_get(session, f"{source}/{rest}"))
    _post(session, destination, _bundle(raw))
    return len(raw)


def _bundle(raw: list[bytes]) -> bytes:
    entries = []
    for one in raw:
        head = msgspec.json.decode(one, type=Head)
        url = f"{head.resourceType}/{head.id}"
        entries.append({"resource": msgspec.Raw(one), "request": {"method": "PUT", "url": url}})
    return msgspec.json.encode({"resourceType": "Bundle", "type": "transaction", "entry": entries})


def _get(session: requests.Session, url: str) -> bytes:
    answer = session.get(url, headers=_FHIR, timeout=120)
    answer.raise_for_status()
    return answer.content


def _post(session: requests.Session, base: str, body: bytes) -> None:
    headers = {**_FHIR, "Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
    answer = session.post(base, data=body, headers=headers, timeout=600)
    assert answer.status_code == 200, (answer.status_code, answer.text[:500])
