"""How the root of a Consent and its exceptions work together."""

from __future__ import annotations

from typing import Any

from fhir_bridge.records import Json
from fhir_bridge.sensitivity import Labels
from tests.rules.consents import (
    HIV,
    NORMAL,
    PSY,
    actor,
    answer,
    concept,
    consent,
    decided,
    deny,
    label,
    permit,
    purpose,
    record,
    sensitive,
    weighed,
)

RESTRICTED = Labels(confidentiality="R")
VERY = Labels(confidentiality="V")


def labels(*codes: str) -> list[Json]:
    return [label(one) for one in codes]


def exception(type_: str, *codes: str, **more: Any) -> Json:
    made: Json = {"type": type_} | more
    return made | ({"securityLabel": labels(*codes)} if codes else {})


def test_a_nested_deny_beats_a_nested_permit_and_that_beats_the_root() -> None:
    nested = [exception("permit", "HIV"), exception("deny", "HIV")]
    assert answer(consent(permit(provision=nested)), about=HIV) == "deny"
    assert answer(consent(permit(provision=nested[::-1])), about=HIV) == "deny"
    opened = consent(deny(provision=[exception("permit", "HIV")]))
    assert answer(opened, about=HIV) == "permit"
    assert answer(opened, about=PSY) == "deny"


def test_a_nested_provision_counts_by_its_own_type() -> None:
    assert answer(consent(permit(provision=[exception("deny", "HIV")])), about=HIV) == "deny"
    assert answer(consent(deny(provision=[exception("deny", "HIV")])), about=HIV) == "deny"
    wider = consent(permit(securityLabel=labels("N"), provision=[exception("permit", "PSY")]))
    assert answer(wider, about=PSY) == "permit"
    assert answer(wider, about=NORMAL) == "permit"
    assert answer(wider, about=HIV) == "deny"


def test_a_nested_deny_in_doubt_refuses_although_a_nested_permit_matches() -> None:
    nested = [exception("deny", dataPeriod={"start": "2022"}), exception("permit", "HIV")]
    assert answer(consent(permit(provision=nested)), about=HIV) == "refuse"


def test_the_first_nested_deny_that_is_certain_is_named_before_one_in_doubt() -> None:
    nested = [exception("deny", dataPeriod={"start": "2022"}), exception("deny", "HIV")]
    found = decided(consent(permit(provision=nested)), about=HIV)
    assert (found.answer, found.path) == ("deny", "provision.provision[1]")


def test_the_roots_recipient_purpose_and_period_bind_the_whole_consent() -> None:
    other = permit(actor=[actor("Organization/other")], provision=[exception("permit", "PSY")])
    assert answer(consent(other), about=PSY) == "deny"
    research = permit(purpose=[purpose("HRESCH")], provision=[exception("permit")])
    assert answer(consent(research)) == "deny"
    refusing = permit(actor=[actor("Organization/other")], provision=[exception("deny", "PSY")])
    assert answer(consent(id="older"), consent(refusing), about=PSY) == "permit"
    asleep = permit(purpose=[purpose("HRESCH")], provision=[exception("deny", "PSY")])
    assert answer(consent(id="older"), consent(asleep), about=PSY) == "permit"


def test_a_nested_provision_has_a_recipient_purpose_and_period_of_its_own() -> None:
    them, other = [actor("Organization/theirs")], [actor("Organization/other")]
    root: Json = {"type": "permit", "securityLabel": labels("N")}
    focused = consent(root | {"provision": [exception("permit", "PSY", actor=them)]})
    elsewhere = consent(root | {"provision": [exception("permit", "PSY", actor=other)]})
    assert [answer(focused, about=PSY), answer(elsewhere, about=PSY)] == ["permit", "deny"]
    kept = consent({"type": "permit", "provision": [exception("deny", actor=other)]})
    assert answer(kept) == "permit"
    ended = consent(permit(provision=[exception("deny", period={"end": "2025"})]))
    assert answer(ended) == "permit"
    begun = consent(permit(provision=[exception("deny", period={"start": "2026"})]))
    assert answer(begun) == "deny"


def test_an_exception_that_denies_exactly_this_recipient_is_not_forgotten() -> None:
    them = [actor("Organization/theirs")]
    strange = permit(actor=[actor("Organization/other")], provision=[exception("deny", actor=them)])
    assert answer(consent(id="older"), consent(strange)) == "refuse"
    unsure = [actor("Organization/nowhere")]
    vague = permit(actor=[actor("Organization/other")], provision=[exception("deny", actor=unsure)])
    assert answer(consent(id="older"), consent(vague)) == "permit"


