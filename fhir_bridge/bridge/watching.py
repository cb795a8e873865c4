"""
Looks at watched servers for new requests; each becomes one transfer, once.

The window of a search overlaps the one before, because servers find what was
written a moment later. A request seen twice is known by its own name, so it
becomes no second transfer, whoever looks and whatever died in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fhir_bridge.bridge.transfers import Transfers
from fhir_bridge.errors import BridgeError, Incomplete, SettingsError, StoreUnavailable
from fhir_bridge.fhir_server import FhirServer
from fhir_bridge.journey import Provider
from fhir_bridge.journey.triggering import CODE, SYSTEM, Passed, wish
from fhir_bridge.ledger import timestamp
from fhir_bridge.records import Resource
from fhir_bridge.settings import WatchSettings
from fhir_bridge.store import Claimed
from fhir_bridge.transfer import Order
from fhir_bridge.wire import Side

OVERLAP = timedelta(minutes=5)
"""How much of its past a server is searched for again, and how far a new watch looks back."""

ACTOR = "svc:watch"


@dataclass(slots=True)
class Looked:
    """What one look found."""

    found: int = 0
    """Requests that match, those of a former look included."""
    asked: int = 0
    """Transfers that were written down for the workers."""
    passed: int = 0
    """Requests that trigger nothing: seen before, ours, for others, or unclear."""
    troubles: list[BridgeError] = field(default_factory=list[BridgeError])
    """What went wrong; it is looked at again."""


class Watching(Transfers):
    """Looks at the servers of ``watch``."""

    def watch(self) -> Looked:
        """
        Look at each watched server that is due; meant to be called again and again.

        Raises:
            BridgeError: The first of what went wrong; the others were looked
                at, and what failed is looked at again.
        """
        looked, other = Looked(), self.acting(ACTOR)
        for watch in self._settings.watches:
            with self._store.alone(f"watch/{watch.name}") as alone:
                if alone:
                    other._look(watch, looked)  # noqa: SLF001 - it is one of us
        if looked.troubles:
            raise looked.troubles[0]
        return looked

    def _look(self, watch: WatchSettings, looked: Looked) -> None:
        now = self._clock.now()
        place = self._store.watch_place(watch.name)
        if place is not None and not _is_due(place.looked, watch, now):
            return
        since = None if place is None else datetime.fromisoformat(place.since)
        troubles = len(looked.troubles)
        try:
            seen = self._seen(watch, since, now, looked)
        except StoreUnavailable:
            raise
        except BridgeError as error:
            looked.troubles.append(error)
            seen = since
        if len(looked.troubles) > troubles:  # what failed is looked at again
            seen = since
        self._store.watch_moved(watch.name, since=seen or now - OVERLAP, looked=now)

    def _seen(
        self, watch: WatchSettings, since: datetime | None, now: datetime, looked: Looked
    ) -> datetime | None:
        """Ask for transfers of what is new; return from where the next look begins."""
        source = self._providers.provider(watch.source, Side.SOURCE)
        destination = self._providers.provider(watch.destination, Side.DESTINATION)
        if since is None:
            source.server.capabilities(anew=True)  # asked for its time
            since = _their_time(source.server, now) - OVERLAP
        requests = _requests(source, since)
        began, held = _their_time(source.server, now), False
        for request in requests:
            looked.found += 1
            try:
                asked = self._triggered(request, watch, source, destination)
            except StoreUnavailable:
                raise
            except BridgeError as error:  # the next request may have no fault
                looked.troubles.append(error)
                continue
            looked.asked += asked is Claimed.NEW
            looked.passed += asked is not Claimed.NEW
            held = held or asked is Claimed.IN_FLIGHT
        return since if held else began - OVERLAP

    def _triggered(
        self, request: Resource, watch: WatchSettings, source: Provider, destination: Provider
    ) -> Claimed | None:
        """
        Write a transfer down, unless the request was seen before.

        Returns:
            None when it is none for us; in flight when whoever wrote it down
            may have died: it is looked at again.
        """
        identities = {one.identity for one in self._settings.servers.values()}
        found = wish(request, source, destination, identities)
        if isinstance(found, Passed):
            return None
        order = Order(
            source=watch.source,
            destination=watch.destination,
            patient=found.patient,
            custodian=watch.custodian or None,
            recipient=watch.recipient or None,
            reasons=found.reasons,
            question=found.question,
        )
        caller = caller_of(source.identity, destination.identity)
        claim = self._store.claim_trigger(caller, request.ref, b"")
        if claim.found is not Claimed.NEW:
            return claim.found
        try:
            self.request(order, tenant=self._tenant(watch), transfer=claim.transfer)
        except BridgeError:
            self._store.release_trigger(claim.transfer)
            raise
        self._store.settle_trigger(claim.transfer)
        return claim.found

    def _tenant(self, watch: WatchSettings) -> str:
        """Return the organisation that answers for the records."""
        known = [one.identifier for one in self._servers.server(watch.source).organisations]
        if watch.custodian or len(known) == 1:
            return watch.custodian or known[0]
        raise SettingsError(
            f"{len(known)} organisations stand behind {watch.source}: set custodian in its watch"
        )


def caller_of(source: str, destination: str) -> str:
    """Name who claims a request; the same for whoever looks between the same two servers."""
    return f"watch\0{source}\0{destination}"


def _their_time(server: FhirServer, now: datetime) -> datetime:
    """Windows are cut by the clock that wrote ``meta.lastUpdated``: that of the newest answer."""
    return now + timedelta(seconds=server.clock_skew_seconds() or 0.0)


def _is_due(looked: str, watch: WatchSettings, now: datetime) -> bool:
    since = now - datetime.fromisoformat(looked)
    # A clock that was set back must not stop the watch.
    return not timedelta(0) <= since < timedelta(seconds=watch.every_seconds)


def _requests(source: Provider, since: datetime) -> list[Resource]:
    """
    Search for what was written since then.

    Raises:
        Incomplete: The server did not give all; nothing is passed over.
    """
    answer = source.server.search(
        "ServiceRequest",
        {
            "_lastUpdated": f"ge{timestamp(since)}",
            "code": f"{SYSTEM}|{CODE}",
            "status": "active",
            "intent": "order",
        },
    )
    if answer.shortfall is not None:
        raise Incomplete(
            f"{source.name} did not give every new ServiceRequest ({answer.shortfall}): it must"
            " search by _lastUpdated, code, status and intent; ask its operator"
        )
    return [one for one in answer.resources if one.type == "ServiceRequest"]
