"""A log and its witnesses, over HTTP: this bridge as one, and the reference."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fhir_bridge.errors import AlteredLog, SettingsError, Unreachable
from fhir_bridge.ledger import (
    Checkpoint,
    Event,
    NewEntry,
    Note,
    Signer,
    VerifierKey,
    WitnessKey,
    consistency_proof,
    leaf_hash,
    subtrees_of,
    tree_hash,
)
from fhir_bridge.store import Store
from fhir_bridge.wire import Side, Wire
from fhir_bridge.witness import NotCosigned, Witness
from fhir_bridge.witnessing import Asked, BeingWitness, Quorum
from tests.simulators.stores import ORIGIN
from tests.simulators.ticking import Ticking
from tests.simulators.witnesses import Running, litewitness, ours

LOG = "first.example/audit/2026"
SIGNER = Signer(LOG, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BOTH = ["ours", pytest.param("litewitness", marks=pytest.mark.real)]


class SignedLog:
    """A log whose holder has the real key and may sign whatever he likes."""

    def __init__(self, leaves: Sequence[str]) -> None:
        self.leaves = [leaf_hash(leaf.encode()) for leaf in leaves]

    def note(self, size: int, signer: Signer = SIGNER) -> str:
        root = tree_hash(self.leaves[:size])
        return signer.sign(str(Checkpoint(origin=LOG, size=size, root=root)))

    def proof(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, subtrees_of(self.leaves[:new]))


HONEST = SignedLog([str(number) for number in range(200)])
FORKED = SignedLog([str(number) if number < 5 else "forged" for number in range(200)])


class Serving:
    """Starts a witness, and gives what asks it."""

    def __init__(self, product: str, folder: Path) -> None:
        self._product = product
        self._folder = folder
        self._open = ExitStack()
        self.store: Store | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def witness(self, *keys: VerifierKey) -> Witness:
        running = self._open.enter_context(self._running(keys or (SIGNER.verifier,)))
        return asking(running.url, running.key, self._open)

    @contextmanager
    def _running(self, keys: Sequence[VerifierKey]) -> Iterator[Running]:
        if self._product == "litewitness":
            with litewitness(self._folder / "litewitness", keys) as running:
                yield running
            return
        clock = Ticking().clock()
        with Store.open(self._folder / "second", clock=clock, log_origin="second.example") as store:
            self.store = store
            being = BeingWitness(store, clock, store.cosigner("second.example/witness"), keys)
            with ours(being) as running:
                yield running


def asking(url: str, key: WitnessKey, open_: ExitStack) -> Witness:
    wire = Wire(url, side=Side.DESTINATION)
    open_.callback(wire.close)
    return Witness(wire, key)


@pytest.fixture(params=BOTH)
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serving]:
    with Serving(request.param, tmp_path) as serving:
        yield serving


def cosigned(witness: Witness, note: str, last: int, log: SignedLog = HONEST) -> int | None:
    line = witness.cosign(note, last=last, proof=log.proof)
    return witness.key.cosigned(Note.parse(note + line))


def test_a_hundred_checkpoints_of_a_growing_log_are_cosigned(serving: Serving) -> None:
    witness, last = serving.witness(), 0
    for size in range(1, 200, 2):
        assert cosigned(witness, HONEST.note(size), last) is not None
        last = size


def test_a_log_that_forgot_what_was_cosigned_is_told(serving: Serving) -> None:
    witness = serving.witness()
    cosigned(witness, HONEST.note(7), 0)
    for thought in (0, 3):
        assert cosigned(witness, HONEST.note(9), thought) is not None


def test_a_fork_with_the_real_key_is_refused(serving: Serving) -> None:
    witness = serving.witness()
    cosigned(witness, HONEST.note(7), 0)
    for size in (7, 9, 150):
        with pytest.raises(AlteredLog, match="another history"):
            cosigned(witness, FORKED.note(size), 7, FORKED)
    assert cosigned(witness, HONEST.note(9), 7) is not None


def test_a_log_that_was_set_back_is_refused(serving: Serving) -> None:
    witness = serving.witness()
    cosigned(witness, HONEST.note(9), 0)
    for thought in (0, 5, 7):
        with pytest.raises(AlteredLog, match=r"has seen 9 entries of the log, and it has 7"):
            cosigned(witness, HONEST.note(7), thought)


def test_another_s_key_is_refused(serving: Serving) -> None:
    witness = serving.witness()
    other = Signer(LOG, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
    with pytest.raises(SettingsError, match="403"):
        cosigned(witness, HONEST.note(7, other), 0)


def test_a_log_that_the_witness_does_not_know_is_refused(serving: Serving) -> None:
    witness = serving.witness()
    foreign = Signer("other.example/audit/2026", SIGNER.private)
    note = foreign.sign(str(Checkpoint(origin=foreign.name, size=1, root=bytes(32))))
    with pytest.raises(SettingsError, match="404"):
        cosigned(witness, note, 0)


def test_a_witness_s_key_comes_from_the_settings_and_never_from_its_answer(
    serving: Serving,
) -> None:
    witness = serving.witness()
    witness.key = WitnessKey(witness.name, SIGNER.verifier.public)
    with pytest.raises(Unreachable, match="without its signature"):
        cosigned(witness, HONEST.note(7), 0)


# ---- our own witness


def test_what_was_cosigned_stands_in_the_witness_s_own_log(tmp_path: Path) -> None:
    with Serving("ours", tmp_path) as serving:
        witness = serving.witness()
        cosigned(witness, HONEST.note(7), 0)
        assert serving.store is not None
        entries = [entry for entry in serving.store.entries() if entry.checkpoint]
        assert [(entry.type, entry.checkpoint) for entry in entries] == [
            (Event.WITNESS_COSIGNED, HONEST.note(7))
        ]
        serving.store.verify()


def test_a_witness_remembers_through_a_restart(tmp_path: Path) -> None:
    with Serving("ours", tmp_path) as serving:
        key = serving.witness().key
        witness = serving.witness()
        cosigned(witness, HONEST.note(9), 0)
    with Serving("ours", tmp_path) as serving:
        witness = serving.witness()
        assert witness.key == key
        with pytest.raises(AlteredLog):
            cosigned(witness, FORKED.note(9), 9, FORKED)


def test_a_witness_that_lost_its_key_cosigns_nothing_more(tmp_path: Path) -> None:
    with Serving("ours", tmp_path) as serving:
        cosigned(serving.witness(), HONEST.note(9), 0)
    (tmp_path / "second" / "witness.key").unlink()
    with Serving("ours", tmp_path) as serving, pytest.raises(SettingsError, match="is missing"):
        serving.witness()


def test_of_two_forks_at_once_one_is_cosigned(tmp_path: Path) -> None:
    clock = Ticking().clock()
    with Store.open(tmp_path / "second", clock=clock, log_origin="second.example") as store:
        being = BeingWitness(store, clock, store.cosigner("w"), [SIGNER.verifier])
        being.add_checkpoint(f"old 0\n\n{HONEST.note(7)}".encode())
        with pytest.raises(NotCosigned) as refused:
            being.add_checkpoint(f"old 0\n\n{FORKED.note(7)}".encode())
    assert (refused.value.status, refused.value.size) == (409, 7)


def test_a_peer_is_known_in_the_next_year_too_and_not_under_another_name(tmp_path: Path) -> None:
    clock = Ticking().clock()
    with Store.open(tmp_path / "second", clock=clock, log_origin="second.example") as store:
        being = BeingWitness(store, clock, store.cosigner("w"), [SIGNER.verifier])
        root = HONEST.leaves[0]
        for log, status in (("first.example/audit/2027", 200), ("other.example/audit/2027", 404)):
            signer = Signer(log, SIGNER.private)
            note = signer.sign(str(Checkpoint(origin=log, size=1, root=root)))
            assert answered(being, f"old 0\n\n{note}") == status


def answered(being: BeingWitness, body: str) -> int:
    try:
        being.add_checkpoint(body.encode())
    except NotCosigned as error:
        return error.status
    return 200


# ---- our own log


@pytest.fixture
def ticking() -> Ticking:
    return Ticking()


@pytest.fixture
def store(tmp_path: Path, ticking: Ticking) -> Iterator[Store]:
    with Store.open(tmp_path / "first", clock=ticking.clock(), log_origin=ORIGIN) as store:
        yield store


def note_down(store: Store, count: int = 1) -> None:
    for _ in range(count):
        store.append(
            NewEntry(type=Event.ACCESS_VIEWED, actor="cli:records"), event_id=str(uuid.uuid4())
        )


def test_our_newest_checkpoint_is_shown_to_each_witness_and_its_signature_kept(
    serving: Serving, store: Store, ticking: Ticking
) -> None:
    witness = serving.witness(store.verifier)
    asked = Asked(store, ticking.clock(), [witness])
    for count in (0, 3, 0, 70, 600):
        note_down(store, count)
        (heard,) = asked.ask()
        size = store.checkpoint().size
        assert (heard.size, heard.failure) == (size, "")
        kept = dict(store.notes(store.log))[size]
        assert witness.key.cosigned(Note.parse(kept)) is not None
    assert store.last_cosigned(store.log, witness.name) == 674


def test_a_log_set_back_under_the_bridge_is_found_by_its_witness(
    serving: Serving, tmp_path: Path, ticking: Ticking
) -> None:
    folder = tmp_path / "first"
    with Store.open(folder, clock=ticking.clock(), log_origin=ORIGIN) as store:
        note_down(store, 3)
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with Store.open(folder, clock=ticking.clock(), log_origin=ORIGIN) as store:
        note_down(store, 3)
        witness = serving.witness(store.verifier)
        Asked(store, ticking.clock(), [witness]).ask()
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    for name, content in before.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    with Store.open(folder, clock=ticking.clock(), log_origin=ORIGIN) as store:
        asked = Asked(store, ticking.clock(), [witness])
        with pytest.raises(AlteredLog, match="set back"):
            asked.ask()
        note_down(store, 5)
        with pytest.raises(AlteredLog, match="another history"):
            asked.ask()
        alarms = [entry.step for entry in store.entries() if entry.type is Event.INTEGRITY_ALARM]
        assert alarms == ["other-history", "other-history"]


def test_a_witness_that_is_away_stops_nothing_and_is_told_after_ten_minutes(
    store: Store, ticking: Ticking
) -> None:
    key = WitnessKey("witness.example/w1", SIGNER.verifier.public)
    with ExitStack() as open_:
        asked = Asked(store, ticking.clock(), [asking("http://127.0.0.1:9", key, open_)])
        (heard,) = asked.ask()
        assert heard.size is None
        assert heard.failure
        assert alarms(store) == []
        ticking.moment += timedelta(minutes=10)
        asked.ask()
        asked.ask()
        assert alarms(store) == ["witness-away"]
        with pytest.raises(Quorum, match="1 witnesses must cosign"):
            asked.demand(1)
        asked.demand(0)


def alarms(store: Store) -> list[str | None]:
    return [entry.step for entry in store.entries() if entry.type is Event.INTEGRITY_ALARM]
