"""
Two providers in memory, a store on disk and a clock that stands where it is told.

    with World(tmp_path, "amelia") as world:
        report = world.transfer()

Every call that leaves the bridge is counted: HTTP requests by the sandboxes'
shared `Faults`, writes to the store by `Mortal`. A mishap at one of them can be
planned; after it the bridge is dead until it is opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fhir_bridge import stories
from fhir_bridge.audit import opened
from fhir_bridge.bridge import Bridge, Report
from fhir_bridge.clock import Clock
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.ledger import Entry
from fhir_bridge.records import RecordRef, digest
from fhir_bridge.sandbox import DropAfter, DropBefore, Faults, Profile, Sandbox
from fhir_bridge.settings import Settings, load
from fhir_bridge.store import Store, TransferRow
from fhir_bridge.transfer import Order, Party

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
FIRST, SECOND = "first", "second"

_STORE_WRITES = (
    "append",
    "cancel_transfer",
    "create_transfer",
    "park",
    "remember_pairings",
    "remember_rulings",
    "reopen_transfer",
    "repository_away",
    "repository_took",
    "request_transfer",
    "save_manifest",
    "set_state",
    "settle_transfer",
    "wait",
)


class When(StrEnum):
    BEFORE = "failed"
    AFTER = "failed but done"


@dataclass(frozen=True, slots=True)
class Mishap:
    """The bridge dies at one call to the outside."""

    where: str
    """``http`` or ``store``."""
    call: int
    when: When


@dataclass
class Time:
    """A clock that moves only when someone waits."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list[float])

    days: int = 0
    """How many days later it is."""
    later: timedelta = timedelta(0)
    """How much later than NOW it is."""
    really: bool = False
    """Waits as long as the world does, for tests in which several wait for each other."""
    todays: bool = False
    """Is the machine's own, for tests in which processes of their own take part."""

    def clock(self) -> Clock:
        if self.todays:
            return Clock()
        if self.really:
            return Clock(now=self.now)
        return Clock(now=self.now, monotonic=lambda: self.seconds, sleep=self._sleep)

    def now(self) -> datetime:
        return NOW + timedelta(days=self.days) + self.later

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds


