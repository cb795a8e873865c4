"""Show our checkpoints to the witnesses, and know how many of them have seen which."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_bridge.clock import Clock
from fhir_bridge.errors import AlteredLog, SettingsError, Unreachable
from fhir_bridge.ledger import (
    Checkpoint,
    Event,
    NewEntry,
    Note,
    consistency_proof,
)
from fhir_bridge.store import Store
from fhir_bridge.witness import Witness

ALARM_AFTER = timedelta(minutes=10)

_ACTOR = "svc:bridge"


class Quorum(Unreachable):
    """Fewer witnesses than the settings demand have cosigned, so nothing may leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one witness said."""

    witness: str
    size: int | None
    """The last size of our log that it has cosigned; None for none."""
    failure: str
    """Empty when it has cosigned our newest checkpoint."""


class Asked:
    """The witnesses of our log."""

    def __init__(self, store: Store, clock: Clock, witnesses: Sequence[Witness]) -> None:
        """Know whom to ask; nobody is asked yet."""
        self._store = store
        self._clock = clock
        self._witnesses = witnesses

    def ask(self) -> tuple[Heard, ...]:
        """
        Show each witness our newest checkpoint, where it has not cosigned it yet.

        A witness that does not answer is told, and asked again the next time.
        After ten minutes without one the log says so, once for each outage.

        Raises:
            AlteredLog: A witness has seen another history of our log. That is
                signed into the log as an alarm before it is raised.
        """
        return tuple(map(self._heard, self._witnesses))

    def demand(self, quorum: int) -> None:
        """
        Have our newest checkpoint cosigned by enough witnesses.

        Args:
            quorum: How many.

        Raises:
            Quorum: Fewer did: nothing may leave; try again later.
            AlteredLog: As of `ask`.
        """
        heard = self.ask()
        if sum(not one.failure for one in heard) < quorum:
            away = "; ".join(one.failure for one in heard if one.failure)
            raise Quorum(
                f"{quorum} witnesses must cosign the log before anything leaves ({away}): nothing"
                " is lost, continue with resume"
            )

    def _heard(self, witness: Witness) -> Heard:
        log, note = self._store.log, self._store.note()
        last = self._store.last_cosigned(log, witness.name)
        checkpoint = Checkpoint.parse(Note.parse(note).text)
        if last == checkpoint.size:
            return Heard(witness=witness.name, size=last, failure="")
        try:
            lines = witness.cosign(note, last=last or 0, proof=self._proof)
        except AlteredLog:
            self._alarm("other-history", f"{witness.name}/{checkpoint}")
            raise
        except (Unreachable, SettingsError) as error:
            self._away(witness, last)
            return Heard(witness=witness.name, size=last, failure=str(error))
        for line in lines.splitlines(keepends=True):
            self._store.add_cosignature(log, checkpoint.size, line)
        return Heard(witness=witness.name, size=checkpoint.size, failure="")

    def _proof(self, old: int, new: int) -> Sequence[bytes]:
        return consistency_proof(old, new, self._store.subtrees(self._store.log))

    def _away(self, witness: Witness, last: int | None) -> None:
        """Sign an alarm when this witness has been away for too long."""
        since = self._store.signed_after(self._store.log, last or 0)
        if since is None:
            return
        if self._clock.now() - datetime.fromisoformat(since) >= ALARM_AFTER:
            self._alarm("witness-away", f"{witness.name}/{last or 0}")

    def _alarm(self, step: str, what: str) -> None:
        """Sign an alarm, once for the same thing."""
        alarm = NewEntry(type=Event.INTEGRITY_ALARM, actor=_ACTOR, outcome="8", step=step)
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._store.log}/{step}/{what}")
        self._store.append(alarm, event_id=str(name))
