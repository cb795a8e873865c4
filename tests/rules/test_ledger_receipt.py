"""Receipts: one entry and its proof, in the one form that they are written in."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import MalformedReceipt
from fhir_bridge.ledger import Receipt

NOTE = "log.example\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— log.example AAAAAAA=\n"
HASH = bytes(range(32))
BARE = Receipt(index=5, proof=(HASH, HASH[::-1]), note=NOTE, entry=b'{"a":1}')
OPENED = Receipt(
    index=0,
    proof=(),
    note=NOTE,
    entry=b"{}",
    salt=HASH,
    body=b'{"resourceType":"AuditEvent"}',
    policy="quorum none\n\n— root AAAAAAA=\n",
)


def extra(*lines: str, first: str = "fhir-bridge/receipt/v1", end: str = "\n") -> str:
    held = base64.b64encode(("\n".join([first, *lines]) + end).encode()).decode()
    return f"c2sp.org/tlog-proof@v1\nextra {held}\nindex 5\n\n{NOTE}"


ENTRY = "entry " + base64.b64encode(b"{}").decode()
SALT = "salt " + base64.b64encode(HASH).decode()
BODY = "body " + base64.b64encode(b"x").decode()


def test_a_receipt_is_written_as_a_published_proof() -> None:
    lines = str(BARE).split("\n")

    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert base64.b64decode(lines[1].removeprefix("extra ")).decode() == (
        "fhir-bridge/receipt/v1\nentry eyJhIjoxfQ==\n"
    )
    assert lines[2] == "index 5"
    assert [base64.b64decode(line) for line in lines[3:5]] == [HASH, HASH[::-1]]
    assert "\n".join(lines[5:]) == f"\n{NOTE}"


@pytest.mark.parametrize("receipt", [BARE, OPENED])
def test_a_receipt_reads_back_as_itself(receipt: Receipt) -> None:
    assert Receipt.parse(str(receipt)) == receipt


@given(st.integers(0, 2000), st.integers(1, 255))
def test_a_receipt_with_one_character_changed_is_another_or_none(at: int, by: int) -> None:
    text = str(OPENED)
    at %= len(text)
    changed = text[:at] + chr(ord(text[at]) ^ by) + text[at + 1 :]
    try:
        receipt = Receipt.parse(changed)
    except MalformedReceipt:
        return
    assert receipt != OPENED
    assert str(receipt) == changed


@given(st.text())
def test_any_text_is_refused_or_is_the_one_written_form(text: str) -> None:
    try:
        receipt = Receipt.parse(text)
    except MalformedReceipt:
        return
    assert str(receipt) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\n",
        f"c2sp.org/tlog-proof@v1\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 5\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 5\nindex 5\n\n{NOTE}",
        str(BARE).replace("@v1", "@v2"),
        str(BARE).replace("index 5", "index 05"),
        str(BARE).replace("index 5", "index -5"),
        str(BARE).replace("index 5", "index \N{ARABIC-INDIC DIGIT FIVE}"),
        str(BARE).replace("index 5", f"index {'9' * 20}"),
        str(BARE).replace("index 5", "index 5 "),
        str(BARE).replace("extra ", "extra  "),
        str(BARE).replace("extra ", "Extra "),
        str(BARE).replace("AAECAwQF", "AAECAwQ"),
        str(BARE).replace(base64.b64encode(HASH).decode(), base64.b64encode(HASH[:31]).decode()),
        str(BARE).replace("index 5\n", "index 5\n" + f"{base64.b64encode(HASH).decode()}\n" * 63),
        extra(),
        extra(ENTRY, end=""),
        extra(ENTRY, end="\n\n"),
        extra(ENTRY, first="fhir-bridge/receipt/v2"),
        extra(ENTRY, ENTRY),
        extra(ENTRY, SALT),
        extra(ENTRY, BODY),
        extra(ENTRY, "salt AAAA", BODY),
        extra(ENTRY, BODY, SALT),
        extra(SALT, BODY),
        extra("entry "),
        extra("entry"),
        extra("entry !"),
        extra("entry AB=="),
        extra(ENTRY, "more AAAA"),
        extra(ENTRY, "policy /w=="),
        extra("entry " + base64.b64encode(b"x" * 65_536).decode()),
    ],
)
def test_what_is_not_a_receipt_in_its_one_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedReceipt):
        Receipt.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        extra(ENTRY),
        extra("entry eA=="),
        extra(ENTRY, SALT, BODY),
        extra("entry " + base64.b64encode(b"x" * 65_535).decode()),
        str(BARE).replace("index 5\n", "index 5\n" + f"{base64.b64encode(HASH).decode()}\n" * 62),
    ],
)
def test_the_largest_and_the_smallest_receipts_are_read(text: str) -> None:
    assert str(Receipt.parse(text)) == text


def test_what_is_not_utf_8_is_not_a_receipt() -> None:
    held = base64.b64encode(b"\xff").decode()

    with pytest.raises(MalformedReceipt):
        Receipt.parse(f"c2sp.org/tlog-proof@v1\nextra {held}\nindex 5\n\n{NOTE}")


def test_a_receipt_longer_than_any_is_refused_unread() -> None:
    with pytest.raises(MalformedReceipt, match="longer"):
        Receipt.parse("x" * 33_554_433)
    with pytest.raises(MalformedReceipt, match="does not begin"):
        Receipt.parse("x" * 33_554_432)
