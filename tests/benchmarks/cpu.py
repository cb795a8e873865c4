"""What the processor does without any network: gather-and-build, and the rewriter alone."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.consent import Answer, Decision, RecordFacts
from fhir_bridge.journey.deciding import Rules, decide
from fhir_bridge.journey.examining import Examiner
from fhir_bridge.journey.gathering import Found
from fhir_bridge.kinds import KindBook
from fhir_bridge.records import Kind, RecordRef, Resource, digest
from fhir_bridge.references import ClosurePolicy, Plan, copy_id, rewrite
from fhir_bridge.sensitivity import SensitivityBook
from tests.benchmarks import patients

_BASE = "https://first.example/fhir"
_COUNT = 5_000
_PAGE = 500
_PEER = 46_000
"""Rewrites a second of the fastest peer, in JavaScript on a machine of this size."""


def report() -> None:
    """Measure on results of 20 to a report, and print resources a second."""
    pages = _pages()
    parties: Any = SimpleNamespace(
        source=SimpleNamespace(server=SimpleNamespace(base=_BASE)),
        closure=ClosurePolicy.load(),
        sensitivity=SensitivityBook.load({}),
        kinds=KindBook.load(),
    )
    _run(parties, pages[:1])
    start = time.process_time()
    built = _run(parties, pages)
    whole = built / (time.process_time() - start)
    print(f"Gather and build (parse, closure, decide, rewrite, digest, encode): {whole:,.0f}/s")
    alone = _rewriter(pages)
    print(
        f"The rewriter alone: {alone:,.0f}/s, {alone / _PEER:.2f} of the fastest peer's {_PEER:,}"
    )


def _pages() -> list[bytes]:
    entries = [{"resource": one} for one in patients.record("cpu", _COUNT)]
    return [
        lossless.encode({"resourceType": "Bundle", "entry": entries[at : at + _PAGE]})
        for at in range(0, len(entries), _PAGE)
    ]


def _run(parties: Any, pages: list[bytes]) -> int:
    resources = [
        Resource.of(entry["resource"]) for page in pages for entry in lossless.decode(page)["entry"]
    ]
    patient = next(one for one in resources if one.type == "Patient")
    examine = Examiner(parties, patient.ref)
    found = Found(patient=patient)
    for one in (examine(resource) for resource in resources if resource is not patient):
        found.examined[one.resource.ref] = one
        found.kinds[one.resource.ref] = one.classified.kind or Kind.LABORATORY
    decisions = decide(found, _rules(parties))
    plan = _plan([*found.examined, patient.ref])
    built = 0
    for ref in decisions.of:
        content = found.examined[ref].resource.content()
        copy = rewrite(content, plan, to=plan.copies[ref])
        digest(copy.content)
        lossless.encode(copy.content)
        built += 1
    return built


def _rules(parties: Any) -> Rules:
    permit = Decision(
        answer=Answer.PERMIT,
        reason="consent-permit",
        consent=None,
        version=None,
        path=None,
        sentence="permitted",
    )

    def consent(_: RecordFacts) -> Decision:
        return permit

    return Rules(
        consent=consent,
        sensitivity=parties.sensitivity,
        base=_BASE,
        test_data_only=False,
        by_person=lambda _: None,
        holds={},
        delivered_before=frozenset(),
    )


def _plan(refs: list[RecordRef]) -> Plan:
    return Plan(
        base=_BASE,
        identity=_BASE,
        copies={ref: RecordRef(f"{ref.partition('/')[0]}/{copy_id(_BASE, ref)}") for ref in refs},
    )


def _rewriter(pages: list[bytes]) -> float:
    contents = [entry["resource"] for page in pages for entry in lossless.decode(page)["entry"]]
    refs = [RecordRef(f"{one['resourceType']}/{one['id']}") for one in contents]
    plan = _plan(refs)
    start = time.process_time()
    for ref, content in zip(refs, contents, strict=True):
        rewrite(content, plan, to=plan.copies[ref])
    return len(contents) / (time.process_time() - start)
