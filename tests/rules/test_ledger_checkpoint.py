"""Checkpoints and signed notes: one written form, and keys that mean something."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import AlteredLog, MalformedCheckpoint, SettingsError
from fhir_bridge.ledger import Checkpoint, Signer, VerifierKey
from tests.simulators.published import published

ROOT = bytes(range(32))
ROOT_TEXT = base64.b64encode(ROOT).decode()
NAME = "bridge.example/audit/2026"
SIGNER = Signer(NAME, Ed25519PrivateKey.from_private_bytes(b"k" * 32))
OTHER = Signer(NAME, Ed25519PrivateKey.from_private_bytes(b"o" * 32))
CHECKPOINT = Checkpoint(origin=NAME, size=7, root=ROOT)
NOTE = SIGNER.sign(str(CHECKPOINT))

# The published example of https://pkg.go.dev/golang.org/x/mod/sumdb/note.
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PUBLISHED_NOTE = (
    PUBLISHED_TEXT + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
    "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_checkpoint_is_three_lines_and_reads_back_as_itself() -> None:
    assert str(CHECKPOINT) == f"{NAME}\n7\n{ROOT_TEXT}\n"
    assert Checkpoint.parse(str(CHECKPOINT)) == CHECKPOINT


def test_the_published_checkpoint_is_read() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

    assert Checkpoint.parse(text).size == 20852163
    assert str(Checkpoint.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        f"{NAME}\n7\n{ROOT_TEXT}",
        f"{NAME}\n7\n{ROOT_TEXT}\nmore\n",
        f"{NAME}\n07\n{ROOT_TEXT}\n",
        f"{NAME}\n+7\n{ROOT_TEXT}\n",
        f"{NAME}\n 7\n{ROOT_TEXT}\n",
        f"{NAME}\n1_0\n{ROOT_TEXT}\n",
        f"{NAME}\n\N{ARABIC-INDIC DIGIT SEVEN}\n{ROOT_TEXT}\n",
        f"{NAME}\n-1\n{ROOT_TEXT}\n",
        f"{NAME}\n7.0\n{ROOT_TEXT}\n",
        f"{NAME}\n{2**63}\n{ROOT_TEXT}\n",
        f"{NAME}\n{'9' * 5000}\n{ROOT_TEXT}\n",
        f"{NAME}\n7\n{ROOT_TEXT[:-4]}\n",
        f"{NAME}\n7\n{ROOT_TEXT}====\n",
        f"{NAME}\n7\n!{ROOT_TEXT[1:]}\n",
        f"{NAME}\n7\n{ROOT_TEXT[:-2]}9=\n",
        f"\n7\n{ROOT_TEXT}\n",
        f"{'o' * 1000}\n7\n{ROOT_TEXT}\n",
    ],
)
def test_a_checkpoint_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedCheckpoint):
        Checkpoint.parse(text)


@pytest.mark.parametrize("size", [0, 2**63 - 1])
def test_the_smallest_and_the_largest_size_are_read(size: int) -> None:
    checkpoint = Checkpoint(origin=NAME, size=size, root=ROOT)

    assert Checkpoint.parse(str(checkpoint)) == checkpoint


def test_a_checkpoint_of_1024_characters_is_read_and_none_of_1025() -> None:
    origin = "o" * (1024 - len(f"\n7\n{ROOT_TEXT}\n"))

    assert Checkpoint.parse(f"{origin}\n7\n{ROOT_TEXT}\n").origin == origin
    with pytest.raises(MalformedCheckpoint):
        Checkpoint.parse(f"{origin}o\n7\n{ROOT_TEXT}\n")


@given(st.text())
def test_any_text_is_refused_or_is_the_one_written_form(text: str) -> None:
    try:
        checkpoint = Checkpoint.parse(text)
    except MalformedCheckpoint:
        return
    assert str(checkpoint) == text


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_checkpoint_with_one_character_changed_is_another_or_none(at: int, char: int) -> None:
    text = str(CHECKPOINT)
    at %= len(text)
    changed = text[:at] + chr(char) + text[at + 1 :]
    try:
        checkpoint = Checkpoint.parse(changed)
    except MalformedCheckpoint:
        return
    assert (checkpoint == CHECKPOINT) is (changed == text)


def test_the_published_note_and_key_are_read() -> None:
    key = VerifierKey.parse(PUBLISHED_KEY)

    assert key.open(PUBLISHED_NOTE) == PUBLISHED_TEXT
    assert key.key_id.hex() == "c74f20a3"
    assert str(key) == PUBLISHED_KEY


def test_what_is_signed_opens_under_the_public_key() -> None:
    key = VerifierKey.parse(str(SIGNER.verifier))

    assert Checkpoint.parse(key.open(NOTE)) == CHECKPOINT


def test_the_text_of_a_note_may_hold_empty_lines() -> None:
    text = "one\n\ntwo\n"

    assert SIGNER.verifier.open(SIGNER.sign(text)) == text


def test_signing_twice_gives_the_same_note() -> None:
    assert SIGNER.sign(str(CHECKPOINT)) == NOTE


@pytest.mark.parametrize("text", ["no newline", "tab\there\n", "bell\a\n"])
def test_what_no_note_may_hold_is_not_signed(text: str) -> None:
    with pytest.raises(AssertionError):
        SIGNER.sign(text)


def test_signatures_by_unknown_keys_are_ignored_beside_ours() -> None:
    theirs = OTHER.sign(str(CHECKPOINT)).rpartition("\n\n")[2]

    assert SIGNER.verifier.open(NOTE + theirs) == str(CHECKPOINT)
    assert SIGNER.verifier.open(f"{CHECKPOINT}\n{theirs}{NOTE.rpartition(chr(10) * 2)[2]}")


def test_a_note_without_a_signature_by_our_key_is_refused() -> None:
    with pytest.raises(AlteredLog, match="not signed by the key"):
        SIGNER.verifier.open(OTHER.sign(str(CHECKPOINT)))


def test_a_key_of_the_same_bytes_and_another_name_is_another_key() -> None:
    renamed = Signer("other.example", SIGNER.private)

    assert renamed.verifier.key_id != SIGNER.verifier.key_id
    with pytest.raises(AlteredLog):
        renamed.verifier.open(NOTE)


def test_a_signature_under_another_text_is_refused() -> None:
    with pytest.raises(AlteredLog, match="not right"):
        SIGNER.verifier.open(NOTE.replace("\n7\n", "\n8\n"))


def test_a_right_and_a_wrong_signature_by_our_key_are_refused_together() -> None:
    wrong = SIGNER.sign("other\n").rpartition("\n\n")[2]

    with pytest.raises(AlteredLog, match="not right"):
        SIGNER.verifier.open(NOTE + wrong)


def _line(encoded: str, name: str = NAME) -> str:
    return f"{CHECKPOINT}\n— {name} {encoded}\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        str(CHECKPOINT),
        str(CHECKPOINT) + "\n",
        NOTE[:-1],
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("— ", "—  "),
        NOTE + "\t\n",
        NOTE + "\n",
        NOTE.replace("\n7\n", "\n7\r\n"),
        _line("AAAAAA=="),
        _line("not base64!"),
        _line("\N{SNOWMAN}"),
        _line("AAAAAAB="),
        _line(""),
        _line("AAAAAAA=", name="a+b"),
        _line("AAAAAAA=", name="n" * 256),
        str(CHECKPOINT) + "\n" + "— other.example AAAAAAA=\n" * 65,
        "x" * 300_000 + NOTE,
    ],
)
def test_what_is_not_written_as_a_signed_note_is_refused(note: str) -> None:
    with pytest.raises(MalformedCheckpoint):
        SIGNER.verifier.open(note)


def test_a_note_of_256_kib_is_read_and_none_of_one_character_more() -> None:
    text = "x" * (262_144 - len(SIGNER.sign("\n")))
    longest, longer = SIGNER.sign(f"{text}\n"), SIGNER.sign(f"{text}x\n")

    assert SIGNER.verifier.open(longest) == f"{text}\n"
    with pytest.raises(MalformedCheckpoint, match="too long"):
        SIGNER.verifier.open(longer)


def test_sixty_four_signatures_are_read() -> None:
    others = "— other.example AAAAAAA=\n" * 63

    assert SIGNER.verifier.open(NOTE + others) == str(CHECKPOINT)


@given(st.integers(0, 1000), st.integers(1, 255))
def test_a_note_with_one_character_changed_never_opens_as_another_text(at: int, by: int) -> None:
    at %= len(NOTE)
    changed = NOTE[:at] + chr(ord(NOTE[at]) ^ by) + NOTE[at + 1 :]
    with pytest.raises((MalformedCheckpoint, AlteredLog)):
        SIGNER.verifier.open(changed)


def _mutant(change: Callable[[bytearray], Any]) -> str:
    raw = bytearray(b"\x01" + SIGNER.verifier.public)
    change(raw)
    return f"{NAME}+{SIGNER.verifier.key_id.hex()}+{base64.b64encode(raw).decode()}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        NAME,
        f"{NAME}+00000000+{str(SIGNER.verifier).rpartition('+')[2]}",
        str(SIGNER.verifier) + " ",
        str(SIGNER.verifier) + "+",
        "+" + str(SIGNER.verifier),
        str(SIGNER.verifier).replace("bridge", "bri dge"),
        f"{NAME}+{SIGNER.verifier.key_id.hex()}+%%%",
        f"{NAME}+{SIGNER.verifier.key_id.hex()}+",
        _mutant(lambda raw: raw.__setitem__(0, 4)),
        _mutant(lambda raw: raw.pop()),
        _mutant(lambda raw: raw.append(0)),
    ],
)
def test_a_public_key_in_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        VerifierKey.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "n" * 256])
def test_a_name_that_no_signature_line_can_bear_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="name of a log's key"):
        VerifierKey(name, SIGNER.verifier.public)


@pytest.mark.parametrize("public", [b"", bytes(range(31)), bytes(range(33))])
def test_a_public_key_of_another_length_than_32_bytes_is_refused(public: bytes) -> None:
    with pytest.raises(SettingsError, match="32 bytes"):
        VerifierKey(NAME, public)


def test_a_signature_is_right_or_it_is_not() -> None:
    assert SIGNER.verifier.has_signed(b"a", SIGNER.private.sign(b"a")) is True
    assert SIGNER.verifier.has_signed(b"b", SIGNER.private.sign(b"a")) is False


def test_a_key_is_printed_as_its_name_alone() -> None:
    assert repr(SIGNER.verifier) == f"VerifierKey(name='{NAME}')"


def test_a_secret_does_not_show_when_a_key_is_printed() -> None:
    assert "private" not in repr(SIGNER).replace("Ed25519PrivateKey", "")
    assert "PrivateKey" not in repr(SIGNER)


def _vectors() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads(
        published("vectors/ed25519/ed25519vectors.json").read_bytes()
    )
    return vectors


def test_every_published_key_of_low_order_or_in_a_second_spelling_is_refused_when_loaded() -> None:
    vectors = _vectors()
    bad = {
        vector["key"]
        for vector in vectors
        if {"low_order_A", "non_canonical_A"} & set(vector["flags"] or ())
    }
    loaded = [key for key in bad if _loads(bytes.fromhex(key))]
    good = {vector["key"] for vector in vectors} - bad

    assert len(vectors) == 914
    assert (len(bad), len(good)) == (14, 8)
    assert loaded == []
    assert all(_loads(bytes.fromhex(key)) for key in good)


def _loads(public: bytes) -> bool:
    try:
        VerifierKey(NAME, public)
    except SettingsError:
        return False
    return True


def test_published_signatures_in_a_second_spelling_are_refused() -> None:
    vectors = [
        vector
        for vector in _vectors()
        if _loads(bytes.fromhex(vector["key"])) and "non_canonical_R" in (vector["flags"] or ())
    ]
    accepted = [vector["number"] for vector in vectors if _verifies(vector)]

    assert vectors
    assert accepted == []


def test_the_published_signature_without_a_flag_is_accepted() -> None:
    (plain,) = [vector for vector in _vectors() if not vector["flags"]]

    assert _verifies(plain)


def _verifies(vector: dict[str, Any]) -> bool:
    key = VerifierKey(NAME, bytes.fromhex(vector["key"]))
    return key.has_signed(vector["msg"].encode(), bytes.fromhex(vector["sig"]))


@pytest.mark.parametrize(
    "public",
    [
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "00" * 32,
        "00" * 31 + "80",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ],
)
def test_the_eight_points_under_which_anyone_can_sign_are_refused(public: str) -> None:
    with pytest.raises(SettingsError, match="low order"):
        VerifierKey(NAME, bytes.fromhex(public))


@pytest.mark.parametrize("public", ["ed" + "ff" * 30 + "7f", "f0" + "ff" * 30 + "ff"])
def test_a_public_key_in_a_second_spelling_is_refused(public: str) -> None:
    with pytest.raises(SettingsError, match="written form"):
        VerifierKey(NAME, bytes.fromhex(public))
