"""
JSON that keeps what was written: 5.10 stays 5.10, and so does 1E2.

The usual readers turn a number into a float or a Decimal and write it back in
their own form; for a laboratory value that changes its precision. Here a
number with a fraction or an exponent is kept as the text it was
(`msgspec.Raw`), and so is ``-0``; other integers are Python integers. Member
order is kept. What JSON leaves open and readers solve differently (duplicate
members, NaN, half a surrogate pair) is refused by name.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from fhir_bridge.errors import MalformedJson, OversizedAnswer

DEPTH_MAX = 64
"""Levels of nesting. Deeper answers are attacks: FHIR R4 examples stay below 20."""

_NUMBER_CHARS_MAX = 400
"""Longer literals are refused: Python converts integers only up to 4,300 digits."""

_NEGATIVE_ZERO = re.compile(rb"-0(?![\d.eE])")
_OWN_NEGATIVE_ZERO = re.compile(rb"[:,\[]-0(?![\d.eE])")
"""Where `encode` wrote it; dates hold ``-0`` too, but never after these."""

_LONG_NUMBER = re.compile(rb"[-+.eE\d]{%d}" % (_NUMBER_CHARS_MAX + 1))
_NOT_A_NUMBER = re.compile(rb"NaN|Infinity")
_NOT_A_BRACKET = bytes(set(range(256)) - set(b"{}[]"))


def _literal(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


_decoder = msgspec.json.Decoder(float_hook=_literal)
_encoder = msgspec.json.Encoder()
_sorted_encoder = msgspec.json.Encoder(order="deterministic")


def decode(raw: bytes) -> Any:
    """
    Read JSON so that `encode` writes every number as it was.

    Args:
        raw: UTF-8 JSON from outside; untrusted. A byte order mark is refused.

    Returns:
        dict, list, str, int, bool, None, and `msgspec.Raw` for a number that
        has a fraction, an exponent or a negative zero.

    Raises:
        MalformedJson: Not JSON, not UTF-8, a duplicate member, NaN, half a
            surrogate pair, or a number of more than 400 characters.
        OversizedAnswer: More than 64 levels of nesting.

    Source:
        RFC 8259; refusing duplicates is our own rule, because two readers of
        the same bytes must not see two records.
    """
    bare = _outside_strings(raw)
    _check_depth(bare)
    if _NOT_A_NUMBER.search(bare):
        raise MalformedJson(
            "the answer holds NaN or Infinity, which JSON does not allow", fault="number"
        )
    if _LONG_NUMBER.search(bare):
        raise MalformedJson(
            f"a number has more than {_NUMBER_CHARS_MAX} characters", fault="number"
        )
    try:
        value = _decode_slowly(raw) if _NEGATIVE_ZERO.search(bare) else _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _fault(raw) from error
    if bare.count(b":") != _outside_strings(encode(value)).count(b":"):
        raise MalformedJson("the answer holds the same member twice", fault="duplicate-member")
    return value


def decode_own(raw: bytes) -> Any:
    """Read JSON that `decode` has accepted before; the checks are not repeated."""
    # Three plain searches first: the expression alone takes as long as the reading.
    if (b":-0" in raw or b",-0" in raw or b"[-0" in raw) and _OWN_NEGATIVE_ZERO.search(raw):
        return decode(raw)
    return _decoder.decode(raw)


def encode(value: Any) -> bytes:
    """Write JSON without white space, members in their order, numbers as received."""
    return _encoder.encode(value)


def canonical(value: Any) -> bytes:
    """
    Write JSON in the one form that digest v1 is taken over.

    Returns:
        UTF-8, members sorted by code point, no white space, shortest escapes,
        number literals as received, arrays in order.

    Source:
        Our own rule. RFC 8785 would turn 5.10 into 5.1.
    """
    return _sorted_encoder.encode(value)


def number_text(value: Any) -> str | None:
    """Return a number as it was written; None when the value is not a number."""
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def _check_depth(bare: bytes) -> None:
    """Cancel innermost pairs, one level a round: what is left is too deep."""
    brackets = bare.translate(None, _NOT_A_BRACKET)
    for _ in range(DEPTH_MAX):
        if not brackets:
            return
        shorter = re.sub(rb"(?:\{\}|\[\])+", b"", brackets)
        if len(shorter) == len(brackets):
            return  # unbalanced: the reader says so
        brackets = shorter
    if brackets:
        raise OversizedAnswer(f"the answer is nested more than {DEPTH_MAX} levels deep")


def _outside_strings(raw: bytes) -> bytes:
    """
    Return what stands outside strings.

    Whole-buffer steps, because a regular expression takes four times as long.
    """
    unescaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(unescaped.split(b'"')[::2])


def _decode_slowly(raw: bytes) -> Any:
    """Read with the standard library, which shows us the text of an integer."""
    _decoder.decode(raw)  # the stricter reader has the last word on syntax

    def integer(text: str) -> Any:
        return _literal(text) if text == "-0" else int(text)

    return json.loads(raw.decode(), parse_float=_literal, parse_int=integer)


def _fault(raw: bytes) -> MalformedJson:
    """Name what is wrong without repeating what was sent."""
    if raw.startswith(b"\xef\xbb\xbf"):
        return MalformedJson(
            "the answer starts with a byte order mark; it must be plain UTF-8 JSON",
            fault="encoding",
        )
    if re.search(rb"\\u[dD][89a-fA-F]", raw):
        return MalformedJson(
            "the answer is not JSON, or holds half a surrogate pair", fault="surrogate"
        )
    try:
        raw.decode()
    except UnicodeDecodeError:
        return MalformedJson("the answer is not UTF-8", fault="encoding")
    return MalformedJson("the answer is not JSON")
