"""A signer process: it signs one history, whatever the bridge or its database asks for."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import pytest

from fhir_bridge.errors import AlteredLog, SettingsError, StoreUnavailable
from fhir_bridge.ledger import Event, NewEntry, leaf_hash
from fhir_bridge.store import Store, growth
from fhir_bridge.store import signer_wire as wire
from fhir_bridge.store.batch import Batch
from fhir_bridge.store.folder import Folder
from fhir_bridge.store.keyring import Keyring
from fhir_bridge.store.signer_process import SignerProcess
from tests.simulators.stores import ORIGIN, OVER_BOTH, Place
from tests.simulators.ticking import Ticking

TRANSFER = "5f0c9a3e-3f0b-4c55-9d57-5ad6f4f2d0c1"
LOG = "bridge.example/audit/2026"
INTENT = NewEntry(type=Event.DISCLOSURE_INTENT, actor="cli:ada", transfer=TRANSFER)
SAID = NewEntry(
    type=Event.RECORD_RELEASED, actor="cli:ada", transfer=TRANSFER, statement={"by": "Ada"}
)


def number(at: int) -> str:
    return str(uuid5(UUID(TRANSFER), str(at)))


class Signing:
    """A signer in a thread of the test, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "signer"
        # A socket's path is short, and a test's folder is not.
        self._short = tempfile.TemporaryDirectory(prefix="signer-")
        self.socket = Path(self._short.name) / "s"
        self._listening: socket.socket | None = None

    def start(self, *, take_up: bool = False) -> SignerProcess:
        folder = Folder.prepare(self.folder)
        process = SignerProcess(folder, Keyring(folder), take_up=take_up)
        self._listening = socket.socket(socket.AF_UNIX)
        self.socket.unlink(missing_ok=True)
        self._listening.bind(str(self.socket))
        self._listening.listen()
        threading.Thread(target=process.serve, args=(self._listening,), daemon=True).start()
        return process

    def stop(self) -> None:
        if self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
        self._listening = None

    def remove(self) -> None:
        self.stop()
        self._short.cleanup()


@pytest.fixture
def signing(tmp_path: Path) -> Iterator[Signing]:
    signing = Signing(tmp_path)
    signing.start()
    yield signing
    signing.remove()


@pytest.fixture
def ticking() -> Ticking:
    return Ticking()


def opened(place: Place, signing: Signing, ticking: Ticking) -> Store:
    return Store.open(
        place.folder,
        clock=ticking.clock(),
        log_origin=ORIGIN,
        database=place.url,
        signer=signing.socket,
    )


@pytest.fixture
def store(place: Place, signing: Signing, ticking: Ticking) -> Iterator[Store]:
    with opened(place, signing, ticking) as store:
        store.append(INTENT, SAID, event_id=number(1))
        yield store


def test_a_log_is_signed_by_a_key_that_the_bridge_does_not_have(
    store: Store, place: Place, signing: Signing, ticking: Ticking
) -> None:
    assert not (place.folder / "log.key").exists()
    assert (signing.folder / "log.key").exists()
    ticking.moment = datetime(2027, 1, 1, tzinfo=UTC)
    store.append(INTENT, event_id=number(2))
    new = store.rotate_key(actor="cli:ada")
    store.append(INTENT, event_id=number(3))
    listed = "fhir-bridge/audit-export/v1\nlog bridge.example/audit/2027\n"

    assert new.open(store.note())
    assert new.open(store.sign_manifest(listed)) == listed
    assert store.verify().statements == 1
    with opened(place, signing, ticking) as second:
        assert second.append(INTENT, event_id=number(4)).first == 4
        assert second.verify() == store.verify()
    assert [path.name for path in signing.folder.glob("log.key*")] == ["log.key"]


def test_a_signer_that_is_away_stops_the_bridge_until_it_is_back(
    store: Store, signing: Signing
) -> None:
    signing.stop()
    signing.socket.unlink()
    store._opened.keys.close()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="does not answer: nothing was sent"):
            store.append(INTENT, event_id=number(2))
    signing.start()

    assert store.append(INTENT, event_id=number(2)).first == 3
    assert store.verify().entries == 4


