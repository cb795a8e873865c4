"""Account for disclosures: find a patient's transfers, read their entries, name the recipients."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

import msgspec

from fhir_bridge.accounting import Disclosure, Recipient, disclosures, since
from fhir_bridge.audit import Opened, opened
from fhir_bridge.errors import AlteredLog, Refused, SettingsError
from fhir_bridge.journey import patient_at
from fhir_bridge.ledger import (
    Checkpoint,
    Entry,
    Note,
    decode_entry,
    encode_entry,
    inclusion_proof,
    is_included,
    leaf_hash,
)
from fhir_bridge.providers import Providers, Servers
from fhir_bridge.settings import ServerSettings, Settings
from fhir_bridge.store import Store
from fhir_bridge.transfer import Order
from fhir_bridge.wire import Side
from fhir_bridge.wire.links import normalised_base

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)


class Accounts:
    """What left about a patient, from the log of this store."""

    def __init__(
        self, settings: Settings, store: Store, servers: Servers, providers: Providers
    ) -> None:
        """Use `Bridge.accounts`."""
        self._settings = settings
        self._store = store
        self._servers = servers
        self._providers = providers

    def of(self, patient: str, *, source: str = "", day: str = "") -> tuple[Disclosure, ...]:
        """
        Return the disclosures of one patient, oldest first.

        Args:
            patient: ``Patient/1`` or ``1`` at the source; ``system|value`` is
                looked up there, so `source` must be named and answer.
            source: Alias or base URL of the first provider; empty looks at all
                that the store or the settings know.
            day: Only from this day on (UTC), ``YYYY-MM-DD``.

        Raises:
            SettingsError: The day is none, or an identifier comes without source.
            AlteredLog: An entry or its body is not what was signed.
        """
        if day and not _DAY.match(day):
            raise SettingsError("--since is a date, YYYY-MM-DD")
        names = self._names(patient, source)
        rows = {row.id: row for name in names for row in self._store.transfers_about(name)}
        found = [one for id_ in rows for one in self._lines(id_)]
        return since(sorted(found, key=lambda one: (one.at, one.log, one.entry)), day)

    def _names(self, patient: str, source: str) -> list[str]:
        """Return what the patient may be called in the store: by each source's identity."""
        if "|" in patient:
            if not source:
                raise SettingsError("a patient named SYSTEM|VALUE is looked up: name --source too")
            provider = self._providers.provider(source, Side.SOURCE)
            return [f"{provider.identity}/{patient_at(provider.server, patient).ref}"]
        ref = patient if patient.startswith("Patient/") else f"Patient/{patient}"
        identities = {_identity(self._servers.server(source))} if source else self._identities()
        return sorted({f"{identity}/{ref}" for identity in identities})

    def _identities(self) -> Iterator[str]:
        """Every source: of the settings, and of what was asked from servers that are not there."""
        for server in self._settings.servers.values():
            yield _identity(server)
        for row in self._store.transfers():
            if row.source not in self._settings.servers:
                yield from self._asked_from(row.id)

    def _asked_from(self, transfer: str) -> Iterator[str]:
        try:
            request = self._store.request(transfer)
        except Refused:
            return  # erased
        source = msgspec.json.decode(request, type=Order).source
        if (server := self._known(source)) is not None:
            yield _identity(server)

    def _known(self, name: str) -> ServerSettings | None:
        try:
            return self._servers.server(name)
        except SettingsError:
            return None

    def _lines(self, transfer: str) -> tuple[Disclosure, ...]:
        entries = tuple(self._store.entries(transfer))
        if [entry.seq for entry in entries] != list(range(len(entries))):
            raise AlteredLog(f"entries of transfer {transfer} are missing: run audit verify-db")
        return disclosures(entries, self._read, self._named, self._proven)

    def _proven(self, entry: Entry) -> Checkpoint:
        """Return the newest checkpoint of an entry's log, after proving that it is under it."""
        covering = self._covering(entry.log)
        if entry.idx < covering.size:
            leaf = leaf_hash(encode_entry(entry))
            proof = inclusion_proof(entry.idx, covering.size, self._store.subtrees(entry.log))
            size, root = covering.size, covering.root
            if is_included(leaf, entry.idx, proof, size=size, root=root):
                return covering
        raise AlteredLog(f"entry {entry.idx} is not what was signed: run audit verify-db")

    def _covering(self, log: str) -> Checkpoint:
        """Return a log's newest checkpoint; of a former year, the one that the next begins with."""
        logs = self._store.logs()
        if log == logs[-1]:
            return self._store.checkpoint()
        (first,) = self._store.leaves(logs[logs.index(log) + 1], 0, 1)
        opening = decode_entry(first)
        self._proven(opening)
        if opening.checkpoint is None:
            raise AlteredLog(f"log {opening.log} does not go on from log {log}")
        return Checkpoint.parse(Note.parse(opening.checkpoint).text)

    def _read(self, entry: Entry) -> Opened | None:
        """Open a body that is what its entry commits to; None when it was erased."""
        if entry.body is None or entry.body.type != "AuditEvent":
            return None
        for _, salt, body in self._store.opened(entry.log, entry.idx, entry.idx + 1):
            digest = base64.b64encode(hashlib.sha256(salt + body).digest()).decode()
            if digest != entry.body.digest:
                raise AlteredLog(f"the body of entry {entry.idx} is not what was signed")
            return opened(body)
        return None

    def _named(self, entry: Entry) -> Recipient:
        """Name a recipient as the operator does: best where there is an address too."""
        identifier = entry.recipient or ""
        servers = [self._known(entry.destination or ""), *self._settings.servers.values()]
        named = [
            Recipient(identifier=identifier, name=one.name, address=one.address)
            for server in filter(None, servers)
            for one in server.organisations
            if one.identifier == identifier
        ]
        addressed = (one for one in named if one.address)
        return next(addressed, named[0] if named else Recipient(identifier=identifier))


def _identity(server: ServerSettings) -> str:
    """Return what its records are named after, as a transfer from it does."""
    if server.identity != server.base:
        return server.identity
    return normalised_base(server.base, insecure=server.insecure, with_credential=False)
