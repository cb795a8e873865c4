"""Each way to spoil an export, at random places, with the reasons by which it must be found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from fhir_bridge.exports import Trust
from fhir_bridge.ledger import (
    Checkpoint,
    Event,
    NewEntry,
    Note,
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
    ROOT,
    SECOND_KEY,
    STRANGER,
    TWO_KEYS,
    WITNESS,
    WITNESSED,
    WrittenLog,
    body_of,
    private,
    signed_again,
    transfer_of,
    written,
)

SIZE = 61


@dataclass(frozen=True)
class Forgery:
    """An export that was spoiled, what its auditor holds, and what must be found."""

    path: Path
    reasons: frozenset[str]
    trust: Trust
    since: str | None = None


def honest() -> WrittenLog:
    """The log before anyone touched it, witnessed at two places."""
    log = WrittenLog.of(SIZE)
    log.cosign(28, WITNESS)
    log.cosign(SIZE, WITNESS)
    return log


BY_WITNESS = Trust.of(None, str(WITNESSED))
BY_KEY = Trust.of(str(KEY.verifier), None)
BY_ROOT = Trust.of(str(ROOT.verifier), None)


@dataclass
class Forger:
    """Spoils exports, one at a time, in a folder of its own."""

    folder: Path
    dice: Random
    log: WrittenLog = field(default_factory=honest)

    def __post_init__(self) -> None:
        base = self.log.export(self.folder / "base", policy=WITNESSED.signed(ROOT))
        self.base = {
            str(one.relative_to(base)): one.read_bytes() for one in base.rglob("*") if one.is_file()
        }
        policy = WITNESSED.signed(ROOT)
        self.packed = self.log.export(self.folder / "base.zip", policy=policy).read_bytes()

    def forge(self, seed: int) -> tuple[str, Forgery]:
        """Spoil an export; the same seed spoils it in the same way."""
        self.dice.seed(seed)
        shutil.rmtree(self.folder / "export", ignore_errors=True)
        (self.folder / "export.zip").unlink(missing_ok=True)
        ways = list(_WAYS)
        way = self.dice.choices(ways, weights=[_WAYS[one] for one in ways])[0]
        return way.__name__, way(self)

    # What anyone can do who has the export in hand

    def bytes_of_a_file(self) -> Forgery:
        name = self.dice.choice(sorted(self.base))
        changed = self.changed(self.base[name])
        found = {
            "manifest": _MANIFEST,
            "checkpoint": _CHECKPOINT | {"file-altered"},
            "policy": _POLICY | {"file-altered"},
        }.get(name, {"file-altered"})
        trust = BY_ROOT if name == "policy" else BY_WITNESS
        return self.found(self.unpacked({**self.base, name: changed}), found, trust)

    def a_file_taken_away(self) -> Forgery:
        name = self.dice.choice(sorted(self.base))
        files = {one: content for one, content in self.base.items() if one != name}
        return self.found(self.unpacked(files), {"file-missing"})

    def a_file_added(self) -> Forgery:
        name = self.dice.choice(["x", "tile/x", "checkpoints/2", "bodies/001", "policy2", "a/b/c"])
        return self.found(self.unpacked({**self.base, name: b"x"}), {"file-added"})

    def two_files_swapped(self) -> Forgery:
        one, two = self.dice.sample(sorted(set(self.base) - {"manifest", "checkpoint"}), 2)
        swapped = {one: self.base[two], two: self.base[one]}
        return self.found(self.unpacked({**self.base, **swapped}), {"file-altered"})

    def a_file_renamed(self) -> Forgery:
        files = dict(self.base)
        name = self.dice.choice(sorted(files))
        files[f"{name}0"] = files.pop(name)
        return self.found(self.unpacked(files), {"file-missing", "file-added"})

    def a_link_for_a_file(self) -> Forgery:
        name = self.dice.choice(sorted(self.base))
        path = self.unpacked(self.base)
        (path / name).rename(self.folder / "elsewhere")
        (path / name).symlink_to(self.folder / "elsewhere")
        return self.found(path, {"not-a-file"})

    def bytes_of_a_zip_file(self) -> Forgery:
        """Change what is in a zip file; its own dates and flags are nobody's word."""
        name = self.dice.choice(sorted(set(self.base) - {"policy"}))
        content = self.base[name]
        at = self.packed.rindex(content)
        place = at + self.dice.randrange(len(content))
        raw = bytearray(self.packed)
        raw[place] ^= self.dice.randrange(1, 256)
        path = self.folder / "export.zip"
        path.write_bytes(raw)
        return self.found(path, {"file-altered"})

    def a_zip_file_cut_short(self) -> Forgery:
        path = self.folder / "export.zip"
        path.write_bytes(self.packed[: self.dice.randrange(len(self.packed))])
        return self.found(path, {"not-an-export"})

    def lines_under_the_checkpoint(self) -> Forgery:
        note = self.base["checkpoint"].decode()
        text, ours, theirs = note.rpartition("\n\n")[0], *note.rpartition("\n\n")[2].splitlines()
        other = KEY.line(str(self.log.checkpoint(28))).rstrip("\n")
        lines, found = self.dice.choice(
            [
                ([theirs], {"checkpoint-unsigned"}),
                ([], {"checkpoint-malformed"}),
                ([other, theirs], {"checkpoint-forged"}),
                ([ours, other, theirs], {"checkpoint-forged"}),
                ([STRANGER.line(text + "\n").rstrip("\n"), theirs], {"checkpoint-unsigned"}),
                ([ours.replace(LOG, "other.example"), theirs], {"checkpoint-unsigned"}),
                ([ours[:-4], theirs], {"checkpoint-forged", "checkpoint-malformed"}),
                ([ours + "=", theirs], {"checkpoint-malformed"}),
                ([ours, "", theirs], _CHECKPOINT),
                ([ours.replace("\N{EM DASH}", "-"), theirs], {"checkpoint-malformed"}),
                ([ours, WITNESS.cosign(str(self.log.checkpoint(28)), 1).rstrip("\n")], _FORGED),
                ([ours, theirs, theirs[:-8] + "AAAAAAA="], _FORGED),
                ([ours] + ["\N{EM DASH} x AAAAAAA="] * 80, {"checkpoint-malformed"}),
            ]
        )
        changed = "\n".join([text, "", *lines, ""]).encode()
        path = self.unpacked({**self.base, "checkpoint": changed})
        return self.found(signed_again(path) if self.dice.random() < 0.5 else path, found)

    def a_wrong_key(self) -> Forgery:
        path = self.unpacked(self.base)
        other = private(str(self.dice.random()))
        root = Trust.of(str(Signer(ROOT.name, other).verifier), None)
        log = Trust.of(str(Signer(LOG, other).verifier), None)
        elsewhere = Policy.of_key(Signer("other.example/audit/2026", other).verifier)
        trust, found = self.dice.choice(
            [
                (root, "policy-unsigned"),
                (log, "checkpoint-unsigned"),
                (Trust(policy=elsewhere), "log-unknown"),
            ]
        )
        return self.found(path, {found}, trust)

    def a_policy_of_the_forgers_own(self) -> Forgery:
        """Sign everything, the policy in the export too, by keys of one's own."""
        forger = Signer(LOG, private(str(self.dice.random())))
        root = Signer(ROOT.name, private(str(self.dice.random())))
        log = WrittenLog(list(self.log.entries), dict(self.log.bodies))
        log.sign(signers=(forger,))
        policy = Policy.of_key(forger.verifier).signed(root)
        path = log.export(self.folder / "export", policy=policy, signer=forger)
        trust, found = self.dice.choice(
            [(BY_ROOT, "policy-unsigned"), (BY_KEY, "checkpoint-unsigned")]
        )
        return self.found(path, {found}, trust)

    # What an administrator of the database can do: the bridge exports what it finds there

    def a_tree_built_anew(self) -> Forgery:
        """Change entries, compute all hashes again, and keep the signatures."""
        log = WrittenLog(self.rewritten(), {})
        log.sign()
        old = dict(self.log.published)
        if self.dice.random() < 0.5:
            log.published = [
                (size, _with_lines(note, old.get(size))) for size, note in log.published
            ]
            return self.found(log.export(self.folder / "export"), {"checkpoint-forged"})
        path = log.export(self.folder / "export")
        size = len(log.entries)
        newest = old.get(size, KEY.sign(str(self.log.checkpoint(min(size, SIZE)))))
        (path / "checkpoint").write_text(newest)
        for one in (path / "checkpoints").iterdir():
            one.write_text(old.get(int(one.name), newest))
        return self.found(
            signed_again(path), {"root-mismatch", "manifest-of-other", "checkpoint-malformed"}
        )

    def hashes_that_are_not_the_entries(self) -> Forgery:
        names = [name for name in self.base if name.startswith("tile/0")]
        name = self.dice.choice(sorted(names))
        raw = bytearray(self.base[name])
        raw[self.dice.randrange(len(raw))] ^= self.dice.randrange(1, 256)
        path = self.unpacked({**self.base, name: bytes(raw)})
        return self.found(signed_again(path), {"hashes-altered"})

    def bodies_swapped_or_changed(self) -> Forgery:
        log = WrittenLog(list(self.log.entries), dict(self.log.bodies), list(self.log.published))
        one, two = self.dice.sample(range(1, SIZE), 2)
        change = self.dice.choice(["swap", "text", "salt", "added"])
        if change == "swap":
            log.bodies[one], log.bodies[two] = log.bodies[two], log.bodies[one]
        elif change == "text":
            log.bodies[one] = (body_of(one)[0], self.changed(body_of(one)[1]))
        elif change == "salt":
            log.bodies[one] = (self.dice.randbytes(32), body_of(one)[1])
        else:
            log.bodies[0] = body_of(one)
        found = {"body-added"} if change == "added" else {"body-altered"}
        return self.found(log.export(self.folder / "export"), found)

    def set_back_under_a_checkpoint_kept(self) -> Forgery:
        """Put an older copy of the whole store in the place of the newer one."""
        size = self.dice.randrange(1, SIZE)
        log = WrittenLog.of(size)
        kept = self.log.note(self.dice.randrange(size + 1, SIZE + 1), KEY)
        return self.found(log.export(self.folder / "export"), {"rolled-back"}, BY_KEY, kept)

    # What a thief of the log's key can do

    def rewritten_with_the_key_under_a_checkpoint_kept(self) -> Forgery:
        entries = self.rewritten()
        pairs = enumerate(zip(entries, self.log.entries, strict=False))
        first = next((at for at, (mine, yours) in pairs if mine != yours), len(entries))
        log = WrittenLog(entries, {})
        log.sign()
        kept = self.log.note(self.dice.randrange(first + 1, SIZE + 1), KEY)
        found = {"history-rewritten", "rolled-back"}
        return self.found(log.export(self.folder / "export"), found, BY_KEY, kept)

    def rewritten_with_the_key_under_a_witness(self) -> Forgery:
        log = WrittenLog(self.rewritten(), {})
        log.sign()
        found = {"no-quorum"}
        if self.dice.random() < 0.5:  # the witness's lines are kept below other checkpoints
            lines = {
                size: note.splitlines()[-1]
                for size, note in self.log.published
                if size in {28, SIZE}
            }
            log.published = [
                (size, note + (f"{lines[size]}\n" if size in lines else ""))
                for size, note in log.published
            ]
            there = [size for size, _ in log.published if size in lines]
            honest_there = all(log.root(size) == self.log.root(size) for size in there)
            found = {"no-quorum", "tail-unwitnessed"} if honest_there else _FORGED
        return self.found(log.export(self.folder / "export"), found)

    def written_into_the_future_with_the_key(self) -> Forgery:
        """Date entries after the witness had seen them."""
        at = self.dice.randrange(SIZE)
        late = timedelta(seconds=SIZE + 60 + 301 + self.dice.randrange(10_000))
        entries = [
            leaf if idx < at else self.with_changes(leaf, t=timestamp(BEGAN + late))
            for idx, leaf in enumerate(self.log.entries)
        ]
        log = WrittenLog(entries, dict(self.log.bodies))
        log.sign()
        log.cosign(SIZE, WITNESS)
        return self.found(log.export(self.folder / "export"), {"time-after-witness"})

    def an_old_epoch_signed_by_a_newer_key(self) -> Forgery:
        log = self.handed_over()
        sizes = [size for size, _ in log.published if size < 21]
        chosen = self.dice.sample(sizes, self.dice.randrange(1, len(sizes) + 1))
        log.published = [
            (size, log.note(size, SECOND_KEY) if size in chosen else note)
            for size, note in log.published
        ]
        path = log.export(self.folder / "export", signer=SECOND_KEY)
        return self.found(path, {"key-out-of-epoch"}, Trust(policy=TWO_KEYS))

    def a_new_epoch_signed_by_the_old_key(self) -> Forgery:
        log = self.handed_over()
        sizes = [size for size, _ in log.published if size > 21]
        chosen = self.dice.choice(sizes)
        log.published = [
            (size, log.note(size, KEY) if size == chosen else note) for size, note in log.published
        ]
        path = log.export(self.folder / "export", signer=SECOND_KEY)
        return self.found(path, {"key-out-of-epoch"}, Trust(policy=TWO_KEYS))

    def entries_that_betray_the_key(self) -> Forgery:
        """Write with the key what no bridge writes."""
        idx = self.dice.randrange(2, SIZE - 1)
        leaf = self.log.entries[idx]
        seq = (idx - 1) % 10
        leaves, found = self.dice.choice(
            [
                ([self.with_changes(leaf, idx=idx + 1)], "entry-moved"),
                ([self.with_changes(leaf, log="other.example")], "entry-of-other-log"),
                ([self.with_changes(leaf, t="2020-01-01T00:00:00.000Z")], "time-goes-back"),
                ([self.with_changes(leaf, seq=seq + 1)], "number-missing"),
                ([self.with_changes(leaf, entries=seq + 2)], "count-wrong"),
                ([self.with_changes(leaf, type=Event.LOG_OPENED)], "ends-wrong"),
                ([self.with_changes(leaf, type=Event.LOG_CLOSED)], "ends-wrong"),
                ([leaf.replace(b'"idx":', b'"idx": ')], "entry-altered"),
                ([leaf.replace(b'{"actor"', b'{"a":1,"actor"')], "entry-altered"),
                ([leaf.replace(b'"cli:ada"', b'"ada"')], "entry-altered"),
                ([], "entry-moved"),
                ([leaf, leaf], "entry-moved"),
                ([self.log.entries[idx + 1], leaf], "entry-moved"),
            ]
        )
        entries = [*self.log.entries[:idx], *leaves, *self.log.entries[idx + 1 :]]
        log = WrittenLog(entries, dict(self.log.bodies))
        log.sign()
        # A transfer's first entry with another number has lost those before it.
        more = {"transfer-beheaded", "number-missing"} if found == "number-missing" else set()
        return self.found(log.export(self.folder / "export"), {found, *more}, BY_KEY)

    def a_transfer_with_an_entry_less(self) -> Forgery:
        number = self.dice.randrange(6)
        path = self.log.export(self.folder / "export", transfer=transfer_of(number))
        receipts = sorted((path / "receipts").iterdir(), key=lambda one: int(one.stem))
        self.dice.choice(receipts[:-1]).unlink()
        return self.found(signed_again(path), {"number-missing"})

    def a_receipt_of_a_transfer_changed(self) -> Forgery:
        path = self.log.export(self.folder / "export", transfer=transfer_of(self.dice.randrange(6)))
        one = self.dice.choice(sorted((path / "receipts").iterdir()))
        one.write_bytes(self.changed(one.read_bytes()))
        found = _CHECKPOINT | _FORGED | {"not-a-receipt", "proof-wrong", "body-altered"}
        return self.found(signed_again(path), found | {"log-unknown", "no-quorum"})

    # Tools

    def found(
        self, path: Path, reasons: set[str], trust: Trust = BY_WITNESS, since: str | None = None
    ) -> Forgery:
        return Forgery(path, frozenset(reasons), trust, since)

    def unpacked(self, files: dict[str, bytes]) -> Path:
        path = self.folder / "export"
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path

    def changed(self, content: bytes) -> bytes:
        """Flip, insert, delete or cut at random places, so that something differs."""
        at = self.dice.randrange(len(content))
        some = self.dice.randbytes(self.dice.randrange(1, 5))
        changed = self.dice.choice(
            [
                content[:at]
                + bytes([content[at] ^ 1 << self.dice.randrange(8)])
                + content[at + 1 :],
                content[:at] + some + content[at:],
                content[:at] + content[at + len(some) :],
                content[:at],
                content + some,
                content[:at] + bytes([self.dice.randrange(256)]) + content[at + 1 :],
            ]
        )
        return changed if changed != content else content + b"\0"

    def with_changes(self, leaf: bytes, **changes: Any) -> bytes:
        return encode_entry(msgspec.structs.replace(decode_entry(leaf), **changes))

    def rewritten(self) -> list[bytes]:
        """Rewrite history so that each entry is well formed and stands where it says."""
        entries = list(self.log.entries)
        idx = self.dice.randrange(2, SIZE)
        how = self.dice.choice(["alter", "back-date", "drop", "reorder", "insert", "cut"])
        if how == "alter":
            entries[idx] = self.with_changes(entries[idx], actor="cli:eve")
        elif how == "back-date":
            before = decode_entry(entries[idx - 1]).t
            entries[idx] = self.with_changes(entries[idx], t=before)
        elif how == "cut":
            entries = [*entries[:idx], self.with_changes(entries[idx], recipient="x|y")]
        else:
            other = {"drop": [], "reorder": [idx, idx - 1], "insert": [idx - 1, idx - 1, idx]}[how]
            first = idx if how == "drop" else idx - 1
            moved = [*entries[:first], *(entries[at] for at in other), *entries[idx + 1 :]]
            entries = self._renumbered(moved)
        return entries

    def _renumbered(self, entries: list[bytes]) -> list[bytes]:
        """Give entries the places and numbers that they would have had."""
        numbers: dict[str | None, int] = {}
        renumbered, before = [], ""
        for idx, leaf in enumerate(entries):
            entry = decode_entry(leaf)
            before = max(before, entry.t)
            seq = None if entry.transfer is None else numbers.get(entry.transfer, 0)
            numbers[entry.transfer] = (seq or 0) + 1
            closed = None if entry.entries is None else (seq or 0) + 1
            renumbered.append(self.with_changes(leaf, idx=idx, seq=seq, t=before, entries=closed))
        return renumbered

    def handed_over(self) -> WrittenLog:
        entries = self.log.entries[:20]
        for idx in range(20, 50):
            new = NewEntry(type=Event.LOG_HEARTBEAT, actor="svc:fhir-bridge")
            if idx == 20:
                key = str(SECOND_KEY.verifier)
                new = NewEntry(type=Event.KEY_ROTATED, actor="svc:fhir-bridge", vkey=key)
            entries = [*entries, written(new, LOG, idx, timestamp(BEGAN + timedelta(seconds=idx)))]
        log = WrittenLog(entries, {})
        log.sign_epochs(21)
        return log


