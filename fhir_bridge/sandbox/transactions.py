"""Bundles that are sent to the sandbox: a transaction as a whole, a batch entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from fhir_bridge import lossless
from fhir_bridge.records import Json
from fhir_bridge.sandbox.bundles import bundle
from fhir_bridge.sandbox.faults import Call
from fhir_bridge.sandbox.outcomes import Problem, Reply, outcome, reply_to
from fhir_bridge.sandbox.service import Service, parsed
from fhir_bridge.sandbox.writing import Write, Written

Alone = Callable[[Call], Reply]
"""Answers one request."""

_CONDITIONS = {
    "ifMatch": "if-match",
    "ifNoneMatch": "if-none-match",
    "ifNoneExist": "if-none-exist",
}


def answer(service: Service, call: Call, alone: Alone) -> Reply:
    """
    Do what a Bundle asks.

    Args:
        service: What does the writes.
        call: The request with the Bundle.
        alone: Answers one entry as if it had come by itself.

    Raises:
        Problem: It cannot be done; of a transaction, nothing was done.

    Source:
        https://hl7.org/fhir/R4/http.html#transaction
    """
    content = parsed(call.body)
    entries = content.get("entry", [])
    if content["resourceType"] != "Bundle" or not isinstance(entries, list):
        raise Problem(400, "invalid", "only a Bundle can be sent here")
    limit = service.profile.entry_limit
    if limit is not None and len(entries) > limit:
        raise Problem(413, "too-costly", f"a Bundle may have at most {limit} entries")
    if content.get("type") == "transaction" and service.profile.transactions:
        return _transaction(service, call, entries, alone)
    if content.get("type") == "batch" and service.profile.batch:
        return bundle(
            "batch-response", [_alone(call, entry, service.base, alone) for entry in entries]
        )
    raise Problem(400, "not-supported", "HAPI-0527: this type of Bundle is not supported")


def _transaction(service: Service, call: Call, entries: list[Any], alone: Alone) -> Reply:
    steps = [_request(entry, f"Bundle.entry[{i}]") for i, entry in enumerate(entries)]
    writes = {
        i: _write(entries[i], request, f"Bundle.entry[{i}]", service, call)
        for i, request in enumerate(steps)
        if request["method"] != "GET"
    }
    # The standard's order: what is deleted first may be written again.
    ordered = sorted(writes, key=lambda i: ("DELETE", "POST", "PUT").index(writes[i].method))
    done = service.writer.write([writes[i] for i in ordered])
    written = dict(zip(ordered, done, strict=True))
    whole = "return=representation" in call.headers.get("prefer", "")
    answers = [
        _told(written[i], whole=whole) if i in written else _alone(call, entry, service.base, alone)
        for i, entry in enumerate(entries)
    ]
    return bundle("transaction-response", answers)


def _request(entry: Any, place: str) -> Json:
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("url"), str):
        raise Problem(400, "required", "an entry has no request", expression=(place,))
    if request.get("method") not in {"GET", "PUT", "POST", "DELETE"}:
        raise Problem(400, "not-supported", "HAPI-0532: unknown method", expression=(place,))
    return request


def _write(entry: Json, request: Json, place: str, service: Service, call: Call) -> Write:
    path, _, query = _relative(request["url"], service.base).partition("?")
    type_, _, id_ = path.partition("/")
    return Write(
        method=request["method"],
        type=type_,
        id=id_ or None,
        query=query,
        content=entry.get("resource"),
        if_match=request.get("ifMatch", ""),
        if_none_match=request.get("ifNoneMatch", ""),
        if_none_exist=request.get("ifNoneExist", ""),
        full_url=entry.get("fullUrl", ""),
        snapshot_mode=call.headers.get("x-meta-snapshot-mode", ""),
        place=place,
    )


def _relative(url: str, base: str) -> str:
    return url.removeprefix(base).lstrip("/")


def _told(written: Written, *, whole: bool) -> bytes:
    version = written.version
    response: Json = {"status": _phrase(written.status)}
    if version is None or version.raw is None:
        return lossless.encode({"response": response})
    response["location"] = f"{written.ref}/_history/{version.number}"
    response["etag"] = version.etag
    response["lastModified"] = version.last_updated
    told = lossless.encode({"response": response})
    return b'{"resource":' + version.raw + b"," + told[1:] if whole else told


def _alone(call: Call, entry: Any, base: str, alone: Alone) -> bytes:
    """Answer one entry as if it had come by itself."""
    try:
        request = _request(entry, "Bundle.entry")
        path, _, query = _relative(request["url"], base).partition("?")
        headers = {"content-type": "application/fhir+json", "accept": "application/fhir+json"}
        headers |= {_CONDITIONS[name]: request[name] for name in _CONDITIONS if name in request}
        reply = alone(
            replace(
                call,
                method=request["method"],
                path=path,
                query=tuple(parse_qsl(query, keep_blank_values=True)),
                headers=headers,
                body=lossless.encode(entry["resource"]) if "resource" in entry else b"",
            )
        )
    except Problem as problem:
        return _failed(problem)
    response: Json = {"status": _phrase(reply.status)}
    if "ETag" in reply.headers:
        response["etag"] = reply.headers["ETag"]
    if "Location" in reply.headers:
        response["location"] = _relative(reply.headers["Location"], base)
    told = lossless.encode({"response": response})
    return b'{"resource":' + reply.body + b"," + told[1:] if reply.body else told


def _failed(problem: Problem) -> bytes:
    said = outcome(problem.code, problem.text, expression=problem.expression)
    response = {"status": _phrase(reply_to(problem).status), "outcome": said}
    return lossless.encode({"response": response})


def _phrase(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
