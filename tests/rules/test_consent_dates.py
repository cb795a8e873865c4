"""When a date holds, and where."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.consent.answers import Reading
from fhir_bridge.consent.dates import Period, Span, holds, instant, period, span
from tests.rules.consents import ZURICH, answer, consent, deny, permit, weighed


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def in_force(now: str, zone: ZoneInfo | None = ZURICH, **bounds: str) -> str:
    made = consent(permit(period=bounds), dateTime="2020-01-01T00:00:00Z")
    return answer(made, now=at(now), timezone=zone)


def denied(now: str, zone: ZoneInfo | None = ZURICH, **bounds: str) -> str:
    older = consent(id="older", dateTime="2020-01-01T00:00:00Z")
    refusal = consent(deny(period=bounds), id="refusal", dateTime="2020-01-01T00:00:00Z")
    return answer(older, refusal, now=at(now), timezone=zone)


def test_a_date_without_time_is_the_custodians_local_day() -> None:
    assert in_force("2026-06-30T21:59:59+00:00", end="2026-06-30") == "permit"
    assert in_force("2026-06-30T22:00:00+00:00", end="2026-06-30") == "deny"
    assert in_force("2026-06-30T21:59:59+00:00", start="2026-07-01") == "deny"
    assert in_force("2026-06-30T22:00:00+00:00", start="2026-07-01") == "permit"


def test_an_end_includes_its_whole_last_month_or_year() -> None:
    assert in_force("2026-06-30T21:59:59+00:00", end="2026-06") == "permit"
    assert in_force("2026-06-30T22:00:00+00:00", end="2026-06") == "deny"
    assert in_force("2026-12-31T22:59:59+00:00", end="2026") == "permit"
    assert in_force("2026-12-31T23:00:00+00:00", end="2026") == "deny"


def test_an_end_includes_its_whole_last_second() -> None:
    assert in_force("2026-06-30T10:00:00.999999+00:00", end="2026-06-30T12:00:00+02:00") == "permit"
    assert in_force("2026-06-30T10:00:01+00:00", end="2026-06-30T12:00:00+02:00") == "deny"
    assert in_force("2026-06-30T10:00:00.6+00:00", end="2026-06-30T10:00:00.5Z") == "deny"


def test_instants_compare_as_instants() -> None:
    assert in_force("2026-06-30T10:00:00+00:00", start="2026-06-30T12:00:00+02:00") == "permit"
    assert in_force("2026-06-30T09:59:59+00:00", start="2026-06-30T12:00:00+02:00") == "deny"


def test_without_a_time_zone_a_date_holds_for_a_permit_only_where_true_everywhere() -> None:
    assert in_force("2026-06-30T09:59:59+00:00", None, end="2026-06-30") == "permit"
    assert in_force("2026-06-30T10:00:00+00:00", None, end="2026-06-30") == "deny"
    assert in_force("2026-07-01T11:59:59+00:00", None, start="2026-07-01") == "deny"
    assert in_force("2026-07-01T12:00:00+00:00", None, start="2026-07-01") == "permit"


def test_without_a_time_zone_a_date_holds_for_a_deny_anywhere() -> None:
    assert denied("2026-07-01T11:59:59+00:00", None, end="2026-06-30") == "deny"
    assert denied("2026-07-01T12:00:00+00:00", None, end="2026-06-30") == "permit"
    assert denied("2026-06-30T10:00:00+00:00", None, start="2026-07-01") == "deny"
    assert denied("2026-06-30T09:59:59+00:00", None, start="2026-07-01") == "permit"


def test_a_permit_signed_today_holds_when_today_has_begun_for_certain() -> None:
    made = consent(dateTime="2026-06-15")
    assert answer(made, now=at("2026-06-15T11:59:59+00:00"), timezone=None) == "deny"
    assert answer(made, now=at("2026-06-15T12:00:00+00:00"), timezone=None) == "permit"
    assert answer(made, now=at("2026-06-14T22:00:00+00:00")) == "permit"
    assert answer(made, now=at("2026-06-14T21:59:59+00:00")) == "refuse"


def test_a_deny_signed_today_holds_wherever_today_may_have_begun() -> None:
    made = consent(deny(), dateTime="2026-06-15")
    assert answer(made, now=at("2026-06-14T10:00:00+00:00"), timezone=None) == "deny"
    assert answer(made, now=at("2026-06-14T09:59:59+00:00"), timezone=None) == "refuse"


def test_a_permit_that_may_have_ended_somewhere_is_told_as_not_certain() -> None:
    made = consent(permit(period={"end": "2026-06-15"}))
    state = weighed(made, now=at("2026-06-15T12:00:00+00:00"), timezone=None).consents[0]
    assert (state.counts, state.reason) == (False, "consent-period")


def test_a_representative_who_may_be_out_of_office_somewhere_does_not_speak() -> None:
    office = {"resourceType": "RelatedPerson", "patient": {"reference": "Patient/p"}}
    world = {"RelatedPerson/r": office | {"period": {"end": "2026-06-15"}}}
    made = consent(performer=[{"reference": "RelatedPerson/r"}])
    now = at("2026-06-15T12:00:00+00:00")
    assert answer(made, world=world, now=now, timezone=None) == "refuse"
    assert answer(made, world=world, now=now) == "permit"


def test_a_period_that_has_ended_wherever_it_began_is_said_to_have_ended() -> None:
    made = consent(permit(period={"start": "2026-06-15", "end": "2026-06-15T09:00:00Z"}))
    now = at("2026-06-15T10:00:00+00:00")
    assert weighed(made, now=now, timezone=None).consents[0].reason == "consent-ended"


def test_the_year_9999_does_not_overflow() -> None:
    assert in_force("2026-06-30T10:00:00+00:00", end="9999-12-31") == "permit"
    assert in_force("2026-06-30T10:00:00+00:00", None, end="9999") == "permit"
    assert in_force("2026-06-30T10:00:00+00:00", start="0001-01-01", end="9999-12") == "permit"
    late = span("9999-12-31T23:59:59-14:00", None)
    assert late is not None
    assert late.last.us > instant(datetime.max.replace(tzinfo=UTC)).last.us


@pytest.mark.parametrize(
    "text",
    [
        None,
        20260101,
        "",
        "26-01-01",
        "2026-1-1",
        "2026-02-30",
        "2026-13",
        "2026-00",
        "0000",
        "2026-01-01T10:00:00",
        "2026-01-01T10:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T10:00:60Z",
        "2026-01-01T10:00:00+14:01",
        "2026-01-01T10:00:00+10:60",
        "2026-01-01 10:00:00Z",
        "2026-01-01\n",
        "\uff12\uff10\uff12\uff16-01-01",
    ],
)
def test_what_fhir_does_not_allow_as_a_date_is_none(text: Any) -> None:
    assert span(text, ZURICH) is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        "2026",
        {},
        {"id": "x"},
        {"start": 1},
        {"end": "x"},
        {"start": "2026-02", "end": "2026-01"},
    ],
)
def test_a_period_that_cannot_be_read_is_none(value: Any) -> None:
    assert period(value, ZURICH) is None


def test_a_period_within_one_day_is_no_contradiction_without_time_zone() -> None:
    assert period({"start": "2026-01-01T20:00:00Z", "end": "2026-01-01"}, None) is not None


def test_a_fraction_longer_than_a_microsecond_is_read() -> None:
    assert span("2026-01-01T10:00:00.1234567Z", None) == span("2026-01-01T10:00:00.123456Z", None)


DAYS = st.dates(min_value=date(1900, 1, 1), max_value=date(2100, 1, 1))
TEXTS = DAYS.flatmap(
    lambda day: st.sampled_from(
        [str(day), str(day)[:7], str(day)[:4], f"{day}T00:00:00Z", f"{day}T23:59:59.5+13:45"]
    )
)
ZONES = st.sampled_from(
    [None, UTC, ZURICH, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("America/New_York")]
)


def spanned(text: str, zone: Any) -> Span:
    found = span(text, zone)
    assert found is not None
    return found


@given(TEXTS, TEXTS, TEXTS, ZONES)
def test_what_holds_for_a_permit_holds_for_a_deny(
    one: str, two: str, three: str, zone: Any
) -> None:
    first, last, when = (spanned(text, zone) for text in (one, two, three))
    bounds = Period(first.first, last.last)
    if holds(bounds, when, Reading.PERMIT):
        assert holds(bounds, when, Reading.DENY)


@given(TEXTS, TEXTS, TEXTS, st.integers(-12, 14))
def test_without_zone_a_permit_is_true_in_every_zone_and_a_deny_in_any(
    one: str, two: str, three: str, hours: int
) -> None:
    place: Any = timezone(timedelta(hours=hours))
    here, nowhere = (
        (Period(spanned(one, zone).first, spanned(two, zone).last), spanned(three, zone))
        for zone in (place, None)
    )
    if holds(*nowhere, Reading.PERMIT):
        assert holds(*here, Reading.PERMIT)
    if holds(*here, Reading.DENY):
        assert holds(*nowhere, Reading.DENY)
