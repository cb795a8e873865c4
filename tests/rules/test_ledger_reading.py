"""Reading entries together is never less strict than reading them one by one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Entry, decode_entry, encode_entry
from fhir_bridge.ledger.reading import AlteredEntry, _find, read_columns
from tests.simulators.written_log import LOG, ordinary

LEAVES = [ordinary(idx) for idx in range(24)]
FULL = encode_entry(
    msgspec.structs.replace(
        decode_entry(LEAVES[8]), vkey="a+b+c", checkpoint="two\nlines\n", entries=3
    )
)


def told(entry: Entry) -> tuple[Any, ...]:
    """What `Columns` has of an entry, in their order."""
    body = entry.body.digest.rstrip("=") if entry.body else ""
    transfer = (entry.transfer or "").removeprefix("urn:uuid:")
    return (
        body.encode(),
        b"" if entry.checkpoint is None else b".",
        entry.entries,
        entry.idx,
        entry.log.encode(),
        entry.seq,
        entry.t.encode(),
        transfer.encode(),
        str(entry.type).encode(),
        (entry.vkey or "").encode(),
    )


def together(leaves: list[bytes]) -> list[tuple[Any, ...]]:
    """What was read by columns, entry by entry."""
    return list(zip(*read_columns(leaves), strict=True))


def alone(leaf: bytes) -> tuple[Any, ...] | None:
    try:
        return told(decode_entry(leaf))
    except AlteredLog:
        return None


def among(leaf: bytes, at: int, others: list[bytes]) -> tuple[Any, ...] | None:
    """What is read of an entry among others; nothing when it is the one that is refused."""
    try:
        return together([*others[:at], leaf, *others[at:]])[at]
    except AlteredEntry as error:
        return None if error.position == at else ()


@pytest.mark.parametrize("leaves", [LEAVES[:1], LEAVES[:8], LEAVES, [*LEAVES, FULL], [FULL]])
def test_entries_read_together_are_those_read_one_by_one(leaves: list[bytes]) -> None:
    assert together(leaves) == [told(decode_entry(leaf)) for leaf in leaves]


def test_an_ordinary_entry_is_read_by_the_short_cut() -> None:
    assert len(_find(b"\n".join(LEAVES))) == len(LEAVES)


def test_many_notes_with_several_lines_are_read() -> None:
    notes = [
        encode_entry(msgspec.structs.replace(decode_entry(leaf), checkpoint=f"{at}\n\n{at}\n"))
        for at, leaf in enumerate(LEAVES)
    ]

    assert together(notes) == [told(decode_entry(leaf)) for leaf in notes]


def test_what_the_short_cut_does_not_know_is_read_all_the_same() -> None:
    entry = decode_entry(LEAVES[6])
    for changes in (
        {"custodian": 'urn:oid:1|"Clinic" \\ Zürich'},
        {"source": 'a"b'},
        {"source": "a\\b"},
        {"actor": 'cli:"'},
        {"attempt": 2**53 - 1},
        {"idx": 10**15},
        {"consent": entry.consent * 64},
        {"vkey": "a+b+c/+="},
    ):
        leaf = encode_entry(msgspec.structs.replace(entry, **changes))
        assert among(leaf, 2, LEAVES[:5]) == alone(leaf) != None  # noqa: E711 - it is read


BAD = [
    b"",
    b"{}",
    b"null",
    LEAVES[3] + b"\n",
    b"\n" + LEAVES[3],
    LEAVES[3] + LEAVES[4],
    LEAVES[3] + b"\n" + LEAVES[4],
    LEAVES[3].replace(b'{"actor"', b'{"actor":"cli:eve","actor"'),
    LEAVES[3].replace(b'"actor":', b'"actor": '),
    LEAVES[3].replace(b'"actor":', b'"\\u0061ctor":'),
    LEAVES[3].replace(b'"actor":', b'"actor":\n'),
    LEAVES[3].replace(b'"cli:ada"', b'"ada"'),
    LEAVES[3].replace(b'"cli:ada"', b'"xcli:ada"'),
    LEAVES[3].replace(b'"cli:ada"', b'"cli:ada\\n"'),
    LEAVES[3].replace(b'"cli:ada"', b'"cli:' + b"a" * 65 + b'"'),
    LEAVES[3].replace(b'"attempt":1', b'"attempt":-1'),
    LEAVES[3].replace(b'"attempt":1', b'"attempt":1.0'),
    LEAVES[3].replace(b'"attempt":1', b'"attempt":9007199254740993'),
    LEAVES[3].replace(b'"attempt":1', b'"attempt":null'),
    LEAVES[3].replace(b'"basis":"consent"', b'"basis":"whim"'),
    LEAVES[3].replace(b'"basis":"consent"', b'"basis":"consent","extra":1'),
    LEAVES[3].replace(b'"outcome":"0"', b'"outcome":"1"'),
    LEAVES[3].replace(b'"t":"2026-', b'"t":"2026-02-30T00:00:00.000Z","t":"2026-'),
    LEAVES[3].replace(b'"t":"2026-03-01', b'"t":"2026-02-30'),
    LEAVES[3].replace(b'"t":"2026-03-01', b'"t":"2026-13-01'),
    LEAVES[3].replace(b'"t":"2026-03-01T00', b'"t":"2026-03-01T24'),
    LEAVES[3].replace(b'.000Z"', b'Z"'),
    LEAVES[3].replace(b'.000Z"', b'.000Z\\n"'),
    LEAVES[3].replace(b'"seq":2,', b""),
    LEAVES[3].replace(b',"transfer":"urn:uuid:', b',"transfer":"uuid:'),
    LEAVES[3].replace(LEAVES[3][LEAVES[3].index(b',"transfer"') :][:57], b""),
    LEAVES[3].replace(b'"purpose":"TREAT"', b'"purpose":"treat"'),
    LEAVES[3].replace(b'"type":"records.fetched"', b'"type":"records.stolen"'),
    LEAVES[3].replace(b"sha256-salted", b"sha256"),
    LEAVES[3].replace(b'"digest":"', b'"digest":"AA'),
    LEAVES[2].replace(b'"id":"Consent/c1"', b'"id":"Consent c1"'),
    LEAVES[2].replace(b'"version":"1"', b'"version":""'),
    LEAVES[2].replace(b'"commitment":"', b'"commitment":"0'),
    LEAVES[3].replace(b"audit/v1", b"audit/v2"),
    LEAVES[3].replace(b"hmac-sha256:", b"hmac-sha256:g"),
    LEAVES[6].replace(b'"root":"', b'"root":"='),
    LEAVES[6].replace(b'"n":3', b'"n":-3'),
    FULL.replace(b'"vkey":"a+b+c"', b'"vkey":"a b c"'),
    FULL.replace(b"two\\nlines", b"two\\tlines"),
    b'{"actor":"\xff"}',
    LEAVES[3].replace(b'"step":"deliver', b'"step":"' + b"d" * 65_000 + b'"'),
]


@pytest.mark.parametrize("bad", range(len(BAD)))
@pytest.mark.parametrize("company", [0, 3, 20])
def test_an_entry_refused_alone_is_refused_among_others(bad: int, company: int) -> None:
    assert alone(BAD[bad]) is None
    assert among(BAD[bad], company // 2, LEAVES[:company]) is None


def test_two_that_together_look_like_two_are_refused() -> None:
    cut = LEAVES[3].index(b",")
    halves = [LEAVES[3][:cut], LEAVES[3][cut:]]

    joined = b"\n".join(LEAVES[3:5])
    for leaves in ([*halves], [b"\n".join(halves), b""], [LEAVES[3], b""], [joined, b""], [joined]):
        with pytest.raises(AlteredEntry):
            read_columns(leaves)


def test_the_first_of_two_that_are_wrong_is_named() -> None:
    with pytest.raises(AlteredEntry) as refused:
        read_columns([*LEAVES[:5], BAD[11], LEAVES[6], BAD[12]])

    assert refused.value.position == 5
    assert "actor" in str(refused.value)


def test_an_entry_longer_than_the_tile_layout_takes_is_refused_among_others() -> None:
    note = "\N{SNOWMAN}" * 8192
    long = msgspec.structs.replace(decode_entry(LEAVES[6]), checkpoint=note)
    consents = long.consent * 64
    wide = [msgspec.structs.replace(one, version="v" * 400, id="i" * 255) for one in consents]
    leaf = msgspec.json.encode(msgspec.structs.replace(long, consent=tuple(wide)), order="sorted")

    assert len(leaf) > 65_535
    assert alone(leaf) is None
    assert among(leaf, 4, LEAVES[:9]) is None


@given(
    st.integers(0, len(LEAVES) - 1),
    st.integers(0, 5000),
    st.sampled_from(["flip", "cut", "add", "swap"]),
    st.binary(min_size=1, max_size=2),
)
def test_whatever_is_done_to_an_entry_both_judge_it_alike(
    which: int, at: int, how: str, content: bytes
) -> None:
    leaf = LEAVES[which]
    at %= len(leaf)
    changed = {
        "flip": leaf[:at] + bytes([leaf[at] ^ (content[0] or 1)]) + leaf[at + 1 :],
        "cut": leaf[:at] + leaf[at + len(content) :],
        "add": leaf[:at] + content + leaf[at:],
        "swap": leaf[:at] + content + leaf[at + len(content) :],
    }[how]
    assert among(changed, 10, LEAVES[:20]) == alone(changed)


@pytest.mark.parametrize("which", [0, 2, 6, 10])
def test_whatever_byte_stands_anywhere_in_an_entry_both_judge_it_alike(which: int) -> None:
    leaf = LEAVES[which]
    for at in range(len(leaf)):
        for byte in _BYTES:
            changed = leaf[:at] + byte + leaf[at + 1 :]
            added = leaf[:at] + byte + leaf[at:]
            assert among(changed, 0, []) == alone(changed), changed
            assert among(added, 0, []) == alone(added), added


_BYTES = [bytes([one]) for one in b'09aZz"\\{},:.-+=/ \n\0\x7f\xc3\xff']


def test_a_letter_that_is_no_hexadecimal_digit_is_refused_among_others() -> None:
    leaf = ordinary(6)
    for before in (b'"subject":"hmac-sha256:', b'"trace":"', b'"commitment":"'):
        at = leaf.index(before) + len(before)
        with pytest.raises(AlteredEntry):
            read_columns([ordinary(5), leaf[:at] + b"X" + leaf[at + 1 :]])


def test_sixty_four_consents_are_read_and_one_more_is_refused() -> None:
    entry = decode_entry(ordinary(6))
    most = encode_entry(msgspec.structs.replace(entry, consent=entry.consent * 64))
    more = encode_entry(msgspec.structs.replace(entry, consent=entry.consent * 65))

    assert read_columns([most]).idx == [6]
    with pytest.raises(AlteredEntry):
        read_columns([more])


def test_the_log_of_the_tests_is_one() -> None:
    assert {decode_entry(leaf).log for leaf in LEAVES} == {LOG}
