"""
Reading what was sent: JSON, or a search's form; strictly, and never more than was agreed.

Two readers of the same bytes must see the same request. So a member that
stands twice, a number that no JSON has, half a surrogate pair and an unknown
member are refused, each by its name and without repeating it.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from fastapi import Request

from fhir_bridge import lossless
from fhir_bridge.doors.api.problems import Answered, Problem
from fhir_bridge.errors import MalformedJson, OversizedAnswer

SMALL = 64 * 1024
"""Longest body where little is said, in bytes."""
LARGE = 4 * 1024 * 1024
"""Longest body that may bring a Consent with its signed paper."""

_JSON = re.compile(
    r"application/(fhir\+)?json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?(;\s*fhirVersion=4\.0\s*)?\Z",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"application/x-www-form-urlencoded\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?\Z", re.IGNORECASE
)
_FAULTS = {
    "encoding": Problem.BODY_NOT_UTF8,
    "surrogate": Problem.BODY_HALF_SURROGATE,
    "duplicate-member": Problem.BODY_MEMBER_TWICE,
    "number": Problem.BODY_NUMBER,
}
_PLACE = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`\Z")
_MISSING = re.compile(r"Object missing required field `(\w+)`")

_SECONDS_MAX = 30.0

T = TypeVar("T")


async def read(request: Request, bytes_max: int) -> bytes:
    """
    Read a body to its end, and no further than a limit.

    Raises:
        Answered: It is too long, missing, or not JSON by its media type.
    """
    raw = await _whole(request, bytes_max, _JSON)
    if not raw:
        raise Answered(Problem.BODY_MISSING)
    return raw


async def form(request: Request, bytes_max: int) -> list[tuple[str, str]]:
    """
    Read a form; an empty one says nothing.

    Returns:
        Names and values, in the order sent.

    Raises:
        Answered: It is too long, or no form by its media type, or not UTF-8.
    """
    raw = await _whole(request, bytes_max, _FORM)
    try:
        text = raw.decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict") if text else []
    except UnicodeDecodeError as error:
        raise Answered(Problem.BODY_NOT_UTF8) from error


async def _whole(request: Request, bytes_max: int, media: re.Pattern[str]) -> bytes:
    if not media.match(request.headers.get("content-type", "")):
        raise Answered(Problem.MEDIA_TYPE)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Answered(Problem.MEDIA_TYPE)
    told = request.headers.get("content-length", "")
    if told.isdecimal() and len(told) < 20 and int(told) > bytes_max:  # noqa: PLR2004
        raise Answered(Problem.BODY_TOO_LONG)
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            return await _to_its_end(request, bytes_max)
    except TimeoutError as error:
        raise Answered(Problem.BODY_TOO_SLOW) from error


async def _to_its_end(request: Request, bytes_max: int) -> bytes:
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > bytes_max:
            raise Answered(Problem.BODY_TOO_LONG)
        pieces.append(piece)
    return b"".join(pieces)


def decode(raw: bytes) -> Any:
    """
    Read JSON in the one way it can be read.

    Raises:
        Answered: It is not JSON, or JSON that two readers would read differently.
    """
    try:
        return lossless.decode(raw)
    except OversizedAnswer as error:
        raise Answered(Problem.BODY_TOO_DEEP) from error
    except MalformedJson as error:
        raise Answered(_FAULTS.get(error.fault, Problem.BODY_NOT_JSON)) from error


def typed(raw: bytes, into: type[T]) -> T:
    """
    Read JSON as what the route describes.

    Raises:
        Answered: It is not JSON, or not as described.
    """
    decode(raw)  # refuses what two readers would read differently
    try:
        return msgspec.json.decode(raw, type=into)
    except msgspec.ValidationError as error:
        raise Answered(Problem.BODY_INVALID, expression=_place(str(error))) from error


def convert(value: Any, into: type[T]) -> T:
    """
    Take what was read as what the route describes.

    Raises:
        Answered: A member is missing, unknown or wrong; the place is named.
    """
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        raise Answered(Problem.BODY_INVALID, expression=_place(str(error))) from error


def _place(message: str) -> str:
    """
    Name the element at fault by names of ours.

    A place is made of our members and of positions: msgspec names the place of
    an unknown member by the object that holds it, never by the member.
    """
    found = _PLACE.search(message)
    place = found[1] if found else ""
    if missing := _MISSING.search(message):
        place = f"{place}.{missing[1]}" if place else missing[1]
    return place
