"""What is sent, in every field of every request, shows in no log, fault or figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from fhir_bridge.doors.api.operations import FORM
from fhir_bridge.doors.api.roles import Role
from tests.simulators.reception import Reception

CANARY = "Canary-7F3A"


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


def planted(content: Any, word: str) -> Iterator[Any]:
    """The same body with the canary in one place after another: as a value, and as a name."""
    if isinstance(content, dict):
        for name, value in content.items():
            for other in planted(value, word):
                yield {**content, name: other}
        yield {**content, word: word}
    elif isinstance(content, list):
        for at, value in enumerate(content):
            for other in planted(value, word):
                yield [*content[:at], other, *content[at + 1 :]]
        yield [*content, word]
    yield word
    yield {word: word}


def written(body: Any, media: str) -> str:
    return urlencode(body) if media == FORM and isinstance(body, dict) else json.dumps(body)


def test_nothing_that_was_sent_shows_in_logs_faults_or_figures(reception: Reception) -> None:
    document = reception.client.get("/openapi.json").json()
    who = reception.as_(*(role for role in Role), tenant=reception.tenant)
    transfer = reception.carried()
    answers: list[httpx.Response] = []
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            answers += _sent(
                reception, method, path.replace("{transfer}", transfer), described, who
            )

    faults = [answer for answer in answers if answer.status_code >= 400]
    assert len(faults) > 300
    assert not [answer.text for answer in faults if CANARY.lower() in answer.text.lower()]
    assert not [dict(a.headers) for a in answers if CANARY.lower() in str(a.headers).lower()]
    assert CANARY.lower() not in reception.log.getvalue().lower()
    assert CANARY.lower().encode() not in reception.service.metrics.text().lower()
    assert reception.allow_list.dropped == 0
    # The database holds what was asked, but sealed.
    for file in (reception.world.folder / "store").rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes(), file.name


def _sent(
    reception: Reception, method: str, path: str, described: dict[str, Any], who: dict[str, str]
) -> Iterator[httpx.Response]:
    client = reception.client

    def ask(**more: Any) -> httpx.Response:
        headers = {**who, "Idempotency-Key": f"order-{CANARY}", **more.pop("headers", {})}
        return client.request(method, more.pop("path", path), headers=headers, **more)

    if path.endswith("/events"):
        reception.service.stopping.set()
    yield ask(params={CANARY: CANARY})
    for parameter in described.get("parameters", []):
        if parameter["in"] == "query":
            yield ask(params={parameter["name"]: CANARY})
    for name in ("Idempotency-Key", "X-Request-Id", "traceparent", "User-Agent", "Cookie"):
        yield ask(headers={name: CANARY}, path=path.replace("{alias}", "ward"))
    yield client.request(method, path, headers={"Authorization": f"Bearer {CANARY}"})
    yield ask(path=f"{path}/{CANARY}")
    yield ask(path=path.replace("{alias}", f"{CANARY}!"))
    reception.service.stopping.clear()
    if "requestBody" in described:
        media, content = next(iter(described["requestBody"]["content"].items()))
        bodies = [written(one, media) for one in planted(content["example"], CANARY)]
        for body in (*bodies, CANARY, f'{{"{CANARY}', f'{{"a":"{CANARY}","a":1}}'):
            yield ask(
                content=body,
                headers={"Content-Type": media},
                path=path.replace("{alias}", "ward"),
            )
        yield ask(content=CANARY, headers={"Content-Type": f"text/{CANARY}"})
