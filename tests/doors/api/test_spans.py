"""Spans say what was done and how it ended, and nothing of whom or what it was about."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fhir_bridge import spans
from fhir_bridge.doors.api.roles import Role
from fhir_bridge.errors import SettingsError
from fhir_bridge.sandbox import DropBefore, Status
from fhir_bridge.transfer import State
from tests.journeys.world import FIRST, SECOND
from tests.simulators.hostile_server import HostileServer, Says
from tests.simulators.reception import Reception

CANARY = "canary-7f3a"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


class Sent:
    """What would have left."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        spans.start(SimpleSpanProcessor(self.exporter), {})

    def named(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.exporter.get_finished_spans() if one.name == name]

    def text(self) -> str:
        return "\n".join(one.to_json() for one in self.exporter.get_finished_spans())


@pytest.fixture
def sent() -> Iterator[Sent]:
    yield Sent()
    spans.stop()


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    with Reception(tmp_path) as reception:
        yield reception


def context(span: ReadableSpan) -> tuple[str, str]:
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_a_request_its_transfer_and_its_calls_are_one_trace_with_that_of_the_log(
    sent: Sent, reception: Reception
) -> None:
    headers = {
        **reception.as_(Role.INTEGRATOR),
        "Idempotency-Key": "order-1",
        "traceparent": f"00-{TRACE}-{CALLER}-01",
    }
    answer = reception.client.post("/v1/transfers", json=reception.asked(), headers=headers)
    reception.runner.run()
    transfer = answer.json()["transfer"]

    (request,) = sent.named("transfers.create")
    (turn,) = sent.named("transfer")
    calls = [one for one in sent.named("call") if context(one)[0] == TRACE]
    assert {context(one)[0] for one in (request, turn)} == {TRACE}
    assert f"{request.parent.span_id:016x}" == CALLER  # type: ignore[union-attr]
    assert answer.headers["traceparent"] == f"00-{TRACE}-{context(request)[1]}-01"
    assert dict(request.attributes or {}) == {
        "fhir_bridge.operation": "transfers.create",
        "http.request.method": "POST",
        "http.response.status_code": 202,
    }
    assert dict(turn.attributes or {}) == {
        "fhir_bridge.attempt": 1,
        "fhir_bridge.state": State.CLOSED,
        "fhir_bridge.transfer": transfer,
    }
    assert {f"{one.parent.span_id:016x}" for one in calls} == {context(turn)[1]}  # type: ignore[union-attr]
    assert {one.attributes["fhir_bridge.side"] for one in calls} == {"source", "destination"}  # type: ignore[index]
    world = reception.world
    received = [*world.first.requests, *world.second.requests]
    heard = {one.headers["traceparent"] for one in received if "traceparent" in one.headers}
    # What a server can do is asked for all transfers, so in no transfer's trace.
    untraced = [one.path for one in received if "traceparent" not in one.headers]
    assert untraced == ["metadata"] * (len(sent.named("call")) - len(calls))
    assert heard == {f"00-{TRACE}-{context(one)[1]}-01" for one in calls}
    assert {entry.trace for entry in reception.bridge.store.entries(transfer)} == {TRACE}


def test_no_span_holds_anything_of_a_patient_a_url_or_an_exceptions_text(
    sent: Sent, reception: Reception
) -> None:
    who = reception.as_(*Role, tenant=reception.tenant)
    reception.carried(referral={"reasons": ["cancer"], "question": CANARY})
    world = reception.world
    world.faults.at(lambda call: call.server == SECOND, Status(503), times=None)
    world.faults.at(lambda call: call.server == FIRST, DropBefore(), times=2)
    reception.trigger(patient={"system": "urn:x", "value": CANARY}, new=True)
    reception.runner.run()
    for path in (f"/fhir/AuditEvent?patient={CANARY}", f"/{CANARY}", f"/v1/transfers/{CANARY}"):
        reception.get(path, who)
    reception.client.request(CANARY, "/healthz", headers={"User-Agent": CANARY})
    reception.client.get("/healthz", headers={"traceparent": CANARY, "X-Request-Id": CANARY})
    text, known = sent.text(), msgspec.json.encode(reception.world.story.source).decode()

    assert len(sent.exporter.get_finished_spans()) > 50
    for span in sent.exporter.get_finished_spans():
        assert set(span.attributes or {}) <= set(spans.ATTRIBUTES)
        assert not span.events
        assert not span.links
        assert span.status.description is None
    assert CANARY not in text
    assert "http://" not in text
    assert "Patient" not in text
    families = set(re.findall(r'"family":\s*"(\w+)"', known))
    assert families
    assert not [word for word in (*families, "amelia") if word in text]


