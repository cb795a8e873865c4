"""Exports: written whole or not at all, verified by someone who holds a key and nothing else."""

from __future__ import annotations

import resource
import stat
import zipfile
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.exports import Report, Trust, Verdict, verify_export
from fhir_bridge.ledger import (
    Checkpoint,
    Epoch,
    Event,
    NewEntry,
    Policy,
    Signer,
    decode_entry,
    encode_entry,
    timestamp,
)
from tests.simulators.written_log import (
    BEGAN,
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
    WrittenLog,
    body_of,
    ordinary,
    signed_again,
    transfer_of,
    written,
)

BY_KEY = Trust.of(str(KEY.verifier), None)
BY_ROOT = Trust.of(str(ROOT.verifier), None)


def reasons(report: Report) -> list[str]:
    return [str(finding.reason) for finding in report.findings]


def exported(log: WrittenLog, folder: Path, signer: Signer = KEY) -> Path:
    """Export to a folder that is not there yet."""
    return log.export(folder / f"export-{len(list(folder.iterdir()))}", signer=signer)


def verified(
    log: WrittenLog,
    folder: Path,
    trust: Trust = BY_KEY,
    *,
    since: str | None = None,
    signer: Signer = KEY,
) -> list[str]:
    """Export a log, verify it with bodies, and return what was found."""
    path = exported(log, folder, signer)
    return reasons(verify_export(path, trust, since=since, bodies=True))


def by(policy: Policy) -> Trust:
    return Trust.of(None, str(policy))


ONLY_OURS = ["no-outside-copy"]
"""All is right, and nobody outside vouches for it."""


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 513])
@pytest.mark.parametrize("zipped", [False, True])
def test_what_was_exported_is_verified(count: int, tmp_path: Path, *, zipped: bool) -> None:
    log = WrittenLog.of(count)
    path = log.export(tmp_path / ("export.zip" if zipped else "export"))

    report = verify_export(path, BY_KEY, bodies=True)

    assert reasons(report) == ONLY_OURS
    assert report.verdict is Verdict.LIMITED
    facts = report.facts
    assert (facts.log, facts.entries, facts.root) == (LOG, count, log.root(count))
    assert facts.checkpoint == str(log.checkpoint(count))
    assert (facts.bodies_opened, facts.bodies_erased) == (count - 1, 0)
    assert facts.transfers == (count + 8) // 10


def test_the_same_log_is_the_same_zip_file_whenever_it_is_exported(tmp_path: Path) -> None:
    log = WrittenLog.of(20)

    one, two = log.export(tmp_path / "one.zip"), log.export(tmp_path / "two.zip")

    assert one.read_bytes() == two.read_bytes()


def test_an_export_is_for_its_owner_alone(tmp_path: Path) -> None:
    log = WrittenLog.of(20)
    folder, packed = log.export(tmp_path / "folder"), log.export(tmp_path / "packed.zip")

    files = [one for one in folder.rglob("*") if one.is_file()]
    assert [one for one in (folder, packed, *files) if one.stat().st_mode & 0o077] == []
    with zipfile.ZipFile(packed) as members:
        modes = {stat.S_IMODE(member.external_attr >> 16) for member in members.infolist()}
    assert modes == {0o600}


def test_an_export_has_the_layout_of_a_tiled_log(tmp_path: Path) -> None:
    policy = ONE_KEY.signed(ROOT)
    path = WrittenLog.of(300).export(tmp_path / "export", policy=policy, per_checkpoint=100)

    names = {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()}
    assert names == {
        "checkpoint",
        "manifest",
        "policy",
        "HOWTO.txt",
        "verify.sh",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "bodies/000",
        "bodies/001.p/44",
        "checkpoints/105",
        "checkpoints/203",
        "checkpoints/300",
    }


def test_every_checkpoint_that_someone_else_signed_goes_along_and_one_for_a_hundred(
    tmp_path: Path,
) -> None:
    log = WrittenLog.of(400, every=1)
    log.cosign(33, WITNESS)
    path = log.export(tmp_path / "export", per_checkpoint=100)

    sizes = sorted(int(one.name) for one in (path / "checkpoints").iterdir())
    assert sizes == [33, 100, 200, 300, 400]


def test_an_export_without_bodies_says_so(tmp_path: Path) -> None:
    path = WrittenLog.of(20).export(tmp_path / "export", bodies=False)

    assert not (path / "bodies").exists()
    assert reasons(verify_export(path, BY_KEY)) == ONLY_OURS
    report = verify_export(path, BY_KEY, bodies=True)
    assert reasons(report) == [*ONLY_OURS, "bodies-left-out"]
    assert not report.facts.bodies_checked


