"""The FHIR interactions of a sandbox: a request in, an answer out."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl

from fhir_bridge import lossless
from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError
from fhir_bridge.records import Json
from fhir_bridge.sandbox import capability
from fhir_bridge.sandbox.bundles import Listing, Pages, bundle
from fhir_bridge.sandbox.faults import Call
from fhir_bridge.sandbox.holdings import Holdings, Version
from fhir_bridge.sandbox.outcomes import Problem, Reply
from fhir_bridge.sandbox.parameters import TYPES
from fhir_bridge.sandbox.profile import Profile
from fhir_bridge.sandbox.searching import Query, matches
from fhir_bridge.sandbox.writing import Write, Writer, Written


class Service:
    """Answers requests from one sandbox's holdings."""

    def __init__(
        self, *, base: str, name: str, holdings: Holdings, profile: Profile, clock: Clock
    ) -> None:
        """Keep what the answers are made from."""
        self.base = base
        self.profile = profile
        self.holdings = holdings
        self.writer = Writer(holdings, base, profile, name)
        self._pages = Pages(base, holdings)
        self._clock = clock
        self._statement = b""

    def metadata(self, _call: Call, _segments: list[str]) -> Reply:
        """Answer with the CapabilityStatement."""
        if not self._statement:
            now = self._clock.now().astimezone(UTC).isoformat(timespec="seconds")
            said = capability.statement(self.profile, self.base, now)
            self._statement = lossless.encode(said)
        return Reply(status=200, body=self._statement)

    def read(self, call: Call, segments: list[str]) -> Reply:
        """Answer with the current version of a resource."""
        version = self.holdings.current("/".join(segments))
        if version is not None and call.headers.get("if-none-match") == version.etag:
            return Reply(status=304, headers=_version_headers(version))
        return self._shown(version, call, segments)

    def vread(self, call: Call, segments: list[str]) -> Reply:
        """Answer with one version of a resource."""
        held = self.holdings.held("/".join(segments[:2]))
        known = {str(version.number): version for version in held.versions} if held else {}
        return self._shown(known.get(segments[3]), call, segments)

    def history(self, _call: Call, segments: list[str]) -> Reply:
        """Answer with all versions of a resource, newest first."""
        held = self.holdings.held("/".join(segments[:2]))
        if held is None:
            raise Problem(404, "not-found", "HAPI-2001: the resource is not known")
        entries = [b'{"resource":%s}' % one.raw for one in held.versions[::-1] if one.raw]
        return bundle("history", entries, total=len(held.versions))

    def search(self, call: Call, segments: list[str]) -> Reply:
        """Answer with the first page of a search."""
        type_ = segments[0]
        pairs = list(call.query)
        if call.method == "POST":
            if not self.profile.post_search:
                raise Problem(405, "not-supported", "POST _search is not supported")
            pairs += parse_qsl(call.body.decode(), keep_blank_values=True)
        query = Query.of(type_, pairs, self.profile, strict=_prefers(call, "handling=strict"))
        refs = [f"{type_}/{id_}" for id_ in matches(self.holdings, query)]
        listing = self._listing(type_, query, refs)
        return self._pages.count(listing) if query.only_counts else self._pages.page(listing)

    def everything(self, call: Call, segments: list[str]) -> Reply:
        """Answer with a patient's compartment and what it refers to."""
        ref = f"Patient/{segments[1]}"
        if not self.profile.everything:
            raise Problem(400, "not-supported", "HAPI-0287: $everything is not known")
        if not self.holdings.exists(ref):
            raise Problem(404, "not-found", "HAPI-2001: the patient is not known")
        pairs = [pair for pair in call.query if pair[0] != "_type"]
        types = dict(call.query).get("_type", "")
        wanted = set(types.split(",")) if types else set(TYPES)
        query = Query.of("Patient", pairs, self.profile, strict=False)
        refs = [found for found in self._chart(ref) if found.partition("/")[0] in wanted]
        query.honoured = list(call.query)
        return self._pages.page(self._listing("/".join(segments), query, refs))

    def _chart(self, patient: str) -> list[str]:
        """Return a patient's compartment and, from there, all that is referred to."""
        chart = {patient: None}
        for type_ in TYPES:
            ids = self.holdings.found(type_, "patient", patient)
            chart.update({f"{type_}/{id_}": None for id_ in sorted(ids)})
        waiting = list(chart)
        while waiting:
            held = self.holdings.held(waiting.pop())
            for there in held.links if held else ():
                if there in chart or there.startswith("Patient/"):
                    continue
                if self.holdings.exists(there):
                    chart[there] = None
                    waiting.append(there)
        return list(chart)

    def _listing(self, path: str, query: Query, refs: list[str]) -> Listing:
        by_offset = self.profile.offset_paging and "_offset" in query.controls
        return Listing(
            path=path,
            honoured=tuple(query.honoured),
            refs=refs,
            size=max(1, query.page_size(self.profile)),
            offset=int(query.controls["_offset"]) if by_offset else 0,
            by_offset=by_offset,
            revincludes=tuple(query.revincludes),
        )

    def later_page(self, call: Call, _segments: list[str]) -> Reply:
        """Answer with a further page of an earlier search."""
        asked = dict(call.query)
        offset = asked.get("_getpagesoffset", "0")
        if not offset.isdigit():
            raise Problem(400, "invalid", "_getpagesoffset must be a whole number")
        return self._pages.later(asked.get("_getpages", ""), int(offset))

    def write(self, call: Call, segments: list[str]) -> Reply:
        """Create, update or delete one resource."""
        headers = call.headers
        one = Write(
            method=call.method,
            type=segments[0],
            id=segments[1] if len(segments) > 1 else None,
            query="&".join(f"{name}={value}" for name, value in call.query)
            if len(segments) == 1
            else "",
            content=None if call.method == "DELETE" else self._body(call, segments),
            if_match=headers.get("if-match", ""),
            if_none_match=headers.get("if-none-match", ""),
            if_none_exist=headers.get("if-none-exist", ""),
            snapshot_mode=headers.get("x-meta-snapshot-mode", ""),
        )
        if call.method != "POST" and not one.id and not one.query:
            raise Problem(405, "not-supported", f"{call.method} needs an id")
        return self._told(self.writer.write([one])[0], call)

    def _told(self, written: Written, call: Call) -> Reply:
        version = written.version
        if version is None or version.raw is None:
            return Reply(status=204)
        headers = _version_headers(version)
        headers["Location"] = f"{self.base}/{written.ref}/_history/{version.number}"
        minimal = _prefers(call, "return=minimal")
        return Reply(status=written.status, headers=headers, body=b"" if minimal else version.raw)

    def _body(self, call: Call, segments: list[str]) -> Json:
        """Return the resource in a request's body; raw bytes become a Binary."""
        given = call.headers.get("content-type", "").partition(";")[0].strip()
        if segments[0] != "Binary" or "json" in given:
            return parsed(call.body)
        content: Json = {"resourceType": "Binary", "contentType": given}
        if len(segments) > 1:
            content["id"] = segments[1]
        if context := call.headers.get("x-security-context"):
            content["securityContext"] = {"reference": context}
        content["data"] = base64.b64encode(call.body).decode()
        return content

    def _shown(self, version: Version | None, call: Call, segments: list[str]) -> Reply:
        if version is None:
            text = f"HAPI-2001: Resource {segments[0]}/{segments[1]} is not known"
            raise Problem(404, "not-found", text)
        if version.raw is None:
            raise Problem(410, "deleted", "the resource was deleted")
        reply = Reply(status=200, body=version.raw, headers=_version_headers(version))
        if segments[0] == "Binary" and not _wants_fhir(call):
            return _as_bytes(reply)
        return reply