def test_an_exception_widens_what_it_names_and_nothing_it_is_silent_about() -> None:
    silent = permit(
        securityLabel=labels("N"), provision=[exception("permit", purpose=[purpose("TREAT")])]
    )
    assert answer(consent(silent), about=VERY) == "deny"
    limited = permit(
        data=[{"meaning": "instance", "reference": {"reference": "Observation/x"}}],
        provision=[exception("permit", "PSY")],
    )
    assert answer(consent(limited), about=PSY) == "deny"
    emergency = deny(
        securityLabel=labels("HIV"), provision=[exception("permit", purpose=[purpose("TREAT")])]
    )
    assert answer(consent(emergency), about=sensitive("HIV")) == "permit"
    assert answer(consent(emergency), about=NORMAL) == "deny"


def test_a_permit_inside_a_permit_stays_within_the_dates_of_the_root() -> None:
    made = permit(
        dataPeriod={"start": "2022", "end": "2022"},
        provision=[exception("permit", dataPeriod={"start": "2023", "end": "2023"})],
    )
    for day, expected in (("2022-05-01", "permit"), ("2023-05-01", "deny")):
        facts = record(content={"effectiveDateTime": day})
        assert answer(consent(made), about=facts) == expected
    opened = consent(made | {"type": "deny"})
    facts = record(content={"effectiveDateTime": "2023-05-01"})
    assert answer(opened, about=facts) == "permit"


def test_the_action_of_the_root_binds_an_exception_that_names_none() -> None:
    reading = [concept("consentaction", "access")]
    sending = [concept("consentaction", "disclose")]
    silent = permit(action=reading, provision=[exception("permit", "HIV")])
    spoken = permit(action=reading, provision=[exception("permit", "HIV", action=sending)])
    assert answer(consent(silent), about=HIV) == "deny"
    assert answer(consent(spoken), about=HIV) == "permit"


def test_a_root_deny_in_doubt_refuses_unless_an_exception_permits() -> None:
    root = deny(dataPeriod={"start": "2022"})
    assert answer(consent(root), consent(id="older")) == "refuse"
    opened = root | {"provision": [exception("permit", "HIV", dataPeriod={"start": "2020"})]}
    facts = record(HIV, last_updated="2021-01-01T00:00:00Z")
    assert answer(consent(opened), about=facts) == "permit"


def test_a_root_deny_of_some_records_says_nothing_of_the_others() -> None:
    root = consent(deny(securityLabel=labels("R")))
    assert answer(root, consent(id="older"), about=NORMAL) == "permit"
    assert answer(root, consent(id="older"), about=RESTRICTED) == "deny"
    assert answer(root, about=NORMAL) == "deny"


def test_the_nearest_permit_is_named_when_none_covers_the_record() -> None:
    found = decided(consent(permit(securityLabel=labels("N"))), about=HIV)
    assert (found.reason, found.consent, found.path) == ("not-covered", "Consent/c", "provision")
    assert found.sentence == (
        "no permit covers it, not even Consent/c (provision, by securityLabel)"
    )


def test_an_exception_alone_may_be_what_concerns_us() -> None:
    root: Json = {"type": "deny", "securityLabel": labels("V")}
    standing = weighed(consent(root | {"provision": [exception("permit", "N")]}))
    assert standing.may_release_something()
    assert standing.decide(record(NORMAL)).path == "provision.provision[0]"


def test_decisions_that_look_inside_a_record_are_not_taken_from_one_to_another() -> None:
    nested = [exception("deny", dataPeriod={"start": "2022", "end": "2022"})]
    standing = weighed(consent(permit(provision=nested)))
    days = ("2021-05-01", "2022-05-01", "2023-05-01")
    seen = [standing.decide(record(content={"effectiveDateTime": day})).answer for day in days]
    assert seen == ["permit", "deny", "permit"]


def test_a_consent_counts_when_its_root_or_any_exception_concerns_us() -> None:
    other = [actor("Organization/other")]
    made = consent(permit(provision=[exception("permit", "PSY", actor=other)]))
    assert weighed(made).consents[0].counts
    strange = permit(actor=other, provision=[exception("deny", actor=permit()["actor"])])
    assert weighed(consent(strange)).consents[0].counts
