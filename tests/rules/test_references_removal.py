"""What a removed reference leaves behind: nothing that tells of it, and a valid resource."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_bridge import lossless
from fhir_bridge.records import RecordRef
from fhir_bridge.references import Plan, Rewritten, breaks_minimum, rewrite, undo

GONE = {"reference": "Observation/w", "display": "HIV"}
KEPT = {"reference": "Observation/k"}
MEDICATION = "MedicationStatement.medicationReference"
PLAN = Plan(
    base="https://a.example/fhir",
    identity="https://a.example/fhir",
    copies={RecordRef("Observation/k"): RecordRef("Observation/k")},
    removed=frozenset({RecordRef("Observation/w")}),
)


def cleaned(type_: str, **members: Any) -> tuple[dict[str, Any], Rewritten]:
    record = {"resourceType": type_, "id": "1", **members}
    raw = lossless.encode(record)
    result = rewrite(lossless.decode(raw), PLAN, to=RecordRef(f"{type_}/1"))
    left = lossless.decode(lossless.encode(result.content))
    assert undo(lossless.decode(lossless.encode(result.content)), result) == record
    for name in ("resourceType", "id", "identifier", "meta"):
        left.pop(name, None)
    return left, result


def test_an_empty_list_of_results_vanishes() -> None:
    left, result = cleaned("DiagnosticReport", result=[GONE, GONE])

    assert left == {}
    assert result.removed == ("result[0]", "result[1]")
    assert result.broken == ()


def test_other_results_of_the_list_stay_in_order() -> None:
    left, _ = cleaned("DiagnosticReport", result=[KEPT, GONE, {**KEPT, "display": "b"}, GONE])

    assert left == {"result": [KEPT, {**KEPT, "display": "b"}]}


def test_an_entry_that_must_have_a_link_goes_with_it() -> None:
    media = [{"comment": "HIV", "link": GONE}, {"comment": "slide", "link": KEPT}]
    left, result = cleaned("DiagnosticReport", media=media)

    assert left == {"media": [{"comment": "slide", "link": KEPT}]}
    assert result.removed == ("media[0].link",)
    assert cleaned("DiagnosticReport", media=media[:1])[0] == {}


def test_a_parent_that_held_nothing_else_vanishes() -> None:
    left, _ = cleaned("DocumentReference", context={"encounter": [GONE]})
    assert left == {}

    left, _ = cleaned("DocumentReference", context={"encounter": [GONE], "period": {}})
    assert left == {"context": {"period": {}}}


def test_an_extension_goes_with_the_reference_that_it_held() -> None:
    outer = {
        "url": "o",
        "extension": [{"url": "i", "valueReference": GONE}, {"url": "j", "valueString": "HIV"}],
    }
    left, result = cleaned("Observation", extension=[outer, {"url": "k", "valueReference": KEPT}])

    assert left == {"extension": [{"url": "k", "valueReference": KEPT}]}
    assert result.broken == ()


def test_the_extensions_beside_a_list_of_values_keep_their_numbers() -> None:
    gone, kept = {"extension": [{"url": "u", "valueReference": GONE}]}, {"id": "c"}
    left, _ = cleaned("Patient", given=["A", "B", "C"], _given=[None, gone, kept])
    assert left == {"given": ["A", "B", "C"], "_given": [None, None, kept]}

    left, _ = cleaned("Patient", given=["A", "B"], _given=[None, gone])
    assert left == {"given": ["A", "B"]}


def test_a_reference_inside_something_removed_is_removed_once() -> None:
    inner = {**GONE, "extension": [{"url": "u", "valueReference": GONE}]}
    left, result = cleaned("DiagnosticReport", result=[inner])
    assert left == {}
    assert result.removed == ("result[0]", "result[0].extension[0].valueReference")

    media = [{"extension": [{"url": "u", "valueReference": GONE}], "link": GONE}]
    assert cleaned("DiagnosticReport", media=media)[0] == {}


def test_a_modifier_extension_cannot_be_taken_out() -> None:
    modifier = [{"url": "u", "valueReference": GONE}]
    _, result = cleaned("Observation", modifierExtension=modifier)

    assert result.broken == ("modifierExtension[0]",)


@pytest.mark.parametrize(
    ("type_", "members", "broken"),
    [
        ("ImagingStudy", {"subject": GONE}, "ImagingStudy.subject"),
        ("Provenance", {"target": [GONE]}, "Provenance.target"),
        ("Provenance", {"agent": [{"who": GONE}]}, "Provenance.agent"),
        ("Consent", {"provision": {"data": [{"reference": GONE}]}}, "Consent.provision.data"),
        (
            "Consent",
            {"provision": {"provision": [{"actor": [{"reference": GONE}]}]}},
            "Consent.provision.actor",
        ),
        (
            "MedicationRequest",
            {"medicationReference": GONE},
            "MedicationRequest.medicationReference",
        ),
        (
            "Observation",
            {"contained": [{"resourceType": "ServiceRequest", "subject": GONE}]},
            "ServiceRequest.subject",
        ),
    ],
)
def test_a_removal_that_breaks_a_minimum_cardinality_is_reported(
    type_: str, members: dict[str, Any], broken: str | None
) -> None:
    _, result = cleaned(type_, **members)

    assert result.broken == ((broken,) if broken else ())


def test_one_of_several_required_references_may_go() -> None:
    left, result = cleaned("Provenance", target=[GONE, KEPT])

    assert left == {"target": [KEPT]}
    assert result.broken == ()


def test_a_minimum_is_asked_about_without_changing_the_record() -> None:
    record = {"resourceType": "Provenance", "target": [GONE, KEPT], "agent": [{"who": KEPT}]}
    before = lossless.encode(record)

    assert breaks_minimum(record, ["target[0]"]) == ()
    assert breaks_minimum(record, ["target[0]", "target[1]"]) == ("Provenance.target",)
    assert breaks_minimum(record, ["agent[0].who"]) == ("Provenance.agent",)
    assert breaks_minimum(record, []) == ()
    assert lossless.encode(record) == before
