"""Answers that mislead: login pages, foreign and endless links, wrong totals, gzip bombs."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from fhir_bridge import lossless
from fhir_bridge.records import Json
from fhir_bridge.sandbox.faults import Call, ChangedBundle, Failure, Says
from fhir_bridge.sandbox.outcomes import Reply, outcome

_LOGIN = b"<!DOCTYPE html><html><title>Sign in</title><form>User name</form></html>"
_XML = b'<?xml version="1.0"?><OperationOutcome xmlns="http://hl7.org/fhir"/>'


def login_page() -> Failure:
    """Return an HTML login page with status 200, as a proxy in front answers."""
    return Says(Reply(status=200, body=_LOGIN, content_type="text/html; charset=utf-8"))


def xml_only() -> Failure:
    """Return FHIR XML, whatever was asked for."""
    return Says(Reply(status=200, body=_XML, content_type="application/fhir+xml"))


def redirect(address: str, *, status: int = 302) -> Failure:
    """Return a redirect to another address."""
    return Says(Reply(status=status, headers={"Location": address}))


def other_version(fhir_version: str) -> Failure:
    """Return the CapabilityStatement of another FHIR release, e.g. ``5.0.0``."""
    said = {"resourceType": "CapabilityStatement", "fhirVersion": fhir_version, "rest": []}
    return Says(Reply(status=200, body=lossless.encode(said)))


def gzip_bomb(size: int) -> Failure:
    """Return an answer that is small on the wire and of so many bytes when unpacked."""
    packed = gzip.compress(b'{"resourceType":"Bundle","x":"' + b" " * size + b'"}', 9)
    return Says(Reply(status=200, body=packed, headers={"Content-Encoding": "gzip"}))


def deep_nesting(levels: int) -> Failure:
    """Return JSON nested so deep."""
    body = b'{"resourceType":"Bundle","x":' + b"[" * levels + b"]" * levels + b"}"
    return Says(Reply(status=200, body=body))


def not_json() -> Failure:
    """Return half of a JSON document."""
    return Says(Reply(status=200, body=b'{"resourceType":"Bundle","entry":['))


def foreign_next(base: str) -> Failure:
    """Let the link to the next page lead to another server."""

    def change(url: str) -> str:
        return base + "?" + urlsplit(url).query

    return _next_link(change)


def proxied_next(netloc: str) -> Failure:
    """Let the link to the next page name the host that the server knows itself by."""

    def change(url: str) -> str:
        return urlunsplit(urlsplit(url)._replace(netloc=netloc))

    return _next_link(change)


def lost_next() -> Failure:
    """Leave out the link to the next page."""

    def change(content: Json, _call: Call) -> None:
        content["link"] = [link for link in content.get("link", ()) if link["relation"] != "next"]

    return ChangedBundle(change)


def endless_next() -> Failure:
    """Let every page have a next page, each with an address of its own."""

    def change(content: Json, call: Call) -> None:
        here = content["link"][0]["url"]
        joint = "&" if "?" in here else "?"
        _set_next(content, f"{here}{joint}page={call.number}")

    return ChangedBundle(change)


def self_next() -> Failure:
    """Let the next page be the same page."""

    def change(content: Json, _call: Call) -> None:
        _set_next(content, content["link"][0]["url"])

    return ChangedBundle(change)


def lying_total(more: int) -> Failure:
    """Claim so many matches more than there are."""

    def change(content: Json, _call: Call) -> None:
        content["total"] = content.get("total", 0) + more

    return ChangedBundle(change)


def throttled_entry(number: int, *, status: str = "429 Too Many Requests") -> Failure:
    """Answer one entry of a batch, counted from 0, with an error inside an answer of 200."""

    def change(content: Json, _call: Call) -> None:
        if content["type"] == "batch-response" and number < len(content["entry"]):
            said = {"status": status, "outcome": outcome("throttled", "planned failure")}
            content["entry"][number] = {"response": said}

    return ChangedBundle(change)


def _next_link(change: Callable[[str], str]) -> Failure:
    def changed(content: Json, _call: Call) -> None:
        for link in content.get("link", ()):
            if link["relation"] == "next":
                link["url"] = change(link["url"])

    return ChangedBundle(changed)


def _set_next(content: Json, url: str) -> None:
    links = [link for link in content.get("link", ()) if link["relation"] != "next"]
    content["link"] = [*links, {"relation": "next", "url": url}]
