"""What must be true of every decision, whatever the Consents and the record say."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.consent import Answer, RecordFacts
from fhir_bridge.records import Json
from fhir_bridge.sensitivity import CONFIDENTIALITY, Labels
from tests.rules.consents import (
    actor,
    ask,
    concept,
    consent,
    deny,
    label,
    purpose,
    record,
    weighed,
)

few = settings(max_examples=40, deadline=None)

STRENGTH = {Answer.PERMIT: 0, Answer.REFUSE: 1, Answer.DENY: 2}
CODES = ("HIV", "PSY", "MH", "SPI", "STD", "SUD", "PSYTHPN", "COGN", "BH")
ORGANISATIONS = ("Organization/theirs", "Organization/other", "Organization/nowhere")


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2)


ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "actor": some(*ORGANISATIONS).map(lambda refs: [actor(ref) for ref in refs]),
    "purpose": some("TREAT", "COC", "HRESCH", "NOSUCH").map(lambda codes: [*map(purpose, codes)]),
    "securityLabel": some("N", "R", "V", *CODES, "NOSUCH").map(lambda codes: [*map(label, codes)]),
    "action": some("disclose", "access").map(
        lambda codes: [concept("consentaction", one) for one in codes]
    ),
    "period": st.sampled_from([{"start": "2026-06-15"}, {"end": "2026-06-15"}, {"end": "2027"}]),
    "dataPeriod": st.sampled_from([{"start": "2022", "end": "2022"}, {"start": "2026-06"}]),
    "class": some("Observation", "ImagingStudy").map(
        lambda codes: [{"system": "http://hl7.org/fhir/resource-types", "code": c} for c in codes]
    ),
    "data": st.sampled_from(["instance", "related", "authoredby"]).map(
        lambda meaning: [{"meaning": meaning, "reference": {"reference": "Observation/o"}}]
    ),
}
TYPES = st.sampled_from(["permit", "permit", "deny"])
EXCEPTIONS = st.fixed_dictionaries({"type": TYPES}, optional=ELEMENTS)
PROVISIONS = st.fixed_dictionaries(
    {"type": TYPES},
    optional=ELEMENTS | {"provision": st.lists(EXCEPTIONS, min_size=1, max_size=2)},
)
CONSENTS = st.builds(
    lambda provision, n, more: consent(provision, id=f"c{n}", **more),
    PROVISIONS,
    st.integers(0, 5),
    st.sampled_from(
        [{}, {}, {}, {}, {"implicitRules": "x"}, {"status": "inactive"}, {"performer": None}]
    ),
)
MANY = st.lists(CONSENTS, max_size=3)
LABELS = st.builds(
    Labels,
    confidentiality=st.sampled_from([None, *CONFIDENTIALITY]),
    computed_normal=st.booleans(),
    sensitivities=st.frozensets(st.sampled_from(CODES), max_size=2),
    policies=st.frozensets(st.sampled_from(["42CFRPart2", "NOAUTH", "ORCON"]), max_size=1),
    purposes=st.frozensets(st.sampled_from(["TREAT", "HRESCH"]), max_size=1),
    unknown=st.booleans(),
)
CONTENTS = st.fixed_dictionaries(
    {"resourceType": st.sampled_from(["Observation", "DocumentReference"])},
    optional={"issued": st.sampled_from(["2022-03-01T10:00:00Z", "x"])},
)
RECORDS = st.builds(record, LABELS, CONTENTS)
ZONES = st.sampled_from([None, ask().timezone])


def strength(consents: list[Json], about: RecordFacts, **more: Any) -> int:
    return STRENGTH[weighed(*consents, **more).decide(about).answer]


@few
@given(MANY, CONSENTS, RECORDS, ZONES)
def test_adding_a_deny_never_turns_a_decision_into_permit(
    consents: list[Json], added: Json, about: RecordFacts, zone: Any
) -> None:
    refusal = added | {"provision": {**added["provision"], "type": "deny"}}
    refusal["provision"].pop("provision", None)
    before = strength(consents, about, timezone=zone)
    assert strength([*consents, refusal], about, timezone=zone) >= before or before == 2
    blanket = consent(deny(), id="blanket")
    assert strength([*consents, blanket], about, timezone=zone) == 2


@few
@given(MANY, CONSENTS, RECORDS)
def test_a_nested_deny_never_permits_more(
    consents: list[Json], widened: Json, about: RecordFacts
) -> None:
    narrower = deepcopy(widened)
    narrower["provision"].setdefault("provision", []).append(deny(securityLabel=[label("HIV")]))
    before, after = (weighed(*consents, one).decide(about).answer for one in (widened, narrower))
    assert before is Answer.PERMIT or after is not Answer.PERMIT


@few
@given(MANY, RECORDS)
def test_knowing_less_of_a_records_labels_never_permits_more(
    consents: list[Json], about: RecordFacts
) -> None:
    known = about.labels
    forgotten = [replace(known, unknown=True)]
    if not known.sensitivities and not known.policies:
        forgotten.append(replace(known, computed_normal=False))
    standing = weighed(*consents)
    before = standing.decide(about).answer
    for less in forgotten:
        after = standing.decide(replace(about, labels=less)).answer
        assert after is not Answer.PERMIT or before is Answer.PERMIT


@few
@given(MANY, RECORDS)
def test_a_record_labelled_more_sensitive_is_never_permitted_more_by_confidentiality(
    consents: list[Json], about: RecordFacts
) -> None:
    plain = replace(about, labels=replace(about.labels, confidentiality="R"))
    secret = replace(about, labels=replace(about.labels, confidentiality="V"))
    standing = weighed(*consents)
    assert (
        standing.decide(secret).answer is not Answer.PERMIT
        or standing.decide(plain).answer is Answer.PERMIT
    )


@few
@given(st.permutations(range(3)), st.lists(CONSENTS, min_size=3, max_size=3), RECORDS)
def test_the_order_of_consents_never_matters(
    order: list[int], consents: list[Json], about: RecordFacts
) -> None:
    one, other = weighed(*consents), weighed(*(consents[n] for n in order))
    assert one.decide(about) == other.decide(about)
    assert one.consents == other.consents
    assert one.may_release_something() == other.may_release_something()


@few
@given(MANY, RECORDS, ZONES)
def test_what_is_permitted_was_worth_reading(
    consents: list[Json], about: RecordFacts, zone: Any
) -> None:
    standing = weighed(*consents, timezone=zone)
    if standing.decide(about).answer is Answer.PERMIT:
        assert standing.may_release_something()


@few
@given(MANY, RECORDS)
def test_not_knowing_the_time_zone_never_permits_more(
    consents: list[Json], about: RecordFacts
) -> None:
    before, after = (
        weighed(*consents, timezone=zone).decide(about).answer for zone in (ask().timezone, None)
    )
    assert after is not Answer.PERMIT or before is Answer.PERMIT


@few
@given(MANY, RECORDS)
def test_treatment_never_releases_what_a_consent_denies_or_refuses(
    consents: list[Json], about: RecordFacts
) -> None:
    standing = weighed(*consents)
    found, treated = standing.decide(about), standing.decide_treatment(about)
    if found.reason.startswith(("provision-deny", "consent-", "part-2")):
        assert STRENGTH[treated.answer] >= STRENGTH[found.answer]
    if treated.answer is Answer.PERMIT:
        assert found.answer is Answer.PERMIT or found.reason in {"no-permit", "not-covered"}


@few
@given(MANY, RECORDS, RECORDS)
def test_a_remembered_decision_is_the_decision(
    consents: list[Json], about: RecordFacts, other: RecordFacts
) -> None:
    standing = weighed(*consents)
    standing.decide(other)
    assert standing.decide(about) == weighed(*consents).decide(about) == standing.decide(about)


NOISE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["active"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*consent(), "type", "coding", "reference", "start", "_x", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@few
@given(st.sampled_from([*consent(), "meta", "id"]), NOISE, RECORDS)
def test_no_consent_however_broken_permits_or_raises(
    name: str, noise: Any, about: RecordFacts
) -> None:
    broken = consent()
    if name in {"meta", "id", "text"} or noise == broken[name]:
        return
    broken[name] = noise
    assert weighed(broken).decide(about).answer is not Answer.PERMIT


@few
@given(st.sampled_from(["permit", "deny"]), st.sampled_from([*ELEMENTS, "code"]), NOISE, RECORDS)
def test_no_provision_however_broken_raises(
    type_: str, name: str, noise: Any, about: RecordFacts
) -> None:
    weighed(consent({"type": type_, name: noise})).decide(about)
    weighed(consent({"type": "permit", "provision": [{"type": type_, name: noise}]})).decide(about)


@few
@given(
    MANY, NOISE, st.sampled_from(["code", "issued", "performer", "encounter", "meta", "context"])
)
def test_no_record_however_broken_raises(consents: list[Json], noise: Any, name: str) -> None:
    weighed(*consents).decide(record(content={name: noise}))
