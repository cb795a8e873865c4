"""Cosignatures: a witness's word on a checkpoint, and when it was given."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.errors import AlteredLog, SettingsError
from fhir_bridge.ledger import Checkpoint, Cosigner, Note, Signer, VerifierKey, WitnessKey

NAME = "bridge.example/audit/2026"
LOG = Signer(NAME, Ed25519PrivateKey.from_private_bytes(b"l" * 32))
WITNESS = Cosigner("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
TEXT = str(Checkpoint(origin=NAME, size=7, root=bytes(range(32))))
TIME = 1_679_315_147
LINE = WITNESS.cosign(TEXT, TIME)


def note(*lines: str, text: str = TEXT) -> Note:
    return Note.parse(LOG.sign(text) + "".join(lines))


def line(raw: bytes, name: str = WITNESS.name) -> str:
    return f"— {name} {base64.b64encode(WITNESS.verifier.key_id + raw).decode()}\n"


def raw(text: str = LINE) -> bytes:
    return base64.b64decode(text.split(" ")[2])[4:]


def test_a_witnesss_key_is_of_kind_4_which_is_no_logs() -> None:
    encoded = base64.b64decode(str(WITNESS.verifier).split("+")[2])

    assert encoded == b"\x04" + WITNESS.private.public_key().public_bytes_raw()
    with pytest.raises(SettingsError):
        VerifierKey.parse(str(WITNESS.verifier))


def test_a_cosignature_says_when() -> None:
    assert WITNESS.verifier.cosigned(note(LINE)) == TIME


def test_a_cosignature_is_over_a_header_the_time_and_the_checkpoint() -> None:
    signed = f"cosignature/v1\ntime {TIME}\n{TEXT}".encode()

    assert raw()[:8] == TIME.to_bytes(8, "big")
    WITNESS.private.public_key().verify(raw()[8:], signed)


def test_a_checkpoint_that_the_witness_did_not_sign_has_no_time() -> None:
    other = Cosigner("witness.example/w2", WITNESS.private)

    assert WITNESS.verifier.cosigned(note()) is None
    assert WITNESS.verifier.cosigned(note(other.cosign(TEXT, TIME))) is None


def test_of_two_cosignatures_the_earlier_counts() -> None:
    assert WITNESS.verifier.cosigned(note(WITNESS.cosign(TEXT, TIME + 60), LINE)) == TIME


@pytest.mark.parametrize(
    "bad",
    [
        line(raw()[:-1]),
        line(raw() + b"\0"),
        line(raw()[:8]),
        line(raw()[:7]),
        line((TIME + 1).to_bytes(8, "big") + raw()[8:]),
        line(raw()[:8] + bytes(64)),
        line((2**63).to_bytes(8, "big") + raw()[8:]),
        WITNESS.cosign(TEXT.replace("\n7\n", "\n8\n"), TIME),
    ],
)
def test_a_wrong_cosignature_by_a_known_witness_spoils_the_checkpoint(bad: str) -> None:
    with pytest.raises(AlteredLog, match="witness"):
        WITNESS.verifier.cosigned(note(bad))
    with pytest.raises(AlteredLog, match="witness"):
        WITNESS.verifier.cosigned(note(LINE, bad))


def test_a_time_that_no_clock_shows_is_refused_though_it_is_signed() -> None:
    signature = WITNESS.private.sign(f"cosignature/v1\ntime {2**63}\n{TEXT}".encode())

    with pytest.raises(AlteredLog, match="witness"):
        WITNESS.verifier.cosigned(note(line((2**63).to_bytes(8, "big") + signature)))
    with pytest.raises(AssertionError):
        WITNESS.cosign(TEXT, 2**63)
    with pytest.raises(AssertionError):
        WITNESS.cosign(TEXT, -1)
    assert WITNESS.verifier.cosigned(note(WITNESS.cosign(TEXT, 2**63 - 1))) == 2**63 - 1
    assert WITNESS.verifier.cosigned(note(WITNESS.cosign(TEXT, 0))) == 0


def test_a_plain_signature_by_the_witness_is_no_cosignature() -> None:
    plain = WITNESS.private.sign(TEXT.encode())

    with pytest.raises(AlteredLog, match="witness"):
        WITNESS.verifier.cosigned(note(line(TIME.to_bytes(8, "big") + plain)))


def test_a_witness_key_is_a_line_of_its_own_kind() -> None:
    key = WITNESS.verifier

    assert WitnessKey.parse(str(key)) == key
    assert base64.b64decode(str(key).rpartition("+")[2])[0] == 4
    with pytest.raises(SettingsError):
        VerifierKey.parse(str(key))
    with pytest.raises(SettingsError):
        WitnessKey.parse(str(LOG.verifier))
    assert VerifierKey(key.name, key.public) != key


def test_the_published_checkpoint_with_a_cosignature_is_read() -> None:
    published = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5"
        "/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJ"
        "sX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    read = Note.parse(published)

    assert Checkpoint.parse(read.text).size == 20852163
    assert [one.name for one in read.signatures] == [
        "example.com/behind-the-sofa",
        "witness.example.com/w1",
    ]
    assert int.from_bytes(read.signatures[1].value[:8], "big") == TIME
    assert len(read.signatures[1].value) == 72


def test_a_secret_does_not_show_when_a_witness_is_printed() -> None:
    assert "PrivateKey" not in repr(WITNESS)
