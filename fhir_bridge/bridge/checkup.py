"""
Looks at everything that a transfer will need, and says what to mend.

Each check stands by itself: one that fails does not hide the next. No patient
is asked for, and no message is sent.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from fhir_bridge.clock import Clock
from fhir_bridge.errors import BridgeError, SettingsError
from fhir_bridge.journey.consenting import CLOCK_SKEW_SECONDS_MAX
from fhir_bridge.providers import Providers, Servers
from fhir_bridge.sensitivity import SensitivityBook
from fhir_bridge.settings import (
    Secret,
    ServerSettings,
    Settings,
    WatchSettings,
    WebhookSettings,
    environment,
    read_server,
)
from fhir_bridge.store import ServerRow, Store
from fhir_bridge.tokens import ClientCertificate, open_credential
from fhir_bridge.webhooks import check_target
from fhir_bridge.wire import Side

_SKEW_SECONDS_NOTED = 60.0
"""SMART servers refuse an assertion that seems to last more than five minutes."""

_ENDS_SOON = timedelta(days=30)
_NOBODY = {"_id": "fhir-bridge-doctor"}


class Grade(StrEnum):
    """How serious a finding is."""

    WELL = "well"
    NOTE = "note"
    """Nothing fails yet."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    subject: str
    grade: Grade
    sentence: str
    """What it is, and what to do. Never a secret, never a value from a record."""
    exit_code: int = 0


class _NoStore:
    """Stands in for a store that could not be opened: nothing was registered."""

    def registered_server(self, alias: str) -> ServerRow | None:  # noqa: ARG002 - it knows none
        """Return none."""
        return None


class Checkup:
    """Checks one bridge's settings, store, servers and webhooks."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """
        Make ready; nothing is looked at.

        Args:
            settings: They were read without a fault.
            clock: The clock that is checked.
        """
        self._settings = settings
        self._clock = clock or Clock()

    def findings(self) -> Iterator[Finding]:
        """Return what is found, one by one as it is found."""
        yield from _tried("sensitivity", self._sensitivity)
        if not (self._settings.database or (self._settings.store / "store.db").exists()):
            yield Finding(
                "store", Grade.WELL, f"{self._settings.store} is made when the bridge first runs"
            )
            yield from self._with(None)
            return
        store: list[Store] = []
        yield from _tried("store", lambda: self._store(store))
        try:
            yield from self._with(store[0] if store else None)
        finally:
            for one in store:
                one.close()

    def _with(self, store: Store | None) -> Iterator[Finding]:
        servers = list(self._settings.servers.values())
        if store is not None:
            servers += [
                read_server(row.alias, msgspec.json.decode(row.described), secret=row.secret)
                for row in store.registered_servers()
                if row.alias not in self._settings.servers
            ]
        if not servers:
            yield Finding("servers", Grade.NOTE, "no server is set: write [servers.ALIAS]")
        for server in servers:
            yield from self._server(server, store)
        for target in self._settings.webhooks:
            yield from self._webhook(target, store)
        known = {one.name: one for one in servers}
        for watch in self._settings.watches:
            yield _watched(watch, known)

    def _sensitivity(self) -> Iterable[Finding]:
        answers, programs = self._settings.sensitivity_answers, self._settings.part2_programs
        SensitivityBook.load(answers, programs=programs)
        return ()

    def _store(self, opened: list[Store]) -> Iterator[Finding]:
        settings = self._settings
        store = Store.settled(settings, environ=environment(), clock=self._clock)
        opened.append(store)
        kept = "PostgreSQL" if settings.database else str(settings.store)
        size = store.checkpoint().size
        yield Finding("store", Grade.WELL, f"{kept}, log {store.log} with {size} entries")

    def _server(self, server: ServerSettings, store: Store | None) -> Iterator[Finding]:
        subject = f"server {server.name}"
        yield from _secret_file(subject, server.credential.secret, key=_has_key(server))
        if not server.organisations:
            yield Finding(
                subject,
                Grade.NOTE,
                f"no organisation stands behind it: set servers.{server.name}.organisations,"
                " or nobody can be custodian or recipient there",
            )
        yield from _tried(subject, lambda: self._certificate(subject, server))
        yield from _tried(subject, lambda: self._asked(subject, server, store))

    def _certificate(self, subject: str, server: ServerSettings) -> Iterator[Finding]:
        credential = open_credential(server, side=Side.SOURCE, clock=self._clock)
        if isinstance(credential, ClientCertificate):
            yield from _ending(subject, credential.ends(), self._clock.now())

    def _asked(
        self, subject: str, server: ServerSettings, store: Store | None
    ) -> Iterator[Finding]:
        """Ask what it is, and then for somebody who is not there: that needs the credential."""
        providers = Providers(Servers(self._settings, store or _NoStore()), self._clock)
        try:
            asked = providers.provider(server.name, Side.SOURCE).server
            can = asked.capabilities()
            asked.counts([("Patient", _NOBODY)])
            skew = asked.clock_skew_seconds()
        finally:
            providers.close()
        software = " ".join(filter(None, (can.software, can.version))) or "an unnamed server"
        kind = server.credential.kind
        yield Finding(
            subject,
            Grade.WELL,
            f"{software}, FHIR {can.fhir_version}, {asked.base},"
            f" {'no credential' if kind == 'none' else f'lets {kind} in'}",
        )
        yield from _clocks(subject, skew)

    def _webhook(self, target: WebhookSettings, store: Store | None) -> Iterator[Finding]:
        subject = f"webhook {target.name}"
        yield from _secret_file(subject, target.secret, key=False)
        yield from _tried(subject, lambda: self._told(subject, target, store))

    def _told(
        self, subject: str, target: WebhookSettings, store: Store | None
    ) -> Iterator[Finding]:
        check_target(target)
        if store is None:
            yield Finding(subject, Grade.WELL, f"{target.host}, nothing was sent yet")
            return
        standing, counts = store.outbox_standing(target.name), store.outbox_of(target.name)
        again = f"fhir-bridge webhooks replay {target.name}"
        if standing.disabled is not None:
            yield Finding(
                subject,
                Grade.PROBLEM,
                f"it wants nothing more since {standing.disabled} (410), and {counts.waiting} wait:"
                f" take it out of the settings, or ask it again with {again}",
                exit_code=6,
            )
        elif counts.dead:
            yield Finding(
                subject,
                Grade.PROBLEM,
                f"{counts.dead} messages lie dead: mend the target, then {again}",
                exit_code=6,
            )
        elif standing.failures:
            yield Finding(
                subject,
                Grade.NOTE,
                f"it was away {standing.failures} times in a row, and {counts.waiting} messages"
                f" wait until {standing.quiet_until}: see fhir-bridge webhooks test {target.name}",
            )
        else:
            yield Finding(
                subject,
                Grade.WELL,
                f"{target.host}, {counts.waiting} waiting, last taken"
                f" {standing.delivered or 'never'}",
            )


def _watched(watch: WatchSettings, known: Mapping[str, ServerSettings]) -> Finding:
    """Look whether it is clear who sends and who receives what a watch finds."""
    subject = f"watch {watch.name}"
    ends = (
        (watch.source, watch.custodian, "custodian"),
        (watch.destination, watch.recipient, "recipient"),
    )
    for alias, named, member in ends:
        if alias not in known:
            return _wrong(subject, f"{alias} is no alias of servers: write [servers.{alias}]")
        organisations = {one.identifier for one in known[alias].organisations}
        if named and named not in organisations:
            return _wrong(
                subject, f"its {member} does not stand behind {alias}: correct one of both"
            )
        if not named and len(organisations) != 1:
            return _wrong(
                subject,
                f"{len(organisations)} organisations stand behind {alias}: set its {member}",
            )
    return Finding(subject, Grade.WELL, f"looked at every {watch.every_seconds} seconds by work")


def _wrong(subject: str, sentence: str) -> Finding:
    return Finding(subject, Grade.PROBLEM, sentence, exit_code=SettingsError.exit_code)


def _tried(subject: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Run a check; what it raises is what it found."""
    try:
        yield from check()
    except BridgeError as error:
        yield Finding(subject, Grade.PROBLEM, str(error), exit_code=error.exit_code)


