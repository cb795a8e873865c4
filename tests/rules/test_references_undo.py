"""Whatever is in a record, its copy can be taken back exactly."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge import lossless
from fhir_bridge.records import RecordRef
from fhir_bridge.references import Plan, rewrite, undo
from tests.simulators.published import published

BASE = "https://first.example.org/fhir"
TO = RecordRef("Observation/copy")
PLAN = Plan(
    base=BASE,
    identity=BASE,
    copies={
        RecordRef("Patient/1"): RecordRef("Patient/p"),
        RecordRef("Observation/1"): RecordRef("Observation/o"),
        RecordRef("Binary/1"): RecordRef("Binary/b"),
    },
    removed=frozenset({RecordRef("Observation/withheld"), RecordRef("Binary/withheld")}),
    removed_identifiers=frozenset({("s", "v")}),
)

REFERENCES = st.sampled_from(
    [
        "Patient/1",
        "Patient/1/_history/3",
        f"{BASE}/Observation/1",
        "Observation/withheld",
        "Observation/2",
        "#a",
        "urn:uuid:1",
        "bare",
        "https://u:p@other.example/fhir/Patient/1",
    ]
)
SCALARS = st.one_of(
    st.text(max_size=5),
    st.booleans(),
    st.none(),
    st.sampled_from([lossless.decode(b"5.10"), lossless.decode(b"-0"), 7]),
)
REFERENCE = st.fixed_dictionaries(
    {"reference": REFERENCES},
    optional={
        "display": st.text(max_size=5),
        "identifier": st.fixed_dictionaries({"value": st.text(max_size=3)}),
    },
)
LOGICAL = st.fixed_dictionaries(
    {"identifier": st.fixed_dictionaries({"system": st.just("s"), "value": st.just("v")})}
)
ATTACHMENT = st.fixed_dictionaries(
    {"url": st.sampled_from(["Binary/1", "Binary/2", "Binary/withheld", "files/a", "urn:a"])}
)
NAMES = st.sampled_from(
    [
        "subject",
        "hasMember",
        "link",
        "media",
        "data",
        "target",
        "agent",
        "who",
        "presentedForm",
        "attachment",
        "valueReference",
        "extension",
        "modifierExtension",
        "_given",
        "note",
        "text",
    ]
)


def elements(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    one = st.dictionaries(NAMES, children, max_size=4)
    extension = st.fixed_dictionaries({"url": st.just("u")}, optional={"valueReference": REFERENCE})
    return st.one_of(
        one, st.lists(one, max_size=3), st.lists(REFERENCE, max_size=3), st.lists(extension)
    )


ELEMENTS = st.recursive(st.one_of(SCALARS, REFERENCE, LOGICAL, ATTACHMENT), elements, max_leaves=25)
TYPES = st.sampled_from(["Observation", "Provenance", "DiagnosticReport", "Consent", "Endpoint"])
RESOURCES = st.builds(
    lambda type_, body, meta: {**body, **meta, "resourceType": type_, "id": "1"},
    TYPES,
    st.dictionaries(NAMES, ELEMENTS, max_size=6),
    st.fixed_dictionaries(
        {},
        optional={
            "meta": st.dictionaries(
                st.sampled_from(["versionId", "tag", "extension"]),
                st.one_of(st.text(max_size=3), st.lists(REFERENCE, max_size=2)),
            ),
            "identifier": st.lists(LOGICAL, max_size=2),
            "contained": st.lists(
                st.fixed_dictionaries({"resourceType": TYPES, "subject": REFERENCE}), max_size=2
            ),
        },
    ),
)


@settings(max_examples=150, deadline=None)
@given(RESOURCES)
def test_undoing_a_copy_gives_the_record_back_exactly(record: dict[str, Any]) -> None:
    raw = lossless.encode(record)
    result = rewrite(lossless.decode(raw), PLAN, to=TO)
    sent = lossless.encode(result.content)

    back = undo(lossless.decode(sent), result)

    assert lossless.canonical(back) == lossless.canonical(lossless.decode(raw))
    assert lossless.encode(result.content) == sent, "undoing must leave the copy alone"
    assert b"Observation/withheld" not in sent or result.broken


def test_undoing_the_copies_of_the_official_examples_gives_them_back() -> None:
    for example in sorted(published("hl7_r4_examples").glob("*.json")):
        content = lossless.decode(example.read_bytes())
        if content["resourceType"] in {"Bundle", "Parameters"}:
            continue
        before = lossless.canonical(content)
        result = rewrite(content, PLAN, to=TO)
        back = undo(lossless.decode(lossless.encode(result.content)), result)
        assert lossless.canonical(back) == before, example.name
