"""The policy: which keys count, at which sizes, and which witnesses must agree."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import AlteredLog, MalformedCheckpoint, SettingsError
from fhir_bridge.ledger import Cosigner, Epoch, Group, Policy, Signer, VerifierKey, WitnessKey

LOG = "bridge.example/audit/2026"


def private(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed.encode().ljust(32, b"."))


def log_key(seed: str, name: str = LOG) -> VerifierKey:
    return Signer(name, private(seed)).verifier


def witness(seed: str) -> WitnessKey:
    return Cosigner(f"witness.example/{seed}", private(seed)).verifier


ROOT = Signer("bridge.example/audit/root", private("root"))
A, B, C = log_key("a"), log_key("b"), log_key("c")
W = {name: witness(name) for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")}
TWO_LEVELS = f"""\
# who must agree
log {A}

witness X1 {W["X1"]}
witness X2 {W["X2"]} https://witness.example/x2
\twitness  X3\t{W["X3"]}
group X-witnesses 2 X1 X2 X3
witness Y1 {W["Y1"]}
witness Y2 {W["Y2"]}
witness Y3 {W["Y3"]}
group Y-witnesses any Y1 Y2 Y3
  # both organisations
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_published_shape_with_two_levels_of_groups_is_read() -> None:
    policy = Policy.parse(TWO_LEVELS)

    assert policy.logs == (LOG,)
    assert policy.epochs == (Epoch(key=A),)
    assert policy.witnesses == W
    assert policy.groups["X-and-Y"] == Group(threshold=2, members=("X-witnesses", "Y-witnesses"))
    assert Policy.parse(str(policy)) == policy


@pytest.mark.parametrize(
    ("agreed", "met"),
    [
        ("X1 X2 Y1", True),
        ("X1 X3 Y3", True),
        ("X1 X2 X3 Y1 Y2 Y3", True),
        ("X1 Y1 Y2 Y3", False),
        ("X1 X2 X3", False),
        ("X1 X1 Y1", False),
        ("", False),
        ("X-and-Y", False),
        ("X-witnesses Y-witnesses", False),
        ("none", False),
    ],
)
def test_a_quorum_is_met_when_enough_members_of_each_group_agree(*, agreed: str, met: bool) -> None:
    assert Policy.parse(TWO_LEVELS).is_met(agreed.split()) is met


def test_a_quorum_of_one_witness_is_met_by_it_alone() -> None:
    policy = Policy(epochs=(Epoch(key=A),), witnesses={"X1": W["X1"]}, quorum="X1")

    assert policy.is_met({"X1"})
    assert not policy.is_met({"X2"})


def test_where_no_quorum_is_asked_for_it_is_always_met() -> None:
    assert Policy.of_key(A).quorum == "none"
    assert Policy.of_key(A).is_met(())


def test_a_key_counts_only_for_the_sizes_of_its_epoch() -> None:
    policy = Policy(
        epochs=(Epoch(key=A, end=11), Epoch(key=B, first=10, end=21), Epoch(key=C, first=20))
    )
    keys = {
        size: [epoch.key for epoch in policy.epochs_at(LOG, size)]
        for size in (0, 9, 10, 11, 20, 21, 2**62)
    }

    assert keys == {0: [A], 9: [A], 10: [A, B], 11: [B], 20: [B, C], 21: [C], 2**62: [C]}
    assert policy.epochs_at("other.example/audit/2026", 5) == ()
    assert Policy.parse(str(policy)) == policy


def test_a_policy_may_speak_of_several_years() -> None:
    later = log_key("later", "bridge.example/audit/2027")
    policy = Policy(epochs=(Epoch(key=A), Epoch(key=later)))

    assert policy.logs == (LOG, "bridge.example/audit/2027")
    assert [epoch.key for epoch in policy.epochs_at("bridge.example/audit/2027", 3)] == [later]


@pytest.mark.parametrize(
    "epochs",
    [
        [Epoch(key=A, first=1)],
        [Epoch(key=A), Epoch(key=B, first=10)],
        [Epoch(key=A, end=11), Epoch(key=B, first=9)],
        [Epoch(key=A, end=11), Epoch(key=B, first=11)],
        [Epoch(key=A, end=11), Epoch(key=B, first=10, end=11)],
        [Epoch(key=A, end=1)],
        [Epoch(key=A, end=0)],
        [Epoch(key=B, first=10), Epoch(key=A, end=11)],
        [Epoch(key=A, end=11), Epoch(key=A, first=10)],
    ],
)
def test_a_hole_between_two_keys_or_a_longer_overlap_is_refused(epochs: list[Epoch]) -> None:
    with pytest.raises(SettingsError):
        Policy(epochs=tuple(epochs))


def test_a_key_that_signs_two_sizes_is_an_epoch() -> None:
    assert Policy(epochs=(Epoch(key=A, end=2),)).epochs_at(LOG, 1)


def parsed(*lines: str) -> Policy:
    return Policy.parse("\n".join([f"log {A}", *lines, ""]))