def _has_key(server: ServerSettings) -> bool:
    return server.credential.kind in {"smart", "mtls"}


def _secret_file(subject: str, secret: Secret | None, *, key: bool) -> Iterator[Finding]:
    """Look whether others may read a secret; of a key its own reader sees to that."""
    if key or secret is None or secret.file is None or not secret.file.exists():
        return
    if stat.S_IMODE(secret.file.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            subject,
            Grade.PROBLEM,
            f"the secret file {secret.file} is open to other accounts: chmod 600 {secret.file}",
            exit_code=SettingsError.exit_code,
        )


def _ending(subject: str, ends: datetime, now: datetime) -> Iterator[Finding]:
    if ends <= now:
        yield Finding(
            subject,
            Grade.PROBLEM,
            f"the client certificate ended on {ends:%Y-%m-%d}: ask the server's operator for a"
            " new one",
            exit_code=SettingsError.exit_code,
        )
    elif ends - now < _ENDS_SOON:
        yield Finding(
            subject,
            Grade.NOTE,
            f"the client certificate ends on {ends:%Y-%m-%d}: ask the server's operator for a new"
            " one in time",
        )


def _clocks(subject: str, skew: float | None) -> Iterator[Finding]:
    if skew is None:
        yield Finding(subject, Grade.NOTE, "it tells no time, so the clocks cannot be compared")
    elif abs(skew) > CLOCK_SKEW_SECONDS_MAX:
        yield Finding(
            subject,
            Grade.PROBLEM,
            f"its clock is {_apart(skew)} ours, and beyond {CLOCK_SKEW_SECONDS_MAX // 60} minutes"
            " every transfer is refused: set this machine's clock (NTP), or tell its operator",
            exit_code=SettingsError.exit_code,
        )
    elif abs(skew) > _SKEW_SECONDS_NOTED:
        yield Finding(
            subject,
            Grade.NOTE,
            f"its clock is {_apart(skew)} ours: set this machine's clock (NTP), or tell its"
            " operator",
        )


def _apart(skew: float) -> str:
    return f"{abs(skew):.0f} seconds {'ahead of' if skew > 0 else 'behind'}"
