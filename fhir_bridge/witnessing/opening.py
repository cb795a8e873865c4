"""Open both sides of witnessing from what the operator has settled."""

from __future__ import annotations

from contextlib import ExitStack

from fhir_bridge.clock import Clock
from fhir_bridge.ledger import VerifierKey, WitnessKey
from fhir_bridge.settings import WithoutWitness, WitnessSettings
from fhir_bridge.store import Store
from fhir_bridge.wire import Side, Wire
from fhir_bridge.witness import Witness
from fhir_bridge.witnessing.asked import Asked
from fhir_bridge.witnessing.being import BeingWitness


class Witnessing:
    """The witnesses of our log, and this bridge as a witness."""

    def __init__(self, settings: WitnessSettings, store: Store, clock: Clock) -> None:
        """
        Make ready; nobody is asked yet.

        Raises:
            SettingsError: A key or an address is none.
        """
        self._settings = settings
        self._store = store
        self._clock = clock
        self._open = ExitStack()
        self._asked: Asked | None = None

    @property
    def asked(self) -> Asked:
        """Return the witnesses of our log, their connections opened when first needed."""
        if self._asked is None:
            witnesses = [self._witness(one.vkey, one.url) for one in self._settings.asked]
            self._asked = Asked(self._store, self._clock, witnesses)
        return self._asked

    def before_leaving(self) -> None:
        """
        Have the intent of a disclosure cosigned, where the settings demand it.

        Raises:
            Quorum: Too few witnesses answered: nothing may leave.
            AlteredLog: A witness has seen another history of our log.
        """
        if self._settings.without is WithoutWitness.STOP:
            self.asked.demand(self._settings.quorum)

    def being(self) -> BeingWitness | None:
        """
        Return this bridge as a witness; None when it is none.

        Raises:
            SettingsError: A peer's key is none, or our own cannot be used.
        """
        if not self._settings.name:
            return None
        cosigner = self._store.cosigner(self._settings.name)
        peers = [VerifierKey.parse(key) for key in self._settings.peers]
        return BeingWitness(self._store, self._clock, cosigner, peers)

    def close(self) -> None:
        """Close the connections."""
        self._open.close()

    def _witness(self, vkey: str, url: str) -> Witness:
        wire = Wire(url, side=Side.DESTINATION, clock=self._clock)
        self._open.callback(wire.close)
        return Witness(wire, WitnessKey.parse(vkey))