@pytest.mark.parametrize("place", OVER_BOTH[:1], indirect=True)  # of a database it is the same
def test_a_log_set_back_whole_is_not_signed_on(
    store: Store, place: Place, signing: Signing, ticking: Ticking, tmp_path: Path
) -> None:
    """An older copy of everything that the bridge has, keys and all: right in itself."""
    store.close()
    shutil.copytree(place.folder, tmp_path / "older")
    with opened(place, signing, ticking) as now:
        now.append(INTENT, event_id=number(2))
        now.append(INTENT, event_id=number(3))
    older = Place(tmp_path / "older")
    with opened(older, signing, ticking) as back:
        assert back.verify().entries == 3
        with pytest.raises(AlteredLog, match="it was set back"):
            back.append(INTENT, event_id=number(9))


def test_a_second_history_is_not_signed_even_by_who_asks_himself(
    store: Store, signing: Signing
) -> None:
    """Whoever has the bridge's account can ask the signer anything."""
    frontier = store._trust.frontier(_head(store))
    leaf = leaf_hash(b"forged")
    grown = frontier.appended(leaf)

    def ask(**changes: object) -> wire.Answer:
        members: dict[str, object] = {
            "log": LOG,
            "size": frontier.size,
            "peaks": bytes(frontier),
            "hashes": [leaf],
            "root": grown.root(),
            "confirmed": (LOG, frontier.size),
            "packed": b"",
            "changes_key": False,
        }
        connection = socket.socket(socket.AF_UNIX)
        with connection:
            connection.connect(str(signing.socket))
            wire.send(connection, wire.AskSign(**members | changes))  # type: ignore[arg-type]
            return wire.read_answer(connection)

    other = type(frontier)().appended(leaf).appended(leaf).appended(leaf)
    for changes, sentence in (
        ({"peaks": bytes(other)}, "another history"),
        ({"peaks": b""}, "is none"),
        ({"size": 1, "peaks": leaf}, "set back"),
        ({"size": 7, "peaks": leaf * 3}, "another history"),
        ({"log": "bridge.example/audit/2025"}, "set back"),
        ({"log": "bridge.example/audit/2027"}, "another history"),
        ({"log": "other.example/audit/2027", "size": 0, "peaks": b""}, "another log"),
        ({"root": leaf}, "does not follow"),
        ({"hashes": []}, "does not follow"),
    ):
        answer = ask(**changes)
        assert isinstance(answer, wire.Refused), changes
        assert sentence in answer.sentence
    assert isinstance(ask(), wire.Note)
    assert isinstance(ask(hashes=[leaf, leaf]), wire.Ahead), "one extension of each size"


def test_only_lists_of_files_are_signed_as_such(store: Store) -> None:
    keys = store._opened.keys
    with pytest.raises(AlteredLog, match="only a list"):
        keys.sign_list(LOG, f"{LOG}\n9\nAAAA\n")


class _CrashError(Exception):
    pass


@pytest.mark.parametrize("act", ["append", "year", "rotate"])
def test_what_was_signed_and_not_committed_is_written_first(
    store: Store,
    place: Place,
    signing: Signing,
    ticking: Ticking,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
) -> None:
    """Somebody may have seen the signature: what it covers must not be lost."""
    real = Batch.run, Batch.change_key

    def crash(batch: Batch, *arguments: object) -> None:
        (real[1] if act == "rotate" else real[0])(batch, *arguments)  # type: ignore[operator]
        raise _CrashError

    monkeypatch.setattr(Batch, "run", crash)
    monkeypatch.setattr(Batch, "change_key", crash)
    if act == "year":
        ticking.moment = datetime(2027, 1, 1, tzinfo=UTC)
    doing = {
        "append": lambda: store.append(SAID, event_id=number(2)),
        "year": lambda: store.append(SAID, event_id=number(2)),
        "rotate": lambda: store.rotate_key(actor="cli:ada"),
    }
    with pytest.raises(_CrashError):
        doing[act]()
    monkeypatch.undo()
    assert store.verify().entries == 3
    signing.stop()
    signing.start()
    with opened(place, signing, ticking) as second:
        assert second.append(SAID, event_id=number(2)).entries[0].seq == 2
        third = second.append(SAID, event_id=number(3))
        assert third.entries[0].seq == 3
        verified = second.verify()
        assert verified.statements == 3
        extra = {"append": 0, "year": 2, "rotate": 1}[act]
        assert verified.entries == 5 + extra
    assert store.append(SAID, event_id=number(3)) == third


