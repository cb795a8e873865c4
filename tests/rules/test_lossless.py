"""JSON is carried without loss, or refused by name."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge import lossless
from fhir_bridge.errors import MalformedJson, OversizedAnswer

NUMBERS = [
    "5.10",
    "0.0010",
    "12.0",
    "5.0",
    "0.0",
    "0.0000001",
    "0E-8",
    "1E2",
    "1E+2",
    "1e-3",
    "1.0e2",
    "1E-0",
    "-0",
    "-0.0",
    "-0e1",
    "0",
    "-1",
    "1E400",
    "9223372036854775808",
    "-9223372036854775809",
    "123456789012345678901234567890",
]


@pytest.mark.parametrize("text", NUMBERS)
def test_number_is_written_back_as_it_was(text: str) -> None:
    raw = f'{{"value":{text}}}'.encode()

    assert lossless.encode(lossless.decode(raw)) == raw
    assert lossless.encode(lossless.decode_own(raw)) == raw
    assert lossless.canonical(lossless.decode(raw)) == raw
    assert lossless.number_text(lossless.decode(raw)["value"]) == text


@settings(deadline=None)
@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][-+]?[0-9]{1,4})?", fullmatch=True)
)
def test_any_number_of_json_is_written_back_as_it_was(text: str) -> None:
    raw = f"[{text}]".encode()
    assert lossless.encode(lossless.decode(raw)) == raw


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_value_survives_reading_and_writing(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()
    escaped = json.dumps(value, ensure_ascii=True).encode()

    assert lossless.decode(raw) == value
    assert lossless.decode(escaped) == value
    assert lossless.decode(lossless.encode(value)) == value
    assert lossless.decode(lossless.canonical(value)) == value


@pytest.mark.parametrize("value", ["5.10", None, True, False, [], {}])
def test_what_is_no_number_has_no_number_text(value: Any) -> None:
    assert lossless.number_text(value) is None


def test_member_order_is_kept_and_white_space_is_not() -> None:
    assert lossless.encode(lossless.decode(b' {"b" : [ 1 , 2 ],\n"a":"x y"} ')) == (
        b'{"b":[1,2],"a":"x y"}'
    )


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":{"b":1},"a":2}}',
        b'[-0,{"a":1,"a":2}]',
        b'{"a":1E2,"a":1E2}',
    ],
)
def test_duplicate_members_are_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson, match="the same member twice"):
        lossless.decode(raw)


def test_colons_quotes_and_backslashes_in_strings_are_no_duplicate_members() -> None:
    raw = b'{"a:\\"":"x\\\\","b":"\\\\\\":[{NaN","c":"-0"}'
    assert lossless.encode(lossless.decode(raw)) == raw


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_refused_by_name(text: str) -> None:
    with pytest.raises(MalformedJson, match="NaN or Infinity"):
        lossless.decode(f'{{"value":{text}}}'.encode())


@pytest.mark.parametrize(
    "raw", [b'["\\ud800"]', b'["\\uDC00\\uD800"]', b'["\\ud83dx"]', b'[-0,"\\ud800"]']
)
def test_half_a_surrogate_pair_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(MalformedJson, match="half a surrogate pair"):
        lossless.decode(raw)


def test_byte_order_mark_is_refused_by_name() -> None:
    with pytest.raises(MalformedJson, match="byte order mark"):
        lossless.decode(b'\xef\xbb\xbf{"a":1}')


@pytest.mark.parametrize("raw", [b'["\xed\xa0\x80"]', b'["\xff"]', '{"ä":1}'.encode("latin-1")])
def test_another_encoding_is_refused_by_name(raw: bytes) -> None:
    with pytest.raises(MalformedJson, match="not UTF-8") as refused:
        lossless.decode(raw)
    assert refused.value.fault == "encoding"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b'{"a":1,"a":1}', "duplicate-member"),
        (b"[NaN]", "number"),
        (b"[" + b"1" * 401 + b"]", "number"),
        (b'["\\ud800"]', "surrogate"),
        (b"[", "syntax"),
    ],
)
def test_each_fault_has_a_name_that_a_door_can_answer_by(raw: bytes, fault: str) -> None:
    with pytest.raises(MalformedJson) as refused:
        lossless.decode(raw)
    assert refused.value.fault == fault


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"]",
        b'"abc',
        b'{"a":1}x',
        b"[01]",
        b"[1.]",
        b"[.5]",
        b"[+5]",
        b"[-0x]",
        b"<html></html>",
        b"[[",
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_is_refused_without_repeating_it(raw: bytes) -> None:
    with pytest.raises(MalformedJson, match=re.escape("the answer is not JSON")) as refused:
        lossless.decode(raw)
    assert "html" not in str(refused.value)


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_more_than_64_levels_are_refused(opened: bytes, closed: bytes) -> None:
    inner = b"1"
    lossless.decode(opened * 64 + inner + closed * 64)
    with pytest.raises(OversizedAnswer, match="more than 64 levels"):
        lossless.decode(opened * 65 + inner + closed * 65)


def test_brackets_in_strings_are_no_levels() -> None:
    raw = b'["' + b"[" * 500 + b'"]'
    assert lossless.encode(lossless.decode(raw)) == raw


def test_number_of_more_than_400_characters_is_refused() -> None:
    longest = b"[" + b"1" * 400 + b"]"
    assert lossless.encode(lossless.decode(longest)) == longest
    with pytest.raises(MalformedJson, match="more than 400 characters"):
        lossless.decode(b"[0." + b"1" * 400 + b"]")
    digits_in_a_string = b'["' + b"1" * 500 + b'"]'
    assert lossless.encode(lossless.decode(digits_in_a_string)) == digits_in_a_string


def test_canonical_form_sorts_members_by_code_point() -> None:
    # U+1F600 is two UTF-16 units that sort before U+E000: RFC 8785 has the other order.
    value = {"\U0001f600": 1, "\ue000": 2, "b": [msgspec.Raw(b"5.10"), {"z": 1, "a": 2}], "B": None}

    assert lossless.canonical(value) == (
        '{"B":null,"b":[5.10,{"a":2,"z":1}],"\ue000":2,"\U0001f600":1}'.encode()
    )


def test_canonical_form_has_the_shortest_escapes() -> None:
    raw = b'["\\u0000\\u001f\\u007f\\/\\"\\\\\\u0008\\t\\n\\f\\r\\u2028\\u00e9\\ud83d\\ude00"]'

    assert lossless.canonical(lossless.decode(raw)) == (
        '["\\u0000\\u001f\x7f/\\"\\\\\\b\\t\\n\\f\\r\u2028é😀"]'.encode()
    )


def test_own_text_is_read_as_outside_text_is() -> None:
    raw = b'{"effective":"2025-01-02","value":-0,"other":5.10}'
    assert lossless.encode(lossless.decode_own(raw)) == raw
    assert lossless.encode(lossless.decode_own(b'{"value":5.10}')) == b'{"value":5.10}'