X1, X2 = f"witness X1 {W['X1']}", f"witness X2 {W['X2']}"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["quorum"],
        ["quorum none none"],
        ["quorum X1"],
        ["quorum X1", X1],
        ["quorum none", "quorum none"],
        ["quorum none", f"log {A}"],
        ["quorum none", "log"],
        ["quorum none", f"log {B} https://log.example extra"],
        ["quorum none", f"log {log_key('b', 'o.example')} https://o.example extra"],
        ["quorum none", f"log {B}x"],
        ["quorum none", f"log {W['X1']}"],
        ["quorum none", "unknown line"],
        ["quorum none\x00"],
        ["quorum none\r"],
        ["quorum none", "x" * 70_000],
        [X1, X1, "quorum none"],
        [X1, f"witness X2 {W['X1']}", "quorum none"],
        [X1, f"witness X1 {W['X2']}", "quorum none"],
        [f"witness none {W['X1']}", "quorum none"],
        [f"witness X1 {A}", "quorum none"],
        ["witness X1", "quorum none"],
        [f"witness X1 {W['X1']} https://w.example extra", "quorum none"],
        [X1, "group G", "quorum none"],
        [X1, "group G any", "quorum none"],
        [X1, "group G 0 X1", "quorum none"],
        [X1, "group G 2 X1", "quorum none"],
        [X1, "group G -1 X1", "quorum none"],
        [X1, "group G +1 X1", "quorum none"],
        [X1, "group G 01 X1", "quorum none"],
        [X1, "group G one X1", "quorum none"],
        [X1, "group G any X1 X1", "quorum none"],
        [X1, "group G any none", "quorum none"],
        [X1, "group G any G", "quorum none"],
        [X1, "group none any X1", "quorum none"],
        [X1, "group X1 any X1", "quorum none"],
        ["group G any X1", X1, "quorum none"],
        [X1, "group G any X1", "group H any X1", "quorum none"],
        [X1, X2, "group G any X1", "group H any G", "group I any G X2", "quorum none"],
        ["quorum none", f"log {B} urn:fhir-bridge:sizes:"],
        ["quorum none", f"log {log_key('b', 'o.example')} urn:fhir-bridge:sizes:00-"],
        ["quorum none", f"log {log_key('b', 'o.example')} urn:fhir-bridge:sizes:0-01"],
        ["quorum none", f"log {log_key('b', 'o.example')} urn:fhir-bridge:sizes:0-5x"],
        ["quorum none", f"log {log_key('b', 'o.example')} urn:fhir-bridge:sizes:0"],
        ["quorum none", f"log {log_key('b', 'o.example')} urn:fhir-bridge:other"],
    ],
)
def test_what_is_not_a_policy_is_refused(lines: list[str]) -> None:
    with pytest.raises(SettingsError):
        parsed(*lines)


@pytest.mark.parametrize(
    "lines",
    [
        ["quorum none"],
        ["  quorum \t none  ", "", "# a comment", " # another"],
        [X1, "quorum X1"],
        [X1, "group G 1 X1", "quorum G"],
        [X1, X2, "group G any X1", "group H all G X2", "quorum H"],
        ["quorum none", f"log {log_key('b', 'o.example')} https://log.example"],
        ["quorum none", f"log {log_key('b', 'o.example')} urn:fhir-bridge:sizes:0-2"],
    ],
)
def test_what_is_a_policy_is_read_and_written_back(lines: list[str]) -> None:
    policy = parsed(*lines)

    assert Policy.parse(str(policy)) == policy


def test_a_policy_of_64_kib_is_read_and_none_of_one_character_more() -> None:
    text = f"log {A}\nquorum none\n"
    longest = f"{text}#".ljust(65_536, "x")

    assert Policy.parse(longest) == Policy.parse(text)
    with pytest.raises(SettingsError, match="too long"):
        Policy.parse(f"{longest}x")


def test_a_control_character_is_refused_even_in_a_comment() -> None:
    with pytest.raises(SettingsError, match="control characters"):
        parsed("quorum none", "# \x07")


def test_a_policy_must_say_its_quorum() -> None:
    with pytest.raises(SettingsError, match="no line that says its quorum"):
        Policy.parse(f"log {A}\n")


def test_the_line_at_fault_is_named() -> None:
    with pytest.raises(SettingsError, match="line 3 of the policy"):
        parsed("quorum none", "nonsense")


def test_a_quorum_in_code_must_name_what_there_is() -> None:
    with pytest.raises(SettingsError, match="quorum"):
        Policy(epochs=(), witnesses={}, quorum="X1")


def test_a_policy_without_a_log_names_none() -> None:
    assert Policy.parse("quorum none\n").logs == ()


def test_a_policy_is_opened_only_by_the_root_that_signed_it() -> None:
    policy = Policy.parse(TWO_LEVELS)
    note = policy.signed(ROOT)

    assert Policy.open(note, ROOT.verifier) == policy
    with pytest.raises(AlteredLog, match="not signed by"):
        Policy.open(note, A)
    with pytest.raises(AlteredLog, match="not right"):
        Policy.open(note.replace("X-and-Y\n\n", "X-witnesses\n\n"), ROOT.verifier)
    with pytest.raises(MalformedCheckpoint):
        Policy.open(str(policy), ROOT.verifier)
    with pytest.raises(SettingsError):
        Policy.open(ROOT.sign("no policy\n"), ROOT.verifier)


@given(st.text())
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    try:
        policy = Policy.parse(text)
    except SettingsError:
        return
    assert Policy.parse(str(policy)) == policy
