"""
Dates as FHIR writes them, and what they prove.

A date without time is a whole day, month or year of the custodian. Where the
custodian's time zone is not known the day may begin anywhere from UTC+14 to
UTC-12: a permit needs what is true everywhere, a deny takes what is true
anywhere.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from fhir_bridge.consent.answers import Reading

_FORM = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]+)?(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00))?)?)?\Z"
)
_SECOND = 1_000_000
_HOUR = 3_600 * _SECOND
_DAY = 24 * _HOUR
_EAST, _WEST = 14 * _HOUR, 12 * _HOUR
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_LAST_DAY = date.max.toordinal()


class Moment(NamedTuple):
    """A microsecond since the year 1; floating when it is local time of an unknown zone."""

    us: int
    floating: bool


class Span(NamedTuple):
    """From the first to the last microsecond, both included."""

    first: Moment
    last: Moment


class Period(NamedTuple):
    """A Period; None is open."""

    first: Moment | None
    last: Moment | None


def instant(time: datetime) -> Span:
    """Return a moment that is known exactly."""
    since = time - _EPOCH
    us = (since.days + 1) * _DAY + since.seconds * _SECOND + since.microseconds
    return Span(Moment(us, floating=False), Moment(us, floating=False))


def span(text: Any, zone: ZoneInfo | None) -> Span | None:
    """
    Read a date, dateTime or instant.

    Args:
        text: As received.
        zone: The custodian's time zone, if it is known.

    Returns:
        The whole second, day, month or year it names; None for anything that
        FHIR does not allow, a time without zone among it.

    Source:
        https://hl7.org/fhir/R4/datatypes.html#dateTime
    """
    return _span(text, zone) if isinstance(text, str) else None


@lru_cache(maxsize=2_048)
def _span(text: str, zone: ZoneInfo | None) -> Span | None:
    """Results of one panel carry one date, so most have been read before."""
    parts = _FORM.match(text)
    if parts is None:
        return None
    try:
        return _exact(parts) if parts[4] else _days(parts, zone)
    except ValueError:  # the 30th of February
        return None


def period(value: Any, zone: ZoneInfo | None) -> Period | None:
    """Read a Period; None when a bound cannot be read or the end precedes the start."""
    if not isinstance(value, dict) or not (value.keys() & {"start", "end"}):
        return None
    start, end = span(value.get("start"), zone), span(value.get("end"), zone)
    if (start is None and "start" in value) or (end is None and "end" in value):
        return None
    if start and end and not _possibly(start.first, end.last):
        return None
    return Period(start.first if start else None, end.last if end else None)


def holds(bounds: Period, when: Span, reading: Reading) -> bool:
    """Tell whether a period holds a span: wholly for a permit, at any point for a deny."""
    first, last = bounds
    if reading is Reading.PERMIT:
        return (first is None or _surely(first, when.first)) and (
            last is None or _surely(when.last, last)
        )
    return (first is None or _possibly(first, when.last)) and (
        last is None or _possibly(when.first, last)
    )


def _surely(one: Moment, other: Moment) -> bool:
    """Tell whether one is not after the other, wherever the custodian is."""
    if one.floating == other.floating:  # both local to one place, wherever that is
        return one.us <= other.us
    if one.floating:
        return one.us + _WEST <= other.us
    return one.us <= other.us - _EAST


def _possibly(one: Moment, other: Moment) -> bool:
    """Tell whether there is a place where one is not after the other."""
    if one.floating == other.floating:
        return one.us <= other.us
    if one.floating:
        return one.us - _EAST <= other.us
    return one.us <= other.us + _WEST


def _exact(parts: re.Match[str]) -> Span:
    first, last = instant(datetime.fromisoformat(parts[0]))
    if parts[5]:
        return Span(first, last)
    return Span(first, Moment(first.us + _SECOND - 1, floating=False))


def _days(parts: re.Match[str], zone: ZoneInfo | None) -> Span:
    year, month, day = int(parts[1]), int(parts[2] or 1), int(parts[3] or 1)
    first = date(year, month, day).toordinal()
    if parts[3]:
        last = first
    elif parts[2]:
        last = date(year, month, monthrange(year, month)[1]).toordinal()
    else:
        last = date(year, 12, 31).toordinal()
    end = _midnight(last + 1, zone)
    return Span(_midnight(first, zone), Moment(end.us - 1, end.floating))


def _midnight(ordinal: int, zone: ZoneInfo | None) -> Moment:
    """Return when a day begins; the day after the last of the year 9999 has no name."""
    if zone is None:
        return Moment(ordinal * _DAY, floating=True)
    day = datetime.fromordinal(min(ordinal, _LAST_DAY)).replace(tzinfo=zone)
    offset = day.utcoffset() or timedelta()
    return Moment(ordinal * _DAY - offset // timedelta(microseconds=1), floating=False)
