"""What is looked at before and beside transfers: a server, the log."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from fhir_bridge import lossless
from fhir_bridge.bridge.opened import Opened
from fhir_bridge.fhir_server import Capabilities, Write
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.store import Verified
from fhir_bridge.wire import Side
from fhir_bridge.witnessing import Witnessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a server is."""

    base: str
    loopback: bool
    capabilities: Capabilities
    answered_ms: float


class Checks(Opened):
    """Looks at servers and at the log."""

    def verify_log(self) -> Verified:
        """
        Recompute the whole log from its rows.

        Raises:
            AlteredLog: It is not what was signed; the message names the first fault.
        """
        return self._store.verify()

    @property
    def witnessing(self) -> Witnessing:
        """Return the witnesses of our log, and this bridge as a witness for its peers."""
        return self._witnessing

    def check(self, name: str) -> Checked:
        """Ask a server what it is; what it said a short while ago does not count."""
        provider = self._providers.provider(name, Side.DESTINATION)
        start = time.monotonic()
        capabilities = provider.server.capabilities(anew=True)
        return Checked(
            base=provider.server.base,
            loopback=provider.loopback,
            capabilities=capabilities,
            answered_ms=(time.monotonic() - start) * 1000,
        )

    def seed(self, name: str, resources: Iterable[Json]) -> int:
        """
        Load invented records into a server; what is there already is left as it is.

        Raises:
            DestinationRefused: The server does not take one of them.
        """
        provider = self._providers.provider(name, Side.DESTINATION)
        writes = [
            Write(
                ref=RecordRef(f"{one['resourceType']}/{one['id']}"),
                body=lossless.encode(one),
                group=0,
            )
            for one in resources
        ]
        for stored in provider.server.store(writes, before_send=lambda _: None):
            if stored.error is not None:
                raise stored.error
        return len(writes)
