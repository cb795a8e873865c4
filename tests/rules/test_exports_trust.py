"""Whom an auditor believes, and how far what he found reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhir_bridge.errors import SettingsError
from fhir_bridge.exports import Facts, Finding, Trust
from fhir_bridge.exports.checkpoints import (
    check_checkpoint,
    has_digest,
    parse_checkpoint,
    read_file,
    read_note,
)
from fhir_bridge.exports.reasons import Found, Reason
from fhir_bridge.exports.single import RECEIPT_BYTES_MAX, limits
from fhir_bridge.exports.trust import read_pin
from fhir_bridge.ledger import Checkpoint, Epoch, Note, Policy, Signer
from tests.simulators.held_files import HeldFiles
from tests.simulators.written_log import (
    KEY,
    LOG,
    ONE_KEY,
    OTHER_WITNESS,
    ROOT,
    SECOND_KEY,
    STRANGER,
    TWO_KEYS,
    WITNESS,
    WITNESSED,
)

TEXT = str(Checkpoint(origin=LOG, size=7, root=bytes(32)))
WHAT = "the checkpoint of the test"
OTHER_ROOT = Signer("other.example/root", STRANGER.private)


def raised(act: Callable[[], object]) -> tuple[Reason, dict[str, Any]]:
    with pytest.raises(Found) as caught:
        act()
    return caught.value.reason, caught.value.details


# The policy that counts


def test_an_auditor_brings_a_root_key_or_a_policy() -> None:
    with pytest.raises(SettingsError, match="give the custodian's root key"):
        Trust.of(None, None)
    assert Trust.of(f" {ROOT.verifier}\n", None) == Trust(root=ROOT.verifier)
    assert Trust.of(None, str(ONE_KEY)) == Trust(policy=ONE_KEY)
    assert Trust.of(None, ONE_KEY.signed(ROOT)) == Trust(policy=ONE_KEY)


def test_with_a_root_key_and_a_policy_the_root_must_have_signed_the_policy() -> None:
    both = Trust.of(str(ROOT.verifier), ONE_KEY.signed(ROOT))

    assert both == Trust(root=ROOT.verifier, policy=ONE_KEY)
    for policy in (str(ONE_KEY), ONE_KEY.signed(OTHER_ROOT)):
        with pytest.raises(SettingsError, match="not signed by the root key"):
            Trust.of(str(ROOT.verifier), policy)


def test_the_policy_of_the_auditor_wins_over_any_other() -> None:
    trust = Trust.of(str(ROOT.verifier), ONE_KEY.signed(ROOT))

    assert trust.policy_for(LOG, WITNESSED.signed(ROOT)) == ONE_KEY
    assert trust.policy_for(LOG, "nonsense") == ONE_KEY


def test_the_policy_offered_counts_when_the_root_signed_it() -> None:
    trust = Trust.of(str(ROOT.verifier), None)

    assert trust.policy_for(LOG, ONE_KEY.signed(ROOT)) == ONE_KEY
    assert raised(lambda: trust.policy_for(LOG, None)) == (Reason.POLICY_MISSING, {})
    assert raised(lambda: trust.policy_for(LOG, ONE_KEY.signed(OTHER_ROOT))) == (
        Reason.POLICY_UNSIGNED,
        {},
    )
    changed = ONE_KEY.signed(ROOT).replace("quorum none", "quorum None")
    assert raised(lambda: trust.policy_for(LOG, changed)) == (Reason.POLICY_FORGED, {})


@pytest.mark.parametrize("offered", ["nonsense", ROOT.sign("no policy\n")])
def test_a_policy_offered_that_cannot_be_read_says_why(offered: str) -> None:
    reason, details = raised(lambda: Trust.of(str(ROOT.verifier), None).policy_for(LOG, offered))

    assert (reason, list(details)) == (Reason.POLICY_MALFORMED, ["detail"])


def test_a_policy_that_does_not_speak_of_the_log_is_of_no_use() -> None:
    assert raised(lambda: Trust(policy=ONE_KEY).policy_for("other.example", None)) == (
        Reason.LOG_UNKNOWN,
        {"log": "other.example"},
    )


def test_a_key_with_the_logs_own_name_is_its_only_key_whatever_is_offered() -> None:
    trust = Trust.of(str(KEY.verifier), None)

    assert trust.policy_for(LOG, None) == Policy.of_key(KEY.verifier)
    assert trust.policy_for(LOG, TWO_KEYS.signed(ROOT)) == Policy.of_key(KEY.verifier)


def test_without_a_root_nothing_that_is_offered_is_believed() -> None:
    assert raised(lambda: Trust().policy_for(LOG, ONE_KEY.signed(ROOT))) == (
        Reason.POLICY_MISSING,
        {},
    )


# The checkpoint that was kept


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip(), f"{TEXT}  \n", KEY.sign(TEXT)])
def test_a_checkpoint_kept_is_read_with_or_without_its_signatures(text: str) -> None:
    assert read_pin(text, LOG) == Checkpoint.parse(TEXT)


@pytest.mark.parametrize("text", ["", "nonsense", TEXT.replace("\n7\n", "\n0\n"), f"\n\n{TEXT}"])
def test_a_checkpoint_kept_that_vouches_for_nothing_is_refused(text: str) -> None:
    assert raised(lambda: read_pin(text, LOG)) == (Reason.PIN_MALFORMED, {})


def test_a_checkpoint_kept_of_another_log_is_refused() -> None:
    assert raised(lambda: read_pin(TEXT, "other.example")) == (
        Reason.PIN_OF_OTHER_LOG,
        {"found": LOG, "log": "other.example"},
    )


# Signatures


def checked(note: str, policy: Policy = ONE_KEY) -> object:
    read, checkpoint = parse_checkpoint(note, WHAT)
    return check_checkpoint(read, checkpoint, policy, WHAT)


def signed(*signers: Signer, size: int = 7) -> str:
    text = TEXT.replace("\n7\n", f"\n{size}\n")
    return f"{text}\n{''.join(one.line(text) for one in signers)}"


def test_a_checkpoint_that_is_not_written_as_one_is_named() -> None:
    for text in ("nonsense", KEY.sign("nonsense\n")):
        assert raised(lambda text=text: parse_checkpoint(text, WHAT)) == (  # type: ignore[misc]
            Reason.CHECKPOINT_MALFORMED,
            {"what": WHAT},
        )
    note, checkpoint = parse_checkpoint(KEY.sign(TEXT), WHAT)
    assert (note, str(checkpoint)) == (Note.parse(KEY.sign(TEXT)), TEXT)


@pytest.mark.parametrize("signer", [STRANGER, ROOT])
def test_a_checkpoint_that_a_stranger_signed_is_unsigned(signer: Signer) -> None:
    assert raised(lambda: checked(signed(signer))) == (
        Reason.CHECKPOINT_UNSIGNED,
        {"what": WHAT, "log": LOG},
    )


def test_a_signature_that_is_not_right_is_forged() -> None:
    note = signed(KEY).replace("\n7\n", "\n8\n")

    assert raised(lambda: checked(note)) == (Reason.CHECKPOINT_FORGED, {"what": WHAT})


HANDED = Policy(
    epochs=(Epoch(key=KEY.verifier, end=8), Epoch(key=SECOND_KEY.verifier, first=7)),
)


@pytest.mark.parametrize(
    ("size", "signers"), [(6, [KEY]), (7, [KEY, SECOND_KEY]), (8, [SECOND_KEY])]
)
def test_the_keys_of_a_size_sign_its_checkpoint(size: int, signers: list[Signer]) -> None:
    found = check_checkpoint(*parse_checkpoint(signed(*signers, size=size), WHAT), HANDED, WHAT)

    assert (found.size, found.root, found.witnessed) == (size, bytes(32), {})
    assert found.is_met is True


@pytest.mark.parametrize(("size", "signer"), [(6, SECOND_KEY), (7, KEY), (7, SECOND_KEY), (8, KEY)])
def test_a_key_of_another_time_is_told_from_a_strangers(size: int, signer: Signer) -> None:
    assert raised(lambda: checked(signed(signer, size=size), HANDED)) == (
        Reason.KEY_OUT_OF_EPOCH,
        {"what": WHAT},
    )


def test_a_key_of_another_log_of_the_policy_is_a_stranger_to_this_one() -> None:
    both = Policy(epochs=(*ONE_KEY.epochs, Epoch(key=OTHER_ROOT.verifier)))

    assert raised(lambda: checked(signed(OTHER_ROOT), both)) == (
        Reason.CHECKPOINT_UNSIGNED,
        {"what": WHAT, "log": LOG},
    )


def test_a_forged_signature_by_a_key_of_another_time_is_no_signature() -> None:
    note = signed(KEY, size=9).replace("\n9\n", "\n8\n")

    assert raised(lambda: checked(note, HANDED)) == (
        Reason.CHECKPOINT_UNSIGNED,
        {"what": WHAT, "log": LOG},
    )


def test_a_log_that_the_policy_has_no_key_for_at_a_size_is_unsigned() -> None:
    ended = Policy(epochs=(Epoch(key=KEY.verifier, end=7),))

    assert raised(lambda: checked(signed(KEY), ended)) == (
        Reason.KEY_OUT_OF_EPOCH,
        {"what": WHAT},
    )
    assert raised(lambda: checked(signed(STRANGER), ended)) == (
        Reason.CHECKPOINT_UNSIGNED,
        {"what": WHAT, "log": LOG},
    )


def test_the_witnesses_of_the_policy_are_read_with_their_times() -> None:
    (name,) = WITNESSED.witnesses
    alone = check_checkpoint(*parse_checkpoint(signed(KEY), WHAT), WITNESSED, WHAT)
    note = signed(KEY) + WITNESS.cosign(TEXT, 1000) + OTHER_WITNESS.cosign(TEXT, 900)
    seen = check_checkpoint(*parse_checkpoint(note, WHAT), WITNESSED, WHAT)

    assert (alone.witnessed, alone.is_met) == ({}, False)
    assert (seen.witnessed, seen.is_met) == ({name: 1000}, True)


def test_a_witnesss_signature_over_something_else_is_forged() -> None:
    other = TEXT.replace("\n7\n", "\n8\n")

    assert raised(lambda: checked(signed(KEY) + WITNESS.cosign(other, 1000), WITNESSED)) == (
        Reason.COSIGNATURE_FORGED,
        {"what": WHAT},
    )


# Files that are listed


def test_a_file_is_the_one_that_the_list_has() -> None:
    files = HeldFiles({"checkpoint": b"abc"})
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert has_digest(b"abc", digest) is True
    assert has_digest(b"abd", digest) is False
    assert read_file(files, "checkpoint", 7, digest) == b"abc"
    assert read_file(files, "checkpoint", 7, None) == b"abc"
    assert files.allowed == {"checkpoint": 7}
    assert read_note(files, "checkpoint", WHAT, digest) == "abc"
    assert files.allowed == {"checkpoint": 262_144}
    assert raised(lambda: read_file(files, "checkpoint", 7, "0" * 64)) == (
        Reason.FILE_ALTERED,
        {"file": "checkpoint"},
    )
    assert raised(lambda: read_note(HeldFiles({"checkpoint": b"\xff"}), "checkpoint", WHAT)) == (
        Reason.CHECKPOINT_MALFORMED,
        {"what": WHAT},
    )


# How far it reaches


def test_a_receipt_has_at_most_32_mib() -> None:
    assert RECEIPT_BYTES_MAX == 33_554_432


@pytest.mark.parametrize(
    ("facts", "policy", "found"),
    [
        (Facts(entries=7), ONE_KEY, [Finding.limit(Reason.NO_OUTSIDE_COPY)]),
        (Facts(entries=7, pinned=1), ONE_KEY, []),
        (Facts(entries=7), WITNESSED, [Finding.limit(Reason.NO_QUORUM)]),
        (Facts(entries=7, pinned=7), WITNESSED, [Finding.limit(Reason.NO_QUORUM)]),
        (Facts(entries=7, witnessed=7), WITNESSED, []),
        (
            Facts(entries=7, witnessed=6),
            WITNESSED,
            [Finding.limit(Reason.TAIL_UNWITNESSED, count=1, size=6)],
        ),
        (
            Facts(entries=7, witnessed=1, pinned=6),
            WITNESSED,
            [Finding.limit(Reason.TAIL_UNWITNESSED, count=6, size=1)],
        ),
        (Facts(entries=7, witnessed=1, pinned=7), WITNESSED, []),
    ],
)
def test_what_nobody_outside_vouches_for_is_said(
    facts: Facts, policy: Policy, found: list[Finding]
) -> None:
    assert list(limits(facts, policy)) == found