def test_bodies_are_compared_only_when_asked_for(tmp_path: Path) -> None:
    log = WrittenLog.of(20)
    log.bodies[3] = (b"x" * 32, b"other")
    path = log.export(tmp_path / "export")

    assert reasons(verify_export(path, BY_KEY)) == ONLY_OURS
    assert reasons(verify_export(path, BY_KEY, bodies=True)) == ["body-altered"]


def test_an_erased_body_is_named_and_everything_else_is_still_proved(tmp_path: Path) -> None:
    log = WrittenLog.of(600)
    for idx in (3, 4, 599):
        del log.bodies[idx]

    report = verify_export(log.export(tmp_path / "export"), BY_KEY, bodies=True)

    assert reasons(report) == [*ONLY_OURS, "bodies-erased"]
    assert report.facts.bodies_erased_first == [3, 4, 599]
    assert (report.facts.bodies_erased, report.facts.bodies_opened) == (3, 596)
    assert "3 entries" in report.findings[1].sentence


def test_at_most_twenty_erased_entries_are_named(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.bodies = {}
    facts = verify_export(log.export(tmp_path / "export"), BY_KEY, bodies=True).facts

    assert facts.bodies_erased == 59
    assert facts.bodies_erased_first == list(range(1, 21))


def test_a_path_that_is_taken_or_has_no_folder_is_refused(tmp_path: Path) -> None:
    log = WrittenLog.of(5)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in (tmp_path, tmp_path / "link"):
        with pytest.raises(SettingsError, match="there already"):
            log.export(taken)
    with pytest.raises(SettingsError, match="not a folder"):
        log.export(tmp_path / "missing" / "export")


def test_a_log_without_entries_or_checkpoint_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no checkpoint"):
        WrittenLog([], {}).export(tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_a_log_that_was_altered_in_its_database_is_not_exported(name: str, tmp_path: Path) -> None:
    log = WrittenLog.of(20)
    log.entries[4] = ordinary(4, t=timestamp(BEGAN))

    with pytest.raises(AlteredLog, match="nothing was exported"):
        log.export(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_a_disk_that_takes_no_more_leaves_nothing(name: str, tmp_path: Path) -> None:
    log = WrittenLog.of(300)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StoreUnavailable, match="EFBIG"):
            log.export(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_bodies_too_large_for_an_export_are_refused(tmp_path: Path) -> None:
    log = WrittenLog.of(3)
    log.bodies[1] = (b"s" * 32, b"x" * (64 * 1024 * 1024))

    with pytest.raises(SettingsError, match="too large"):
        log.export(tmp_path / "export")


# Who vouches for it


def test_a_checkpoint_of_ones_own_makes_it_whole(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    path = log.export(tmp_path / "export")

    for size in (1, 7, 30, 60):
        for kept in (log.note(size, KEY), str(log.checkpoint(size))):
            report = verify_export(path, BY_KEY, since=kept, bodies=True)
            assert (reasons(report), report.verdict) == ([], Verdict.VERIFIED)
            assert report.facts.pinned == size


def test_a_log_that_is_shorter_than_a_checkpoint_kept_was_rolled_back(tmp_path: Path) -> None:
    kept = WrittenLog.of(61).note(61, KEY)

    assert verified(WrittenLog.of(60), tmp_path, since=kept) == ["rolled-back"]


@pytest.mark.parametrize("size", [30, 60])
def test_a_log_written_anew_differs_from_a_checkpoint_kept(size: int, tmp_path: Path) -> None:
    kept = WrittenLog.of(60).note(size, KEY)
    log = WrittenLog.of(60)
    log.entries[20] = ordinary(20, t=timestamp(BEGAN + timedelta(seconds=19.5)))
    log.sign()

    assert verified(log, tmp_path) == ONLY_OURS
    assert verified(log, tmp_path, since=kept) == ["history-rewritten"]


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ("", "pin-malformed"),
        (f"{LOG}\n07\n{'A' * 43}=\n", "pin-malformed"),
        (f"{LOG}\n7\n{'A' * 43}=\nextension\n", "pin-malformed"),
        (str(Checkpoint(origin=LOG, size=0, root=bytes(32))), "pin-malformed"),
        (str(Checkpoint(origin="other.example", size=7, root=bytes(32))), "pin-of-other-log"),
    ],
)
def test_a_checkpoint_kept_that_cannot_be_compared_is_refused(
    kept: str, reason: str, tmp_path: Path
) -> None:
    assert verified(WrittenLog.of(20), tmp_path, since=kept) == [reason]


def test_a_witness_of_the_policy_makes_it_whole(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.cosign(60, WITNESS)
    report = verify_export(log.export(tmp_path / "export"), by(WITNESSED), bodies=True)

    assert reasons(report) == []
    assert report.facts.witnessed == 60


def test_entries_after_the_last_witnessed_checkpoint_are_counted(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.cosign(14, WITNESS)
    log.cosign(56, WITNESS)
    report = verify_export(log.export(tmp_path / "export"), by(WITNESSED), bodies=True)

    assert reasons(report) == ["tail-unwitnessed"]
    assert "last 4 entries" in report.findings[0].sentence
    kept = verify_export(tmp_path / "export", by(WITNESSED), since=log.note(60, KEY), bodies=True)
    assert reasons(kept) == []
    older = verify_export(tmp_path / "export", by(WITNESSED), since=log.note(58, KEY))
    assert reasons(older) == ["tail-unwitnessed"]


def test_a_log_that_no_witness_signed_lacks_its_quorum(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.cosign(60, OTHER_WITNESS)

    assert verified(log, tmp_path, by(WITNESSED)) == ["no-quorum"]


def test_a_witness_that_no_quorum_asks_for_vouches_for_nothing(tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    log.cosign(60, WITNESS)
    policy = Policy(epochs=ONE_KEY.epochs, witnesses=WITNESSED.witnesses)

    assert verified(log, tmp_path, by(policy)) == ONLY_OURS


@pytest.mark.parametrize("size", [14, 60])
def test_a_false_signature_by_a_witness_is_found(size: int, tmp_path: Path) -> None:
    log = WrittenLog.of(60)
    line = WITNESS.cosign(str(log.checkpoint(21)), 1_800_000_000)
    log.published = [(at, note + line if at == size else note) for at, note in log.published]

    assert verified(log, tmp_path, by(WITNESSED)) == ["cosignature-forged"]


def test_an_entry_dated_after_a_witness_saw_it_is_found(tmp_path: Path) -> None:
    for late, found in ((300, []), (301, ["time-after-witness"])):
        log = WrittenLog.of(60)
        log.cosign(60, WITNESS, at=BEGAN + timedelta(seconds=59 - late))
        assert verified(log, tmp_path, by(WITNESSED)) == found


def test_a_witness_whose_clock_shows_no_year_is_no_fault(tmp_path: Path) -> None:
    log = WrittenLog.of(20)
    line = WITNESS.cosign(str(log.checkpoint(20)), 2**62)
    log.published[-1] = (20, log.published[-1][1] + line)

    assert verified(log, tmp_path, by(WITNESSED)) == []


# Keys and policy


def test_the_policy_in_an_export_counts_when_the_root_given_signed_it(tmp_path: Path) -> None:
    path = WrittenLog.of(20).export(tmp_path / "export", policy=ONE_KEY.signed(ROOT))

    assert reasons(verify_export(path, BY_ROOT)) == ONLY_OURS
    assert reasons(verify_export(path, BY_KEY)) == ONLY_OURS
    assert reasons(verify_export(path, by(ONE_KEY))) == ONLY_OURS


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (None, "policy-missing"),
        (ONE_KEY.signed(STRANGER), "policy-unsigned"),
        (str(ONE_KEY), "policy-malformed"),
        (ROOT.sign("nonsense\n"), "policy-malformed"),
        (ONE_KEY.signed(ROOT).replace("quorum none", "quorum  none"), "policy-forged"),
        (Policy.parse("quorum none\n").signed(ROOT), "log-unknown"),
        (Policy.of_key(STRANGER.verifier).signed(ROOT), "checkpoint-unsigned"),
    ],
)
def test_a_policy_that_does_not_bind_the_log_to_the_root_is_refused(
    policy: str | None, reason: str, tmp_path: Path
) -> None:
    path = WrittenLog.of(20).export(tmp_path / "export", policy=policy)

    assert reasons(verify_export(path, BY_ROOT)) == [reason]


def test_a_policy_in_the_export_is_never_used_for_a_policy_given(tmp_path: Path) -> None:
    mine = Policy.of_key(STRANGER.verifier)
    path = WrittenLog.of(20).export(tmp_path / "export", policy=ONE_KEY.signed(ROOT))

    assert reasons(verify_export(path, by(mine))) == ["checkpoint-unsigned"]
    both = Trust.of(str(ROOT.verifier), mine.signed(ROOT))
    assert reasons(verify_export(path, both)) == ["checkpoint-unsigned"]


def test_what_an_auditor_gives_must_be_readable() -> None:
    signed = ONE_KEY.signed(ROOT)

    assert Trust.of(None, signed).policy == ONE_KEY
    assert Trust.of(f"{ROOT.verifier}\n", signed).policy == ONE_KEY
    for root, policy in (
        (None, None),
        ("nonsense", None),
        (None, "nonsense"),
        (str(ROOT.verifier), str(ONE_KEY)),
        (str(ROOT.verifier), ONE_KEY.signed(STRANGER)),
        (None, "\n\n\N{EM DASH} x"),
    ):
        with pytest.raises(SettingsError):
            Trust.of(root, policy)


def handed_over(*, vkey: str = str(SECOND_KEY.verifier), at: int = 20) -> WrittenLog:
    """A log whose second key begins with an entry, under the checkpoint of size 21."""
    log = WrittenLog.of(40)
    log.entries[20:] = [
        written(
            NewEntry(type=Event.KEY_ROTATED, actor="svc:fhir-bridge", vkey=vkey)
            if idx == at
            else NewEntry(type=Event.LOG_HEARTBEAT, actor="svc:fhir-bridge"),
            LOG,
            idx,
            timestamp(BEGAN + timedelta(seconds=idx)),
        )
        for idx in range(20, 40)
    ]
    log.bodies = {idx: body for idx, body in log.bodies.items() if idx < 20}
    log.sign_epochs(21)
    return log


def test_a_log_may_pass_to_another_key_that_it_names_itself(tmp_path: Path) -> None:
    assert verified(handed_over(), tmp_path, by(TWO_KEYS), signer=SECOND_KEY) == ONLY_OURS


def test_the_new_key_alone_cannot_sign_what_was_before_it(tmp_path: Path) -> None:
    log = handed_over()
    log.published[1] = (14, log.note(14, SECOND_KEY))

    assert verified(log, tmp_path, by(TWO_KEYS), signer=SECOND_KEY) == ["key-out-of-epoch"]


def test_the_old_key_cannot_sign_what_came_after_it(tmp_path: Path) -> None:
    log = handed_over()
    log.published[-1] = (40, log.note(40, KEY))

    assert verified(log, tmp_path, by(TWO_KEYS), signer=KEY) == ["key-out-of-epoch"]


@pytest.mark.parametrize("signer", [KEY, SECOND_KEY])
def test_the_handover_is_signed_by_both(signer: Signer, tmp_path: Path) -> None:
    log = handed_over()
    log.published[2] = (21, log.note(21, signer))

    assert verified(log, tmp_path, by(TWO_KEYS), signer=SECOND_KEY) == ["key-out-of-epoch"]


def test_a_handover_that_is_not_there_is_missed(tmp_path: Path) -> None:
    log = handed_over()
    del log.published[2]

    assert verified(log, tmp_path, by(TWO_KEYS), signer=SECOND_KEY) == ["handover-unsigned"]


@pytest.mark.parametrize(
    "log",
    [
        handed_over(vkey=str(STRANGER.verifier)),
        handed_over(at=21),
        handed_over(at=99),
    ],
)
def test_a_handover_that_the_log_does_not_name_is_found(log: WrittenLog, tmp_path: Path) -> None:
    assert verified(log, tmp_path, by(TWO_KEYS), signer=SECOND_KEY) == ["key-unannounced"]


def test_a_key_that_the_policy_does_not_know_yet_is_named(tmp_path: Path) -> None:
    log = handed_over()
    log.entries, log.published = log.entries[:21], log.published[:3]

    report = verify_export(exported(log, tmp_path), BY_KEY)

    assert reasons(report) == ["policy-outdated", *ONLY_OURS]
    assert "entry 20" in report.findings[0].sentence
    assert verified(handed_over(), tmp_path, signer=SECOND_KEY) == ["checkpoint-unsigned"]


def test_a_key_whose_time_is_over_signs_nothing_more(tmp_path: Path) -> None:
    over = Policy(epochs=(Epoch(key=KEY.verifier, end=20),))

    assert verified(WrittenLog.of(19), tmp_path, by(over)) == ONLY_OURS
    assert verified(WrittenLog.of(20), tmp_path, by(over)) == ["key-out-of-epoch"]


def test_a_policy_that_speaks_of_a_later_key_is_no_fault_before_it(tmp_path: Path) -> None:
    assert verified(WrittenLog.of(20), tmp_path, by(TWO_KEYS)) == ONLY_OURS


def test_the_export_of_a_former_year_may_be_signed_by_this_years_key(tmp_path: Path) -> None:
    later = Signer("bridge.first.example/audit/2027", STRANGER.private)
    policy = Policy(epochs=(*ONE_KEY.epochs, Epoch(key=later.verifier)))
    log = WrittenLog.of(20)

    assert verified(log, tmp_path, by(policy), signer=later) == ONLY_OURS
    assert verified(log, tmp_path, by(ONE_KEY), signer=later) == ["manifest-unsigned"]


# What someone who alters the database does: the tree is right, and the signatures are old


def altered(idx: int, /, **changes: object) -> bytes:
    """An entry with other members, in its one written form."""
    entry = decode_entry(ordinary(idx))
    return encode_entry(msgspec.structs.replace(entry, **changes))


def rebuilt(entries: list[bytes]) -> WrittenLog:
    """A log whose exporter took what it found: checkpoints as they were, hashes as they are now."""
    honest = WrittenLog.of(40)
    forged = WrittenLog(entries, honest.bodies)
    forged.sign()
    signed = dict(honest.published)
    # The thief cannot sign, so the texts are his and the signature lines are old.
    forged.published = [
        (size, note.partition("\n\n")[0] + "\n\n" + signed.get(size, note).partition("\n\n")[2])
        for size, note in forged.published
    ]
    return forged


ENTRIES = [ordinary(idx) for idx in range(40)]


FORGED = [
    [*ENTRIES[:9], altered(9, actor="cli:eve"), *ENTRIES[10:]],
    [*ENTRIES[:9], altered(9, t="2026-03-01T00:00:08.500Z"), *ENTRIES[10:]],
    [*ENTRIES[:9], altered(9, type=Event.CONSENT_DENIED), *ENTRIES[10:]],
]
FORGED_HOW = ["alter", "back-date", "change what happened"]


@pytest.mark.parametrize("entries", FORGED, ids=FORGED_HOW)
def test_a_tree_built_anew_without_the_key_is_found(entries: list[bytes], tmp_path: Path) -> None:
    assert verified(rebuilt(entries), tmp_path) == ["checkpoint-forged"]


@pytest.mark.parametrize("entries", FORGED, ids=FORGED_HOW)
def test_old_checkpoints_over_a_tree_built_anew_are_found(
    entries: list[bytes], tmp_path: Path
) -> None:
    path = rebuilt(entries).export(tmp_path / "export")
    for size, note in WrittenLog.of(len(entries)).published:
        (path / "checkpoints" / str(size)).write_text(note)
        (path / "checkpoint").write_text(note)

    report = verify_export(signed_again(path), BY_KEY)

    assert reasons(report) == ["root-mismatch"]
    assert "first 14 entries" in report.findings[0].sentence


# What someone who has the log's key does: everything is signed, and the entries betray it


def signed_anew(entries: list[bytes]) -> WrittenLog:
    log = WrittenLog(entries, WrittenLog.of(len(entries)).bodies)
    log.sign()
    return log


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([*ENTRIES[:9], ENTRIES[10], ENTRIES[9], *ENTRIES[11:]], "entry-moved"),
        ([*ENTRIES[:9], *ENTRIES[10:]], "entry-moved"),
        ([*ENTRIES[:9], ENTRIES[8], *ENTRIES[9:]], "entry-moved"),
        (
            [*ENTRIES[:9], altered(9, log="other.example/audit/2026"), *ENTRIES[10:]],
            "entry-of-other-log",
        ),
        ([*ENTRIES[:9], altered(9, t="2026-02-01T00:00:00.000Z"), *ENTRIES[10:]], "time-goes-back"),
        ([altered(0, t="2027-02-01T00:00:00.000Z"), *ENTRIES[1:]], "time-goes-back"),
        ([*ENTRIES[:9], altered(9, seq=9), *ENTRIES[10:]], "number-missing"),
        ([*ENTRIES[:9], altered(9, seq=7), *ENTRIES[10:]], "number-missing"),
        ([*ENTRIES[:10], altered(10, entries=9), *ENTRIES[11:]], "count-wrong"),
        ([*ENTRIES[:10], altered(10, entries=11), *ENTRIES[11:]], "count-wrong"),
        ([*ENTRIES[:9], altered(9, entries=8), *ENTRIES[10:]], "count-wrong"),
        ([ENTRIES[0], altered(1, seq=1), altered(2, seq=2)], "transfer-beheaded"),
        ([*ENTRIES[:9], ENTRIES[9] + b" ", *ENTRIES[10:]], "entry-altered"),
        ([b"", *ENTRIES[1:]], "entry-altered"),
        ([*ENTRIES[:9], b"\n", *ENTRIES[10:]], "entry-altered"),
        ([altered(0, type=Event.LOG_HEARTBEAT), *ENTRIES[1:]], "ends-wrong"),
        ([*ENTRIES[:39], altered(39, type=Event.LOG_OPENED)], "ends-wrong"),
        ([*ENTRIES[:38], altered(38, type=Event.LOG_CLOSED), ENTRIES[39]], "ends-wrong"),
        ([*ENTRIES[:39], altered(39, type=Event.LOG_CLOSED)], "no-outside-copy"),
    ],
)
def test_what_the_entries_themselves_betray_is_found(
    entries: list[bytes], reason: str, tmp_path: Path
) -> None:
    assert verified(signed_anew(entries), tmp_path) == [reason]


def test_the_entry_at_fault_is_named(tmp_path: Path) -> None:
    entries = [ordinary(idx) for idx in range(600)]
    for fault, word in (
        (altered(530, t="2026-02-01T00:00:00.000Z"), "Entry 530 is dated before"),
        (altered(530, idx=5), "what stands there is entry 5"),
        (altered(530, log="x"), "Entry 530 comes from another log"),
        (entries[530] + b" ", "Entry 530 was changed: it is not in its one written form"),
    ):
        log = signed_anew([*entries[:530], fault, *entries[531:]])
        report = verify_export(exported(log, tmp_path), BY_KEY)
        assert word in report.findings[0].sentence


def test_a_transfer_that_began_in_the_former_years_log_goes_on(tmp_path: Path) -> None:
    continued = altered(0, checkpoint="bridge.first.example/audit/2025\n9\nx\n")
    log = signed_anew([continued, altered(1, seq=7), altered(2, seq=8)])

    assert verified(log, tmp_path) == ONLY_OURS


def test_an_intent_without_a_result_is_reported(tmp_path: Path) -> None:
    cut = signed_anew(ENTRIES[:37])
    facts = verify_export(exported(cut, tmp_path), BY_KEY).facts

    assert facts.unanswered == [transfer_of(3)]
    assert facts.unanswered_count == 1
    whole = verify_export(exported(signed_anew(ENTRIES), tmp_path), BY_KEY)
    assert whole.facts.unanswered_count == 0


def test_at_most_twenty_transfers_without_a_result_are_named(tmp_path: Path) -> None:
    entries = [ordinary(idx) for idx in range(251)]
    for idx in range(7, 251, 10):
        entries[idx] = encode_entry(
            msgspec.structs.replace(decode_entry(entries[idx]), type=Event.ACCESS_VIEWED)
        )
    facts = verify_export(exported(signed_anew(entries), tmp_path), BY_KEY).facts

    assert facts.unanswered_count == 25
    assert facts.unanswered == [transfer_of(number) for number in range(20)]


def test_bodies_that_are_not_those_committed_to_are_found(tmp_path: Path) -> None:
    for change, reason in (
        ({3: body_of(4), 4: body_of(3)}, "body-altered"),
        ({3: (body_of(3)[0], b"{}")}, "body-altered"),
        ({3: (bytes(32), body_of(3)[1])}, "body-altered"),
        ({3: (b"", b"short")}, "body-altered"),
        ({0: body_of(0)}, "body-added"),
    ):
        log = WrittenLog.of(20)
        log.bodies |= change
        assert verified(log, tmp_path) == [reason]


def test_a_checkpoint_signed_over_other_entries_is_found(tmp_path: Path) -> None:
    path = WrittenLog.of(20).export(tmp_path / "export")
    other = KEY.sign(str(Checkpoint(origin=LOG, size=7, root=bytes(32))))
    (path / "checkpoints" / "7").write_text(other)

    report = verify_export(signed_again(path), BY_KEY)

    assert reasons(report) == ["root-mismatch"]
    assert "first 7 entries" in report.findings[0].sentence


def test_a_checkpoint_filed_under_another_size_is_found(tmp_path: Path) -> None:
    log = WrittenLog.of(20)
    log.published[1] = (14, log.published[0][1])

    report = verify_export(exported(log, tmp_path), BY_KEY)

    assert reasons(report) == ["checkpoint-malformed"]
