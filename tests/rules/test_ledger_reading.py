"""Reading entries together is never less strict than reading them one by one."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger import Entry, decode_entry, encode_entry
from fhir_bridge.ledger.reading import AlteredEntry, _Row, read_entries
from tests.simulators.written_log import LOG, ordinary

LEAVES = [ordinary(idx) for idx in range(24)]
FULL = encode_entry(
    msgspec.structs.replace(
        decode_entry(LEAVES[8]), vkey="a+b+c", checkpoint="two\nlines\n", entries=3
    )
)


def alone(leaf: bytes) -> Entry | None:
    try:
        return decode_entry(leaf)
    except AlteredLog:
        return None


def among(leaf: bytes, at: int, others: list[bytes]) -> list[Entry] | None:
    try:
        return list(read_entries([*others[:at], leaf, *others[at:]]))
    except AlteredEntry as error:
        return None if error.position == at else []


def is_same(row: Entry, entry: Entry) -> bool:
    return msgspec.to_builtins(row) == msgspec.to_builtins(entry)


def test_the_members_are_those_of_an_entry_in_written_order() -> None:
    names = [field.encode_name for field in msgspec.structs.fields(_Row)]

    assert names == sorted(names)
    assert set(names) == {field.encode_name for field in msgspec.structs.fields(Entry)}


@pytest.mark.parametrize("leaves", [[], LEAVES[:1], LEAVES[:8], LEAVES, [*LEAVES, FULL]])
def test_entries_read_together_are_those_read_one_by_one(leaves: list[bytes]) -> None:
    rows = read_entries(leaves)

    assert len(rows) == len(leaves)
    assert all(map(is_same, rows, map(decode_entry, leaves)))


def test_many_notes_with_several_lines_are_read_though_they_could_pass_for_others() -> None:
    notes = [
        encode_entry(msgspec.structs.replace(decode_entry(leaf), checkpoint=f"{at}\n\n{at}\n"))
        for at, leaf in enumerate(LEAVES)
    ]

    assert all(map(is_same, read_entries(notes), map(decode_entry, notes)))


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
    LEAVES[3].replace(b'"id":"Consent/c1"', b'"id":"Consent c1"'),
    LEAVES[3].replace(b'"version":"1"', b'"version":""'),
    LEAVES[3].replace(b'"commitment":"', b'"commitment":"0'),
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

    for leaves in ([*halves], [halves[0] + b"\n" + halves[1], b""], [LEAVES[3], b"", LEAVES[4]]):
        with pytest.raises(AlteredEntry):
            read_entries(leaves)


def test_the_first_of_two_that_are_wrong_is_named() -> None:
    with pytest.raises(AlteredEntry) as refused:
        read_entries([*LEAVES[:5], BAD[11], LEAVES[6], BAD[12]])

    assert refused.value.position == 5
    assert "actor" in str(refused.value)


def test_an_entry_longer_than_the_tile_layout_takes_is_refused_among_others() -> None:
    note = "\N{SNOWMAN}" * 8192
    long = msgspec.structs.replace(decode_entry(LEAVES[8]), checkpoint=note)
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
    entry, rows = alone(changed), among(changed, 10, LEAVES[:20])

    assert (entry is None) == (rows is None)
    assert entry is None or (rows is not None and is_same(rows[10], entry))


def test_the_log_of_the_tests_is_one() -> None:
    assert {decode_entry(leaf).log for leaf in LEAVES} == {LOG}