_MANIFEST = {"manifest-malformed", "manifest-unsigned", "manifest-forged"}
_CHECKPOINT = {
    "checkpoint-malformed",
    "checkpoint-unsigned",
    "checkpoint-forged",
    "cosignature-forged",
    "log-unknown",
}
_POLICY = {"policy-malformed", "policy-unsigned", "policy-forged"}
_FORGED = {"cosignature-forged"}


def _with_lines(note: str, old: str | None) -> str:
    """Put old signature lines under a new text."""
    lines = KEY.line(str(Checkpoint(origin=LOG, size=1, root=bytes(32)))) if old is None else ""
    text = Note.parse(note).text
    return f"{text}\n{lines or (old or '').rpartition(chr(10) * 2)[2]}"


_WAYS: dict[Callable[[Forger], Forgery], float] = {
    Forger.bytes_of_a_file: 30,
    Forger.a_file_taken_away: 2,
    Forger.a_file_added: 1,
    Forger.two_files_swapped: 2,
    Forger.a_file_renamed: 1,
    Forger.a_link_for_a_file: 1,
    Forger.bytes_of_a_zip_file: 3,
    Forger.a_zip_file_cut_short: 1,
    Forger.lines_under_the_checkpoint: 6,
    Forger.a_wrong_key: 2,
    Forger.a_policy_of_the_forgers_own: 2,
    Forger.a_tree_built_anew: 8,
    Forger.hashes_that_are_not_the_entries: 2,
    Forger.bodies_swapped_or_changed: 5,
    Forger.set_back_under_a_checkpoint_kept: 3,
    Forger.rewritten_with_the_key_under_a_checkpoint_kept: 6,
    Forger.rewritten_with_the_key_under_a_witness: 6,
    Forger.written_into_the_future_with_the_key: 2,
    Forger.an_old_epoch_signed_by_a_newer_key: 3,
    Forger.a_new_epoch_signed_by_the_old_key: 2,
    Forger.entries_that_betray_the_key: 8,
    Forger.a_transfer_with_an_entry_less: 2,
    Forger.a_receipt_of_a_transfer_changed: 4,
}
