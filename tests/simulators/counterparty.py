"""A FHIR server seen through plain HTTP: the contract tests must not judge the product's client."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from fhir_bridge import lossless

JSON = "application/fhir+json"
LABORATORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def _prefix() -> str:
    return f"c{uuid.uuid4().hex[:10]}"


@dataclass(frozen=True)
class Counterparty:
    """A server under test, and a name space of its own on it: real servers forget nothing."""

    product: str
    """sandbox, hapi or sekmet."""
    base: str
    session: requests.Session
    prefix: str = field(default_factory=_prefix)

    def id(self, name: str) -> str:
        """An id that no other test uses."""
        return f"{self.prefix}-{name}"

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request; a body is sent as JSON unless it is bytes already."""
        sent = {"Accept": JSON}
        if body is not None:
            sent["Content-Type"] = JSON
            body = body if isinstance(body, bytes) else lossless.encode(body)
        address = path if "://" in path else f"{self.base}/{path}".rstrip("/")
        return self.session.request(
            method,
            address,
            params=params,
            data=body,
            headers=sent | dict(headers or {}),
            timeout=60,
        )

    def put(self, content: Mapping[str, Any], **headers: str) -> requests.Response:
        """PUT a resource where its id says."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"{content['resourceType']}/{content['id']}"
        return self.ask("PUT", path, body=content, headers=named)

    def read(self, ref: str) -> Any:
        """The content of a resource that must be there."""
        answer = self.ask("GET", ref)
        assert answer.status_code == 200, (ref, answer.status_code)
        return lossless.decode(answer.content)

    def status(self, ref: str) -> int:
        """The status that reading a resource gives."""
        return self.ask("GET", ref).status_code

    def search(self, path: str, **params: str) -> Any:
        """The first page of a search; ``has_member`` means ``has-member``."""
        pairs = {
            name if name[0] == "_" else name.replace("_", "-"): v for name, v in params.items()
        }
        answer = self.ask("GET", path, params=pairs)
        assert answer.status_code == 200, answer.text[:500]
        return lossless.decode(answer.content)

    def transact(
        self, *entries: Mapping[str, Any], kind: str = "transaction", **headers: str
    ) -> requests.Response:
        """Send a Bundle of such entries."""
        bundle = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", "", body=bundle, headers=named)

    def patient(self, suffix: str = "p", /, **more: Any) -> str:
        """Store a patient and return the reference."""
        content = {"resourceType": "Patient", "id": self.id(suffix), **more}
        assert self.put(content).status_code in {200, 201}
        return f"Patient/{content['id']}"

    def observation(self, name: str, patient: str, **more: Any) -> dict[str, Any]:
        """A laboratory result of a patient, not stored yet."""
        return {
            "resourceType": "Observation",
            "id": self.id(name),
            "status": "final",
            "category": [{"coding": [{"system": LABORATORY, "code": "laboratory"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}]},
            "subject": {"reference": patient},
            "effectiveDateTime": "2020-03-04T05:06:07Z",
            **more,
        }


@contextmanager
def counterparty(product: str, base: str) -> Iterator[Counterparty]:
    """Open a connection to a server."""
    with requests.Session() as session:
        session.trust_env = False
        yield Counterparty(product, base, session)


def entry(content: Mapping[str, Any], **request: str) -> dict[str, Any]:
    """A Bundle entry that PUTs a resource, unless the request says something else."""
    url = f"{content['resourceType']}/{content['id']}" if "id" in content else ""
    return {"resource": content, "request": {"method": "PUT", "url": url, **request}}


def found(bundle: Mapping[str, Any], mode: str | None = None) -> list[str]:
    """References of the resources in a Bundle, of one search mode if named."""
    return [
        f"{one['resource']['resourceType']}/{one['resource']['id']}"
        for one in bundle.get("entry", ())
        if mode is None or one.get("search", {}).get("mode") == mode
    ]


def link(bundle: Mapping[str, Any], relation: str) -> str | None:
    """The address behind a link of a Bundle."""
    urls = [one["url"] for one in bundle.get("link", ()) if one["relation"] == relation]
    return urls[0] if urls else None