def test_an_attribute_that_is_not_listed_or_looks_otherwise_is_left_out(sent: Sent) -> None:
    with spans.begun(spans.Kind.CALL, TRACE) as span:
        span.say(
            http__request__method=CANARY,
            fhir_bridge__transfer=CANARY,
            fhir_bridge__side=f"source {CANARY}",
            fhir_bridge__state=f"closed\n{CANARY.upper()}",
            url__full=f"https://first.example/{CANARY}",
            error__type=f"{CANARY} ",
        )
        span.named(f"{CANARY} {CANARY}")

    (one,) = sent.named("call")
    assert dict(one.attributes or {}) == {}


def test_what_fails_is_named_by_its_class(sent: Sent) -> None:
    with pytest.raises(ValueError, match=CANARY), spans.begun(spans.Kind.TRANSFER, TRACE):
        raise ValueError(CANARY)

    (one,) = sent.named("transfer")
    assert dict(one.attributes or {}) == {"error.type": "valueerror"}
    assert not one.status.is_ok
    assert CANARY not in one.to_json()


def test_without_a_trace_each_span_has_one_of_its_own_and_no_parent(sent: Sent) -> None:
    for _ in range(2):
        with (
            spans.begun(spans.Kind.TRANSFER, ""),
            spans.begun(spans.Kind.CALL, "", parent=CALLER),
        ):
            continue

    found = sent.exporter.get_finished_spans()
    assert len({context(one)[0] for one in found}) == 4
    assert not [one for one in found if one.parent is not None]


@pytest.mark.parametrize(
    ("environ", "are"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
    ],
)
def test_spans_are_sent_only_where_the_environment_says_where(
    environ: dict[str, str], *, are: bool
) -> None:
    assert spans.wanted(environ) is are


def test_an_exporter_that_is_not_there_is_said_with_its_cure() -> None:
    with pytest.raises(SettingsError, match=r"pip install\s+'fhir-bridge\[otel\]'"):
        spans.configure({"OTEL_TRACES_EXPORTER": CANARY})


def test_the_librarys_own_exporters_are_found_by_their_names() -> None:
    assert spans.configure({"OTEL_TRACES_EXPORTER": "console"})
    spans.stop()


def test_spans_are_sent_by_otlp_to_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http",
        reason="fhir-bridge[otel] is not installed whole",
    )
    with HostileServer(
        [Says(status=200, headers={"Content-Type": "application/x-protobuf"})]
    ) as at:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", at.base)
        assert spans.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": at.base})
        with spans.begun(spans.Kind.CALL, TRACE):
            pass
        spans.stop()

    (asked,) = at.asked
    assert asked.target.endswith("/v1/traces")
    assert bytes.fromhex(TRACE) in asked.body
    assert b"fhir-bridge" in asked.body


def loaded(code: str) -> Any:
    ran = subprocess.run(
        [sys.executable, "-c", f"import json, sys; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def test_nothing_of_the_library_is_loaded_until_spans_are_wanted() -> None:
    assert loaded(
        "import fhir_bridge.doors.serving, fhir_bridge.doors.working;"
        " from fhir_bridge import spans;"
        " found = spans.configure({}), 'opentelemetry.sdk' in sys.modules;"
        " print(json.dumps(found))"
    ) == [False, False]


def test_without_the_extra_the_service_works_and_says_what_is_missing() -> None:
    assert loaded(
        "sys.modules.update({'opentelemetry': None});"
        " from fhir_bridge import spans, errors;"
        " span = spans.begun(spans.Kind.CALL, 'x'); span.__enter__().say(error__type='x');"
        " found = [];\n"
        "try: spans.configure({'OTEL_TRACES_EXPORTER': 'console'})\n"
        "except errors.SettingsError as error: found.append(str(error))\n"
        "print(json.dumps(found))"
    )[0].startswith("OTEL_* asks for spans")