class Mortal:
    """The store, which can be told to die at one of its writes."""

    def __init__(self, store: Store, mishap: Mishap | None) -> None:
        self._store = store
        self._mishap = mishap
        self._dead = False
        self.writes = 0
        self.before: Callable[[str], None] = lambda _: None
        """Called before each write with its name."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._counted(name, found) if name in _STORE_WRITES else found

    def _counted(self, name: str, write: Any) -> Any:
        def counted(*args: Any, **names: Any) -> Any:
            self.writes += 1
            self.before(name)
            due = self._mishap is not None and self._mishap.call == self.writes
            if self._dead or (due and self._mishap and self._mishap.when is When.BEFORE):
                self._dead = True
                raise StoreUnavailable("the store died before it wrote")
            result = write(*args, **names)
            if due:
                self._dead = True
                raise StoreUnavailable("the store died after it wrote")
            return result

        return counted


class World:
    """Both providers and the bridge between them, seen from above."""

    def __init__(
        self,
        folder: Path,
        story: str,
        *,
        first: Profile | None = None,
        second: Profile | None = None,
        keeps_bodies: bool = False,
        really_waits: bool = False,
        todays: bool = False,
        written: Mapping[str, str] | None = None,
    ) -> None:
        """
        Set up both providers; nothing runs yet.

        `written` is what stands in `fhir-bridge.toml` besides the two servers:
        lines by table, for ``first`` and ``second`` in the server's own table.
        """
        self.folder = folder
        self.written = dict(written or {})
        self._toml = ""
        folder.mkdir(parents=True, exist_ok=True)
        self.story = stories.load(story)
        self.faults = Faults()
        self.time = Time(really=really_waits, todays=todays)
        clock = self.time.clock()
        self.first = Sandbox(
            name=FIRST, faults=self.faults, profile=first, clock=clock, keeps_bodies=keeps_bodies
        )
        self.second = Sandbox(
            name=SECOND, faults=self.faults, profile=second, clock=clock, keeps_bodies=keeps_bodies
        )
        self.first.load(self.story.source)
        self.second.load(self.story.destination)
        self.before = self.holdings()
        self.told: list[str] = []
        self.store_writes = 0
        self.database = ""
        self.before_write: Callable[[str], None] = lambda _: None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self.first)
        self._open.enter_context(self.second)
        assert self.settings.servers
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def settings(self) -> Settings:
        """What an operator would have, read from the file that he would write."""
        file = self.folder / "fhir-bridge.toml"
        tables = {
            "log": 'origin = "test.example"',
            f"servers.{FIRST}": self._server(FIRST, self.first, self.story.custodian),
            f"servers.{SECOND}": self._server(SECOND, self.second, self.story.recipient),
            **self.written,
        }
        for name in (FIRST, SECOND):
            tables[f"servers.{name}"] += tables.pop(name, "")
        text = "".join(f"[{name}]\n{lines}\n" for name, lines in tables.items())
        if text != self._toml:  # several bridges may open at once
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            self._toml = text
        return load(file, store=self.folder / "store", environ={})

    def _server(self, name: str, sandbox: Sandbox, party: Party) -> str:
        lines = f'base = "{sandbox.base}"\nidentity = "https://{name}.example/fhir"\n'
        if "organisations" in self.written.get(name, ""):
            return lines
        return lines + f"organisations = [{organisation(party)}]\n"

    def order(self, **changes: Any) -> Order:
        order = Order(
            source=FIRST,
            destination=SECOND,
            patient=self.story.patient,
            kinds=self.story.kinds,
            purpose=self.story.purpose,
            reasons=self.story.reasons,
            question=self.story.question,
        )
        return replace(order, **changes)

    def bridge(self, mishap: Mishap | None = None) -> Bridge:
        """Open a bridge; with a mishap it dies at that call."""
        settings = self.settings
        clock = self.time.clock()
        store: Any = self.opened(clock)
        self.mortal = Mortal(store, mishap if mishap and mishap.where == "store" else None)
        self.mortal.before = self.before_write
        if mishap and mishap.where == "http":
            self._plan(mishap)
        opened: Any = self.mortal
        return Bridge(
            settings,
            opened,
            actor="cli:test",
            tell=lambda progress: self.told.append(progress.sentence),
            clock=clock,
        )

    def _plan(self, mishap: Mishap) -> None:
        first = self.faults.calls + mishap.call
        if mishap.when is When.BEFORE:
            self.faults.at(lambda call: call.number >= first, DropBefore(), times=None)
        else:
            self.faults.at(first, DropAfter())
            self.faults.at(lambda call: call.number > first, DropBefore(), times=None)

    def transfer(self, mishap: Mishap | None = None, **changes: Any) -> Report:
        preview, new = changes.pop("preview", False), changes.pop("new", False)
        with self.bridge(mishap) as bridge:
            return bridge.transfer(self.order(**changes), preview=preview, new=new)

    def resume(self, transfer: str) -> Report:
        self.faults.clear()
        with self.bridge() as bridge:
            return bridge.resume(transfer)

    def opened(self, clock: Clock | None = None) -> Store:
        """Open the store beside any bridge, as another process would."""
        return Store.open(
            self.settings.store,
            clock=clock or Clock(),
            log_origin="test.example",
            database=self.database,
        )

    def rows(self) -> list[TransferRow]:
        with self.opened() as store:
            return list(store.transfers())

    def transfers(self) -> list[str]:
        return [row.id for row in self.rows()]

    def entries(self) -> list[Entry]:
        """Return the log, oldest first."""
        with self.opened() as store:
            return list(store.entries())

    def log(self) -> list[str]:
        """Return the types of the log's entries, oldest first."""
        return [str(entry.type) for entry in self.entries()]

    def said(self, type_: str) -> list[dict[str, str]]:
        """Return what the AuditEvent of each entry of a type tells: codes, counts, reasons."""
        return [opened(body).details for entry, body in self.bodies() if entry.type == type_]

    def bodies(self) -> list[tuple[Entry, bytes]]:
        """Return what the log's entries commit to, opened."""
        with self.opened() as store:
            found = [(entry, store.body(entry.idx, entry.log)) for entry in store.entries()]
        return [(entry, body) for entry, body in found if body is not None]

    def verify(self) -> int:
        with self.bridge() as bridge:
            return bridge.verify_log().entries

    def holdings(self) -> Mapping[RecordRef, str]:
        """Return the digest of everything at the second provider, whichever log proves it."""
        return {
            ref: digest({name: part for name, part in content.items() if name != "signature"})
            for ref, content in self.second.resources.items()
        }

    def arrived(self) -> set[RecordRef]:
        return set(self.second.resources) - set(self.before)


def organisation(party: Party) -> str:
    """Write an organisation as the settings have it."""
    return f'{{ identifier = "{party.identifier}", name = "{party.name}" }}'