def test_a_first_entry_that_was_signed_and_not_committed_is_written(
    place: Place, signing: Signing, ticking: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Batch.begin

    def crash(batch: Batch, log: str) -> None:
        real(batch, log)
        raise _CrashError

    monkeypatch.setattr(Batch, "begin", crash)
    with pytest.raises(_CrashError):
        opened(place, signing, ticking)
    monkeypatch.undo()
    ticking.moment = datetime(2027, 1, 1, tzinfo=UTC)
    with opened(place, signing, ticking) as store:
        store.append(INTENT, event_id=number(1))
        assert store.logs() == (LOG, "bridge.example/audit/2027")
        assert store.verify().entries == 4


def test_a_key_file_moves_into_a_signer_with_its_log(
    place: Place, tmp_path: Path, ticking: Ticking
) -> None:
    with place.open(ticking) as store:
        store.append(INTENT, event_id=number(1))
        key = store.verifier
    signing = Signing(tmp_path)
    signing.folder.mkdir(mode=0o700)
    (place.folder / "log.key").rename(signing.folder / "log.key")
    with pytest.raises(SettingsError, match="--take-up"):
        signing.start()
    signing.start(take_up=True)
    with opened(place, signing, ticking) as store:
        assert store.append(INTENT, event_id=number(2)).first == 2
        assert store.verifier == key
        assert store.verify().entries == 3
    signing.remove()


def test_a_signer_without_its_memory_or_its_key_signs_nothing(
    store: Store, signing: Signing
) -> None:
    assert store.verify()
    signing.stop()
    memory = (signing.folder / "signer.memory").read_bytes()
    (signing.folder / "signer.memory").unlink()
    with pytest.raises(SettingsError, match="is missing, and there is a key"):
        signing.start()
    (signing.folder / "signer.memory").write_bytes(memory)
    (signing.folder / "signer.memory").chmod(0o600)
    (signing.folder / "log.key").unlink()
    with pytest.raises(SettingsError, match="remembers is missing"):
        signing.start()


def test_another_signer_does_not_go_on_with_a_log(
    store: Store, place: Place, ticking: Ticking, tmp_path: Path
) -> None:
    assert store.verify()
    other = Signing(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.start()
    with pytest.raises(AlteredLog, match="not signed by the key"):
        opened(place, other, ticking)
    other.remove()


def test_the_process_signs_until_it_is_told_to_stop(
    place: Place, tmp_path: Path, ticking: Ticking
) -> None:
    with tempfile.TemporaryDirectory(prefix="signer-") as short:
        path = Path(short) / "s"
        command = [sys.executable, "-m", "fhir_bridge", "audit", "signer", str(tmp_path / "own")]
        child = subprocess.Popen([*command, "--socket", str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout:
            assert child.stdout.readline().startswith(b"Signing at")
            assert path.stat().st_mode & 0o777 == 0o660
            second = subprocess.run(
                [*command, "--socket", f"{path}2"], capture_output=True, check=False, timeout=30
            )
            assert second.returncode == 6
            assert b"another signer runs" in second.stderr
            with Store.open(
                place.folder,
                clock=ticking.clock(),
                log_origin=ORIGIN,
                database=place.url,
                signer=path,
            ) as store:
                assert store.append(INTENT, event_id=number(1)).first == 1
                assert store.verify().entries == 2
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0
            assert b"Stopped" in child.stdout.read()


def _head(store: Store) -> growth.Head:
    with store._database.reading() as connection:
        return growth.show_head(connection)