def parsed(body: bytes) -> Json:
    """
    Return the resource in a request's body.

    Raises:
        Problem: 400, when it is not one.
    """
    try:
        content = lossless.decode(body)
    except BridgeError as error:
        raise Problem(400, "structure", "HAPI-0450: the body is not FHIR JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("resourceType"), str):
        raise Problem(400, "structure", "HAPI-1838: the body has no resourceType")
    return content


def _as_bytes(reply: Reply) -> Reply:
    content = lossless.decode_own(reply.body)
    try:
        data = base64.b64decode(content.get("data", ""))
    except binascii.Error as error:
        raise Problem(500, "exception", "the stored data is not base64") from error
    return replace(reply, body=data, content_type=str(content.get("contentType")))


def _wants_fhir(call: Call) -> bool:
    """HAPI 8.8.0 takes the Content-Type of a GET as an Accept, too."""
    wanted = call.headers.get("accept", "") + call.headers.get("content-type", "")
    return "fhir+json" in wanted or "application/json" in wanted


def _prefers(call: Call, what: str) -> bool:
    return what in call.headers.get("prefer", "").replace(" ", "")


def _version_headers(version: Version) -> dict[str, str]:
    moment = datetime.fromisoformat(version.last_updated)
    return {"ETag": version.etag, "Last-Modified": format_datetime(moment, usegmt=True)}
