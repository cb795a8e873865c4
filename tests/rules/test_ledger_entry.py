"""Entries: one act, one written form; anything else is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import AlteredLog, SettingsError
from fhir_bridge.ledger import (
    LEAF_BYTES_MAX,
    Body,
    ConsentSeen,
    Content,
    Entry,
    Event,
    NewEntry,
    Place,
    decode_entry,
    encode_entry,
    event_id,
    timestamp,
)

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
PLACE = Place(log="bridge.example/audit/2026", idx=777, t="2026-11-22T06:00:10.101Z", seq=9)
BODY = Body(digest="A" * 43 + "=", type="Statement", alg="sha256-salted")
INTENT = NewEntry(
    type=Event.DISCLOSURE_INTENT,
    actor="cli:ada",
    transfer=TRANSFER,
    step="deliver.imaging",
    attempt=1,
    basis="consent",
    purpose="TREAT",
    custodian="urn:oid:1.2.3|4711",
    recipient="urn:oid:1.2.4|Zürich",
    source="first",
    destination="second.example:8443",
    consent=(ConsentSeen(id="Consent/c1", version="3", commitment="ab" * 32),),
    content=Content.of(count=37, size_bytes=81234567, root=b"r" * 32),
    subject="hmac-sha256:" + "cd" * 32,
    trace="0f" * 16,
)
ENTRY = INTENT.at(PLACE, BODY)
LEAF = encode_entry(ENTRY)
TREE: dict[str, Any] = json.loads(LEAF)


def written(**changes: Any) -> bytes:
    """Write the entry with members changed; None removes one."""
    tree = {name: value for name, value in (TREE | changes).items() if value is not None}
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_an_entry_is_written_as_the_format_page_says() -> None:
    assert LEAF.decode() == (
        '{"actor":"cli:ada","attempt":1,"basis":"consent",'
        '"body":{"alg":"sha256-salted","digest":"' + "A" * 43 + '=","type":"Statement"},'
        '"consent":[{"commitment":"' + "ab" * 32 + '","id":"Consent/c1","version":"3"}],'
        '"content":{"bytes":81234567,"n":37,"root":"cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI="},'
        '"custodian":"urn:oid:1.2.3|4711","from":"first","idx":777,'
        '"log":"bridge.example/audit/2026","outcome":"0","purpose":"TREAT",'
        '"recipient":"urn:oid:1.2.4|Zürich","seq":9,"step":"deliver.imaging",'
        '"subject":"hmac-sha256:' + "cd" * 32 + '","t":"2026-11-22T06:00:10.101Z",'
        '"to":"second.example:8443","trace":"' + "0f" * 16 + '",'
        '"transfer":"urn:uuid:5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1",'
        '"type":"disclosure.intent","v":"fhir-bridge/audit/v1"}'
    )


def test_the_written_form_is_that_of_rfc_8785() -> None:
    assert rfc8785.dumps(TREE) == LEAF


def test_what_does_not_apply_is_absent() -> None:
    entry = NewEntry(type=Event.LOG_OPENED, actor="svc:fhir-bridge").at(
        replace(PLACE, idx=0, seq=None), None
    )

    assert set(json.loads(encode_entry(entry))) == {
        "actor",
        "idx",
        "log",
        "outcome",
        "t",
        "type",
        "v",
    }


def test_an_entry_reads_back_as_itself() -> None:
    assert decode_entry(LEAF) == ENTRY


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1)
counts = st.integers(0, 2**53 - 1)


@given(texts.map(lambda text: text[:400]), counts, counts, st.sampled_from(sorted(Event)))
def test_any_entry_is_written_as_rfc_8785_writes_it(
    organisation: str, idx: int, size: int, type_: Event
) -> None:
    new = replace(
        INTENT,
        type=type_,
        custodian=organisation,
        content=Content.of(count=idx, size_bytes=size, root=b"r" * 32),
    )
    leaf = encode_entry(new.at(replace(PLACE, idx=idx), None))

    assert rfc8785.dumps(json.loads(leaf)) == leaf
    assert decode_entry(leaf).custodian == organisation


@pytest.mark.parametrize(
    "changes",
    [
        {"v": "fhir-bridge/audit/v2"},
        {"v": None},
        {"log": None},
        {"log": ""},
        {"log": "two words"},
        {"idx": -1},
        {"idx": 2**53},
        {"idx": "7"},
        {"idx": None},
        {"idx": True},
        {"t": "2026-11-22T06:00:10.101"},
        {"t": "2026-11-22T06:00:10Z"},
        {"t": "2026-11-22T06:00:10.101Z\n"},
        {"t": "2026-13-22T06:00:10.101Z"},
        {"t": "2026-11-22T25:00:10.101Z"},
        {"t": "٢٠٢٦-11-22T06:00:10.101Z"},
        {"type": "disclosure.maybe"},
        {"type": None},
        {"actor": "ada"},
        {"actor": "cli:"},
        {"actor": "web:ada"},
        {"actor": "cli:ada\n"},
        {"outcome": "1"},
        {"outcome": 0},
        {"outcome": None},
        {"transfer": TRANSFER},
        {"transfer": f"urn:uuid:{TRANSFER.upper()}"},
        {"transfer": None},
        {"seq": None},
        {"seq": -1},
        {"step": "Deliver"},
        {"step": "x" * 65},
        {"attempt": -1},
        {"basis": "habit"},
        {"purpose": "treat"},
        {"custodian": ""},
        {"custodian": "a\nb"},
        {"recipient": "x" * 401},
        {"from": "a b"},
        {"to": ""},
        {"consent": []},
        {"consent": [{"id": "Consent/c1", "version": "3"}]},
        {"consent": [{"id": "Consent/c1", "version": "3", "commitment": "AB" * 32}]},
        {"consent": TREE["consent"] * 65},
        {"consent": [TREE["consent"][0] | {"name": "x"}]},
        {"content": TREE["content"] | {"n": -1}},
        {"content": TREE["content"] | {"root": "short"}},
        {"content": TREE["content"] | {"withheld": 1}},
        {"subject": "cd" * 32},
        {"trace": "0F" * 16},
        {"body": TREE["body"] | {"type": "Letter"}},
        {"body": TREE["body"] | {"alg": "sha256"}},
        {"body": TREE["body"] | {"salt": "x"}},
        {"source": "first"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_member_that_version_1_does_not_have_or_not_so_is_refused(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(AlteredLog):
        decode_entry(written(**changes))


def test_an_unknown_member_is_refused_as_one_that_version_1_does_not_have() -> None:
    with pytest.raises(AlteredLog, match=r"version 1 demands at \$"):
        decode_entry(written(zebra=1))


@pytest.mark.parametrize("name", ["basis", "body", "consent", "content", "from", "step", "trace"])
def test_a_null_is_refused_where_absence_says_the_same(name: str) -> None:
    with pytest.raises(AlteredLog):
        decode_entry(rfc8785.dumps(TREE | {name: None}))


@pytest.mark.parametrize(
    "leaf",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        LEAF + b"\n",
        b" " + LEAF,
        LEAF.replace(b":", b": ", 1),
        LEAF.replace(b'"idx":777', b'"idx":777,"idx":777'),
        LEAF.replace(b'"idx":777', b'"idx":776,"idx":777'),
        LEAF.replace(b'"idx":777', b'"idx":777.0'),
        LEAF.replace(b'"idx":777', b'"idx":7.77e2'),
        LEAF.replace(b'"idx":777', b'"idx":0777'),
        LEAF.replace(b"cli:ada", b"cli:\\u0061da"),
        LEAF.replace("ü".encode(), b"\\u00fc"),
        LEAF.replace("ü".encode(), b"\xfc"),
        LEAF.replace(b'"from"', b'"fr\\u006fm"'),
        b"\xef\xbb\xbf" + LEAF,
        LEAF[:-1] + b',"actor":"cli:ada"}',
        msgspec.json.encode(TREE, order=None)[:1] + b'"v":"x",' + LEAF[1:],
    ],
)
def test_another_spelling_of_the_same_entry_is_refused(leaf: bytes) -> None:
    with pytest.raises(AlteredLog):
        decode_entry(leaf)


@given(st.integers(0, 5000), st.integers(1, 255))
def test_an_entry_with_one_byte_changed_is_another_entry_or_none(at: int, by: int) -> None:
    at %= len(LEAF)
    changed = LEAF[:at] + bytes([LEAF[at] ^ by]) + LEAF[at + 1 :]
    try:
        entry = decode_entry(changed)
    except AlteredLog:
        return
    assert entry != ENTRY
    assert encode_entry(entry) == changed


def test_a_refusal_names_the_member_and_never_its_value() -> None:
    with pytest.raises(AlteredLog) as refused:
        decode_entry(written(type="canary-4711"))

    assert "$.type" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_new_entry_that_cannot_be_written_names_the_member_and_never_its_value() -> None:
    with pytest.raises(SettingsError) as refused:
        replace(INTENT, purpose="canary 4711").at(PLACE, None)

    assert "$.purpose" in str(refused.value)
    assert "canary" not in str(refused.value)


def _of_length(length: int) -> Entry:
    """Return an entry of so many bytes, by members that the rules bound only together."""
    short = msgspec.structs.replace(ENTRY, recipient="")
    return msgspec.structs.replace(short, recipient="x" * (length - len(encode_entry(short))))


def test_an_entry_has_at_most_65535_bytes() -> None:
    assert len(encode_entry(_of_length(LEAF_BYTES_MAX))) == 65_535
    with pytest.raises(SettingsError, match="65535 bytes"):
        encode_entry(_of_length(LEAF_BYTES_MAX + 1))


def test_a_leaf_over_65535_bytes_is_not_even_read() -> None:
    with pytest.raises(AlteredLog, match="longer"):
        decode_entry(b"{" * (LEAF_BYTES_MAX + 1))
    with pytest.raises(AlteredLog, match="JSON"):
        decode_entry(b"{" * LEAF_BYTES_MAX)


def test_the_same_act_has_the_same_event_id_and_another_act_another() -> None:
    ids = {
        event_id(TRANSFER, "deliver.3", 1, "intent"),
        event_id(TRANSFER, "deliver.3", 1, "result"),
        event_id(TRANSFER, "deliver.3", 2, "intent"),
        event_id(TRANSFER, "deliver.4", 1, "intent"),
        event_id("6f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1", "deliver.3", 1, "intent"),
    }

    assert len(ids) == 5
    assert event_id(TRANSFER, "deliver.3", 1, "intent") in ids


def test_an_act_is_the_first_try_of_no_phase_unless_it_says_more() -> None:
    assert event_id(TRANSFER, "deliver") == event_id(TRANSFER, "deliver", 1, "")


def test_times_are_utc_with_milliseconds() -> None:
    local = timezone(timedelta(hours=1))
    moment = datetime(2026, 11, 22, 7, 0, 10, 101_999, local)

    assert timestamp(moment) == "2026-11-22T06:00:10.101Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
